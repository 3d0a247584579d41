#!/bin/bash
# A program moves whose first thread has ended, in every mode.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/postcopy.sh"

moves() { # USER MODE SUBJECT
	if [[ $2 == post-copy ]]; then may_come_later; else become "$1"; fi
	serve_on beta
	pipe_on alpha "$SUBJECTS/$3" "$CTL"
	wait_ready
	migrate_from alpha "tls://$BETA:$PORT" --key key "--mode=$2"
	[[ $RC == 0 ]] || fail "exit status $RC"
	gone "$PID" || fail "the copy here was not ended"
	wait_alive "$SERVE" 20 has serve.err 'goes on here as process'
	PID=$(sed -n 's/.*goes on here as process \([0-9]*\).*/\1/p' serve.err)
	ping
	: >"$CTL/release"
	wait_for 30 has over '^ok'
	[[ $(cat over) == ok ]] || fail "over there: $(cat over)"
	wait_for 10 gone "$PID"
}
try total_copy moves user total threads_leader_gone
try pre_copy moves user pre-copy threads_leader_gone
try post_copy moves root post-copy threads_leader_gone
try pre_copy_of_a_relay moves user pre-copy threads_relay
finish
