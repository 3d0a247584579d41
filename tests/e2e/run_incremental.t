#!/bin/bash
# godwit run --incremental: images that stand on others, and none that lacks one of them,
# whenever it is killed; the same line finishes the job.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/run.sh"

parts() { compgen -G 'job.ckpt.part-*'; }
is_complete() { expect 0 "$GODWIT" show "$1" && ! has cmd.out '^Parent'; }
stands_on_others() { [[ -e $1 ]] && expect 0 "$GODWIT" show "$1" && has cmd.out '^Parent'; }
# The next image of the job; sets OLD.
next_image() {
	OLD=$(inode)
	wait_alive "$PID" 30 new_image "$OLD"
}

# Complete ones come between, and what no image stands on any more goes.
a_chain_does_not_grow_without_end() { # OPTION...
	become user
	job --incremental --every 0.03 --keep 2 "$@" -- "$SUBJECTS/lines" "$CTL"
	local i complete=0 incremental=0
	wait_alive "$PID" 30 test -e job.ckpt.2
	for ((i = 0; i < 200 && (complete < 3 || incremental < 3); i++)); do
		next_image
		# By a name of its own, since it moves up.
		if ! ln job.ckpt seen; then continue; fi
		if is_complete seen; then complete=$((complete + 1)); else incremental=$((incremental + 1)); fi
		rm seen
		(($(parts | wc -l) <= 70)) || fail "too many: $(parts)"
	done
	note "$complete complete ones, $incremental others"
	((complete >= 3 && incremental >= 3)) || fail "$complete complete ones, $incremental others"
	kill "$PID"
	ended
	[[ $RC == 85 && ! -e job.ckpt.3 && ! -e job.ckpt.new ]] || fail "$RC, and: $(ls)"
	stands_on_others job.ckpt || is_complete job.ckpt.1 || fail "the last one does not stand on the one before"
	for i in job.ckpt job.ckpt.1 job.ckpt.2; do
		expect 0 "$GODWIT" verify $i
		[[ "$*" != *--compress* ]] || [[ $(head -c 4 $i | od -An -tx1) == *'28 b5 2f fd' ]] || fail "$i is not compressed"
		expect 0 "$GODWIT" flatten $i -o flat.$i
		expect 0 "$GODWIT" verify flat.$i
		is_complete flat.$i || fail "flat.$i is not complete"
	done
	# Killed: the next one goes on from the newest, and clears what the chain before has left.
	job --incremental --every 0.03 --keep 2 "$@" -- "$SUBJECTS/lines" "$CTL"
	for i in 1 2 3; do next_image; done
	kill -9 "$PID"
	ended
	wait_for 20 none_left
	: >"$CTL/release"
	job --keep 2 -- "$SUBJECTS/lines" "$CTL" # without: it can read them all the same
	ended
	[[ $RC == 0 && $(tail -n 1 out) == ok ]] || fail "exit status $RC"
	each_once 10
	[[ -z $(images) ]] || fail "it left: $(images)"
}

# One without: the parts go when the images that stand on them have gone.
parts_go_with_the_last_that_needs_them() {
	become user
	job --incremental --every 0.03 --keep 1 -- "$SUBJECTS/lines" "$CTL"
	wait_alive "$PID" 30 stands_on_others job.ckpt
	kill "$PID"
	ended
	[[ -n $(parts) ]] || fail "no parts: $(ls)"
	job --every 0.03 --keep 1 -- "$SUBJECTS/lines" "$CTL"
	_no_parts() { [[ -z $(parts) ]]; }
	wait_alive "$PID" 30 _no_parts
	kill "$PID"
	ended
	for i in job.ckpt job.ckpt.1; do expect 0 "$GODWIT" verify $i; done
	# Taken away by hand: it begins anew, and nothing of the old one is in the way.
	job --incremental --every 0.03 -- "$SUBJECTS/lines" "$CTL"
	wait_alive "$PID" 30 stands_on_others job.ckpt
	kill "$PID"
	ended
	rm -f job.ckpt job.ckpt.1 "$CTL/release"
	: >out
	job --incremental -- "$SUBJECTS/lines" "$CTL"
	wait_alive "$PID" 30 has_lines 4 # "ready" is one
	[[ -z $(parts) ]] || fail "parts of the old one are left: $(parts)"
	: >"$CTL/release"
	ended
	[[ $RC == 0 ]] || fail "exit status $RC"
	each_once 3
}

# Somebody else's checkpoint of the program is none that the job's stand on.
another_incremental_checkpoint_in_between() {
	become user
	job --incremental --every 0.05 -- "$SUBJECTS/lines" "$CTL"
	wait_alive "$PID" 30 stands_on_others job.ckpt
	program || fail "where is the program?"
	expect 0 "$GODWIT" checkpoint "$PROGRAM" --incremental -o theirs
	local i
	for i in 1 2 3; do next_image; done
	kill "$PID"
	ended
	[[ $RC == 85 ]] || fail "exit status $RC"
	rm theirs
	expect 0 "$GODWIT" verify job.ckpt
	: >"$CTL/release"
	job -- "$SUBJECTS/lines" "$CTL"
	ended
	[[ $RC == 0 && -z $(images) ]] || fail "exit status $RC, left: $(images)"
	each_once 3
}

# What the newest stands on is damaged: it goes on from one of the chain before.
a_damaged_part() {
	become user
	job --incremental --every 0.03 --keep 30 -- "$SUBJECTS/lines" "$CTL"
	wait_alive "$PID" 60 test -e job.ckpt.30
	wait_alive "$PID" 30 stands_on_others job.ckpt
	kill "$PID"
	ended
	[[ $RC == 85 ]] || fail "exit status $RC"
	local below=job.ckpt i
	while expect 0 "$GODWIT" show "$below" && has cmd.out '^Parent'; do
		below=$(sed -n 's/^  *image  *\(job.ckpt.part-[0-9]*\)$/\1/p' cmd.out)
		[[ -e $below ]] || fail "where is its parent? $(cat cmd.out)"
	done
	damage "$below" 100
	job --keep 30 -- "$SUBJECTS/lines" "$CTL"
	wait_alive "$PID" 30 has err "going on from an older image, 'job.ckpt.[0-9]*'"
	: >"$CTL/release"
	ended
	[[ $RC == 0 ]] || fail "exit status $RC"
	each_once 1
}

LIMIT=120 try thirty_kills_incremental kills user 30 2 --incremental
LIMIT=120 try twenty_kills_incremental_compressed kills user 20 0 --incremental --compress --keep 2
LIMIT=120 try dies_at_each_step_incremental dies_at_each_step --incremental
LIMIT=90 try a_chain_does_not_grow_without_end a_chain_does_not_grow_without_end
LIMIT=90 try a_compressed_chain_does_not_grow_without_end a_chain_does_not_grow_without_end --compress --pause=short
try parts_go_with_the_last_that_needs_them parts_go_with_the_last_that_needs_them
try another_incremental_checkpoint_in_between another_incremental_checkpoint_in_between
LIMIT=90 try a_damaged_part a_damaged_part
finish
