#!/bin/bash
# Checkpoints in the middle of change: children, threads, mappings, exec, its end, another checkpoint.
# RACES=200: how many times each, in place of what is short enough for every day.
. "$(dirname "$0")/../lib.sh"

# A script that starts children all the time: saved, or refused for the child; never harmed.
bash_loop() {
	become user
	cat >loop.sh <<-'END'
		sum=0
		echo ready
		for ((i = 1; ; i++)); do
			x=$(/bin/echo $((i * 3)))
			sum=$((sum + x))
			[[ ! -e $1/release ]] || break
		done
		echo "result $((sum - 3 * i * (i + 1) / 2)) after $i"
	END
	launch /bin/bash loop.sh "$CTL"
	wait_ready
	local n saved=0
	for ((n = 0; n < ${RACES:-60}; n++)); do
		run "$GODWIT" checkpoint "$PID"
		[[ $RC == [03] ]] || fail "exit status $RC: $(cat cmd.err)"
		[[ $RC == 0 ]] && saved=$((saved + 1))
	done
	: >"$CTL/release"
	wait "$PID" || fail "the script ended with $?"
	has out '^result 0 after' || fail "the result differs: $(tail -n 1 out)"
	note "$saved of $n checkpoints saved it"
}

again_and_again() { # SUBJECT TIMES
	become user
	launch "$SUBJECTS/$1" "$CTL"
	wait_ready
	local i
	for ((i = 0; i < $2; i++)); do
		expect 0 "$GODWIT" checkpoint "$PID"
	done
	nothing_left
	expect 0 "$GODWIT" verify myckpt
	verdict
}

each_restarts() { # SUBJECT TIMES: each image of a changing program restarts
	become user
	local i
	launch "$SUBJECTS/$1" "$CTL"
	wait_ready
	for ((i = 0; i < $2; i++)); do
		expect 0 "$GODWIT" checkpoint "$PID" --kill
		wait "$PID" 2>/dev/null
		OUT=out$i ERR=err2 launch "$GODWIT" restart myckpt
		ping
	done
	verdict out
}

exec_loop() { # the target executes another program all the time
	become user
	cat >self.sh <<-'END'
		[ -e "$1/release" ] && { echo ok; exit 0; }
		[ $2 = 0 ] && echo ready
		exec /bin/sh "$0" "$1" $(($2 + 1))
	END
	launch /bin/sh "$W/self.sh" "$CTL" 0
	wait_ready
	local i
	for ((i = 0; i < ${RACES:-100}; i++)); do
		run "$GODWIT" checkpoint "$PID"
		[[ $RC == [013] ]] || fail "exit status $RC: $(cat cmd.err)"
		alive "$PID" || fail "the target is gone: $(cat cmd.err)"
	done
	verdict
}

# Two at once: one of them at least makes its image, the other one does, too, or says who is in its way.
two_at_once() { # OPTION OPTION
	become user
	launch "$SUBJECTS/mem_written" "$CTL" 2 20 2
	wait_ready
	local i both=0 first second rc
	for ((i = 0; i < ${RACES:-3}; i++)); do
		rm -f img.*
		(as "$GODWIT" checkpoint "$PID" "$1" -o img.1) </dev/null >first 2>&1 &
		first=$!
		(as "$GODWIT" checkpoint "$PID" "$2" -o img.2) </dev/null >second 2>&1 &
		second=$!
		wait $first
		first=$?
		wait $second
		second=$?
		[[ $first$second == *0* ]] || fail "neither made its image: $(cat first second)"
		[[ $first$second == 00 ]] && both=$((both + 1))
		for rc in "$first first" "$second second"; do
			[[ $rc == 0\ * ]] || grep -Eq 'another (godwit|tracer|process)|traced' "${rc#* }" ||
				fail "exit status $rc: $(cat "${rc#* }")"
		done
		[[ $first != 0 ]] || expect 0 "$GODWIT" verify img.1
		[[ $second != 0 ]] || expect 0 "$GODWIT" verify img.2
		wait_for 20 _untraced "$PID"
		ping
	done
	note "$both of $i times both"
	rm -f img.*
	expect 0 "$GODWIT" checkpoint "$PID" "$1" -o img.3
	nothing_left
	finish_off
	: >"$CTL/release"
	echo ready >out
	expect 0 "$GODWIT" restart img.3
	[[ $(tail -n 1 out) == ok ]] || fail "the image does not say ok"
}

# It ends while it is attached: with its own status, and the command ends, too.
ends() { # OPTION
	become user
	local i rc saved=0 spin
	for ((i = 0; i < ${RACES:-25}; i++)); do
		launch "$SUBJECTS/mem_churn" "$CTL"
		wait_ready
		(as "$GODWIT" checkpoint "$PID" "$1" -o img) </dev/null >cmd.out 2>cmd.err &
		for ((spin = RANDOM % 5000; spin > 0; spin--)); do :; done
		((i % 2)) && kill -USR1 "$PID" || : >"$CTL/release"
		wait "$PID"
		rc=$?
		((i % 2 && rc == 138)) || ((!(i % 2) && rc == 0)) || fail "the program ended with $rc"
		wait $!
		rc=$?
		[[ $rc == [0136] ]] || fail "exit status $rc: $(cat cmd.err)"
		[[ $rc != 0 ]] || { expect 0 "$GODWIT" verify img; saved=$((saved + 1)); }
		[[ -z $(find . -name '*.godwit-*') ]] || fail "left behind: $(ls)"
		rm -f "$CTL/release" img out
	done
	note "$saved of $i were saved"
}

# Asked for again and again while it ends: never taken for one that goes on without its first thread.
asked_while_it_ends() {
	become user
	local i meanwhile=0
	for ((i = 0; i < ${RACES:-4}; i++)); do
		launch "$SUBJECTS/ends_slowly" "$CTL" 400
		wait_ready
		: >"$CTL/release"
		while run "$GODWIT" checkpoint "$PID" -o img && [[ $RC != 1 ]] || has cmd.err 'is ending'; do
			[[ $RC != 3 ]] || fail "refused: $(cat cmd.err)"
			! has cmd.err 'is ending' || meanwhile=$((meanwhile + 1))
			rm -f img
		done
		wait "$PID" || fail "the program ended with $?"
		rm -f "$CTL/release" out
	done
	note "$meanwhile times while it was ending"
}

# Signals of the kind that is lent to us as the bell come from elsewhere all the time.
flooded() {
	become user
	launch "$SUBJECTS/threads_1000" "$CTL"
	wait_ready
	(as /usr/bin/python3 -c '
import os, signal, sys
pid = int(sys.argv[1])
while os.getppid() == int(sys.argv[2]):
    for sig in signal.SIGURG, signal.SIGWINCH:
        os.kill(pid, sig)' "$PID" $$) &
	local flood=$! i
	for ((i = 0; i < ${RACES:-6}; i++)); do
		expect 0 "$GODWIT" checkpoint "$PID" -o img
		expect 0 "$GODWIT" verify img
	done
	kill $flood
	expect 0 "$GODWIT" checkpoint "$PID" -o img --kill
	wait "$PID" 2>/dev/null
	OUT=over ERR=err2 launch "$GODWIT" restart img
	verdict
}

# Nothing of ours listens anywhere unless told to: a checkpoint does not, and what only
# restarts could not even.
no_listener() {
	need nm strace
	local names
	names=$(nm "$MYRESTART" | grep -Ew 'listen|accept|accept4' || true)
	[[ -z $names ]] || fail "it can listen: $names"
	become user
	launch "$SUBJECTS/threads" "$CTL"
	wait_ready
	expect 0 strace -f -q -e trace=listen,bind,exit_group -o trace "$GODWIT" checkpoint "$PID" --kill
	wait "$PID" 2>/dev/null
	has trace 'exit_group' || fail "strace followed nobody"
	! grep -E '(listen|bind)\(' trace || fail "the tool listens"
}

try script_that_starts_children_is_never_harmed bash_loop
for s in threads_churn mem_churn faulty sleepers; do
	LIMIT=$((60 + ${RACES:-0})) try "forty_checkpoints_of_$s" again_and_again $s "${RACES:-40}"
done
for s in threads_churn mem_churn faulty; do
	LIMIT=$((60 + ${RACES:-0})) try "eight_restarts_of_$s" each_restarts $s "${RACES:-8}"
done
LIMIT=120 try checkpoints_of_a_program_that_executes_others exec_loop
all=(--pause=copy --compress --pause=live --pause=short --incremental)
for a in "${all[@]}"; do
	for b in "${all[@]}"; do
		# Each pair once.
		[[ $a > $b ]] || LIMIT=$((60 + ${RACES:-0})) try "two_at_once_${a#--}_${b#--}" two_at_once "$a" "$b"
	done
done
for a in "${all[@]}"; do
	LIMIT=$((60 + ${RACES:-0})) try "it_ends_meanwhile_${a#--}" ends "$a"
done
LIMIT=120 try a_flood_of_signals_like_ours flooded
try it_is_asked_for_while_it_ends asked_while_it_ends
try the_tool_does_not_listen no_listener
finish
