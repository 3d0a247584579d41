#!/bin/bash
# godwit run: the same line, again after every interruption, finishes the job.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/run.sh"

a_job_that_nobody_interrupts() {
	become user
	: >"$CTL/release"
	job -- "$SUBJECTS/lines" "$CTL"
	ended
	[[ $RC == 0 ]] || fail "exit status $RC"
	[[ $(tail -n 1 out) == ok ]] || fail "not verified"
	[[ -z $(images) ]] || fail "it left: $(images)"
}

sigterm_sigusr1_sigxcpu_mean_leave() {
	become user
	local sig old=
	for sig in TERM USR1 XCPU; do
		job -- "$SUBJECTS/lines" "$CTL"
		wait_alive "$PID" 30 has_lines $(($(wc -l <out) + 20))
		kill -"$sig" "$PID"
		ended
		[[ $RC == 85 ]] || fail "SIG$sig: exit status $RC"
		new_image "$old" || fail "SIG$sig: no new image"
		old=$(inode)
		wait_for 10 none_left
	done
	[[ ! -s err ]] || fail "it says: $(cat err)"
	: >"$CTL/release"
	job -- "$SUBJECTS/lines" "$CTL"
	ended
	[[ $RC == 0 ]] || fail "exit status $RC"
	each_once 60
}

# The kernel sends it to a stopped program when godwit run dies: no part of the first image.
sighup_before_its_first_instruction() {
	become user
	local guardian
	export GODWIT_FAULT='timers' GODWIT_FAULT_STOP=1
	job -- "$SUBJECTS/lines" "$CTL"
	unset GODWIT_FAULT GODWIT_FAULT_STOP
	wait_for 20 _guardian_stands
	guardian=$(_stopped_guardian)
	program || fail "where is the program?"
	kill -HUP "$PROGRAM"
	kill -CONT "$guardian"
	ended
	[[ $RC == 129 && -e job.ckpt && ! -s out ]] || fail "exit status $RC, $(ls), $(cat out)"
	wait_for 10 none_left
	job -- "$SUBJECTS/lines" "$CTL"
	wait_alive "$PID" 30 has_lines 3
	: >"$CTL/release"
	ended
	[[ $RC == 0 ]] || fail "exit status $RC"
}
_stopped_guardian() {
	local p comm state
	for p in $(ours); do
		{ read -r comm <"/proc/$p/comm" && state=$(awk '/^State/ { print $2 }' "/proc/$p/status"); } 2>/dev/null
		[[ $comm == godwit-guardian && $state == T ]] && echo "$p"
	done
}
_guardian_stands() { [[ -n $(_stopped_guardian) ]]; }

# Before the guardian of its restart has left: it is done all the same.
ends_as_soon_as_it_goes_on() { # THREADS
	become user
	job -- "$SUBJECTS/lines" "$CTL" "$1"
	wait_alive "$PID" 30 has_lines 3
	kill "$PID"
	ended
	[[ $RC == 85 ]] || fail "exit status $RC"
	: >"$CTL/release"
	export GODWIT_FAULT='program let go' GODWIT_FAULT_STOP=1
	job -- "$SUBJECTS/lines" "$CTL" "$1"
	unset GODWIT_FAULT GODWIT_FAULT_STOP
	ended
	local guardian
	guardian=$(_stopped_guardian)
	[[ -z $guardian ]] || kill -CONT "$guardian" # else it went with its namespace
	[[ $RC == 0 && -z $(images) ]] || fail "exit status $RC, left: $(images)"
	wait_for 10 none_left
	each_once 2
}

makes_one_at_each_interval() {
	become user
	job --every 0.05s --keep 2 -- "$SUBJECTS/lines" "$CTL"
	local i old
	for i in 1 2 3 4 5; do
		old=$(inode)
		wait_alive "$PID" 30 new_image "$old"
	done
	wait_alive "$PID" 30 test -e job.ckpt.2
	kill "$PID"
	ended
	[[ $RC == 85 && ! -e job.ckpt.3 && ! -e job.ckpt.new ]] || fail "$RC, and: $(ls)"
	for i in job.ckpt job.ckpt.1 job.ckpt.2; do expect 0 "$GODWIT" verify $i; done
	[[ $(stat -c %Y%y job.ckpt.1) > $(stat -c %Y%y job.ckpt.2) ]] || fail ".1 is the older one"
	: >"$CTL/release"
	job --keep 2 -- "$SUBJECTS/lines" "$CTL"
	ended
	[[ $RC == 0 && -z $(images) ]] || fail "$RC, and it left: $(images)"
	each_once 1
}

killed_at_each_move_of_the_older_images() {
	become user
	local i
	for i in 1 2 3 4; do # one of three, or two of them, moved
		job --every 0.03 --keep 3 -- "$SUBJECTS/lines" "$CTL"
		wait_alive "$PID" 30 has_lines $(($(wc -l <out) + 50))
		wait_alive "$PID" 30 test -e job.ckpt.3
		kill "$PID"
		ended
		[[ $RC == 85 ]] || fail "exit status $RC"
		# As who was killed in the middle would have left it.
		cp --preserve=mode,ownership job.ckpt job.ckpt.new
		((i == 1)) || mv job.ckpt.2 job.ckpt.3
		((i <= 2)) || mv job.ckpt.1 job.ckpt.2
		((i <= 3)) || mv job.ckpt job.ckpt.1
	done
	: >"$CTL/release"
	job --keep 3 -- "$SUBJECTS/lines" "$CTL"
	ended
	[[ $RC == 0 ]] || fail "exit status $RC"
	each_once 1
}

status_is_the_programs() {
	become user
	local want
	for want in 0 7 85; do
		expect $want "$GODWIT" run -o a.$want -- sh -c "exit $want"
	done
	for want in TERM KILL SEGV HUP; do
		run "$GODWIT" run -o a.$want -- sh -c "kill -$want \$\$"
		((RC == 128 + $(kill -l $want))) || fail "SIG$want: exit status $RC"
	done
	[[ ! -e a.0 && -e a.7 && -e a.85 && -e a.KILL ]] || fail "images: $(ls)"
	expect 127 "$GODWIT" run -o b -- ./nosuch
	says "cannot execute './nosuch'"
	: >file
	chmod 666 file
	expect 126 "$GODWIT" run -o b -- ./file
	[[ ! -e b && ! -e b.lock ]] || fail "it left an image, or its lock"
}

other_signals_reach_the_program() {
	become user
	job -- bash -c 'trap "echo got it; exit 3" USR2; trap "echo hup" HUP; echo ready; while :; do sleep 0.01; done'
	wait_alive "$PID" 30 has out ready
	kill -HUP "$PID"
	wait_alive "$PID" 30 has out hup
	kill -USR2 "$PID"
	ended
	[[ $RC == 3 ]] || fail "exit status $RC"
	has out 'got it' || fail "no SIGUSR2"
}

# A program with a child cannot be saved: it is told to go, and its status is not 85.
refused_at_sigterm() {
	become user
	job -- bash -c 'trap "echo bye; exit 4" TERM; echo ready; while :; do sleep 0.01 & wait; done'
	wait_alive "$PID" 30 has out ready
	local i
	# Between two children it can be saved.
	for i in 1 2 3 4 5 6 7 8 9 10; do
		kill "$PID"
		ended
		((RC == 85)) || break
		wait_for 10 none_left
		job -- bash -c 'trap "echo bye; exit 4" TERM; echo ready; while :; do sleep 0.01 & wait; done'
		wait_alive "$PID" 30 program
	done
	[[ $RC == 4 ]] || fail "exit status $RC"
	has err 'no checkpoint before leaving, the signal is passed on' || fail "nothing is said"
	has err '^hint: ' || fail "no remedy"
	[[ -e job.ckpt ]] || fail "the older image is gone"
}

refused_at_the_interval() {
	become user
	job --every 0.05 -- bash -c 'sleep 100 & echo ready; while [[ ! -e go ]]; do read -t 0.01 <> <(:); done; kill %1; wait; exit 6'
	wait_alive "$PID" 30 has err 'no checkpoint, the program goes on; tried again in'
	: >go
	ended
	[[ $RC == 6 ]] || fail "exit status $RC"
}

disk_full_at_the_interval() {
	[[ -n $IS_ROOT ]] || skip "needs root, to mount a small file system"
	own_mounts
	become user
	mkdir small && mount -t tmpfs -o size=3m,mode=777 tmpfs small || skip "cannot mount a tmpfs"
	: >out
	chmod 666 out
	as "$GODWIT" run -o small/job --every 0.05 -- "$SUBJECTS/lines" "$CTL" >>out 2>>err &
	PID=$!
	note_pid "$PID"
	wait_alive "$PID" 30 has err 'no checkpoint, the program goes on; tried again in.*No space'
	expect 0 "$GODWIT" verify small/job # the first one: 4 MiB of memory do not fit
	mount -o remount,size=100m small
	local old
	old=$(stat -c %i small/job)
	_newer() { [[ $(stat -c %i small/job) != "$old" ]]; }
	wait_alive "$PID" 30 _newer
	kill "$PID"
	ended
	[[ $RC == 85 ]] || fail "exit status $RC"
}

another_job_is_refused() {
	become user
	job -- "$SUBJECTS/lines" "$CTL"
	wait_alive "$PID" 30 has_lines 5
	kill "$PID"
	ended
	cp job.ckpt before
	expect 2 "$GODWIT" run -o job.ckpt -- "$SUBJECTS/lines" "$CTL" 1
	says 'of another job: .*lines' '^hint: '
	expect 2 "$GODWIT" run -o job.ckpt -- "$SUBJECTS/threads" "$CTL"
	cmp job.ckpt before || fail "the image was touched"
	# One that was made by hand knows the program's arguments.
	launch "$SUBJECTS/mem_anon" "$CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID" -o hand --kill
	expect 2 "$GODWIT" run -o hand -- "$SUBJECTS/lines" "$CTL"
	: >"$CTL/release"
	expect 0 "$GODWIT" run -o hand -- "$SUBJECTS/mem_anon" "$CTL"
}

a_script_is_known_again() {
	become user
	printf '#!/usr/bin/env bash\necho began >>log; until [[ -e %s/release ]]; do read -t 0.01 <> <(:); done; echo done' "$CTL" >script
	chmod 755 script
	job -- ./script a b
	wait_alive "$PID" 30 has log began
	# Between two processes of its own it can be saved.
	until kill "$PID" && ended && [[ $RC == 85 ]]; do
		wait_for 10 none_left
		job -- ./script a b
		wait_alive "$PID" 30 program
	done
	: >"$CTL/release"
	job -- ./script a b
	ended
	[[ $RC == 0 && $(cat out) == "done" && $(grep -c began log) -ge 1 ]] || fail "$RC: $(cat out log)"
}

two_at_once() {
	become user
	job -- "$SUBJECTS/lines" "$CTL"
	wait_alive "$PID" 30 has_lines 3
	local first=$PID
	job -- "$SUBJECTS/lines" "$CTL" # waits for the first
	kill -9 "$first"
	wait "$first"
	wait_alive "$PID" 30 has_lines 10
	: >"$CTL/release"
	ended
	[[ $RC == 0 ]] || fail "exit status $RC"
	each_once 0
}

damaged_image() { # WHERE: in the first page, or in the memory
	become user
	job --every 0.05 --keep 2 -- "$SUBJECTS/lines" "$CTL"
	wait_alive "$PID" 30 test -e job.ckpt.2
	kill "$PID"
	ended
	[[ $RC == 85 ]] || fail "exit status $RC"
	damage job.ckpt "$1"
	# Without older ones it never begins anew.
	local lines
	lines=$(wc -l <out)
	expect 5 "$GODWIT" run -o job.ckpt -- "$SUBJECTS/lines" "$CTL"
	says '^hint: '
	[[ -e job.ckpt && $(wc -l <out) -le $lines ]] || fail "it began anew"
	job --keep 2 -- "$SUBJECTS/lines" "$CTL"
	wait_alive "$PID" 30 has err "going on from an older image, 'job.ckpt.1'"
	wait_alive "$PID" 30 test -e job.ckpt.damaged
	: >"$CTL/release"
	ended
	[[ $RC == 0 ]] || fail "exit status $RC"
	each_once 1
	# All damaged
	rm -f "$CTL/release" out
	job --every 0.05 --keep 1 -- "$SUBJECTS/lines" "$CTL"
	wait_alive "$PID" 30 test -e job.ckpt.1
	kill "$PID"
	ended
	damage job.ckpt "$1"
	damage job.ckpt.1 "$1"
	expect 5 "$GODWIT" run -o job.ckpt --keep 1 -- "$SUBJECTS/lines" "$CTL"
	[[ -e job.ckpt && -e job.ckpt.1 ]] || fail "an image is gone"
}

output_that_the_shell_has_emptied() {
	become user
	job -- "$SUBJECTS/lines" "$CTL"
	wait_alive "$PID" 30 has_lines 20
	kill "$PID"
	ended
	: >out
	expect 3 "$GODWIT" run -o job.ckpt -- "$SUBJECTS/lines" "$CTL"
	says "shorter than it was" ">>"
}

lifeline_is_replaced() {
	become user
	job -- "$SUBJECTS/lines" "$CTL"
	wait_alive "$PID" 30 has_lines 3
	_lifeline() { # of this run; sets LIFELINE
		local p
		for p in $(cat "/proc/$PID/task/$PID/children"); do
			[[ $(cat "/proc/$p/comm" 2>/dev/null) == godwit-lifeline ]] && alive "$p" && LIFELINE=$p
		done
		[[ -n $LIFELINE && $LIFELINE != "${1-}" ]]
	}
	LIFELINE=
	wait_alive "$PID" 30 _lifeline
	local first=$LIFELINE
	kill -9 "$first"
	wait_alive "$PID" 30 _lifeline "$first"
	kill -9 "$PID"
	wait_for 20 none_left
}

try a_job_that_nobody_interrupts a_job_that_nobody_interrupts
LIMIT=120 try fifty_kills_at_random kills user 50 0
LIMIT=120 try fifty_kills_with_threads kills user 50 3
LIMIT=90 try twenty_kills_as_root kills root 20 3 --keep 2
LIMIT=90 try twenty_kills_with_new_ids kills user 20 2 --pause=copy --new-ids
LIMIT=90 try ten_kills_with_short_pauses kills user 10 2 --pause=short
LIMIT=120 try dies_at_each_step dies_at_each_step
try sigterm_sigusr1_sigxcpu_mean_leave sigterm_sigusr1_sigxcpu_mean_leave
try sighup_before_its_first_instruction sighup_before_its_first_instruction
try ends_as_soon_as_it_goes_on ends_as_soon_as_it_goes_on 0
try ends_as_soon_as_it_goes_on_with_threads ends_as_soon_as_it_goes_on 2
try makes_one_at_each_interval makes_one_at_each_interval
try killed_at_each_move_of_the_older_images killed_at_each_move_of_the_older_images
try status_is_the_programs status_is_the_programs
try other_signals_reach_the_program other_signals_reach_the_program
try refused_at_sigterm refused_at_sigterm
try refused_at_the_interval refused_at_the_interval
try disk_full_at_the_interval disk_full_at_the_interval
try another_job_is_refused another_job_is_refused
try a_script_is_known_again a_script_is_known_again
try two_at_once two_at_once
try damaged_first_page damaged_image 100
try damaged_memory damaged_image 1000000
try output_that_the_shell_has_emptied output_that_the_shell_has_emptied
try lifeline_is_replaced lifeline_is_replaced
finish
