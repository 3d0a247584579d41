#!/bin/bash
# Locks for writing on files that both hosts have: given up here and taken there, and the program
# never runs without them.  Somebody else tries to have them all the time: while he has one,
# the counter's file must not grow.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"

# Tries to have them, until the file others.stop is there.
others() {
	cat >others.py <<-'P'
		import fcntl, os, time
		def size(): return os.stat('numbers').st_size
		ways = {'': lambda f: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB),
		        '.fcntl': lambda f: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 15),
		        '.ofd': lambda f: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 15)}
		taken = 0
		print('tries', flush=True)
		while not os.path.exists('others.stop'):
		    for suffix, lock in ways.items():
		        with open('numbers' + suffix, 'r+') as f:
		            try: lock(f)
		            except OSError: continue
		            before = size(); time.sleep(0.02)
		            # It may have written its last word and be gone.
		            if size() != before: print('bad: it writes without its lock on numbers' + suffix, flush=True)
		            taken += 1
		    time.sleep(0.001)
		print('taken', taken, flush=True)
	P
	/usr/bin/python3 others.py >others 2>&1 &
	OTHERS=$!
	note_pid "$OTHERS"
	wait_for 20 has others tries
}

locked_counter() { # [THREADS]
	count_on alpha 2 "${1:-0}" locked
	others
}
# It has them all, in the end, whichever copy it is.
has_its_locks() {
	: >others.stop
	wait "$OTHERS" || fail "$(cat others)"
	! has others '^bad' || fail "$(cat others)"
	note "$(tail -n 1 others) in between"
	holds_them
}
holds_them() {
	python3 - <<-'P' || fail "it lacks a lock"
		import fcntl
		for suffix in '', '.fcntl', '.ofd':
		    f = open('numbers' + suffix, 'r+')
		    try: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 29, 1) if suffix else fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
		    except OSError: continue
		    raise SystemExit(suffix + ' is not locked')
	P
}

moves() { # USER MODE THREADS
	become "$1"
	serve_on beta
	locked_counter "$3"
	migrate_from alpha "tls://$BETA:$PORT" --key key --dry-run --explain
	[[ $RC == 0 ]] || fail "exit status $RC of --dry-run"
	has cmd.out 'locks for writing: 3' || fail "--explain does not tell"
	migrate_from alpha "tls://$BETA:$PORT" --key key "--mode=$2"
	[[ $RC == 0 ]] || fail "exit status $RC"
	gone "$PID" || fail "the copy here was not ended"
	goes_on
	has_its_locks
	finish_counter over
}
try locks_move_total moves user total 0
try locks_of_threads_move_total moves user total 4
try locks_of_threads_move_precopy moves user pre-copy 4
[[ -z $IS_ROOT ]] || try locks_of_threads_move_postcopy moves root post-copy 4

too_many() {
	become user
	serve_on beta
	pipe_on alpha /usr/bin/python3 -c 'import fcntl, os, time
f = open("many", "w")
for i in range(501): fcntl.lockf(f, fcntl.LOCK_EX, 1, 2 * i)
print("ready", flush=True)
while not os.path.exists("stop"): time.sleep(0.01)
print("ok", flush=True)'
	wait_alive "$PID" 30 has out '^ready'
	migrate_from alpha "tls://$BETA:$PORT" --key key
	[[ $RC == 3 ]] || fail "exit status $RC"
	says '501 locks for writing.*at most 500' '^hint: let it give some up'
	alive "$PID" || fail "the program is gone"
	: >stop
	wait_for 30 has out '^ok$'
}
try too_many_locks_are_refused too_many

# Whoever dies, it goes on with its locks; nobody has to settle them.
source_dies() { # POINT WHERE [both]
	become user
	serve_on beta --timeout 3
	locked_counter 2
	export GODWIT_FAULT=$1
	[[ ${3-} != both ]] || export GODWIT_FAULT_BOTH=1
	migrate_from alpha "tls://$BETA:$PORT" --key key --mode=total --timeout 3
	unset GODWIT_FAULT GODWIT_FAULT_BOTH
	_settled "$2"
}
_settled() { # WHERE
	for _ in 1 2 3 4 5 6 7 8; do
		(on alpha timeout 60 "$GODWIT" settle) >>settle.out 2>&1 && break
		sleep 1
	done
	wait_for 30 _count_is 1
	goes_on
	has_its_locks
	settled "$1"
}
for point in held "lists written" unlocked; do
	try "source_killed_at_${point// /_}" source_dies "$point" here
done
try source_and_command_killed_when_it_has_no_locks source_dies unlocked here both
try source_killed_when_it_has_sent_commit source_dies "commit sent" over
try source_killed_at_the_end source_dies "done heard" over both

# At points between "held" and "unlocked", others each time: registers lent, unit in the vdso, ...
some_steps() {
	become user
	serve_on beta --timeout 3
	locked_counter 2
	GODWIT_FAULT=list migrate_from alpha "tls://$BETA:$PORT" --key key --mode=total
	[[ $RC == 0 ]] || fail "exit status $RC"
	has_its_locks
	finish_counter over
	local first last n
	first=$(grep -a '^fault point' cmd.err | grep -an ' held$' | cut -d: -f1)
	last=$(grep -a '^fault point' cmd.err | grep -an ' unlocked$' | cut -d: -f1)
	((last > first + 5)) || fail "no steps: $first $last"
	for _ in 1 2 3; do
		n=$((first + RANDOM % (last - first + 1)))
		note "killed at point $n of $first to $last"
		rm -f numbers* others.stop state-alpha/* over
		locked_counter 2
		GODWIT_FAULT=$n migrate_from alpha "tls://$BETA:$PORT" --key key --mode=total --timeout 3
		_settled here
	done
}
LIMIT=120 try source_killed_at_some_steps_of_giving_them_up some_steps

target_dies() { # POINT WHERE
	become user
	GODWIT_FAULT=$1 serve_on beta --timeout 3
	locked_counter 2
	migrate_from alpha "tls://$BETA:$PORT" --key key --mode=total --timeout 3
	_settled "$2"
}
for point in "ready said" "commit heard" "files cut" going; do
	try "destination_killed_at_${point// /_}" target_dies "$point" here
done
try destination_killed_when_it_has_let_go target_dies "let go" over

# --- somebody else has it in the moment between the two ---

# The source's guardian stands where the locks are given up: WORDS are done then.
between() { # PYTHON, run while nobody has the locks; reads a line before it ends
	become user
	serve_on beta
	count_on alpha 2 "${THREADS:-2}" locked
	(
		export GODWIT_FAULT=unlocked GODWIT_FAULT_STOP=1
		on alpha "$GODWIT" migrate "$PID" "tls://$BETA:$PORT" --key key --mode=total
	) </dev/null >cmd.out 2>cmd.err &
	local cmd=$! guardian
	note_pid "$cmd"
	wait_for 20 _stands "$cmd"
	guardian=$STANDS
	mkfifo go && exec 5<>go
	# shellcheck disable=SC2094
	python3 -c "import fcntl, os
$1
print('did', flush=True)
input()" <go >did 2>&1 5>&- &
	OTHER=$!
	note_pid "$OTHER"
	wait_for 20 has did '^did'
	${2-}
	kill -CONT "$guardian"
	[[ -z ${3-} ]] || "$3"
	wait "$cmd"
	RC=$?
}
_stands() {
	local p
	for p in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
		grep -q '^State:.T (stopped' "/proc/$p/status" 2>/dev/null && STANDS=$p && return 0
	done
	return 1
}
other_ends() { echo >&5; wait "$OTHER" || fail "$(cat did)"; }

nobody_else() {
	between 'for s in ("", ".fcntl", ".ofd"):
    f = open("numbers" + s, "r+"); fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB) if not s else fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 20)
    f.close()' other_ends
	[[ $RC == 0 ]] || fail "exit status $RC"
	goes_on
	holds_them
	finish_counter over
}
try who_had_them_for_a_moment_and_changed_nothing_is_no_harm nobody_else

_stays_as_it_is() {
	local n
	n=$(stat -c %s numbers)
	wait_for 30 has cmd.err 'goes on here when it has that again'
	# It waits in the kernel, and not for us.
	wait_for 30 _waits_for_a_lock
	[[ $(stat -c %s numbers) == "$n" ]] || fail "it goes on without its lock"
	other_ends
}
_waits_for_a_lock() { grep -Eq '^(72|73) ' "/proc/$PID/syscall" 2>/dev/null || [[ $(cat "/proc/$PID/wchan") == *lock* ]]; }

keeps() { # SUFFIX LOCK: holds it until the migration is called off
	between "f = open('numbers$1', 'r+'); $2" '' _stays_as_it_is
	[[ $RC == 1 ]] || fail "exit status $RC"
	says "cannot lock '.*/numbers$1' for the program .*: somebody else holds the lock"
	goes_on
	holds_them
	settled here
}
try who_keeps_the_flock_meanwhile keeps '' 'fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)'
try who_keeps_the_fcntl_lock_meanwhile keeps .fcntl 'fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 29, 1)'
THREADS=0 try who_keeps_the_ofd_lock_meanwhile keeps .ofd 'fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 1)'

changes() {
	between 'f = open("numbers.fcntl", "r+"); fcntl.lockf(f, fcntl.LOCK_EX, 10, 1); f.write("x"); f.close()' other_ends
	[[ $RC == 1 ]] || fail "exit status $RC"
	says "somebody else had the lock of '.*/numbers.fcntl'.* and has changed the file"
	goes_on
	holds_them
	settled here
}
try who_changes_the_file_meanwhile_is_noticed changes

# --- in doubt: nobody answers; the copy that is saved has the locks, too ---

in_doubt() {
	become user
	LISTEN=$((20000 + $$ % 10000))
	GODWIT_FAULT="commit heard" GODWIT_FAULT_STOP=1 serve_on beta --timeout 3
	locked_counter 2
	(on alpha timeout 100 "$GODWIT" migrate "$PID" "tls://$BETA:$PORT" --key key --mode=total --timeout 3) \
		</dev/null >cmd.out 2>cmd.err &
	local cmd=$!
	# No new connection is taken, and nobody decides: nobody answers.
	wait_for 30 _target_stands
	kill -STOP "$SERVE"
	kill -9 "$STANDS"
	wait "$cmd"
	RC=$?
	[[ $RC == 6 ]] || fail "exit status $RC"
	local image
	image=$(echo state-alpha/*.image)
	[[ $(as "$GODWIT" show --files "$image" | grep -c ', 1 lock') == 3 ]] || fail "the saved image lacks locks"
	# Nothing of ours is in what was saved of its vdso: it is this kernel's.
	python3 - "$image" <<-'P' || fail "its vdso was saved with something of ours"
		import sys
		at, end = next(tuple(int(x, 16) for x in l.split()[0].split('-')) for l in open('/proc/self/maps') if l.rstrip().endswith('[vdso]'))
		with open('/proc/self/mem', 'rb', 0) as m: m.seek(at); vdso = m.read(end - at)
		assert vdso in open(sys.argv[1], 'rb').read()
	P
	(on alpha "$GODWIT" settle --resume "$(basename "$image" .image)") || fail "it cannot be resumed"
	goes_on
	has_its_locks
	settled here
}

LIMIT=120 try in_doubt_it_is_resumed_with_its_locks in_doubt

finish
