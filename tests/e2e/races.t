#!/bin/bash
# Checkpoints in the middle of change: children, threads, mappings, exec.
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
	for ((n = 0; n < 60; n++)); do
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
	for i in {1..100}; do
		run "$GODWIT" checkpoint "$PID"
		[[ $RC == [013] ]] || fail "exit status $RC: $(cat cmd.err)"
		alive "$PID" || fail "the target is gone: $(cat cmd.err)"
	done
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
	try "forty_checkpoints_of_$s" again_and_again $s 40
done
for s in threads_churn mem_churn faulty; do
	try "eight_restarts_of_$s" each_restarts $s 8
done
LIMIT=120 try checkpoints_of_a_program_that_executes_others exec_loop
try the_tool_does_not_listen no_listener
finish
