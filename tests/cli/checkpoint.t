#!/bin/bash
# godwit checkpoint: what can be wrong with the target, the place and the moment.
. "$(dirname "$0")/../lib.sh"

begin() { # USER [SUBJECT [ARGS]]
	become "$1"
	local s=${2:-mem_brk}
	shift; (($#)) && shift
	launch "$SUBJECTS/$s" "$CTL" "$@"
	wait_ready
}

no_files_left() {
	local left
	left=$(find "${1:-.}" -type f ! -name 'cmd.*' ! -name out ! -name err ! -name input ! -name log 2>/dev/null)
	[[ -z $left ]] || fail "left behind: $left"
}

unharmed() { nothing_left; ping; verdict; }

gone_pid() {
	launch /bin/true
	wait "$PID"
	expect 1 "$GODWIT" checkpoint "$PID"
	says "$PID" '(no such process|not running|is gone|no process|does not exist)'
	no_files_left
}

zombie_pid() {
	need perl
	launch perl -e '$| = 1; $p = fork; exit 0 unless $p; print "$p\n"; sleep 30'
	wait_for 10 has out '^[0-9]'
	local z
	z=$(cat out)
	wait_for 10 gone "$z"
	expect 1 "$GODWIT" checkpoint "$z"
	says "$z" '(zombie|ended|exited|has no memory|no such)'
}

kernel_thread() {
	become root
	local k=
	[[ $(cat /proc/2/comm 2>/dev/null) == kthreadd ]] && k=2
	[[ -n $k ]] || skip "kernel threads cannot be seen here"
	expect 4 "$GODWIT" checkpoint "$k"
	says "$k" '(kernel|not permitted|permission)'
	no_files_left
}

thread_id() {
	begin user ids
	local tid
	tid=$(cd "/proc/$PID/task" && echo *)
	tid=${tid##* }
	expect 1 "$GODWIT" checkpoint "$tid"
	says "$tid" "$PID|thread"
	no_files_left
	unharmed
}

itself() {
	run bash -c "exec $GODWIT checkpoint \$\$"
	[[ $RC == 1 ]] || fail "exit status $RC"
	says 'itself'
}

own_parent() { # bash asks for a checkpoint of itself: it has a child
	run bash -c "$GODWIT checkpoint \$\$; echo status \$?"
	has cmd.out 'status 3' || fail "$(cat cmd.out)"
	says 'child'
}

pid_of_another() {
	become other
	chown "$OTHER_UID" .
	launch "$SUBJECTS/mem_brk" "$CTL"
	wait_ready
	AS=user
	chmod 777 .
	expect 4 "$GODWIT" checkpoint "$PID"
	says "$PID" '(another user|not permitted|permission|belongs to)' '^hint: '
	no_files_left
	unharmed
}

pid_of_init() {
	become user
	[[ -n $IS_ROOT ]] || skip "needs root, to be another user than init's"
	expect 4 "$GODWIT" checkpoint 1
	says '^hint: '
}

undumpable() { # prctl(PR_SET_DUMPABLE, 0): its owner may not look into it
	begin user refuse undumpable
	expect 4 "$GODWIT" checkpoint "$PID"
	says "$PID" '^hint: .*DUMPABLE'
	no_files_left
	ping
	verdict
}

no_such_dir() {
	begin user
	expect 1 "$GODWIT" checkpoint "$PID" -o nowhere/at/all
	says 'nowhere/at/all|nowhere/at' 'no such file|does not exist'
	unharmed
}

unwritable_dir() {
	begin user
	[[ -n $IS_ROOT ]] || ((EUID)) || skip "root may write anywhere"
	mkdir shut
	chmod 555 shut
	[[ -z $IS_ROOT ]] || chown root shut
	expect 4 "$GODWIT" checkpoint "$PID" -o shut/image
	says 'shut' 'permission denied|not writable|cannot write'
	no_files_left shut
	unharmed
}

onto_a_directory() {
	begin user
	mkdir dir
	expect 1 "$GODWIT" checkpoint "$PID" -o dir
	says 'dir' '(directory|no regular file)'
	[[ -d dir ]] || fail "the directory is gone"
	no_files_left
	unharmed
}

name_too_long() {
	begin user
	local name
	name=$(printf 'n%.0s' {1..300})
	expect 1 "$GODWIT" checkpoint "$PID" -o "$name"
	says 'name too long'
	no_files_left
	unharmed
}

longest_name() { # the temporary file needs a name too
	begin user
	local name
	name=$(printf 'n%.0s' {1..255})
	expect 0 "$GODWIT" checkpoint "$PID" -o "$name"
	expect 0 "$GODWIT" verify "$name"
	unharmed
}

strange_name() {
	begin user
	expect 0 "$GODWIT" checkpoint -o $'an image\n-x' "$PID"
	expect 0 "$GODWIT" verify $'an image\n-x'
	unharmed
}

default_name() { # in the directory where the command was typed
	begin user
	mkdir here
	[[ -z $IS_ROOT ]] || chown "$TEST_UID" here
	cd here || exit 1
	expect 0 "$GODWIT" checkpoint "$PID"
	[[ -f myckpt ]] || fail "no myckpt where the command ran"
	cd ..
	[[ ! -e myckpt ]] || fail "myckpt in another directory"
	unharmed
}

talks() { # nothing without need; with -v on stderr, with the name of the image
	begin user
	expect 0 "$GODWIT" checkpoint "$PID"
	[[ ! -s cmd.out && ! -s cmd.err ]] || fail "it talks: $(cat cmd.out cmd.err)"
	expect 0 "$GODWIT" checkpoint -v "$PID"
	[[ ! -s cmd.out ]] || fail "stdout is for data"
	says 'myckpt'
	unharmed
}

# Permissions do not depend on the umask; a symbolic link is not followed.
private_image() {
	begin user
	umask 000
	: >precious
	chmod 666 precious
	ln -s precious link
	expect 1 "$GODWIT" checkpoint "$PID" -o link
	says 'link' '^hint: '
	[[ -L link ]] || fail "the link was replaced"
	expect 0 "$GODWIT" checkpoint "$PID"
	[[ $(stat -c %a myckpt) == 600 ]] || fail "mode $(stat -c %a myckpt)"
	[[ ! -s precious ]] || fail "the image was written through a symbolic link"
	unharmed
}

# In a tmpfs of its own, in a mount namespace that this test alone sees.
disk_full() {
	become root
	own_mounts
	mkdir small
	mount -t tmpfs -o size=200k none small || fail "cannot mount a tmpfs"
	launch "$SUBJECTS/mem_brk" "$CTL"
	wait_ready
	expect 1 "$GODWIT" checkpoint "$PID" -o small/image
	says 'small/' 'no space left|disk is full' '^hint: '
	no_files_left small
	nothing_left
	# With an older image there: it stays what it was.
	expect 0 "$GODWIT" checkpoint "$PID" -o old
	head -c 100000 old >small/image
	sum=$(md5sum <small/image)
	expect 1 "$GODWIT" checkpoint "$PID" -o small/image
	[[ $(md5sum <small/image) == "$sum" ]] || fail "the old image is damaged"
	[[ $(ls small) == image ]] || fail "left behind: $(ls small)"
	unharmed
}

preload_disk_full() {
	become root
	own_mounts
	mkdir small
	mount -t tmpfs -o size=200k none small || fail "cannot mount a tmpfs"
	launch env GODWIT_IMAGE="$W/small/image" LD_PRELOAD="$LIBCKPT" "$SUBJECTS/mem_brk" "$CTL"
	wait_ready
	kill -12 "$PID"
	wait_alive "$PID" 20 has err 'no space left|disk is full|No space'
	no_files_left small
	ping
	verdict
}

# The target's own limits are not ours: the tool writes, not the target.
file_size_limit() {
	become user
	launch bash -c "ulimit -f 4; ulimit -n 4; exec $SUBJECTS/mem_brk $CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID"
	unharmed
}

# With a limit on the command itself: a message, not a signal.
own_file_size_limit() {
	begin user
	run bash -c "ulimit -f 4; exec $GODWIT checkpoint $PID"
	[[ $RC == 1 ]] || fail "exit status $RC"
	says 'too large'
	no_files_left
	unharmed
}

few_descriptors() { # too few, wherever it notices; then enough
	begin user files
	local n
	for n in {4..10}; do
		expect 1 bash -c "ulimit -n $n; exec $GODWIT checkpoint $PID"
		says 'too many open files'
		[[ -z $(find . -name '*myckpt*') ]] || fail "left behind: $(ls -A)"
	done
	expect 0 bash -c "ulimit -n 20; exec $GODWIT checkpoint $PID"
	rm myckpt
	unharmed
}

no_stdio() { # descriptors 0 to 2 closed: nothing of ours may land there
	begin user
	(as bash -c "exec $GODWIT checkpoint $PID <&- >&- 2>&-")
	RC=$?
	[[ $RC == 0 ]] || fail "exit status $RC"
	expect 0 "$GODWIT" verify myckpt
	unharmed
}

stopped() { # SIGSTOPped target: it is saved, and stays stopped
	begin user
	kill -STOP "$PID"
	_state() { [[ $(awk '/^State/ {print $2}' "/proc/$PID/status") == "$1" ]]; }
	wait_for 10 _state T
	expect 0 "$GODWIT" checkpoint "$PID"
	wait_for 10 _state T
	nothing_left
	kill -CONT "$PID"
	unharmed
}

interrupted() { # SIGNAL: the command is interrupted while it writes
	become user
	launch "$SUBJECTS/mem_runs" "$CTL"
	wait_ready
	local subject=$PID i cmd n=0
	for i in {1..10}; do
		# Job control off makes background jobs ignore SIGINT: go by env.
		(as env --default-signal=INT,QUIT "$GODWIT" checkpoint "$subject") >cmd.out 2>cmd.err </dev/null &
		cmd=$!
		_traced() { ! _untraced "$subject" || gone "$cmd"; }
		wait_for 10 _traced
		kill -"$1" "$cmd" 2>/dev/null
		wait "$cmd"
		RC=$?
		[[ $RC == 0 || $RC == 1 || $RC == $((128 + $2)) ]] || fail "exit status $RC"
		[[ $RC == 0 ]] || n=$((n + 1))
		wait_for 20 _untraced "$subject"
		_only_image() { [[ -z $(find . -type f ! -name 'cmd.*' ! -name out ! -name err ! -name myckpt) ]]; }
		wait_for 20 _only_image
		[[ ! -e myckpt ]] || expect 0 "$GODWIT" verify myckpt
	done
	note "$n of 10 were interrupted in the middle"
	((n)) || fail "never interrupted in the middle"
	PID=$subject
	unharmed
}

two_at_once() {
	become user
	launch "$SUBJECTS/mem_runs" "$CTL"
	wait_ready
	local a b ra rb
	(as "$GODWIT" checkpoint "$PID" -o one) 2>err1 & a=$!
	(as "$GODWIT" checkpoint "$PID" -o two) 2>err2 & b=$!
	wait $a; ra=$?
	wait $b; rb=$?
	((ra == 0 || rb == 0)) || fail "neither succeeded: $ra, $rb: $(cat err1 err2)"
	[[ $ra == [0134] && $rb == [0134] ]] || fail "exit status $ra and $rb"
	for i in one two; do [[ ! -e $i ]] || expect 0 "$GODWIT" verify "$i"; done
	unharmed
}

ends_meanwhile() { # the target is killed while it is being saved
	become user
	local i subject
	for i in {1..10}; do
		launch "$SUBJECTS/mem_runs" "$CTL"
		wait_ready
		subject=$PID
		(as "$GODWIT" checkpoint "$subject") >cmd.out 2>cmd.err </dev/null &
		_traced() { ! _untraced "$subject" || gone $!; }
		wait_for 10 _traced
		kill -9 "$subject"
		wait $!
		RC=$?
		[[ $RC == 0 || $RC == 1 ]] || fail "exit status $RC: $(cat cmd.err)"
		[[ $RC == 0 ]] || { says "(no such|ended|gone|died|killed)"; [[ ! -e myckpt ]] || fail "an image was left"; }
		[[ ! -e myckpt ]] || { expect 0 "$GODWIT" verify myckpt; rm -f myckpt; }
		wait "$subject" 2>/dev/null
	done
	return 0
}

killed_by_kill() {
	begin user
	expect 0 "$GODWIT" checkpoint --kill "$PID"
	wait "$PID"
	[[ $? == 137 ]] || fail "the program's status is $? after --kill"
	expect 0 "$GODWIT" verify myckpt
}

kill_waits_for_the_image() { # no image, no kill
	begin user
	expect 1 "$GODWIT" checkpoint --kill "$PID" -o nowhere/image
	unharmed
}

setuid_target() {
	become user
	[[ -n $IS_ROOT ]] || skip "needs root, to make a program setuid"
	cp "$SUBJECTS/mem_brk" su
	chown root:root su
	chmod 4755 su
	launch ./su "$CTL"
	wait_ready
	expect 4 "$GODWIT" checkpoint "$PID"
	says "$PID" '^hint: '
	unharmed
}

# Its open file has O_CLOEXEC among its flags, its descriptors are not close-on-exec.
terminal_opened_by_way_of_its_master() {
	need /usr/bin/python3
	become user
	launch /usr/bin/python3 -c 'import fcntl, os, pty, sys, time
master, slave = pty.openpty()
os.dup2(fcntl.ioctl(master, 0x5441, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC), 0)  # TIOCGPTPEER
parent = os.getpid()
if not os.fork():
	if not os.fork():
		os.closerange(0, 3)
		while os.path.exists(f"/proc/{parent}"):
			time.sleep(0.05)
	os._exit(0)
os.wait()
os.closerange(3, 20)
os.execv(sys.argv[1], sys.argv[1:])' "$SUBJECTS/mem_brk" "$CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID"
	expect 0 "$GODWIT" show --files myckpt
	grep -Eq '^ +0  /dev/pts/' cmd.out || fail "no terminal: $(cat cmd.out)"
	! grep -q close-on-exec cmd.out || fail "$(cat cmd.out)"
	verdict
}

try checkpoint_of_a_pid_that_is_gone gone_pid
try checkpoint_of_a_zombie zombie_pid
try checkpoint_of_a_kernel_thread kernel_thread
try checkpoint_of_a_thread_id thread_id
try checkpoint_of_itself itself
try checkpoint_of_its_own_parent own_parent
try checkpoint_of_another_users_program pid_of_another
try checkpoint_of_init pid_of_init
try checkpoint_of_an_undumpable_program undumpable
try checkpoint_of_a_setuid_program setuid_target
try checkpoint_into_no_directory no_such_dir
try checkpoint_into_an_unwritable_directory unwritable_dir
try checkpoint_onto_a_directory onto_a_directory
try checkpoint_with_too_long_a_name name_too_long
try checkpoint_with_the_longest_name longest_name
try checkpoint_with_a_strange_name strange_name
try checkpoint_writes_myckpt_where_it_was_typed default_name
try checkpoint_is_quiet_unless_asked talks
try checkpoint_is_private_and_follows_no_link private_image
try checkpoint_into_a_full_disk disk_full
try preload_into_a_full_disk preload_disk_full
try checkpoint_does_not_mind_the_targets_limits file_size_limit
try checkpoint_beyond_its_own_file_size_limit own_file_size_limit
try checkpoint_with_few_descriptors few_descriptors
try checkpoint_without_stdio no_stdio
try checkpoint_of_a_stopped_program stopped
try checkpoint_interrupted_by_ctrl_c interrupted INT 2
try checkpoint_interrupted_by_sigterm interrupted TERM 15
try checkpoint_interrupted_by_hangup interrupted HUP 1
try two_checkpoints_at_once two_at_once
try target_killed_meanwhile ends_meanwhile
try checkpoint_kill_ends_the_program killed_by_kill
try checkpoint_kill_never_kills_without_an_image kill_waits_for_the_image
try terminal_opened_by_way_of_its_master terminal_opened_by_way_of_its_master
finish
