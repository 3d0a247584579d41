#!/bin/bash
# Memory of huge pages (MAP_HUGETLB): src/state/memory_huge.c.  The pages are root's to reserve:
# the tests do, one after the other, and give back what they took.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../migrate/lib.sh"

POOL=/sys/kernel/mm/hugepages/hugepages-2048kB

# free_pages N: there are N more than are in use.  Until the end of the test.
reserved=
free_pages() {
	local n=$(($(<$POOL/nr_hugepages) - $(<$POOL/free_hugepages) + $(<$POOL/resv_hugepages) + $1))
	echo $n 2>/dev/null >$POOL/nr_hugepages || skip "cannot reserve huge pages here"
	(($(<$POOL/nr_hugepages) == n)) || skip "this machine has no $n huge pages in one piece"
}
# When nobody uses them any more: a page in use stays.
is_given_back() { echo "$reserved" >$POOL/nr_hugepages && (($(<$POOL/nr_hugepages) == reserved)); }
give_back() {
	_sweep "$TRY_DIR"
	wait_for 20 is_given_back
}

prepare() { # USER
	[[ -n $IS_ROOT ]] || skip "needs root, to reserve huge pages"
	[[ -e $POOL ]] || skip "this kernel has no huge pages of 2 MiB"
	reserved=$(<$POOL/nr_hugepages)
	trap '[[ $BASHPID != "$$" ]] || give_back' EXIT
	become "$1"
	free_pages 13
}

begin() { # USER
	prepare "$1"
	launch "$SUBJECTS/big_hugetlb" "$CTL"
	wait_ready
}

survives() { # USER [OPTION...]
	begin "$1"
	expect 0 "$GODWIT" checkpoint "$PID" "${@:2}" -o first
	nothing_left
	ping
	expect 0 "$GODWIT" checkpoint "$PID" "${@:2}" -o second # what was written since, too
	(($(stat -c %s second) < 24 << 20)) || fail "the image has $(stat -c %s second) bytes"
	finish_off
	OUT=out2 ERR=err2 launch "$GODWIT" restart second
	ping
	verdict
}

missing() {
	begin user
	expect 0 "$GODWIT" checkpoint "$PID" --kill
	wait "$PID"
	wait_for 10 gone "$PID"
	free_pages 3
	expect 3 "$GODWIT" restart myckpt
	says 'needs 10 huge pages of 2 MiB, of which 3 are free' "^hint: .*echo $(($(<$POOL/nr_hugepages) + 7)) >"
	free_pages 13
	OUT=out2 ERR=err2 launch "$GODWIT" restart myckpt
	verdict
}

# Both hosts are this one, and have one pool.
moves() { # MODE
	prepare user
	free_pages 26
	goes_over "$1" big_hugetlb
}

try huge_pages_survive_as_user survives user
try huge_pages_survive_as_root survives root
for how in --pause=short --pause=live --incremental --compress; do
	try "huge_pages_survive_with_$how" survives user $how
done
for mode in total pre-copy post-copy; do
	try "huge_pages_move_by_$mode" moves $mode
done
try missing_huge_pages_are_refused_with_their_number missing
finish
