#!/bin/bash
# System V shared memory that is kept when the program is cut: it must still be there,
# and nobody may have it.
. "$(dirname "$0")/../lib.sh"

cut_here() {
	become user
	launch "$SUBJECTS/sysv_shm" "$CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID" "$@"
	NUMBER=$(ipcs -m | awk -v key="$(printf '0x%08x' $((0x60d00000 + PID)))" '$1 == key { print $2 }')
	[[ -n $NUMBER ]] || fail "there is no segment"
}

cut_and_killed() {
	cut_here --kill
	wait "$PID"
}

refused() { # WORDS
	expect 3 "$GODWIT" restart myckpt
	says "System V shared memory $NUMBER of the program $1" '^hint: .{20}'
}

restarted() {
	OUT=out2 ERR=err2 launch "$GODWIT" restart myckpt
	ping
	verdict
	[[ -z $(ipcs -m | awk -v n="$NUMBER" '$2 == n') ]] || fail "the segment is left"
}

is_in_use() {
	cut_here
	refused 'is in use'
	ping
	finish_off
	restarted
}

is_removed() {
	cut_and_killed
	(as ipcrm -m "$NUMBER")
	refused 'is not there'
}

# Another one has its number and its size, as after a restart of the machine.
is_another() {
	[[ -n $IS_ROOT ]] || skip "needs root, to choose a number"
	[[ -w /proc/sys/kernel/shm_next_id ]] || skip_hardware "this kernel lets nobody choose a number"
	[[ -n ${OWN_IPC-} ]] || { OWN_IPC=1 unshare -i bash "$SCRIPT"; exit; }
	cut_and_killed
	(as ipcrm -m "$NUMBER")
	echo "$NUMBER" >/proc/sys/kernel/shm_next_id
	run ipcmk -M 70001
	prints ": $NUMBER\$"
	refused 'is not there'
}

# Written to by another program after the cut: it is as it was then.
is_written_to() {
	cut_and_killed
	cat >scribble.py <<-'END'
		import ctypes, sys
		libc = ctypes.CDLL(None, use_errno=True)
		libc.shmat.restype = ctypes.c_void_p
		at = libc.shmat(int(sys.argv[1]), None, 0)
		assert at != ctypes.c_void_p(-1).value
		ctypes.memset(at, 0x5a, 70001)
	END
	chmod 644 scribble.py
	(as /usr/bin/python3 scribble.py "$NUMBER") || fail "it cannot be written to"
	restarted
}

is_explained() {
	cut_and_killed
	expect 0 "$GODWIT" restart --explain myckpt
	prints "shmat\($NUMBER, "
	restarted
}

try a_segment_in_use_is_not_taken is_in_use
try a_segment_that_is_gone_is_missed is_removed
try another_segment_is_told_from_it is_another
try a_segment_is_as_it_was_at_the_cut is_written_to
try explain_shows_the_segment is_explained
finish
