# shellcheck shell=bash
# Test library: TAP on stdout, one process and one work directory per test.
#
# A test script sources this file, defines functions and tries them:
#
#     . "$(dirname "$0")/../lib.sh"
#     keeps_offset() { become user; ...; }
#     try restart_keeps_the_offset keeps_offset
#     finish
#
# `try NAME FUNCTION ARG...` runs the script again for that one test, under
# `timeout`, with stdin from /dev/null and no descriptor but 0, 1 and 2, so that
# nothing of the harness can end up in an image.  In the function, `fail` and
# `skip` end the test with a reason; plain return is success.
#
# A script takes names (or patterns) of tests as arguments and runs only those.
# Knobs: B=build folder, KEEP=1 keeps every work directory, GODWIT_MUST_RUN=1
# turns skips into failures (but for skip_hardware), SLOW=N stretches all limits.
# A crowded machine stretches them, too: they are there to end what hangs.

set -u
export LC_ALL=C
SCRIPT=$(realpath "$0")

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
B=${B:-$TOP/build}
[[ $B == /* ]] || B=$TOP/$B
export B
export SUBJECTS=$B/subjects
TEST_UID=${TEST_UID:-65534}  # the ordinary user, when the tests run as root
OTHER_UID=${OTHER_UID:-65533}
ROOT_DIR=${GODWIT_TEST_DIR:-${TMPDIR:-/tmp}}
SLOW=${SLOW:-1}
export AS=user

if ((EUID)); then IS_ROOT=; else IS_ROOT=1; fi

_count=0 _failed=0 _only=("$@")

_wanted() {
	local pattern
	((${#_only[@]})) || return 0
	for pattern in "${_only[@]}"; do
		# shellcheck disable=SC2053  # patterns are wanted here
		[[ $1 == $pattern ]] && return 0
	done
	return 1
}

# _seconds N: in $SECONDS_NOW, N stretched by SLOW and by how many wait for a processor.
_cpus=$(nproc)
_seconds() {
	local load crowd
	read -r load _ </proc/loadavg
	crowd=$((1 + ${load%.*} / _cpus))
	SECONDS_NOW=$(($1 * SLOW * (crowd < 10 ? crowd : 10)))
}

# try NAME FUNCTION ARG...   LIMIT=seconds before it for a longer limit
# BESIDE=1 before it: it mostly waits, and runs beside the tests that follow.
try() {
	local name=$1 dir limit=${LIMIT:-60}
	shift
	if [[ -n ${TRY_ONE-} ]]; then
		[[ $name == "$TRY_ONE" ]] && _run "$@"
		return 0
	fi
	_wanted "$name" || return 0
	dir=$(mktemp -d "$ROOT_DIR/godwit-test.XXXXXX") && chmod 755 "$dir" || exit 1
	mkdir "$dir/w"
	_seconds "$limit"
	if [[ -z ${BESIDE-} ]]; then
		_alone
		_tell "$name" "$dir" $? "$SECONDS_NOW"
		return 0
	fi
	((${#_beside[@]} < 4)) || _wait_beside
	_alone &
	_beside+=("$! $SECONDS_NOW $dir $name")
}

# The variables are try's.
_alone() {
	TRY_ONE=$name TRY_DIR=$dir timeout -k 10 "$SECONDS_NOW" bash "$SCRIPT" </dev/null >"$dir/log" 2>&1
}

# The end of the oldest that runs beside the others.
_beside=()
_wait_beside() {
	local pid seconds dir name
	read -r pid seconds dir name <<<"${_beside[0]}"
	_beside=("${_beside[@]:1}")
	wait "$pid"
	_tell "$name" "$dir" $? "$seconds"
}

# How a test ended.
_tell() { # NAME DIR STATUS SECONDS
	local dir=$2
	_count=$((_count + 1))
	case $3 in
	0)	echo "ok $_count - $1" ;;
	77)	if [[ -n ${GODWIT_MUST_RUN-} && ! -e $dir/hardware ]]; then
			_report "$1" "$dir" "must run, but: $(cat "$dir/skip")"
			return 0
		fi
		echo "ok $_count - $1 # SKIP $(cat "$dir/skip")" ;;
	124 | 137)
		_report "$1" "$dir" "no end within $4 s"
		_sweep "$dir"
		return 0 ;;
	*)	_report "$1" "$dir" "exit status $3"
		return 0 ;;
	esac
	[[ -n ${KEEP-} ]] || rm -rf "$dir"
}

_report() {
	_failed=$((_failed + 1))
	echo "not ok $_count - $1"
	echo "# $3"
	[[ -e $2/log ]] && tail -n 25 "$2/log" | cut -c1-300 | sed 's/^/# | /'
	echo "# work directory: $2"
	echo "# rerun: KEEP=1 B=$B bash $SCRIPT $1"
}

_run() {
	cd "$TRY_DIR/w" || exit 1
	W=$PWD
	local fd
	for fd in /proc/self/fd/*; do # what the caller's caller left open
		fd=${fd##*/}
		((fd < 3 || fd == 255)) || eval "exec $fd>&-"
	done # no redirection here: bash would keep stderr at an fd that is closed
	HOME=$W TMPDIR=$W
	export HOME TMPDIR
	mkdir -p "$TRY_DIR/ctl" && chmod 777 "$TRY_DIR/ctl" # release and ping files, see subjects/subject.h
	CTL=$TRY_DIR/ctl
	# A signal that meets a shell of ours between fork and exec has it run this, too.
	trap '[[ $BASHPID != "$$" ]] || _sweep "$TRY_DIR"' EXIT
	"$@" || exit 1
	exit 0
}

# When process $1 was started, in BORN: its id may be another's one day.  Forks nothing.
_born() {
	local line=
	read -r -d '' line <"/proc/$1/stat" # to its end: a name may hold a newline
	# shellcheck disable=SC2086  # fields
	set -- ${line##*) }
	BORN=${20-}
	[[ -n $BORN ]]
} 2>/dev/null

# For a child that is not waited for yet: _sweep ends it if it outlives the test.
note_pid() { _born "$1" && echo "$1 $BORN" >>"$TRY_DIR/pids"; }

# Ends what a test left: the processes it noted, and any that work in its folder.
_sweep() {
	local pid born line lines
	[[ -e $1/pids ]] && while read -r pid born; do
		_born "$pid" && [[ $BORN == "$born" ]] && kill -9 "$pid"
	done <"$1/pids" 2>/dev/null
	# First the whole list: stat works there, too, and would be ended in the middle of it.
	mapfile -t lines < <(stat -c '%N' /proc/[0-9]*/cwd 2>/dev/null)
	for line in "${lines[@]}"; do
		[[ $line == *"-> '$1"* ]] || continue
		pid=${line#*/proc/}
		pid=${pid%%/*}
		# This shell, and the limit above it, work there too.
		[[ $pid == "$$" || $pid == "$BASHPID" || $pid == "$PPID" ]] || kill -9 "$pid"
	done 2>/dev/null
	wait 2>/dev/null
}

finish() {
	[[ -z ${TRY_ONE-} ]] || { echo "no such test: $TRY_ONE"; exit 1; }
	while ((${#_beside[@]})); do _wait_beside; done
	echo "1..$_count"
	((_failed == 0)) || exit 1
	exit 0
}

# ---- inside a test -------------------------------------------------------

note() { echo "$*"; }

fail() {
	echo "FAILED: $*"
	local f
	for f in "$W"/out "$W"/err "$W"/out2 "$W"/err2 "$W"/cmd.out "$W"/cmd.err; do
		[[ -s $f ]] && { echo "--- ${f##*/}:"; tail -n 12 "$f" | tr -d '\000'; }
	done
	exit 1
}

skip() { echo "$*" >"$TRY_DIR/skip"; exit 77; }

# For what only other hardware can show; never a failure.
skip_hardware() { : >"$TRY_DIR/hardware"; skip "$@"; }

need() {
	local c
	for c; do
		type -P "$c" >/dev/null || [[ -x $c ]] || skip "$c is not installed (setup.sh as root installs it)"
	done
}

# become user|root|other: who runs what `as`, `launch` and `run` start.
become() {
	AS=$1
	case $1 in
	root)	[[ -n $IS_ROOT ]] || skip "needs root" ;;
	user)	[[ -z $IS_ROOT ]] || chown "$TEST_UID:$TEST_UID" "$W" ;;
	other)	[[ -n $IS_ROOT ]] || skip "needs root, to be two users" ;;
	esac
}

# The rest of the test runs in a mount namespace that it alone sees.
own_mounts() {
	[[ -z ${OWN_MOUNTS-} ]] || return 0
	OWN_MOUNTS=1 unshare -m bash "$SCRIPT"
	exit
}

# once NAME SOURCE CMD...: sets BUILT, the folder that CMD... fills in its working directory;
# made once for all tests of a build, and again when SOURCE is newer.
once() {
	BUILT=$B/work/$1
	mkdir -p "$B/work" || return
	(
		flock 9
		[[ ! $BUILT -nt $2 ]] || exit 0
		rm -rf "$BUILT" "$BUILT.new" && mkdir "$BUILT.new" && cd "$BUILT.new" && "${@:3}" 9>&- &&
			touch . && chmod -R a+rX . && mv "$BUILT.new" "$BUILT"
	) 9>"$BUILT.lock"
}
_build_go() { # SOURCE
	GOCACHE=$W/cache GOPATH=$W/go GO111MODULE=off CGO_ENABLED=0 go build -o prog "$1" && rm -rf "$W/cache"
}
go_prog() { # ./prog from SOURCE
	need go
	once "go-$(basename "$1" .go)" "$1" _build_go "$1" || skip "go build does not work here"
	cp "$BUILT/prog" .
}
java_classes() { # of SOURCE, in the folder BUILT
	need java javac
	once "java-$(basename "$1" .java)" "$1" javac -d . "$1" || skip "javac does not work here"
}

# Replaces this shell (call it in a background job or subshell).
as() {
	case $AS$IS_ROOT in
	user1)	exec setpriv --reuid="$TEST_UID" --regid="$TEST_UID" --clear-groups -- "$@" ;;
	other1)	exec setpriv --reuid="$OTHER_UID" --regid="$OTHER_UID" --clear-groups -- "$@" ;;
	*)	exec "$@" ;;
	esac
}

# launch CMD...: background, stdout to $OUT (out), stderr to $ERR (err); sets PID.
launch() {
	: >>"${OUT:-out}"
	: >>"${ERR:-err}"
	# The program's user must be able to open them again.
	[[ -z $IS_ROOT ]] || chmod 666 "${OUT:-out}" "${ERR:-err}"
	as "$@" <"${IN:-/dev/null}" >"${OUT:-out}" 2>"${ERR:-err}" &
	PID=$!
	note_pid "$PID"
}

# run CMD...: foreground, output in cmd.out and cmd.err; sets RC.
run() {
	(as "$@") </dev/null >cmd.out 2>cmd.err
	RC=$?
	return 0
}

# expect STATUS CMD...: run, and the exit status must be this one.
expect() {
	local want=$1
	shift
	run "$@"
	[[ $RC == "$want" ]] || fail "exit status $RC instead of $want: $*"
}

# says TEXT...: each (extended regular expression) is in what the command printed on stderr.
says() {
	local re
	for re; do
		grep -Eiq -- "$re" cmd.err || fail "stderr does not say '$re'"
	done
}

prints() {
	local re
	for re; do
		grep -Eq -- "$re" cmd.out || fail "stdout does not show '$re'"
	done
}

# 10 ms, without a process: nobody writes to this pipe.
_doze() {
	[[ -p $TRY_DIR/silence ]] || mkfifo "$TRY_DIR/silence"
	read -rt 0.01 <>"$TRY_DIR/silence" || : # as a loop's last command it would be its status
}

# wait_for SECONDS CMD...: until the command succeeds.
wait_for() {
	local end
	_seconds "$1"
	end=$((SECONDS + SECONDS_NOW))
	shift
	until "$@"; do
		((SECONDS < end)) || fail "waited in vain for: $*"
		_doze
	done
	return 0 # whatever the last wait said
}

# State Z counts as gone (pid 1 may reap late), unless other threads go on.
alive() {
	local line='' f
	{ read -r -d '' line <"/proc/$1/stat"; } 2>/dev/null
	[[ -n $line ]] || return 1
	read -ra f <<<"${line##*) }"
	[[ ${f[0]} != [ZX] || ${f[17]} -gt 1 ]]
}
gone() { ! alive "$1"; }

# has FILE REGEX: a line of it matches.  Forks nothing where the file is small, since most wait for it.
has() {
	local lines line
	# Succeeds where there is a NUL, or more.
	if IFS= read -r -d '' -n 8000 <"$1"; then grep -Eaq -- "$2" "$1"; return; fi
	mapfile -t lines <"$1"
	for line in "${lines[@]}"; do
		[[ $line =~ $2 ]] && return 0
	done
	return 1
} 2>/dev/null

# As wait_for, but a program that ended cannot make it come true any more.
wait_alive() {
	local pid=$1 end
	_seconds "$2"
	end=$((SECONDS + SECONDS_NOW))
	shift 2
	until "$@"; do
		alive "$pid" || { "$@" && return 0; fail "process $pid ended before: $*"; }
		((SECONDS < end)) || fail "waited in vain for: $*"
		_doze
	done
	return 0
}

wait_ready() {
	wait_alive "$PID" 30 has "${OUT:-out}" '^ready'
	THEIRS=$(_like_ours "$PID")
}

_ping_taken() { [[ ! -e $CTL/ping ]]; }

# The subject takes the ping file away: it runs, and computes.
ping() {
	: >"$CTL/ping"
	wait_alive "$PID" 30 _ping_taken
}

# Ends PID the hard way and waits until it is gone; with it the program of which
# it may be the thin parent: else that one could take the next ping.
finish_off() {
	local p=$PID all=() next
	while [[ -n $p ]]; do
		all+=("$p")
		next=
		read -r next _ <"/proc/$p/task/$p/children"
		p=$next
	done 2>/dev/null
	kill -9 "$PID"
	wait "$PID" 2>/dev/null
	for p in "${all[@]}"; do wait_for 10 gone "$p"; done
}

# The images of checkpoints that said all is well restart, each with its own end.
revive_all() { # IMAGE...
	finish_off
	: >"$CTL/release"
	local image
	for image; do
		echo ready >out
		expect 0 "$GODWIT" restart "$image"
		[[ $(tail -n 1 out) == ok ]] || fail "$image: the program does not say ok"
	done
}

# Lets the subject verify itself: exit status 0 and a last line `ok` on its stdout.
verdict() {
	local rc file=${1:-out}
	: >"$CTL/release"
	wait "$PID"
	rc=$?
	[[ $rc == 0 ]] || fail "the subject ended with status $rc"
	[[ $(tail -n 1 "$file") == ok ]] || fail "the subject does not say ok"
	rm -f "$CTL/release"
}

_is_new_image_or_error() {
	_is_new_image "$@" || has "${ERR:-err}" '^godwit: '
}

_is_new_image() {
	[[ -f $1 ]] && [[ $(stat -c %i "$1" 2>/dev/null) != "$2" ]]
}

# ring: kill -12 (or $SIGNAL) and wait for the new image (name in $IMAGE, default myckpt).
ring() {
	local image=${IMAGE:-myckpt} old
	old=$(stat -c %i "$image" 2>/dev/null)
	kill -"${SIGNAL:-12}" "$PID"
	wait_alive "$PID" 30 _is_new_image_or_error "$image" "$old"
	_is_new_image "$image" "$old" || fail "the doorbell was refused"
}

# Whose /proc tells of process $1: another thread's, where the first has ended.
_speaker() {
	local line='' tasks
	SPEAKER=$1
	{ read -r -d '' line <"/proc/$1/stat"; } 2>/dev/null
	[[ ${line##*) } == Z* ]] || return 0
	tasks=("/proc/$1/task"/*)
	SPEAKER=${tasks[-1]##*/}
}

_like_ours() { # PID
	local SPEAKER
	_speaker "$1"
	grep -cE '^[0-9a-f]+-[0-9a-f]+ r-xp 00000000 00:00 0 *(\[anon:godwit.*)?$' "/proc/$SPEAKER/maps" 2>/dev/null
}

# How many mappings look like ours and were not there when the program was ready:
# executable, of no file, and with no name (where the kernel has names for such,
# PR_SET_VMA_ANON_NAME, ours has one).
mappings_of_ours() { # [PID]
	local n=$(($(_like_ours "${1:-$PID}") - ${THEIRS:-0}))
	echo $((n > 0 ? n : 0))
}

# Nothing of ours is in the process: no mapping, no tracer.
nothing_left() {
	local pid=${1:-$PID}
	[[ $(mappings_of_ours "$pid") == 0 ]] || fail "a mapping of ours is left in $pid: $(cat "/proc/$pid/maps")"
	if ! grep -q '^TracerPid:[[:space:]]*0$' "/proc/$pid/status"; then fail "$pid is still traced"; fi
}

# A guardian was killed: at most its one mapping is left, and the next godwit takes it away.
the_next_one_clears() {
	(($(mappings_of_ours) <= 1)) || fail "more than one mapping of ours: $(cat "/proc/$PID/maps")"
	expect 0 "$GODWIT" checkpoint "$PID" -o cleared
	nothing_left
}

# The tracer of process $1, 0 for none; empty when the process is gone.  Forks nothing.
_tracer() {
	local key SPEAKER
	TRACER=
	_speaker "$1"
	while read -r key TRACER; do
		[[ $key == TracerPid: ]] && return
	done <"/proc/$SPEAKER/status"
	TRACER=
} 2>/dev/null
_untraced() { _tracer "$1"; [[ $TRACER == 0 ]]; }

export GODWIT=$B/godwit MYRESTART=$B/myrestart LIBCKPT=$B/libckpt.so
