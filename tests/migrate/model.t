#!/bin/bash
# The model of the handover, docs/handover.pml, checked by spin; and that spin finds what
# goes wrong when a step of it is left out.
. "$(dirname "$0")/../lib.sh"

run_spin() { # DEFINE...
	need spin gcc
	cp "$TOP/docs/handover.pml" .
	timeout 300 spin "$@" -a handover.pml >spin.out 2>&1 || fail "$(cat spin.out)"
	timeout 300 gcc -O1 -w -DSAFETY -o pan pan.c || fail "the verifier does not compile"
	timeout 300 ./pan -m100000 >pan.out 2>&1
	cat pan.out
	grep -q 'errors:' pan.out || fail "spin did not end"
	! grep -q 'max search depth too small' pan.out || fail "not all was searched"
}

holds() {
	run_spin
	grep -q 'errors: 0$' pan.out || fail "exactly one copy does not hold"
}
finds() {
	run_spin "-D$1"
	grep -Eq 'errors: [1-9]' pan.out || fail "the model does not need this step"
	grep -q 'assertion violated' pan.out || fail "another fault than two copies, or none"
}
try handover_leaves_exactly_one_copy holds
try without_the_group_stop_two_copies_run finds WITHOUT_HOLD
try without_the_look_at_the_journal_two_copies_run finds WITHOUT_LOOK
try without_the_tombstone_two_copies_run finds WITHOUT_TOMBSTONE
try resuming_when_the_connection_is_cut_two_copies_run finds RESUME_WHEN_CUT
finish
