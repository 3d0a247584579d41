#!/bin/bash
# --pause=short: the program is stopped for a snapshot alone, which neither it nor its
# parent ever meets.
. "$(dirname "$0")/../lib.sh"

begin() { # USER ARGS
	become "$1"
	launch "$SUBJECTS/snapshot" "$CTL" "${@:2}"
	wait_ready
}

# The snapshots of programs of this test (which have their arguments); one that has ended
# has no command line.
snapshots() {
	local comm line
	for comm in $(grep -lxs godwit-snapshot /proc/[0-9]*/comm); do
		line=$(tr '\0' ' ' 2>/dev/null <"${comm%comm}cmdline")
		[[ $line != *"$CTL"* ]] || echo "${comm//[^0-9]/}"
	done 2>/dev/null
}
no_snapshot() { [[ -z $(snapshots) ]]; }

# short ARGS...: a checkpoint from a snapshot, of which nothing is left.
short() {
	expect 0 "$GODWIT" checkpoint "$PID" --pause=short -v "$@"
	says 'copied from a snapshot'
	nothing_left
	wait_for 20 no_snapshot
}

restarted() { # IMAGE
	expect 0 "$GODWIT" verify "$1"
	OUT=out2 ERR=err2 launch "$GODWIT" restart "$1"
	ping
	verdict
}

goes_on() { # USER
	begin "$1"
	local i
	for i in 1 2 3 4 5; do
		short -o "image$i"
		ping
	done
	verdict
	for i in 1 3 5; do restarted "image$i"; done
}

with_threads() { # of its subject: registers, signals, waits
	become user
	launch "$SUBJECTS/$1" "$CTL"
	wait_ready
	short
	ping
	finish_off
	restarted myckpt
}

parent_sees_nothing() {
	begin user under
	local parent=$PID child i
	read -r child _ <"/proc/$PID/task/$PID/children"
	PID=$child
	for i in 1 2 3 4 5; do
		short
		ping
	done
	PID=$parent
	verdict
}

refused_so_copied() { # TEXT ARGS...
	local text=$1
	shift
	begin "$@"
	expect 0 "$GODWIT" checkpoint "$PID" --pause=short -v
	says "$text" 'stopped while its memory is copied .hint: .{10}'
	if grep -q 'from a snapshot' cmd.err; then fail "it says that there was a snapshot"; fi
	nothing_left
	no_snapshot || fail "there is a snapshot"
	ping
	verdict
}

process_1() {
	need unshare
	become root
	launch unshare --pid --fork "$SUBJECTS/snapshot" "$CTL"
	local unshare=$PID
	wait_ready
	read -r PID _ <"/proc/$PID/task/$PID/children"
	expect 0 "$GODWIT" checkpoint "$PID" --pause=short -v
	says 'is process 1' 'stopped while its memory is copied'
	no_snapshot || fail "there is a snapshot"
	ping
	PID=$unshare
	verdict
}

_has_snapshot() { SNAPSHOT=$(snapshots) && [[ -n $SNAPSHOT ]]; }
_guardian_stopped() {
	local stat
	GUARDIAN=$(sed -n 's/^TracerPid:[[:space:]]*//p' "/proc/${SNAPSHOT:-self}/status" 2>/dev/null)
	[[ -n $GUARDIAN && $GUARDIAN != 0 ]] || return 1
	read -r stat 2>/dev/null <"/proc/$GUARDIAN/stat" && [[ $stat == *"(godwit-guardian) T "* ]]
}

hold_at() { # FAULT-POINT: the program runs, the snapshot is there, the guardian stands still
	(as env GODWIT_FAULT="$1" GODWIT_FAULT_STOP=1 "$GODWIT" checkpoint "$PID" --pause=short) >cmd.out 2>cmd.err </dev/null &
	CMD=$!
	wait_for 20 _has_snapshot
	wait_for 20 _guardian_stopped
}

# Runs while the snapshot is there: what it closes is closed, and nothing else is in use.
holds_nothing() {
	begin user
	hold_at released
	nothing_left
	ping # closes a pipe
	[[ -z $(ls "/proc/$SNAPSHOT/fd") ]] || fail "the snapshot has files: $(ls -l "/proc/$SNAPSHOT/fd")"
	[[ $(readlink "/proc/$SNAPSHOT/cwd") == / ]] || fail "the snapshot is in $(readlink "/proc/$SNAPSHOT/cwd")"
	kill -CONT "$GUARDIAN"
	wait "$CMD" || fail "the checkpoint ended with $?"
	wait_for 20 no_snapshot
	ping
	finish_off
	restarted myckpt
}

guardian_killed() {
	begin user
	hold_at released
	kill -9 "$GUARDIAN" "$CMD"
	wait "$CMD" 2>/dev/null
	wait_for 20 no_snapshot
	ping
	short
	verdict
}

# It cannot be killed (it is at its exit); its program can.
program_ends() {
	begin user
	hold_at released
	finish_off
	kill -CONT "$GUARDIAN"
	wait "$CMD" || fail "the checkpoint of a program that ended meanwhile: $?"
	wait_for 20 no_snapshot
	restarted myckpt
}

full_disk() {
	need unshare
	become root
	own_mounts
	mkdir full
	mount -t tmpfs -o size=2m none full
	begin root
	expect 1 "$GODWIT" checkpoint "$PID" --pause=short -o full/image
	says 'No space left' 'hint: '
	wait_for 20 no_snapshot
	[[ -z $(ls full) ]] || fail "left behind: $(ls full)"
	ping
	verdict
}

incremental() {
	begin user
	expect 0 "$GODWIT" checkpoint "$PID" --pause=short --incremental -v -o one
	says 'copied from a snapshot'
	grep -q 'no snapshot' cmd.err && fail "$(cat cmd.err)"
	local i
	for i in two three four; do
		ping
		expect 0 "$GODWIT" checkpoint "$PID" --pause=short --incremental -v -o $i
		says 'copied from a snapshot'
		wait_for 20 no_snapshot
	done
	grep -q ', incremental;' cmd.err || tracked_here || skip "memory cannot be tracked here: $(cat cmd.err)"
	ping
	finish_off
	for i in one two four; do restarted $i; done
}
tracked_here() { ! grep -q 'cannot be tracked' cmd.err; }

try snapshot_goes_on_and_is_restarted_as_user goes_on user
try snapshot_goes_on_and_is_restarted_as_root goes_on root
for s in faulty sleepers threads_1000 sig_pending; do try "snapshot_of_$s" with_threads $s; done
try snapshot_is_not_seen_by_the_parent parent_sees_nothing
try snapshot_needs_a_process refused_so_copied 'Resource temporarily unavailable' user few
try snapshot_not_of_a_subreaper refused_so_copied 'is a child subreaper' user subreaper
try snapshot_not_into_another_namespace refused_so_copied 'unshare.CLONE_NEWPID' root namespace
try snapshot_not_of_process_1 process_1
try snapshot_holds_nothing_of_the_program holds_nothing
try snapshot_ends_with_the_guardian guardian_killed
try snapshot_outlives_the_program program_ends
try snapshot_into_a_full_disk full_disk
try snapshot_and_incremental incremental
finish
