#!/bin/bash
# --incremental: an image with what was written since its parent; the chain is restarted,
# flattened, and refused where a link is missing or another one.
. "$(dirname "$0")/../lib.sh"

begin() { # USER ARGS
	become "$1"
	shift
	launch "$SUBJECTS/mem_written" "$CTL" "$@"
	wait_ready
}

keeper() { # the keeper of PID, by the one socket that has its name
	grep -oa "@godwit-keeper-[0-9]*-$PID-[0-9]*" /proc/net/unix | head -n 1
}

_no_keeper() { [[ -z $(keeper) ]]; }

# save IMAGE [complete|incremental [ARGS]]
save() {
	local want=${2-}
	expect 0 "$GODWIT" checkpoint "$PID" --incremental -v -o "$1" "${@:3}"
	[[ -z $want ]] || has cmd.err "is saved in.*$want;" || fail "$1 is not $want: $(cat cmd.err)"
	nothing_left
	ping
}

revive() { # IMAGE
	expect 0 "$GODWIT" verify "$1"
	OUT=out2 ERR=err2 launch "$GODWIT" restart "$1"
	ping
	verdict
}

chain_of() { # USER CHURN ARGS
	local who=$1 churn=$2 i small
	shift 2
	begin "$who" 32 20 "$churn"
	save 1.ckpt complete "$@"
	has cmd.err 'complete image' || fail "it does not say that the image is complete"
	for i in 2 3 4; do save $i.ckpt incremental "$@"; done
	small=$(stat -c %s 3.ckpt)
	((small < 16 << 20)) || fail "the third image has $small bytes"
	finish_off
	wait_for 10 _no_keeper
	for i in 1 2 4; do revive $i.ckpt; done
}

flattened() {
	begin user 16 20 10
	local i
	for i in 1 2 3 4; do save $i.ckpt; done
	finish_off
	expect 0 "$GODWIT" flatten 4.ckpt -o flat
	rm [1-4].ckpt
	expect 0 "$GODWIT" verify flat
	expect 0 "$GODWIT" show flat
	! has cmd.out 'Parent' || fail "it still has a parent"
	revive flat
}

flattened_in_place() {
	begin user 16 20 2
	save 1.ckpt
	save 2.ckpt
	finish_off
	expect 0 "$GODWIT" flatten 2.ckpt -o 2.ckpt
	rm 1.ckpt
	revive 2.ckpt
}

refused_chains() {
	begin user 16 20 2
	local i
	for i in 1 2 3; do save $i.ckpt; done
	finish_off
	expect 0 "$GODWIT" verify 3.ckpt
	prints 'on 2 others'
	expect 0 "$GODWIT" show 3.ckpt
	prints '^Parent' 'image +2.ckpt'
	expect 0 "$GODWIT" show --json 3.ckpt
	prints '"parent"' '"images_below": ?2'

	mv 1.ckpt away # missing
	for i in "restart" "verify" "flatten -o flat"; do
		# shellcheck disable=SC2086  # a command and its options
		expect 5 "$GODWIT" $i 3.ckpt
		says '2.ckpt. needs its parent .1.ckpt., which is missing' '^hint: .*1.ckpt'
	done
	[[ ! -e flat ]] || fail "something was written"

	run cp 2.ckpt 1.ckpt # a foreign one
	expect 5 "$GODWIT" restart 3.ckpt
	says '1.ckpt. is not the image it was' '^hint: '

	rm -f 1.ckpt
	run cp away 1.ckpt # changed: one bit of its memory
	printf '\001' | dd of=1.ckpt bs=1 seek=$((4096 + 4096 * 2048 + 17)) conv=notrunc status=none
	expect 5 "$GODWIT" verify 3.ckpt
	says '1.ckpt' 'checksum'
	run "$GODWIT" restart 3.ckpt
	[[ $RC == 5 ]] || fail "a restart from a changed parent ends with $RC"
	says 'checksum'

	run cp away 1.ckpt # the same again
	revive 3.ckpt
}

moved() { # all together to another place: a parent is looked for beside its child first
	begin user 16 20 2
	save 1.ckpt
	save 2.ckpt
	finish_off
	mkdir there
	mv [12].ckpt there
	revive there/2.ckpt
	mv there/1.ckpt . # where it was when it was made
	revive there/2.ckpt
}

own_parent_is_not_replaced() {
	begin user 16 20 2
	save 1.ckpt
	save 2.ckpt
	local i
	for i in 1 2; do
		expect 1 "$GODWIT" checkpoint "$PID" --incremental -o $i.ckpt
		says "$i.ckpt. would be replaced" '^hint: .*-o'
	done
	save 3.ckpt incremental # nothing was lost by that
	finish_off
	revive 3.ckpt
}

keeper_killed() {
	begin user 16 20 2
	save 1.ckpt complete
	local p inode
	# Others may be at work for the same user: it is the one that has this socket.
	inode=$(grep -a "@godwit-keeper-[0-9]*-$PID-" /proc/net/unix | awk '{print $7}' | head -n 1)
	p=$(pgrep -x godwit-keeper | while read -r p; do
		find "/proc/$p/fd" -lname "socket:\[$inode\]" -printf "$p\n" 2>/dev/null; done | head -n 1)
	[[ -n $p ]] || fail "there is no keeper"
	kill -9 "$p"
	wait_for 10 _no_keeper
	ping
	save 2.ckpt complete
	has cmd.err 'complete image: nothing is known' || fail "it does not say why"
	save 3.ckpt incremental
	finish_off
	rm 1.ckpt
	revive 3.ckpt
}

lost_parent() {
	begin user 16 20 2
	save 1.ckpt
	rm 1.ckpt
	save 2.ckpt complete
	has cmd.err 'complete image: .*1.ckpt' || fail "it does not say why"
	run cp 2.ckpt other
	save 3.ckpt incremental
	mv other 2.ckpt # the same bytes: the same image
	save 4.ckpt incremental
	finish_off
	revive 4.ckpt
}

disk_full() { # what failed may have been armed: the next one is complete
	[[ -n $IS_ROOT ]] || skip "needs root, to mount"
	own_mounts
	begin user 16 20 2
	save 1.ckpt complete
	mkdir small
	mount -t tmpfs -o size=64k,mode=777 none small || skip "cannot mount here"
	expect 1 "$GODWIT" checkpoint "$PID" --incremental -o small/2.ckpt
	says 'small/2.ckpt' '^hint: '
	ping
	save 3.ckpt complete
	finish_off
	revive 3.ckpt
}

live_ends_it() { # one tracker at a time
	begin user 16 20 2
	save 1.ckpt complete
	expect 0 "$GODWIT" checkpoint "$PID" --pause=live -v -o live.ckpt
	has cmd.err 'copied in [1-9]' || fail "it was not copied while it ran"
	_no_keeper || fail "the keeper is still there"
	save 2.ckpt complete
	finish_off
	revive live.ckpt
}

ends_with_the_program() {
	begin user 16 20 2
	save 1.ckpt
	[[ -n $(keeper) ]] || fail "there is no keeper"
	kill -9 "$PID"
	wait "$PID" 2>/dev/null
	wait_for 10 _no_keeper
}

each_point() { # BOTH
	begin user 4 20 2
	local n i
	save 0.ckpt
	(as env GODWIT_FAULT=list "$GODWIT" checkpoint "$PID" --incremental -o list.ckpt) </dev/null >cmd.out 2>points ||
		fail "$(cat points)"
	n=$(grep -c '^fault point [0-9]*: ' points)
	((n >= 10)) || fail "only $n fault points"
	for ((i = 1; i <= n; i++)); do
		run env GODWIT_FAULT=$i ${1:+GODWIT_FAULT_BOTH=1} "$GODWIT" checkpoint "$PID" --incremental -o "dead$i"
		[[ $RC == [01] || $RC == 137 ]] || fail "exit status $RC at point $i"
		wait_for 20 _untraced "$PID"
		[[ -z $(find "/proc/$PID/fd" -lname '*userfaultfd*' 2>/dev/null) ]] || fail "a userfaultfd is left ($i)"
		ping
		# What it left must not be believed, unless it is whole.
		save "next$i"
		expect 0 "$GODWIT" verify "next$i"
	done
	finish_off
	revive "next$n"
	revive "next$((n / 2))"
}

LIMIT=120 try chain_of_four_as_user chain_of user 2
LIMIT=120 try chain_of_four_as_root chain_of root 2
LIMIT=120 try chain_while_mappings_come_and_go chain_of user 20
LIMIT=120 try chain_of_live_images chain_of user 2 --pause=live
LIMIT=120 try flattened_chain flattened
LIMIT=120 try flattened_in_place flattened_in_place
LIMIT=120 try missing_foreign_and_changed_parents_are_refused refused_chains
LIMIT=120 try chain_that_was_moved moved
LIMIT=120 try parent_is_not_replaced own_parent_is_not_replaced
LIMIT=120 try keeper_killed_gives_a_complete_image keeper_killed
LIMIT=120 try lost_parent_gives_a_complete_image lost_parent
LIMIT=120 try full_disk_gives_a_complete_image disk_full
LIMIT=120 try live_checkpoint_ends_the_tracking live_ends_it
try keeper_ends_with_the_program ends_with_the_program
LIMIT=300 try incremental_killed_at_each_step each_point ""
LIMIT=300 try incremental_and_command_killed_at_each_step each_point 1
finish
