#!/bin/bash
# kill -9 at random moments (faults.t has the enumerated ones): of the source, of the destination,
# of both.  In the end exactly one copy goes on, perhaps once it is settled.  KILLS=200: how many
# each.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"

KILLS=${KILLS:-2}

serve_again() { rm -f serve.err; serve_on beta --timeout 3; }

start() {
	(on alpha "$GODWIT" migrate "$PID" "tls://$BETA:$PORT" --key key --mode="$MODE" --timeout 3) </dev/null >cmd.out 2>cmd.err &
	CMD=$!
	note_pid "$CMD"
}

# Godwit's own processes of each side, in SOURCE and TARGET.  (A thin parent is the program's.)
sides() {
	local p comm parent
	SOURCE=() TARGET=()
	for p in /proc/[0-9]*; do
		[[ $p/cwd -ef $W ]] && read -r comm <"$p/comm" && [[ $comm == godwit || $comm == godwit-guardian ]] || continue
		p=${p#/proc/}
		read -r _ _ _ parent _ <"/proc/$p/stat"
		if [[ $p == "$CMD" || $parent == "$CMD" ]]; then SOURCE+=("$p"); else TARGET+=("$p"); fi
	done
} 2>/dev/null

# All of them, or one of them at random.
strike() { # PID...
	(($#)) || return 0
	if ((RANDOM % 2)) && [[ $MODE != post-copy ]]; then
		kill -9 "$@" 2>/dev/null
	else
		kill -9 "${@:1 + RANDOM % $#:1}" 2>/dev/null
	fi
	HITS=$((HITS + 1))
}

# Nobody can know where the destination was killed right as it let the program go: then the copy
# here is the only one that there is, and a person says so.
settle_all() {
	local id i
	for ((i = 0; i < 8; i++)); do
		(on alpha timeout 60 "$GODWIT" settle) >settle.out 2>&1 && break
		_find_counters
		if grep -q 'nobody knows\|--resume' settle.out && ((${#COUNTERS[@]} == 1)) && alive "$PID"; then
			id=$(basename state-alpha/s-*)
			(on alpha "$GODWIT" settle --resume "${id#s-}") >>settle.out 2>&1
			RESUMED=$((RESUMED + 1))
			break
		fi
		sleep 1
	done
	settled either
}

kills() { # USER MODE SIDE
	become "$1"
	MODE=$2
	local side=$3 i began end takes over=0
	HITS=0 RESUMED=0
	RANDOM=$$
	echo "seed $$"
	LISTEN=$((20000 + $$ % 10000))
	serve_again
	count_on alpha 2 1
	began=${EPOCHREALTIME/./}
	start
	wait "$CMD" || fail "uncut: exit status $?: $(cat cmd.err)"
	takes=$((${EPOCHREALTIME/./} - began))
	finish_counter over
	for ((i = 0; i < KILLS; i++)); do
		rm -f numbers
		: >over
		count_on alpha 2 1
		began=${EPOCHREALTIME/./}
		end=$((began + RANDOM * takes / 32768))
		start
		while ((${EPOCHREALTIME/./} < end)); do :; done
		sides
		[[ $side == destination ]] || strike "${SOURCE[@]}"
		[[ $side == source ]] || strike "${TARGET[@]}"
		if ! alive "$SERVE"; then serve_again; fi
		wait "$CMD" 2>/dev/null
		note "$i: exit status $?, $(head -n 1 cmd.err)"
		if ! alive "$SERVE"; then serve_again; fi
		settle_all
		if has over '^ok$'; then over=$((over + 1)); fi
	done
	note "$HITS were killed, $over went over, $RESUMED were in doubt"
	((HITS * 2 >= KILLS)) || fail "only $HITS were still there to be killed"
}

for mode in total pre-copy post-copy; do
	user=user
	[[ $mode != post-copy ]] || user=root
	for side in source destination both; do
		LIMIT=$((60 + KILLS * 10)) try "${side}_killed_in_${mode}" kills $user $mode $side
	done
done
finish
