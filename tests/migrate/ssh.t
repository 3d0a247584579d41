#!/bin/bash
# Moving a program by ssh: a real sshd, with its own configuration and keys, started here.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"

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

# A program with its input from a pipe that somebody else has, its output to out.
talker() {
	: >out
	exec 7> >(exec cat >out)
	exec 9< <(exec sleep 1000)
	(on alpha "$@") <&9 >&7 2>&1 7>&- 9<&- &
	PID=$!
	exec 7>&- 9<&-
	note_pid "$PID"
}

# godwit migrate --stdio ssh in the background, its input as ours; sets CMD
follow() {
	(on alpha timeout 100 "$GODWIT" migrate "$PID" "root@$BETA" --ssh "$SSH" --remote-godwit "$REMOTE" \
		--stdio ssh) <&0 >cmd.out 2>cmd.err &
	CMD=$!
	note_pid "$CMD"
}

ends_with() { # STATUS
	wait_for 30 gone "$CMD"
	wait "$CMD"
	local rc=$?
	[[ $rc == "$1" ]] || fail "exit status $rc instead of $1"
}

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
	talker /usr/bin/python3 "$W/talk.py"
	wait_for 30 has out '^ready'
	exec 8<>./talk # open on both ends, so that nobody waits for the other
	follow <./talk 8>&-
	wait_alive "$CMD" 40 has cmd.err 'goes on on beta'
	echo one >&8
	wait_alive "$CMD" 20 has cmd.out '^heard one$'
	echo two >&8
	wait_alive "$CMD" 20 has cmd.out '^heard two$'
	has cmd.err 'on the other' || fail "standard error does not come"
	exec 8>&-
	wait_for 20 has cmd.out '^end$'
	ends_with 7
}
try input_and_output_by_ssh stdio_stays

ends_by_signal() { # THREADS
	sshd_on_beta
	count_on alpha 1 "$1"
	follow </dev/null
	wait_alive "$CMD" 40 has cmd.err 'goes on on beta'
	wait_for 30 _count_is 1
	kill -USR1 "$(counters)"
	ends_with 138
}
try a_signal_that_ends_it_ends_the_command ends_by_signal 1
try a_signal_that_ends_threads_ends_the_command ends_by_signal 3

# Everything goes there and back while neither side waits for the other.
cat_carries() {
	sshd_on_beta
	head -c 5000000 /dev/urandom >data
	talker /usr/bin/cat
	wait_for 20 eval '[[ $(readlink /proc/$PID/exe) == */cat ]]'
	follow <data
	ends_with 0
	cmp data cmd.out || fail "not what went in came back"
}
try five_megabytes_in_and_out_by_ssh cat_carries

# What it wrote last here, and first there, and all in between.
chatters() {
	sshd_on_beta
	cat >chat.py <<-'P'
		import os, sys
		n = 0
		while not os.path.exists('stop'):
		    n += 1
		    print(n, flush=True)
		print('end', n, flush=True)
		sys.exit(3)
	P
	talker /usr/bin/python3 "$W/chat.py"
	wait_for 30 has out '^100$'
	follow </dev/null
	wait_alive "$CMD" 40 test -s cmd.out
	: >stop
	ends_with 3
	[[ -s cmd.out ]] || fail "no output from over there"
	cat out cmd.out | awk '$1 == "end" { ok = $2 == NR - 1; exit } $1 != NR { exit } END { exit !ok }' ||
		fail "a line is missing, or twice"
}
try no_line_of_output_is_lost chatters

# It reads nothing, and more comes than pipes hold.
deaf() {
	sshd_on_beta
	cat >deaf.py <<-'P'
		import os, sys, time
		print('ready', flush=True)
		while not os.path.exists('stop'): time.sleep(0.01)
		print('end', flush=True)
		sys.exit(5)
	P
	talker /usr/bin/python3 "$W/deaf.py"
	wait_for 30 has out '^ready'
	head -c 5000000 /dev/zero >data
	follow <data
	wait_alive "$CMD" 40 has cmd.err 'goes on on beta'
	: >stop
	ends_with 5
	has cmd.out '^end$' || fail "what it wrote last is not there"
}
try a_program_that_never_reads_ends deaf

lost_session() {
	sshd_on_beta
	count_on alpha
	follow </dev/null
	wait_alive "$CMD" 40 has cmd.err 'goes on on beta'
	wait_for 20 _count_is 1
	# The command, below timeout(1), and its ssh.
	local p all
	read -r p <"/proc/$CMD/task/$CMD/children"
	read -ra all <"/proc/$p/task/$p/children"
	kill -9 "$p" "${all[@]}"
	goes_on
	_no_session() { [[ -z $(pgrep -P "$SSHD") ]]; }
	wait_for 30 _no_session
	goes_on
	kill -9 "$(counters)"
}
try a_lost_session_does_not_end_the_program lost_session

# The connection is cut: it finds the end of its input, and may write what it likes.
cut_session() {
	sshd_on_beta
	cat >talk.py <<-'P'
		import sys
		print('ready', flush=True)
		sys.stdin.read()
		for i in range(100000): print('nobody hears this', i)
		sys.stdout.flush()
		open('written', 'w').write('%d\n' % i)
	P
	talker /usr/bin/python3 "$W/talk.py"
	wait_for 30 has out '^ready'
	mkfifo talk
	exec 8<>./talk
	follow <./talk 8>&-
	wait_alive "$CMD" 40 has cmd.err 'goes on on beta'
	local session
	session=$(pgrep -P "$SSHD") || fail "no session"
	# shellcheck disable=SC2046,SC2086  # numbers
	kill -9 $session $(pgrep -P "${session//$'\n'/,}" -f 'sshd.*@notty')
	ends_with 6
	says 'goes on over there' '^hint: '
	wait_for 30 has written '^99999$'
}
try a_cut_session_does_not_end_the_program cut_session

guardian_dies() { # POINT WHERE
	sshd_on_beta
	count_on alpha
	GODWIT_FAULT=$1 migrate_from alpha "root@$BETA" --ssh "$SSH" --remote-godwit "$REMOTE" --timeout 5
	wait_for 30 _count_is 1
	on_side "$2"
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
