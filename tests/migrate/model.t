#!/bin/bash
# The models of the handover and of post-copy, docs/handover.pml and postcopy.pml, checked by
# spin; and that spin finds what goes wrong when a step of them is left out.
. "$(dirname "$0")/../lib.sh"

verify() { # MODEL, options of spin, of gcc, and of the verifier (each one word list)
	need spin gcc
	cp "$TOP/docs/$1.pml" .
	# shellcheck disable=SC2086
	timeout 300 spin $2 -a "$1.pml" >spin.out 2>&1 || fail "$(cat spin.out)"
	# shellcheck disable=SC2086
	timeout 300 gcc -O1 -w $3 -o pan pan.c || fail "the verifier does not compile"
	# shellcheck disable=SC2086
	timeout 300 ./pan $4 >pan.out 2>&1
	cat pan.out
	grep -q 'errors:' pan.out || fail "spin did not end"
	! grep -q 'max search depth too small' pan.out || fail "not all was searched"
}
run_spin() { # DEFINE...
	verify handover "$*" -DSAFETY -m100000
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

# Post-copy.  What is asserted; and that it comes to an end, when each process that can go on
# does (-f).
asserted() { # DEFINE...
	verify postcopy "$*" "-DSAFETY -DNOCLAIM -DCOLLAPSE" "-E -m100000"
}
ends() { # DEFINE...
	verify postcopy "-DTROUBLES=2 $*" "-DNFAIR=3 -DCOLLAPSE" "-a -f -m1000000"
}
postcopy_holds() {
	asserted
	grep -q 'errors: 0$' pan.out || fail "a copy too many, or a page is lost"
	sed -n '/unreached in proctype source/{n;p}' pan.out | grep -q '(0 of' ||
		fail "the source does not get everywhere: what is checked there says nothing"
}
postcopy_ends() {
	ends
	grep -q 'errors: 0$' pan.out || fail "it is never settled"
}
postcopy_finds() { # DEFINE ASSERTION
	asserted "-D$1"
	grep -Eq 'errors: [1-9]' pan.out || fail "the model does not need this step"
	grep -q "assertion violated $2 " pan.out || fail "another fault than that"
}
postcopy_hangs() { # DEFINE
	ends "-D$1"
	grep -Eq 'errors: [1-9]' pan.out || fail "the model does not need this step"
	grep -q 'acceptance cycle' pan.out || fail "another fault than no end"
}
try handover_leaves_exactly_one_copy holds
try without_the_group_stop_two_copies_run finds WITHOUT_HOLD
try without_the_look_at_the_journal_two_copies_run finds WITHOUT_LOOK
try without_the_tombstone_two_copies_run finds WITHOUT_TOMBSTONE
try resuming_when_the_connection_is_cut_two_copies_run finds RESUME_WHEN_CUT
try postcopy_loses_no_page postcopy_holds
try postcopy_is_settled_in_the_end postcopy_ends
too_early='(((page\[0].*' # page 0 and page 1 are there, or the program has ended
try postcopy_without_the_keeper_loses_pages postcopy_finds WITHOUT_KEEPER both
try postcopy_without_another_keeper_loses_pages postcopy_finds WITHOUT_ANOTHER both
try postcopy_ending_the_store_at_done_is_too_early postcopy_finds END_AT_COMMIT "$too_early"
try postcopy_with_taken_for_lacks_ends_the_store_too_early postcopy_finds WITHOUT_LACKS "$too_early"
try postcopy_putting_a_page_again_undoes_what_was_written postcopy_finds PUT_AGAIN 0
try postcopy_without_want_on_a_new_connection_never_ends postcopy_hangs WITHOUT_WANT
finish
