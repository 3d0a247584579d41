#!/bin/bash
# The cable between two hosts is drawn, and plugged in again: exactly one copy goes on, each
# side says what happened, and what was in doubt is settled by itself.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"

# hosts ssh|tls SECONDS: sets TO, and the time limit of both sides
hosts() {
	if [[ $1 == ssh ]]; then become root; else become user; fi
	two_hosts
	if [[ $1 == ssh ]]; then
		sshd_on_beta
		TO=("root@$BETA" --ssh "$SSH" --remote-godwit "$REMOTE" --stdio "file:$W/over" --timeout "$2")
	else
		serve_on beta --timeout "$2"
		TO=("tls://$BETA:$PORT" --key key --timeout "$2")
	fi
}

cable() { ip -n "$NS_BETA" link set "gw$$b" "$1" || fail "cannot set the link $1"; } # up | down

start() { # [FAULT]: migrates in the background; sets CMD
	(
		[[ -z ${1-} ]] || export GODWIT_FAULT=$1 GODWIT_FAULT_STOP=1
		on alpha timeout 200 "$GODWIT" migrate "$PID" "${TO[@]}"
	) </dev/null >cmd.out 2>cmd.err &
	CMD=$!
	note_pid "$CMD"
}

_stands() { # PID: its guardian stands at a fault point
	_tracer "$1"
	GUARDIAN=$TRACER
	[[ -n $GUARDIAN && $GUARDIAN != 0 ]] &&
		grep -q '^State:.T (stopped' "/proc/$GUARDIAN/status" 2>/dev/null
}
_is_sent() { # MIB went by the cable
	local n
	n=$(ip netns exec "$NS_ALPHA" cat "/sys/class/net/gw$$a/statistics/tx_bytes" 2>/dev/null)
	((${n:-0} > $1 << 20))
}
_no_records() { [[ -z $(ls state-alpha 2>/dev/null) ]]; }
_nobody_receives() { # no half-built copy, and nobody who waits for one
	local p
	for p in /proc/[0-9]*; do
		p=${p#/proc/}
		[[ $p != "${SERVE-}" && /proc/$p/exe -ef $GODWIT ]] || continue
		[[ $(ip netns identify "$p") == "$NS_BETA" ]] && alive "$p" && return 1
	done 2>/dev/null
	return 0
}

# In the middle of the pages, for longer than the time limit.
drawn_in_the_middle() { # WAY MODE
	hosts "$1" 2
	shaped 200mbit
	TO+=("--mode=$2")
	count_on alpha 60
	chmod 600 numbers
	start
	wait_alive "$CMD" 60 _is_sent 2
	cable down
	wait_for 60 gone "$CMD"
	wait "$CMD"
	RC=$?
	[[ $RC == 1 ]] || fail "exit status $RC"
	says '^godwit: migrate: .*(answer|timed out|time|ended|closed)'
	alive "$PID" || fail "it should go on here"
	nothing_left
	goes_on
	# The other side notices by itself, with the cable still drawn.
	[[ $1 == ssh ]] || wait_for 60 has serve.err 'did not come over|answer|time'
	cable up
	wait_for 90 _nobody_receives
	finish_counter out
}
for mode in pre-copy total; do
	LIMIT=100 BESIDE=1 try "cable_drawn_in_the_middle_by_tls_$mode" drawn_in_the_middle tls "$mode"
done
LIMIT=100 BESIDE=1 try cable_drawn_in_the_middle_by_ssh drawn_in_the_middle ssh pre-copy

# Segments that were sent once more, since no answer came.
_retransmitted() {
	local ns
	for ns in "$NS_ALPHA" "$NS_BETA"; do ip netns exec "$ns" cat /proc/net/snmp; done |
		awk '/^Tcp: [0-9]/ { n += $13 } END { print n }'
}
# Where nothing was on its way there is nothing to wait for: far below the time limit it ends.
_sent_in_vain() {
	local before i
	before=$(_retransmitted)
	for ((i = 0; i < 50 && $(_retransmitted) < before + 2; i++)); do _doze; done
}

# For less than the time limit: it is as if nothing had been.
drawn_for_a_moment() { # WAY
	hosts "$1" 60
	shaped 200mbit
	count_on alpha 40
	start
	wait_alive "$CMD" 60 _is_sent 2
	cable down
	goes_on
	_sent_in_vain
	cable up
	wait_for 90 gone "$CMD"
	wait "$CMD" || fail "exit status $?"
	says 'goes on on beta'
	gone "$PID" || fail "the copy here was not ended"
	finish_counter over
}
LIMIT=100 BESIDE=1 try cable_drawn_for_a_moment_by_tls drawn_for_a_moment tls
LIMIT=100 BESIDE=1 try cable_drawn_for_a_moment_by_ssh drawn_for_a_moment ssh

# COMMIT does not get through.  Plugged in while the source still asks.
drawn_at_commit() { # WAY
	hosts "$1" 3
	count_on alpha 2
	start held
	wait_alive "$CMD" 60 _stands "$PID"
	cable down
	kill -CONT "$GUARDIAN"
	wait_for 30 has cmd.err 'asking it'
	cable up
	wait_for 60 gone "$CMD"
	wait "$CMD"
	RC=$?
	# What was sent may get through at last, or be too late.
	case $RC in
	0) says 'goes on on beta' && gone "$PID" || fail "it goes on here" ;;
	1) alive "$PID" || fail "it should go on here" ;;
	*) fail "exit status $RC" ;;
	esac
	wait_for 30 _no_records
	if [[ $RC == 0 ]]; then finish_counter over; else finish_counter out; fi
}
LIMIT=100 BESIDE=1 try cable_drawn_at_commit_by_tls drawn_at_commit tls
LIMIT=100 BESIDE=1 try cable_drawn_at_commit_by_ssh drawn_at_commit ssh

# DONE does not get through, and nobody answers for as long as the source asks: in doubt.
# Plugged in again it is settled without a word from anybody.
drawn_at_done() {
	become user
	two_hosts
	GODWIT_FAULT="let go" GODWIT_FAULT_STOP=1 serve_on beta --timeout 5
	TO=("tls://$BETA:$PORT" --key key --timeout 5)
	count_on alpha 2
	start
	wait_alive "$CMD" 60 _over_there_stands
	cable down
	kill -CONT "$GUARDIAN"
	wait_for 90 gone "$CMD"
	wait "$CMD"
	RC=$?
	[[ $RC == 6 ]] || fail "exit status $RC"
	says 'nobody knows' 'stands still' '^hint: .*settle'
	grep -q '^State:.[Tt]' "/proc/$PID/status" || fail "the copy here does not stand still"
	goes_on
	has serve.err 'goes on here' || fail "the other side does not say that it has taken it"
	cable up
	wait_for 90 _no_records
	gone "$PID" || fail "two copies"
	finish_counter over
}
_over_there_stands() {
	local p
	for p in $(pgrep -x godwit-guardian); do
		[[ $(ip netns identify "$p") == "$NS_BETA" ]] &&
			grep -q '^State:.T (stopped' "/proc/$p/status" 2>/dev/null && GUARDIAN=$p && return 0
	done
	return 1
}
LIMIT=150 BESIDE=1 try cable_drawn_at_done_is_settled_by_itself drawn_at_done

finish
