#!/bin/bash
# kill -9 of the command at every enumerated step and at random moments: the program
# goes on and computes right, the old image is whole, nothing of ours is left.
#
# GODWIT_FAULT=N makes the checkpoint's guardian kill itself with SIGKILL at step N,
# GODWIT_FAULT_BOTH=1 its front command too; GODWIT_FAULT=list names each on stderr.
. "$(dirname "$0")/../lib.sh"

OPTS=() # further options of each checkpoint

# How many points a checkpoint of PID passes; each is named once.
points() {
	local n
	(as env GODWIT_FAULT=list "$GODWIT" checkpoint "$PID" "${OPTS[@]}") </dev/null >cmd.out 2>points || fail "$(cat points)"
	n=$(grep -c '^fault point [0-9]*: ' points)
	((n >= 8)) || fail "only $n fault points"
	echo "$n"
}

# The state in which a target is when the command dies.
start_target() { # KIND
	become user
	case $1 in
	threads)  launch "$SUBJECTS/faulty" "$CTL" ;;
	handler)  launch "$SUBJECTS/sig_in_handler" "$CTL" ;;
	static)   launch "$SUBJECTS/sig_in_handler+static" "$CTL" ;;
	sleepers) launch "$SUBJECTS/sleepers" "$CTL" ;;
	registers) launch nice "$SUBJECTS/regs_live" "$CTL" ;; # it spins: it would have us wait
	terminals) launch "$SUBJECTS/ptys" "$CTL" ;; # bytes are out of the program at a point
	locks)    launch "$SUBJECTS/locks" "$CTL" ;;
	leader)   launch "$SUBJECTS/threads_leader_gone" "$CTL" ;;
	short)    launch nice "$SUBJECTS/snapshot" "$CTL" plain; OPTS=(--pause=short) ;;
	live)     launch "$SUBJECTS/mem_written" "$CTL" 4 20 2; OPTS=(--pause=live) ;;
	compress) launch "$SUBJECTS/mem_written" "$CTL" 4 20 2; OPTS=(--compress) ;;
	esac
	wait_ready
}

only_the_image() {
	[[ -z $(find . -type f ! -name 'cmd.*' ! -name out ! -name err ! -name myckpt ! -name points) ]]
}

# A snapshot has the arguments of its program, until it has ended.
no_snapshot() {
	local comm
	for comm in $(grep -lxs godwit-snapshot /proc/[0-9]*/comm); do
		[[ $(tr '\0' ' ' <"${comm%comm}cmdline") != *"$CTL"* ]] || return 1
	done 2>/dev/null
}

# After each death: untraced, alive, computing; the old image whole; at most $1 mappings.
check_after() {
	wait_for 20 _untraced "$PID"
	ping
	[[ ${OPTS-} != *short ]] || wait_for 20 no_snapshot
	local left
	left=$(mappings_of_ours)
	((left <= $1)) || fail "$left mappings of ours are left ($2)"
	[[ -z $(find "/proc/$PID/fd" -lname '*userfaultfd*' 2>/dev/null) ]] || fail "a userfaultfd is left ($2)"
	[[ $(md5sum <myckpt) == "$SUM" ]] || {
		# It got as far as the rename: then the new one is whole.
		"$GODWIT" verify myckpt >/dev/null 2>&1 || fail "the image is damaged ($2)"
		SUM=$(md5sum <myckpt)
	}
}

each_point() { # KIND BOTH
	local n i died=0
	start_target "$1"
	n=$(points) || { echo "$n"; exit 1; }
	SUM=$(md5sum <myckpt)
	for ((i = 1; i <= n; i++)); do
		run env GODWIT_FAULT=$i ${2:+GODWIT_FAULT_BOTH=1} "$GODWIT" checkpoint "$PID" "${OPTS[@]}"
		[[ $RC == 0 ]] || died=$((died + 1))
		[[ $RC == [01] || $RC == 137 ]] || fail "exit status $RC at point $i"
		check_after 1 "at point $i"
	done
	note "$died of $n points were reached"
	((died * 2 >= n)) || fail "only $died of $n points were reached"
	# The next command removes what the dead ones left, temporary files included.
	expect 0 "$GODWIT" checkpoint "$PID"
	nothing_left
	only_the_image || fail "left behind: $(ls)"
	expect 0 env GODWIT_FAULT=$((n + 999)) "$GODWIT" checkpoint "$PID" "${OPTS[@]}"
	expect 0 "$GODWIT" verify myckpt
	verdict
}

# --incremental: each stands on the one before, under a name of its own; those that are there are whole
# whatever becomes of the next, and the program is tracked again.
each_point_of_a_chain() { # BOTH OPTION...
	become user
	local both=$1 n i died=0 whole=0 last=0.ckpt
	OPTS=(--incremental "${@:2}")
	launch "$SUBJECTS/mem_written" "$CTL" 4 20 2
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID" "${OPTS[@]}" -o 0.ckpt
	expect 0 env GODWIT_FAULT=list "$GODWIT" checkpoint "$PID" "${OPTS[@]}" -o 1.ckpt
	n=$(grep -c '^fault point [0-9]*: ' cmd.err)
	((n >= 12)) || fail "only $n fault points"
	cp 1.ckpt myckpt # for check_after, and never another
	SUM=$(md5sum <myckpt)
	for ((i = 1; i <= n; i++)); do
		# On one that is there: else the points are others.
		expect 0 "$GODWIT" checkpoint "$PID" "${OPTS[@]}" -o "b$i.ckpt"
		expect 0 "$GODWIT" checkpoint "$PID" "${OPTS[@]}" -v -o "c$i.ckpt"
		says 'is saved in.*incremental;'
		run env GODWIT_FAULT=$i ${both:+GODWIT_FAULT_BOTH=1} "$GODWIT" checkpoint "$PID" "${OPTS[@]}" -o "d$i.ckpt"
		[[ $RC == 0 ]] || died=$((died + 1))
		[[ $RC == [01] || $RC == 137 ]] || fail "exit status $RC at point $i"
		check_after 1 "at point $i"
		last=c$i.ckpt
		if [[ -e d$i.ckpt ]]; then
			last=d$i.ckpt
			whole=$((whole + 1))
		fi
		expect 0 "$GODWIT" verify $last
	done
	note "$died of $n points were reached, $whole images were complete all the same"
	((died * 2 >= n)) || fail "only $died of $n points were reached"
	expect 0 "$GODWIT" checkpoint "$PID" "${OPTS[@]}" -o last.ckpt
	nothing_left
	[[ -z $(compgen -G '*.godwit-*') ]] || fail "left behind: $(ls)"
	revive_all last.ckpt $last
}

# Killed with a scratch mapping in the program, and the next before it could take that
# away: the third still finds it.
leftover_of_two() {
	start_target threads
	points >/dev/null
	local name n
	for name in "threads asked" "unit in the vdso" "unit in the vdso" "leftover unmapped"; do
		n=$(sed -n "s/^fault point \([0-9]*\): $name$/\1/p" points | head -1)
		[[ $name != leftover* ]] || n=$((n_unit + 1))
		[[ $name != unit* ]] || n_unit=$n
		run env GODWIT_FAULT="$n" GODWIT_FAULT_BOTH=1 "$GODWIT" checkpoint "$PID"
		[[ $RC == 137 ]] || fail "exit status $RC at '$name'"
		wait_for 20 _untraced "$PID"
		ping
	done
	expect 0 "$GODWIT" checkpoint "$PID"
	nothing_left
	verdict
}

_guardian_stopped() {
	local stat
	_untraced "$PID" && return 1
	GUARDIAN=$TRACER
	read -r stat 2>/dev/null <"/proc/$GUARDIAN/stat" && [[ $stat == *"(godwit-guardian) T "* ]]
}

# A signal that came while a thread was borrowed: when all of ours is dead, its handler
# returns into what we left.  The next checkpoint must wait for that.
handler_returns_to_the_leftover() {
	become user
	launch "$SUBJECTS/sig_slow" "$CTL"
	wait_ready
	local name cmd
	for name in "threads asked" "program ran" "scratch mapped" "threads asked"; do
		(as env GODWIT_FAULT="$name" GODWIT_FAULT_STOP=1 "$GODWIT" checkpoint "$PID") >cmd.out 2>cmd.err </dev/null &
		cmd=$!
		wait_for 20 _guardian_stopped
		kill -USR1 "$PID"
		kill -9 "$GUARDIAN" "$cmd"
		wait "$cmd" 2>/dev/null
		expect 0 "$GODWIT" checkpoint "$PID"
		ping
	done
	nothing_left
	verdict
}

# The typed command alone dies: its guardian cleans up, so nothing at all is left.
random_moments() { # KIND TIMES
	start_target "$1"
	expect 0 "$GODWIT" checkpoint "$PID"
	SUM=$(md5sum <myckpt)
	local i cmd hit=0 spin
	for ((i = 0; i < $2; i++)); do
		(as "$GODWIT" checkpoint "$PID") >cmd.out 2>cmd.err </dev/null &
		cmd=$!
		if ((i % 3)); then
			for ((spin = RANDOM % 6000; spin > 0; spin--)); do :; done
		else # at once when the target is seen stopped
			for ((spin = 0; spin < 300; spin++)); do
				_untraced "$PID" || break
			done
		fi
		kill -9 "$cmd" 2>/dev/null && hit=$((hit + 1))
		wait "$cmd" 2>/dev/null
		wait_for 20 _untraced "$PID"
		if ((i % 10 == 0)); then
			_clean() { [[ $(mappings_of_ours) == 0 ]] && only_the_image; }
			wait_for 20 _clean
			check_after 0 "at a random moment"
		fi
	done
	note "$hit of $2 were killed"
	((hit * 3 > $2)) || fail "only $hit of $2 commands were still there to be killed"
	wait_for 20 only_the_image
	check_after 0 "in the end"
	expect 0 "$GODWIT" checkpoint "$PID"
	verdict
}

# Everything of ours at once, at random moments.
random_both() { # KIND TIMES
	start_target "$1"
	expect 0 "$GODWIT" checkpoint "$PID"
	SUM=$(md5sum <myckpt)
	local i p comm spin hit=0
	for ((i = 0; i < $2; i++)); do
		(as "$GODWIT" checkpoint "$PID") >cmd.out 2>cmd.err </dev/null &
		# The tracer is the guardian.
		for ((spin = 0; spin < 300; spin++)); do
			_untraced "$PID" || break
		done
		p=$TRACER
		# The kernel may name the parent at the instant of letting go: never kill that.
		comm=
		read -r comm 2>/dev/null <"/proc/${p:-0}/comm"
		for ((spin = RANDOM % 1500; spin > 0; spin--)); do :; done
		if [[ $comm == godwit-guardian ]]; then
			kill -9 "$!" "$p" 2>/dev/null && hit=$((hit + 1))
		else
			kill -9 $! 2>/dev/null
		fi
		wait $! 2>/dev/null
		wait_for 20 _untraced "$PID"
		((i % 5)) || check_after 1 "at a random moment"
	done
	note "$hit of $2 guardians were killed"
	((hit * 4 > $2)) || fail "only $hit of $2 guardians were caught"
	expect 0 "$GODWIT" checkpoint "$PID"
	nothing_left
	verdict
}

_guardian_works() {
	local comm=
	_untraced "$PID" && return 1
	read -r comm 2>/dev/null <"/proc/$TRACER/comm"
	[[ $comm == godwit-guardian ]] && GUARDIAN=$TRACER
}

go_program() { # 2000 goroutines: its stacks are small and its signals many
	become user
	go_prog "$TOP/tests/e2e/work/work.go"
	(as ./prog 40000 2000) >want 2>&1 </dev/null || fail "the uncut run fails"
	launch ./prog 40000 2000
	wait_ready
	local i=0 both=0 spin
	while ! has out '^result' && alive "$PID"; do
		i=$((i + 1))
		(as "$GODWIT" checkpoint "$PID") >cmd.out 2>cmd.err </dev/null &
		GUARDIAN=
		((i % 2)) || for ((spin = 0; spin < 300; spin++)); do
			_guardian_works && break
		done
		for ((spin = RANDOM % 6000; spin > 0; spin--)); do :; done
		kill -9 $! ${GUARDIAN:+"$GUARDIAN"} 2>/dev/null && [[ -n $GUARDIAN ]] && both=$((both + 1))
		wait $! 2>/dev/null
		wait_for 20 _untraced "$PID"
		((i < 60)) || break
	done
	note "$both of $i with the guardian"
	((i > 5 && both > 1)) || fail "only $i commands, $both with the guardian, before the program ended"
	wait "$PID" || fail "the program ended with $?"
	cmp -s out want || fail "$(diff out want | head -5)"
}

for kind in threads handler static sleepers registers locks terminals leader live short compress; do
	LIMIT=300 try "guardian_killed_at_each_step_$kind" each_point $kind ""
	LIMIT=300 try "guardian_and_command_killed_at_each_step_$kind" each_point $kind 1
done
LIMIT=300 try guardian_killed_at_each_step_incremental each_point_of_a_chain ""
LIMIT=300 try guardian_and_command_killed_at_each_step_incremental_compressed each_point_of_a_chain 1 --compress
try handler_that_returns_to_the_leftover handler_returns_to_the_leftover
try leftover_of_two_killed_godwits leftover_of_two
LIMIT=300 try command_killed_at_200_random_moments random_moments threads 200
LIMIT=300 try command_killed_while_in_a_handler random_moments handler 30
LIMIT=300 try everything_killed_at_random_moments random_both threads 60
LIMIT=300 try command_and_guardian_killed_with_2000_goroutines go_program
finish
