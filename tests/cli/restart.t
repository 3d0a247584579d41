#!/bin/bash
# Restart as a person sees it: exit status, standard streams, terminal, ids, places.
. "$(dirname "$0")/../lib.sh"

make_image() { # [SUBJECT [ARGS]]
	become user
	local s=${1:-mem_brk}
	shift; (($#)) && shift
	launch "$SUBJECTS/$s" "$CTL" "$@"
	wait_ready
	expect 0 "$GODWIT" checkpoint --kill "$PID"
	wait "$PID"
	wait_for 10 gone "$PID"
}

# A shell script as the program: reads lines, answers each, ends with what it is told.
echo_script='echo ready; while read -r a b; do case $a in
	exit) exit $b;; kill) kill -$b $BASHPID;; *) echo "got $a";; esac; done; echo "end of file"'

launch_script() {
	become user
	mkfifo fifo
	exec 8<>fifo
	IN=fifo launch bash -c "exec 8>&-; $echo_script"
	wait_ready
}

exit_status() { # LINE STATUS
	launch_script
	expect 0 "$GODWIT" checkpoint --kill "$PID"
	wait "$PID"
	exec 8>&-
	OUT=out2 ERR=err2 IN=<(echo "$1") launch "$MYRESTART" myckpt
	wait "$PID"
	local rc=$?
	[[ $rc == "$2" ]] || fail "exit status $rc, not $2: $(cat err2)"
}

# Streams that were a pipe to someone else become those of the restarting shell.
streams() {
	become user
	mkfifo in
	: >err.pipe
	chmod 666 err.pipe
	exec 8<>in
	(as bash -c "exec 8>&-; echo to-stderr >&2; $echo_script") <in 2>err.pipe 8>&- | cat >out &
	wait_for 10 has out ready
	PID=$(pgrep -P $$ -f to-stderr) || fail "no program"
	note_pid "$PID"
	echo one >&8
	wait_for 10 has out 'got one'
	expect 0 "$GODWIT" checkpoint --kill "$PID"
	exec 8>&-
	printf 'two\nthree\n' | (as "$MYRESTART" myckpt) 2>err2 | cat >out2
	[[ $(cat out2) == $'got two\ngot three\nend of file' ]] || fail "the answers: $(cat out2)"
}

# --fd: another file, or the shell's, in place of what the image has.
given_descriptors() {
	become user
	mkfifo fifo
	exec 8<>fifo
	echo old-nine >nine
	chmod 666 nine
	IN=fifo launch bash -c 'exec 8>&- 7>>seven 9<nine; echo ready
		while read -r a; do echo "$a" >&7; read -r b <&9; echo "got $a $b"; done'
	wait_ready
	expect 0 "$GODWIT" checkpoint --kill "$PID"
	exec 8>&-
	rm -f nine
	echo other-nine >other
	chmod 666 other
	expect 1 "$GODWIT" restart --fd=55=other myckpt </dev/null
	says 'no descriptor 55' '^hint: '
	for bad in 7 x=y 7= 7=\&3 =y; do expect 2 "$GODWIT" restart "--fd=$bad" myckpt; done
	echo one | as "$GODWIT" restart --fd=9=other --fd=7=new/seven myckpt >out2 2>err2 && fail "no folder new"
	has err2 "new/seven" || fail "$(cat err2)"
	echo one | as "$GODWIT" restart --fd 9=other --fd=7=newseven '--fd=1=&1' myckpt >out2 2>err2 || fail "$(cat err2)"
	[[ $(cat out2) == "got one other-nine" ]] || fail "$(cat out2 err2)"
	[[ $(cat newseven) == one && ! -s seven ]] || fail "newseven: $(cat newseven), seven: $(cat seven)"
	echo two | as "$GODWIT" restart --fd=9=other '--fd=7=&1' '--fd=1=&1' myckpt >out3 2>err3
	[[ $(cat out3) == $'two\ngot two other-nine' ]] || fail "$(cat out3 err3)"
}

unread_datagrams_need_room() {
	become root
	need unshare
	launch "$SUBJECTS/sockets_named_unread" "$CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint --kill "$PID"
	wait "$PID"
	expect 1 unshare -n sh -c 'echo 2 >/proc/sys/net/unix/max_dgram_qlen; exec "$@"' - "$GODWIT" restart myckpt
	says 'no room for the [0-9]* datagrams' '^hint: raise /proc/sys/net/unix/max_dgram_qlen to [0-9]*'
}

# A slave without its master would be a terminal that has hung up.
given_terminal() {
	make_image ptys
	expect 1 "$GODWIT" restart --explain --fd=7=/dev/null myckpt
	says 'descriptor 7 is the master of a pseudo-terminal' '^hint: .*slave first'
	expect 0 "$GODWIT" restart --explain --fd=8=/dev/null --fd=7=/dev/null myckpt
}

killed_by_signal() { # the shell sees the program's own death
	make_image
	OUT=out2 ERR=err2 launch "$MYRESTART" myckpt
	ping
	kill -TERM "$PID"
	wait "$PID"
	[[ $? == 143 ]] || fail "status $?"
}

# The restarted process is the program, as a child of this shell.
becomes_program() {
	make_image
	OUT=out2 ERR=err2 launch "$MYRESTART" myckpt
	ping
	[[ $(readlink "/proc/$PID/exe") == "$SUBJECTS/mem_brk" ]] || fail "exe is $(readlink "/proc/$PID/exe")"
	[[ $(tr '\0' ' ' <"/proc/$PID/cmdline") == "$SUBJECTS/mem_brk $CTL " ]] || fail "cmdline"
	[[ $(cat "/proc/$PID/comm") == mem_brk ]] || fail "comm"
	[[ $(awk '/^PPid/ {print $2}' "/proc/$PID/status") == "$$" ]] || fail "not our child"
	[[ $(awk '/^NSpid/ {print NF}' "/proc/$PID/status") == 2 ]] || fail "in another pid namespace"
	[[ -z $(pgrep -P "$PID") ]] || fail "it has children"
	_untraced "$PID" || fail "it is traced"
	local fds
	fds=$(ls "/proc/$PID/fd" | tr '\n' ' ')
	[[ $fds == "0 1 2 " ]] || fail "descriptors: $fds"
	verdict
}

# Only one file of ours on the machine.
alone() {
	make_image "$@"
	mkdir -p alone
	cp "$MYRESTART" alone/
	OUT=out2 ERR=err2 launch ./alone/myrestart myckpt
	ping
	verdict
	run ldd alone/myrestart
	cat cmd.err >>cmd.out
	prints 'not a dynamic executable|statically linked'
}

alone_preload() {
	become user
	mkdir -p alone
	cp "$LIBCKPT" alone/
	launch env -i PATH=/usr/bin LD_PRELOAD="$W/alone/libckpt.so" "$SUBJECTS/mem_brk" "$CTL"
	wait_ready
	rm -f alone/libckpt.so
	ring
	ping
	verdict
	expect 0 "$GODWIT" verify myckpt
}

same_ids() { # USER
	become "$1"
	launch "$SUBJECTS/ids" "$CTL"
	wait_ready
	local old=$PID
	expect 0 "$GODWIT" checkpoint --kill "$PID"
	wait "$PID"
	wait_for 10 gone "$old"
	OUT=out2 ERR=err2 launch "$GODWIT" restart --same-ids myckpt
	ping
	verdict out
}

# The pid is taken: a second copy of a living program, from one image.
second_copy() { # FLAGS
	become user
	launch "$SUBJECTS/threads" "$CTL"
	wait_ready
	local first=$PID
	expect 0 "$GODWIT" checkpoint "$PID"
	OUT=out2 ERR=err2 launch "$GODWIT" restart "$@" myckpt
	local second=$PID
	: >"$CTL/ping"
	wait_for 20 _ping_taken
	{ alive "$first" && alive "$second"; } || fail "one of the two is gone"
	: >"$CTL/release"
	wait "$first" || fail "the first one: $(cat out)"
	wait "$second" || fail "the second one: $(cat out out2)"
}

new_ids() {
	make_image threads
	OUT=out2 ERR=err2 launch "$GODWIT" restart --new-ids myckpt
	ping
	[[ $(readlink "/proc/$PID/exe") == "$SUBJECTS/threads" ]] || fail "it is not the program"
	verdict
}

# In a namespace of its own, the thin parent passes signals and status through.
thin_parent() { # SIGNAL STATUS
	make_image ids
	OUT=out2 ERR=err2 launch "$GODWIT" restart --same-ids myckpt
	ping
	kill -"$1" "$PID"
	wait "$PID"
	[[ $? == "$2" ]] || fail "status $?"
	_nobody() { [[ -z $(pgrep -f "$SUBJECTS/ids $CTL") ]]; }
	wait_for 10 _nobody
}

parent_dies() { # the thin parent is killed: the program does not stay behind
	become "$1"
	launch "$SUBJECTS/ids" "$CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint --kill "$PID"
	wait "$PID"
	wait_for 10 gone "$PID"
	OUT=out2 ERR=err2 launch "$GODWIT" restart --same-ids myckpt
	ping
	kill -9 "$PID"
	wait "$PID" 2>/dev/null
	_nobody() { [[ -z $(pgrep -f "$SUBJECTS/ids $CTL") ]]; }
	wait_for 10 _nobody
}

no_cwd() { # the working directory is gone: refused, with its name
	become user
	mkdir gone
	[[ -z $IS_ROOT ]] || chown "$TEST_UID" gone
	cd gone || exit 1
	launch "$SUBJECTS/mem_brk" "$CTL" >../out
	wait_ready
	cd ..
	expect 0 "$GODWIT" checkpoint --kill "$PID"
	wait "$PID"
	rm -rf gone
	expect 3 "$MYRESTART" myckpt
	says "$W/gone" '^hint: '
}

low_limit() { # the shell's hard limit is lower than what the program had
	become user
	launch bash -c "ulimit -Sn 500; exec $SUBJECTS/mem_brk $CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint --kill "$PID"
	wait "$PID"
	OUT=out2 ERR=err2 launch bash -c "ulimit -n 200; exec $MYRESTART myckpt"
	ping
	has err2 'RLIMIT_NOFILE' || fail "it does not say that a limit is lower"
	verdict
}

listening_taken() {
	make_image sockets_listening
	OUT=out2 ERR=err2 launch "$GODWIT" restart myckpt
	ping
	expect 1 "$GODWIT" restart myckpt
	says '(port|address)' '(in use|taken)' '^hint: '
	verdict
}

# Interrupted by Ctrl-C while it reads the image: no half-built process stays.
interrupted() {
	make_image mem_runs
	local i
	for i in 1 2 3 4 5 6 7 8; do
		(as env --default-signal=INT "$GODWIT" restart myckpt) >out2 2>err2 </dev/null &
		PID=$!
		sleep "0.0$i"
		kill -INT "$PID"
		wait "$PID"
		RC=$?
		[[ $RC == 130 || $RC == 1 || $RC == 6 ]] || fail "status $RC"
		_nobody() { [[ -z $(pgrep -f "^$SUBJECTS/mem_runs $CTL") ]]; }
		wait_for 10 _nobody
	done
}

killed() { # kill -9 of the command at any moment: nothing half-built runs or stays
	make_image mem_runs
	local i
	for i in {1..20}; do
		(as "$GODWIT" restart myckpt) >out2 2>err2 </dev/null &
		PID=$!
		sleep "0.0$((RANDOM % 60 + 10))"
		kill -9 "$PID"
		wait "$PID" 2>/dev/null
		_nobody() { [[ -z $(pgrep -f "^$SUBJECTS/mem_runs $CTL|restart myckpt") ]]; }
		wait_for 10 _nobody
	done
}

by_pipe_name() { # a relative name, a directory of another place
	make_image
	mkdir sub
	mv myckpt sub/other-name
	cd sub || exit 1
	OUT=../out2 ERR=../err2 launch "$MYRESTART" other-name
	ping
	[[ $(readlink "/proc/$PID/cwd") == "$W" ]] || fail "cwd is $(readlink "/proc/$PID/cwd")"
	cd ..
	verdict
}

for c in 0 1 7 255; do try "restart_ends_with_the_programs_status_$c" exit_status "exit $c" $c; done
try given_descriptors given_descriptors
try unread_datagrams_need_room unread_datagrams_need_room
try master_is_given_away_after_its_slave given_terminal
try restart_ends_by_the_programs_signal exit_status "kill TERM" 143
try restart_has_the_shells_streams streams
try restart_is_killed_as_the_program killed_by_signal
try restart_becomes_the_program becomes_program
try myrestart_works_alone alone mem_brk
try myrestart_works_alone_with_threads alone threads
try libckpt_works_alone alone_preload
try same_ids_as_user same_ids user
try same_ids_as_root same_ids root
try second_copy_while_the_first_runs second_copy
try second_copy_with_new_ids second_copy --new-ids
try second_copy_with_same_ids second_copy --same-ids
try new_ids_becomes_the_program new_ids
try thin_parent_passes_sigterm thin_parent TERM 143
try thin_parent_passes_sigusr1 thin_parent USR1 138
try thin_parent_takes_the_program_with_it parent_dies user
try thin_parent_takes_the_program_with_it_as_root parent_dies root
try restart_without_the_working_directory no_cwd
try restart_under_lower_limits low_limit
try restart_when_the_port_is_taken listening_taken
try restart_interrupted_by_ctrl_c interrupted
try restart_killed_at_any_moment killed
try restart_from_another_place by_pipe_name
finish
