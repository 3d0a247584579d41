#!/bin/bash
# Moving a program by ssh: a real sshd, with its own configuration and keys, started here.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"

# sshd on beta; sets SSH (the command of the client) and REMOTE (godwit over there).
sshd_on_beta() {
	need ssh ssh-keygen /usr/sbin/sshd
	become root
	two_hosts
	mkdir -p /run/sshd
	ssh-keygen -q -t ed25519 -N '' -f host_key && ssh-keygen -q -t ed25519 -N '' -f id ||
		fail "cannot make keys"
	cp id.pub authorized
	cat >sshd.conf <<-C
		Port 2022
		ListenAddress $BETA
		HostKey $W/host_key
		AuthorizedKeysFile $W/authorized
		PasswordAuthentication no
		KbdInteractiveAuthentication no
		UsePAM no
		PidFile none
		StrictModes no
		PermitRootLogin yes
	C
	(on beta /usr/sbin/sshd -D -e -f "$W/sshd.conf") </dev/null 2>sshd.err &
	SSHD=$!
	echo "$SSHD" >>"$TRY_DIR/pids"
	wait_alive "$SSHD" 20 has sshd.err 'Server listening'
	SSH="ssh -F /dev/null -p 2022 -i $W/id -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null -oLogLevel=ERROR"
	REMOTE="env GODWIT_STATE=$W/state-beta $GODWIT"
}

moves() { # STDIO ARG...
	local stdio=$1
	shift
	sshd_on_beta
	count_on alpha "$@"
	migrate_from alpha "root@$BETA" --ssh "$SSH" --remote-godwit "$REMOTE" --stdio "$stdio"
	[[ $RC == 0 ]] || fail "exit status $RC"
	says 'goes on on beta'
	gone "$PID" || fail "the copy here was not ended"
	wait_for 30 _count_is 1
	# The session has ended; the program has not.
	goes_on
	[[ $stdio == null ]] || { finish_counter over; return; }
	: >numbers.stop
	wait_for 30 _count_is 0
	one_copy_ran
}
try by_ssh_to_another_host moves null
try by_ssh_with_threads moves null 3 4
try by_ssh_with_output_to_a_file eval 'moves "file:$W/over"'

stdio_stays() {
	sshd_on_beta
	cat >talk.py <<-'P'
		import sys
		print('ready', flush=True)
		for line in sys.stdin:
		    print('heard', line.strip(), flush=True)
		    print('on the other', file=sys.stderr, flush=True)
		print('end', flush=True)
		sys.exit(7)
	P
	mkfifo talk
	: >out
	exec 7> >(exec cat >out)
	# Its input is a pipe that somebody else has.
	exec 9< <(exec sleep 1000)
	(on alpha /usr/bin/python3 "$W/talk.py") <&9 >&7 2>&1 7>&- 9<&- &
	PID=$!
	exec 7>&- 9<&-
	echo "$PID" >>"$TRY_DIR/pids"
	wait_for 30 has out '^ready'
	exec 8<>./talk # open on both ends, so that nobody waits for the other
	(on alpha timeout 100 "$GODWIT" migrate "$PID" "root@$BETA" --ssh "$SSH" --remote-godwit "$REMOTE" \
		--stdio ssh) <./talk >cmd.out 2>cmd.err 8>&- &
	local cmd=$!
	wait_alive "$cmd" 40 has cmd.err 'goes on on beta'
	echo one >&8
	wait_alive "$cmd" 20 has cmd.out '^heard one$'
	echo two >&8
	wait_alive "$cmd" 20 has cmd.out '^heard two$'
	has cmd.err 'on the other' || fail "standard error does not come"
	exec 8>&-
	wait_for 20 has cmd.out '^end$'
}
try input_and_output_by_ssh stdio_stays

lost_session() {
	sshd_on_beta
	count_on alpha
	(on alpha timeout 100 "$GODWIT" migrate "$PID" "root@$BETA" --ssh "$SSH" --remote-godwit "$REMOTE" \
		--stdio ssh) </dev/null >cmd.out 2>cmd.err &
	local cmd=$!
	wait_alive "$cmd" 40 has cmd.err 'goes on on beta'
	wait_for 20 _count_is 1
	kill -9 "$cmd"
	goes_on
	sleep 1
	goes_on
	kill -9 "$(counters)"
}
try a_lost_session_does_not_end_the_program lost_session

guardian_dies() { # POINT WHERE
	sshd_on_beta
	count_on alpha
	GODWIT_FAULT=$1 migrate_from alpha "root@$BETA" --ssh "$SSH" --remote-godwit "$REMOTE" --timeout 5
	wait_for 30 _count_is 1
	if [[ $2 == here ]]; then alive "$PID"; else gone "$PID"; fi || fail "it goes on on the wrong side"
	goes_on
	one_copy_ran
	kill -9 "$(counters)"
}
try by_ssh_source_killed_before_commit guardian_dies held here
try by_ssh_source_killed_after_commit guardian_dies "commit sent" over

wrong() { # STATUS TEXT HOST ARGS...
	local status=$1 text=$2
	shift 2
	sshd_on_beta
	count_on alpha
	migrate_from alpha "${@//BETA/$BETA}" --ssh "${OTHER_SSH:-$SSH}"
	[[ $RC == "$status" ]] || fail "exit status $RC instead of $status"
	says "$text" '^hint: '
	nothing_left
	finish_counter out
}
try by_ssh_without_godwit_there wrong 1 "there is no '/nowhere/godwit' on root@" root@BETA --remote-godwit /nowhere/godwit
try by_ssh_to_a_host_that_is_not_there wrong 1 'ssh cannot reach' root@10.214.7.99
OTHER_SSH='ssh -F /dev/null -p 2022 -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null -oIdentitiesOnly=yes -oIdentityFile=/dev/null' \
	try by_ssh_without_a_key wrong 1 'ssh cannot reach' root@BETA
try by_ssh_to_a_host_that_chatters wrong 1 'does not speak this protocol' root@BETA --remote-godwit "echo hello from the shell; $GODWIT"

finish
