#!/bin/bash
# Signals that are sent to the program while it moves.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"

HEARS=$B/migrate/hears

hears_on() { # HOST [blocked]
	local host=$1
	shift
	COUNTER=$HEARS
	pipe_on "$host" "$HEARS" "$W/numbers" "$@"
	wait_alive "$PID" 30 has out '^ready'
}

sends_to() { # PID: the sender, in the background
	echo "$1" >to
	chmod 644 to
	(as "$B/migrate/sends" "$W/to") </dev/null >sent 2>&1 &
	SENDER=$!
	note_pid "$SENDER"
}

# A guardian of ours that stands at its fault point.
_stands() {
	_tracer "$PID"
	GUARDIAN=$TRACER
	[[ -n $GUARDIAN && $GUARDIAN != 0 ]] &&
		grep -q '^State:.T (stopped' "/proc/$GUARDIAN/status" 2>/dev/null
}
_state_is() { grep -q "^State:.$2" "/proc/$1/status" 2>/dev/null; }
_heard() { (($(wc -l <numbers) >= $1)); }

# Every one that was sent has come, once.
all_heard() {
	: >to.stop
	wait "$SENDER" || fail "the sender: $(cat sent)"
	local n bad
	n=$(sed -n 's/^sent //p' sent)
	wait_for 30 _heard "$n"
	bad=$(sort -n numbers | awk '$1 != NR { print NR ": " $1; exit }')
	[[ -z $bad ]] || fail "signal $bad is lost, or came twice"
	note "$n signals"
	: >numbers.stop
	wait_for 30 _count_is 0
}

# Sent all the time, up to the instant before its end, then to the one over there.
moves() { # MODE [blocked]
	local mode=$1 cmd
	shift
	become user
	two_hosts
	serve_on beta
	hears_on alpha "$@"
	sends_to "$PID"
	wait_for 30 _heard 50
	(GODWIT_FAULT="done heard" GODWIT_FAULT_STOP=1 on alpha timeout 100 \
		"$GODWIT" migrate "$PID" "tls://$BETA:$PORT" --key key "--mode=$mode") </dev/null >cmd.out 2>cmd.err &
	cmd=$!
	note_pid "$cmd"
	wait_alive "$cmd" 60 _stands
	# It runs over there, and the copy here gets signals still.
	kill -STOP "$SENDER"
	wait_for 20 _state_is "$SENDER" T
	kill -CONT "$GUARDIAN"
	wait "$cmd" || fail "exit status $?"
	wait_for 30 _count_is 1
	counters >to
	kill -CONT "$SENDER"
	local n
	n=$(wc -l <numbers)
	wait_for 30 _heard $((n + 50))
	all_heard
}
for mode in total pre-copy; do
	try "each_signal_arrives_once_$mode" moves "$mode"
	try "each_blocked_signal_arrives_once_$mode" moves "$mode" blocked
done

# Not sent to a stop of its own: nobody waits for anybody.  What is sent to a process that
# was killed already is lost, and it only: the first that is missing is behind all that came.
moves_at_full_speed() {
	become user
	serve_on beta
	hears_on alpha
	sends_to "$PID"
	wait_for 30 _heard 50
	migrate_from alpha "tls://$BETA:$PORT" --key key
	[[ $RC == 0 ]] || fail "exit status $RC"
	wait_for 30 _count_is 1
	: >to.stop
	wait "$SENDER"
	local n bad
	n=$(sed -n 's/^sent //p' sent)
	sort -n numbers | uniq -d | grep -q . && fail "a signal came twice"
	bad=$(sort -n numbers | awk '$1 != NR { print NR ": " $1; exit }')
	[[ -z $bad ]] || fail "signal $bad is lost, and later ones came"
	note "$(wc -l <numbers) of $n signals"
	(($(wc -l <numbers) > 50)) || fail "none came"
	: >numbers.stop
	wait_for 30 _count_is 0
}
try signals_without_a_break moves_at_full_speed

# The destination is lost right after COMMIT: the program goes on here, and has lost nothing.
stays() { # [blocked]
	become user
	GODWIT_FAULT="commit heard" serve_on beta --timeout 3
	hears_on alpha "$@"
	sends_to "$PID"
	wait_for 30 _heard 50
	migrate_from alpha "tls://$BETA:$PORT" --key key --timeout 3
	[[ $RC == 1 ]] || fail "exit status $RC"
	alive "$PID" || fail "it should go on here"
	local n
	n=$(wc -l <numbers)
	wait_for 30 _heard $((n + 50))
	all_heard
}
try each_signal_arrives_once_where_it_stays stays
try each_blocked_signal_arrives_once_where_it_stays stays blocked

# kill(2), while it stands still: its number is lower than that of the stop.
plain() { # WHERE
	local where=$1 cmd
	become user
	[[ $where == over ]] || export GODWIT_FAULT="commit heard"
	serve_on beta --timeout 20
	unset GODWIT_FAULT
	hears_on alpha
	(GODWIT_FAULT="ready heard" GODWIT_FAULT_STOP=1 on alpha timeout 100 \
		"$GODWIT" migrate "$PID" "tls://$BETA:$PORT" --key key --timeout 20) </dev/null >cmd.out 2>cmd.err &
	cmd=$!
	note_pid "$cmd"
	wait_alive "$cmd" 60 _stands
	kill -USR1 "$PID"
	kill -USR1 "$PID" # they do not add up
	kill -CONT "$GUARDIAN"
	wait "$cmd"
	wait_for 30 _count_is 1
	if [[ $where == over ]]; then gone "$PID"; else alive "$PID"; fi || fail "it goes on on the wrong side"
	wait_for 20 _heard 1
	: >numbers.stop
	wait_for 30 _count_is 0
	[[ $(cat numbers) == 10 ]] || fail "it heard: $(tr '\n' ' ' <numbers)"
}
try a_plain_signal_travels plain over
try a_plain_signal_is_not_lost_where_it_stays plain here

# One that ends it: neither copy goes on.
ends() { # SIGNAL
	local cmd
	become user
	serve_on beta --timeout 20
	hears_on alpha
	(GODWIT_FAULT="ready heard" GODWIT_FAULT_STOP=1 on alpha timeout 100 \
		"$GODWIT" migrate "$PID" "tls://$BETA:$PORT" --key key --timeout 20) </dev/null >cmd.out 2>cmd.err &
	cmd=$!
	note_pid "$cmd"
	wait_alive "$cmd" 60 _stands
	kill "-$1" "$PID"
	kill -CONT "$GUARDIAN"
	wait "$cmd"
	[[ $? == 1 || $1 != KILL ]] || fail "the migration did not fail"
	wait_for 30 _count_is 0
	[[ -z $(ls state-alpha 2>/dev/null) ]] || fail "a record is left"
}
try a_signal_that_ends_it_ends_both ends TERM
try sigkill_before_the_commit_ends_it ends KILL
try one_of_a_higher_number_ends_both ends USR2

finish
