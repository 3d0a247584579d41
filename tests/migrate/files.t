#!/bin/bash
# --copy-files: what the program has open comes along, where the other host lacks it; and
# nothing that is there is ever written over.  The two hosts share all files but those in
# the folder data, which is another one over there.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"

CARRIER=$B/migrate/carrier

carry_on() { # ARGS: the program, at work
	mkdir -p data/work
	[[ $AS != user ]] || chown "$TEST_UID:$TEST_UID" data/work
	pipe_on alpha "$CARRIER" "$W/data/work" "$@"
	wait_alive "$PID" 30 has out '^ready'
	wait_alive "$PID" 30 test -s data/work/log
}

_log_is_longer() { (($(stat -c %s data/work/log) > $1)); }
works_here() { wait_for 30 _log_is_longer "$(stat -c %s data/work/log)"; }

# It goes on over there, and finds all its files right.
ends_there() {
	gone "$PID" || fail "the copy here was not ended"
	[[ -z $(there find data -name '.godwit-*') ]] || fail "left: $(there find data -name '.godwit-*')"
	there touch data/work/stop
	wait_for 30 has over '^(ok|wrong)'
	has over '^ok$' || fail "$(cat over)"
	there test -e data/work/made || fail "it made its last file elsewhere"
}
# It goes on here, nothing of it is over there.
ends_here() {
	alive "$PID" || fail "the program is gone"
	wait_for 20 _nothing_there
	works_here
	nothing_left
	: >data/work/stop
	wait_for 30 has out '^(ok|wrong)'
	has out '^ok$' || fail "$(cat out)"
}
_nothing_there() { [[ $(there find data -mindepth 1 | sort | tr '\n' ' ') == "${LEFT-}" ]]; }

comes_along() { # USER MODE [MIB]
	become "$1"
	apart
	serve_there
	carry_on "${3:-1}"
	migrate_from alpha "tls://127.0.0.1:$PORT" --key key "--mode=$2" --copy-files --json
	[[ $RC == 0 ]] || fail "exit status $RC"
	python3 -c 'import json; d = json.load(open("cmd.out")); f = d["files"]; assert f["number"] == 5 and f["bytes"] >= int("'"${3:-1}"'") << 20, f' ||
		fail "$(cat cmd.out)"
	[[ $(there stat -c %a data/work/input) == 640 && $(there stat -c %a data/work/below) == 750 ]] || fail "other modes"
	[[ $1 != user || $(there stat -c %u data/work/log) == "$TEST_UID" ]] || fail "another owner"
	# The locks are held over there: nobody else gets them.
	there python3 - "$W/data/work/locked" <<-'P' || fail "a lock is not held"
		import fcntl, sys
		f = open(sys.argv[1], 'r+')
		def taken(do):
		    try: do()
		    except OSError: return True
		    return False
		assert taken(lambda: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)), 'flock'
		assert taken(lambda: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 10)), 'fcntl'
		assert taken(lambda: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 100)), 'ofd'
		fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 50)
	P
	ends_there
}
for mode in pre-copy total; do
	try "files_come_along_${mode}_as_user" comes_along user "$mode"
	try "files_come_along_${mode}_as_root" comes_along root "$mode"
done
# A file that is as large as two frames, and is not read again while the program stands still.
large() {
	become user
	apart
	serve_there
	carry_on 32
	# Its time has to be older than a tick of the file system.
	_ticked() { : >tick; [[ tick -nt data/work/input ]]; }
	wait_for 10 _ticked
	migrate_from alpha "tls://127.0.0.1:$PORT" --key key --copy-files --json
	[[ $RC == 0 ]] || fail "exit status $RC"
	python3 -c 'import json; f = json.load(open("cmd.out"))["files"]; assert f["bytes"] >= 32 << 20 and f["stopped_bytes"] < 2 << 20, f' ||
		fail "$(cat cmd.out)"
	ends_there
}
try a_large_file_is_not_sent_again large

allowed_user() {
	become user
	apart
	make_key
	chown 0 key
	AS=root serve_there --allow-uid "$TEST_UID"
	cp key key.user
	chown "$TEST_UID" key.user
	carry_on
	migrate_from alpha "tls://127.0.0.1:$PORT" --key key.user --copy-files
	[[ $RC == 0 ]] || fail "exit status $RC"
	[[ $(there stat -c %u data/work/log) == "$TEST_UID" ]] || fail "root made the file"
	ends_there
}
try root_makes_files_of_its_users allowed_user

# What has no name any more is part of the program's state.
deleted() {
	become user
	apart
	serve_there
	cat >deleted.py <<-'P'
		import os, tempfile, time
		f = open('data/gone', 'w+b', buffering=0)
		f.write(b'x' * 100000); os.unlink('data/gone'); f.seek(5)
		t = tempfile.TemporaryFile(dir='data'); t.write(b'hello'); t.flush()
		print('ready', flush=True)
		while not os.path.exists('deleted.stop'): time.sleep(0.01)
		assert f.read(10) == b'x' * 10 and f.tell() == 15 and os.fstat(f.fileno()).st_nlink == 0
		t.seek(0); assert t.read() == b'hello'
		print('ok', flush=True)
	P
	pipe_on alpha /usr/bin/python3 "$W/deleted.py"
	wait_alive "$PID" 30 has out '^ready'
	migrate_from alpha "tls://127.0.0.1:$PORT" --key key --copy-files
	[[ $RC == 0 ]] || fail "exit status $RC"
	: >deleted.stop
	wait_for 30 has over '^ok$'
	_nothing_there || fail "left: $(there find data)"
}
try a_deleted_file_comes_along deleted

# What is about to be decided is on the disk: no page of the files waits for its place there.  (A
# file system that finds only then that it has no room is heard before the commit point so.)
unplaced() { # FILE...: those of which the file system has not placed everything (FIEMAP)
	there python3 - "$@" <<-'P'
		import fcntl, os, struct, sys
		for path in sys.argv[1:]:
		    fd = os.open(path, os.O_RDONLY)
		    b = bytearray(struct.pack('=QQIIII', 0, 1 << 62, 0, 0, 256, 0) + bytes(56 * 256))
		    try: fcntl.ioctl(fd, 0xC020660B, b) # FS_IOC_FIEMAP
		    except OSError: sys.exit(3)
		    n = struct.unpack_from('=I', b, 20)[0]
		    if any(struct.unpack_from('=I', b, 32 + 56 * i + 40)[0] & 4 for i in range(n)): print(path)
	P
}
_target_stands() {
	local p
	for p in $(pgrep -x godwit-guardian; pgrep -f "$GODWIT serve"); do
		grep -q '^State:.T (stopped' "/proc/$p/status" 2>/dev/null &&
			[[ $(readlink "/proc/$p/cwd") == "$W"* ]] && STANDS=$p && return 0
	done
	return 1
}
on_the_disk() { # POINT
	become user
	apart disk
	GODWIT_FAULT=$1 GODWIT_FAULT_STOP=1 serve_there --timeout 60
	carry_on 4
	(on alpha timeout 100 "$GODWIT" migrate "$PID" "tls://127.0.0.1:$PORT" --key key --copy-files --timeout 60) \
		</dev/null >cmd.out 2>cmd.err &
	local cmd=$! rc
	wait_for 60 _target_stands
	there python3 -c 'open("data/fresh", "wb").write(b"x" * 100000)'
	rc=$(unplaced data/fresh) || skip "this file system does not tell what is on the disk"
	[[ -n $rc ]] || skip "this file system has placed what has just been written"
	mapfile -t files < <(there find data/work -type f -size +0)
	((${#files[@]} > 2)) || fail "no files: ${files[*]}"
	rc=$(unplaced "${files[@]}")
	[[ -z $rc ]] || fail "not on the disk: $rc"
	kill -CONT "$STANDS"
	wait "$cmd" || fail "exit status $?"
	there rm -f data/fresh
	ends_there
}
try files_are_on_the_disk_before_they_have_their_names on_the_disk built
try files_are_on_the_disk_before_it_is_decided on_the_disk "files placed"

# --- locks on shared storage; those for writing: locks.t ---

# Whoever opens the file breaks it, which ends a program that does not expect the signal.
lease() {
	become user
	serve_on beta
	cat >holder.py <<-'P'
		import fcntl, os, time
		f = open('leased', 'w')
		fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)
		print('ready', flush=True)
		while not os.path.exists('leased.stop'): time.sleep(0.01)
		print('ok' if fcntl.fcntl(f, fcntl.F_GETLEASE) == fcntl.F_WRLCK else 'wrong', flush=True)
	P
	pipe_on alpha /usr/bin/python3 "$W/holder.py"
	wait_alive "$PID" 30 has out '^ready'
	for args in --dry-run --copy-files --mode=total; do
		migrate_from alpha "tls://$BETA:$PORT" --key key "$args"
		((RC)) || fail "it has moved"
		says "lease on '.*/leased'.*cannot move" '^hint: let it give the lease up'
	done
	: >leased.stop
	wait_for 30 has out '^(ok|wrong)'
	has out '^ok$' || fail "$(cat out)"
}
try a_lease_does_not_move lease

read_lock() {
	become user
	serve_on beta
	: >shared
	chmod 666 shared
	cat >reader.py <<-'P'
		import fcntl, os, time
		f, g = open('shared'), open('shared')
		fcntl.flock(f, fcntl.LOCK_SH)
		fcntl.lockf(g, fcntl.LOCK_SH, 10, 5)
		print('ready', flush=True)
		while not os.path.exists('shared.stop'): time.sleep(0.01)
		print('ok', flush=True)
	P
	pipe_on alpha /usr/bin/python3 "$W/reader.py"
	wait_alive "$PID" 30 has out '^ready'
	migrate_from alpha "tls://$BETA:$PORT" --key key
	[[ $RC == 0 ]] || fail "exit status $RC"
	gone "$PID" || fail "the copy here was not ended"
	python3 -c '
import fcntl
f = open("shared", "r+")
for do in (lambda: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB), lambda: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5)):
    try: do()
    except OSError: continue
    raise SystemExit("it is not locked")' || fail "it does not hold its lock over there"
	: >shared.stop
	wait_for 30 has over '^ok$'
}
try a_lock_for_reading_on_shared_storage_moves read_lock

# --- what is refused: before the program is stopped for good, and nothing is left over there ---

stays() { # STATUS TEXT HINT [ARGS]: as set up
	migrate_from alpha "tls://127.0.0.1:$PORT" --key key "${@:4}"
	[[ $RC == "$1" ]] || fail "exit status $RC instead of $1"
	says "$2" "^hint: .*$3"
	ends_here
}
refused() { # PREPARE STATUS TEXT HINT [ARGS]
	become user
	apart "${MOUNT-}"
	serve_there
	carry_on
	eval "$1"
	shift
	stays "$@"
}
LEFT='data/work ' try without_the_option_a_missing_file_is_named refused 'there mkdir -p data/work' 3 \
	"'.*/data/work/[a-z]*'.* is not there" copy-files
try without_the_option_a_missing_folder_is_named refused true 3 "'.*/data/work.*' is not there|'.*/data/work/[a-z]*', .*is not there" copy-files
LEFT='data/work data/work/store ' try another_file_is_not_written_over refused \
	'there mkdir -m 777 data/work; there sh -c "echo other >data/work/store; chmod 666 data/work/store"' \
	3 "cannot take '.*/data/work/store' along: another file of that name is there" "nothing is overwritten" --copy-files
LEFT='data/work data/work/store ' try a_folder_in_the_way_of_a_file refused 'there mkdir -p -m 777 data/work/store; there chmod 777 data/work' \
	3 "cannot take '.*/data/work/store' along: something else of that name" "nothing is overwritten" --copy-files
LEFT='data/work ' try a_folder_that_cannot_be_written_to refused 'there mkdir -m 755 data/work' \
	4 "cannot put '.*/data/work/[a-z]*' there: Permission denied" "write to the folder" --copy-files
LEFT='data/elsewhere data/work ' try a_symbolic_link_of_somebody_else refused \
	'there mkdir -m 777 data/elsewhere; there ln -s elsewhere data/work' 4 "symbolic link in a folder that others can write to" "folder of that name" --copy-files
try too_much_to_take_along refused true 3 'files of .* the largest is .*--copy-files allows 0 MiB' 'SIZE' --copy-files=1K
MOUNT=size=64k try no_room_on_the_disk refused true 1 "the disk has no room for '.*', *|the disk has no room" 'make room' --copy-files
no_copy_of_a_secret() { chown 0:0 data/work/input; chmod 600 data/work/input; }
try a_file_that_cannot_be_read refused no_copy_of_a_secret 4 "cannot read '.*/data/work/input' to take it along" 'by other means' --copy-files

identical() {
	become user
	apart
	serve_there
	carry_on
	# The same bytes, at another time: kept as it is.  (The others are not there.)
	there mkdir -m 777 data/work
	there chown "$TEST_UID" data/work
	there sh -c 'cat >data/work/input; chmod 644 data/work/input; touch -d 2020-01-01 data/work/input' <data/work/input
	migrate_from alpha "tls://127.0.0.1:$PORT" --key key --copy-files
	[[ $RC == 0 ]] || fail "exit status $RC"
	[[ $(there stat -c %Y data/work/input) == $(date -d 2020-01-01 +%s) ]] || fail "it was written over"
	ends_there
}
try an_identical_file_is_kept identical

nearly_identical() { # of the same size, with another byte
	there mkdir -m 777 data/work
	there sh -c 'cat >data/work/input; printf x | dd of=data/work/input conv=notrunc bs=1 seek=5000 status=none; chmod 644 data/work/input' <data/work/input
}
LEFT='data/work data/work/input ' try a_file_of_the_same_size_is_compared refused nearly_identical \
	3 "cannot take '.*/data/work/input' along: another file" "nothing is overwritten" --copy-files

asks() {
	become user
	apart
	serve_there
	carry_on
	migrate_from alpha "tls://127.0.0.1:$PORT" --key key --copy-files --dry-run --json
	[[ $RC == 0 ]] || fail "exit status $RC"
	python3 -c 'import json; f = json.load(open("cmd.out"))["files"]; assert f["number"] == 5 and f["bytes"] > 5 << 16, f' ||
		fail "$(cat cmd.out)"
	there mount -o remount,size=64k "$W/data"
	migrate_from alpha "tls://127.0.0.1:$PORT" --key key --copy-files --dry-run
	[[ $RC == 1 ]] || fail "exit status $RC"
	says 'the disk has no room for' '^hint: '
	ends_here
}
try dry_run_judges_the_disk_for_files asks

# The disk is full only when the files have grown.
disk_fills_up() {
	become user
	apart size=3m
	serve_there
	carry_on 1
	there sh -c 'head -c 1500000 /dev/zero >data/zeros'
	there chmod 666 data/zeros
	# What it announces fits; the disk is filled while the files come.
	(
		export GODWIT_FAULT='verdict heard' GODWIT_FAULT_STOP=1
		migrate_from alpha "tls://127.0.0.1:$PORT" --key key --copy-files
		echo "$RC" >rc
	) &
	wait_for 30 _source_stands
	there sh -c 'head -c 2000000 /dev/zero >>data/zeros' 2>/dev/null
	kill -CONT "$STANDS"
	wait_for 60 test -s rc
	[[ $(cat rc) == 1 ]] || fail "exit status $(cat rc)"
	says 'No space left' '^hint: .*full'
	LEFT='data/zeros ' ends_here
}
_source_stands() {
	local p
	for p in $(pgrep -x godwit-guardian); do
		[[ $(readlink "/proc/$p/cwd") == "$W" ]] || continue
		grep -q '^State:.T (stopped' "/proc/$p/status" 2>/dev/null && STANDS=$p && return 0
	done
	return 1
}
try the_disk_fills_up_meanwhile disk_fills_up

# The disk over there cannot keep them: known before it is decided, whichever call tells.
sync_fails() { # ERROR TEXT
	become user
	apart
	local good=$GODWIT n i
	make_key
	carry_on 1
	for ((i = 1, n = 1; i <= n; i++)); do
		GODWIT=$B/faulty/godwit
		export GODWIT_INJECT=sync:$i:$1
		serve_there --timeout 5
		unset GODWIT_INJECT
		GODWIT=$good
		migrate_from alpha "tls://127.0.0.1:$PORT" --key key --copy-files
		[[ $RC != 0 ]] || break # each has failed once
		[[ $RC == 1 ]] || fail "exit status $RC at call $i"
		says "cannot write .*data/work.* to the disk" "$2"
		alive "$PID" || fail "the program is gone"
		wait_for 20 _nothing_there
		works_here
		nothing_left
		kill "$SERVE"
		wait_for 20 gone "$SERVE"
		rm -f serve.err
		n=$((n + 1))
	done
	note "$((i - 1)) calls failed"
	((i > 5)) || fail "only $((i - 1)) calls failed"
	ends_there
}
try the_disk_over_there_fails sync_fails EIO 'Input/output error'
try the_disk_over_there_is_full_at_the_end sync_fails ENOSPC 'No space left'

# Each step at which somebody dies: nothing is left, exactly one goes on.
dies() { # WHO POINT
	become user
	apart
	export GODWIT_FAULT=$2
	[[ $1 == source ]] && unset GODWIT_FAULT
	serve_there --timeout 3
	unset GODWIT_FAULT
	carry_on
	[[ $1 == destination ]] || export GODWIT_FAULT=$2
	migrate_from alpha "tls://127.0.0.1:$PORT" --key key --copy-files --timeout 3 "--mode=${MODE:-pre-copy}"
	unset GODWIT_FAULT
	[[ $RC != 0 ]] || fail "exit status $RC"
	(on alpha timeout 60 "$GODWIT" settle) >settle.out 2>&1
	the_next_one_clears
	ends_here
}
for point in "files sent" "pages sent" "held"; do
	try "source_dies_at_${point// /_}" dies source "$point"
done
for point in "files made" "files taken" "mapped early" built "commit heard" "files placed" going; do
	try "destination_dies_at_${point// /_}" dies destination "$point"
done
MODE=total try destination_dies_at_files_placed_of_a_total_copy dies destination "files placed"

finish
