#!/bin/bash
# By ssh, and the command is killed before the handover, or ssh finds nobody: the program
# goes on, and neither ssh nor anybody over there is left behind.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"

hosts() { # SECONDS: sets TO
	sshd_on_beta
	TO=("root@$BETA" --ssh "$SSH" --remote-godwit "$REMOTE" --stdio "file:$W/over" --timeout "$1")
}

start() { # migrates in the background; sets CMD
	(on alpha timeout 200 "$GODWIT" migrate "$PID" "${TO[@]}") </dev/null >cmd.out 2>cmd.err &
	CMD=$!
	note_pid "$CMD"
}

_is_sent() { # MIB went by the cable
	local n
	n=$(ip netns exec "$NS_ALPHA" cat "/sys/class/net/gw$$a/statistics/tx_bytes" 2>/dev/null)
	((${n:-0} > $1 << 20))
}
_nobody_receives() { # no half-built copy, and nobody who waits for one
	local p
	for p in /proc/[0-9]*; do
		p=${p#/proc/}
		[[ $p != "${SSHD-}" && /proc/$p/exe -ef $GODWIT ]] || continue
		[[ $(ip netns identify "$p") == "$NS_BETA" ]] && alive "$p" && return 1
	done 2>/dev/null
	return 0
}

_is_untraced() { _tracer "$PID"; [[ $TRACER == 0 ]]; }

_ssh_of() { # command: sets SSH_PID
	local p
	for p in $(pgrep -x ssh); do
		[[ $(ip netns identify "$p") == "$NS_ALPHA" ]] && SSH_PID=$p && return 0
	done
	return 1
}
_godwit_of() {
	local p
	for p in /proc/[0-9]*; do
		p=${p#/proc/}
		[[ /proc/$p/exe -ef $GODWIT && $(cat "/proc/$p/comm") == godwit ]] &&
			[[ $(ip netns identify "$p") == "$NS_ALPHA" ]] && GODWIT_PID=$p && return 0
	done 2>/dev/null
	return 1
}

killed() { # STDIO when
	hosts 30
	[[ $1 != ssh ]] || TO+=(--stdio ssh)
	shaped 200mbit
	count_on alpha 60
	start
	[[ $2 == soon ]] || wait_alive "$CMD" 60 _is_sent 2
	wait_alive "$CMD" 30 _ssh_of
	wait_alive "$CMD" 30 _godwit_of
	kill -9 "$GODWIT_PID"
	wait_for 30 gone "$SSH_PID"
	wait_for 30 _is_untraced
	wait_for 30 _nobody_receives
	alive "$PID" || fail "it should go on here"
	nothing_left
	finish_counter out
}
LIMIT=100 try command_killed_by_ssh killed null middle
LIMIT=100 try command_killed_by_ssh_with_stdio killed ssh middle
LIMIT=100 try command_killed_while_ssh_starts killed null soon

# ssh has nobody to talk to: it does not outlive the command for minutes.
black_hole() {
	ip -n "$NS_ALPHA" neigh replace "$BETA" lladdr 02:00:00:00:00:99 dev "gw$$a" ||
		fail "cannot set a neighbour"
}

killed_unconnected() {
	hosts 3
	count_on alpha
	black_hole
	start
	wait_alive "$CMD" 30 _ssh_of
	wait_alive "$CMD" 30 _godwit_of
	kill -9 "$GODWIT_PID"
	wait_for 15 gone "$SSH_PID"
	finish_counter out
}
try command_killed_while_ssh_connects killed_unconnected

unconnected() {
	hosts 3
	count_on alpha
	black_hole
	local begun=$SECONDS
	start
	wait_for 60 gone "$CMD"
	wait "$CMD"
	RC=$?
	[[ $RC == 1 ]] || fail "exit status $RC"
	says 'ssh cannot reach' '^hint: '
	_seconds 20
	((SECONDS - begun < SECONDS_NOW)) || fail "it took $((SECONDS - begun)) s"
	finish_counter out
}
try ssh_without_an_answer_ends_in_time unconnected

finish
