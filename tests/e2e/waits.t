#!/bin/bash
# Interrupted system calls (subject sleepers): no stop is seen, however often one wait
# is stopped and by whomever; none returns EINTR, in the program that goes on or in
# the restarted one.
. "$(dirname "$0")/../lib.sh"

_says_what_is_over() { : >"$CTL/ping"; wait_alive "$PID" 30 _ping_taken; }
_traced() { _tracer "$PID"; [[ $TRACER != 0 ]]; }
_in_state() { # STATE: of every thread
	! grep -L "^State:[[:space:]]*$1" "/proc/$PID"/task/*/status | grep -q .
}

# disturb HOW TIMES: stops that leave the program running.
disturb() {
	local i
	for ((i = 0; i < $2; i++)); do
		case $1 in
		checkpoint)	expect 0 "$GODWIT" checkpoint "$PID" ;;
		job_control)
			kill -STOP "$PID"
			wait_for 10 _in_state T
			kill -CONT "$PID"
			wait_for 10 _in_state S ;;
		strace)
			strace -f -q -o /dev/null -p "$PID" &
			local tracer=$!
			note_pid "$tracer"
			wait_for 10 _traced
			kill -INT "$tracer"
			wait "$tracer"
			wait_for 10 _untraced "$PID" ;;
		esac
	done
}

# What a stop by others may end, says signal(7), is no matter of ours.
set_for() { [[ $1 == checkpoint ]] || echo kept; }

# stopped USER SUBJECT SECONDS HOW TIMES: false if a wait was over before its last stop.
stopped() {
	become "$1"
	OUT=out.$3
	launch "$SUBJECTS/$2" "$CTL" "$3" "$(set_for "$4")"
	wait_ready
	disturb "$4" "$5"
	_says_what_is_over
	! has "$OUT" '^over'
}

# How fast the machine is nobody knows: waits long enough for all stops.
stopped_in_time() { # USER SUBJECT HOW TIMES
	local seconds
	for seconds in 4 16 64; do
		stopped "$1" "$2" $seconds "$3" "$4" && return
		note "over after $seconds s already: $(grep -c '^over' "$OUT")"
		finish_off
	done
	fail "the waits are over before their last stop"
}

go_on() {
	stopped_in_time "$@"
	nothing_left
	verdict "$OUT"
}

# The last stop is the one of the image.
restarted() {
	local first
	stopped_in_time "$@"
	expect 0 "$GODWIT" checkpoint "$PID" --kill ${LAST_STOP-}
	wait "$PID" 2>/dev/null
	first=$OUT
	OUT=out2 ERR=err2 launch "$GODWIT" restart myckpt
	ping
	verdict "$first"
}

live() { LAST_STOP=--pause=live restarted "$@"; }

# Stopped to be refused, as all: what has an object that cannot be saved goes on, too.
unsaved() {
	become user
	launch "$SUBJECTS/sleepers" "$CTL" 4 all
	wait_ready
	local i
	for i in {1..5}; do expect 3 "$GODWIT" checkpoint "$PID"; done
	nothing_left
	verdict
}

# The same registers and memory would do for two calls: refused, not guessed.
ambiguous() {
	become user
	launch "$SUBJECTS/refuse" "$CTL" lost_call
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID"
	expect 3 "$GODWIT" checkpoint "$PID"
	says '^godwit: checkpoint: thread [0-9]+ was stopped before' '^hint: try again later'
	ping
	verdict
}

for s in sleepers sleepers+static; do
	LIMIT=200 BESIDE=1 try "${s}_stopped_once_go_on" go_on user $s checkpoint 1
	LIMIT=200 BESIDE=1 try "${s}_stopped_twenty_times_go_on" go_on user $s checkpoint 20
	LIMIT=200 BESIDE=1 try "${s}_stopped_once_are_restarted" restarted user $s checkpoint 0
	LIMIT=200 BESIDE=1 try "${s}_stopped_twenty_times_are_restarted" restarted user $s checkpoint 20
done
LIMIT=200 BESIDE=1 try sleepers_after_sigstop_are_restarted restarted user sleepers job_control 2
# Copied while it runs, the program is stopped more than once by one checkpoint.
LIMIT=200 BESIDE=1 try sleepers_copied_live_are_restarted live user sleepers checkpoint 0
need_strace() { need strace; restarted "$@"; }
LIMIT=200 BESIDE=1 try sleepers_after_strace_are_restarted need_strace user sleepers strace 2
LIMIT=200 BESIDE=1 try sleepers_stopped_twenty_times_as_root_are_restarted restarted root sleepers checkpoint 20
BESIDE=1 try waits_for_what_cannot_be_saved_go_on unsaved
try wait_that_cannot_be_told_is_refused ambiguous
finish
