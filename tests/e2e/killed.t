#!/bin/bash
# kill -9 of each command at random moments (faults.t has the enumerated ones): what was there
# before is whole, nothing of ours goes on, nothing is left behind, and the next one does it all.
# KILLS=1000: how many each.
. "$(dirname "$0")/../lib.sh"

KILLS=${KILLS:-12}

# strike CMD...: runs it, and kills it at a random moment of the time that it takes.
strike() {
	local began=${EPOCHREALTIME/./} cmd end
	(as "$@") </dev/null >cmd.out 2>cmd.err &
	cmd=$!
	end=$((began + RANDOM * TAKES / 32768))
	while ((${EPOCHREALTIME/./} < end)); do :; done
	kill -9 "$cmd" 2>/dev/null && HITS=$((HITS + 1))
	wait "$cmd" 2>/dev/null
	RC=$?
}

# How long it takes in all, in microseconds; it must succeed.
measure() {
	local began=${EPOCHREALTIME/./}
	expect 0 "$@"
	TAKES=$((${EPOCHREALTIME/./} - began))
	HITS=0
}

enough() {
	note "$HITS of $KILLS were killed, within $TAKES us"
	((HITS * 4 > KILLS)) || fail "only $HITS of $KILLS commands were still there to be killed"
}

# Those that work in our folder and are neither the program nor our own shells.
others() {
	local p
	for p in /proc/[0-9]*; do
		[[ $p/cwd -ef $W ]] || continue
		p=${p#/proc/}
		[[ $p == "$$" || $p == "$BASHPID" || $p == "$PPID" || $p == "${PID-}" ]] || gone "$p" || echo "$p"
	done 2>/dev/null
}
no_others() { [[ -z $(others) ]]; }
# A keeper is meant to stay.
tidy() { [[ $(mappings_of_ours) == 0 && -z $(compgen -G '*.godwit-*') ]]; }

# --- checkpoints ---

unharmed() {
	wait_for 20 _untraced "$PID"
	wait_for 20 tidy
	ping
	[[ -z $(find "/proc/$PID/fd" -lname '*userfaultfd*' 2>/dev/null) ]] || fail "a userfaultfd is left"
}

checkpoints() { # OPTION
	become user
	launch "$SUBJECTS/mem_written" "$CTL" 4 20 2
	wait_ready
	local i sum new=0 inode last=img0
	expect 0 "$GODWIT" checkpoint "$PID" $1 -o img0
	measure "$GODWIT" checkpoint "$PID" $1 -o img1
	sum=$(md5sum <img0)
	for ((i = 2; i < KILLS + 2; i++)); do
		# Where the next stands on it, it needs a name of its own.
		[[ $1 == --incremental ]] && last=img$i || last=img1
		inode=$(stat -c %i $last 2>/dev/null)
		strike "$GODWIT" checkpoint "$PID" $1 -o $last
		unharmed
		if [[ -e $last && $(stat -c %i $last) != "$inode" ]]; then
			new=$((new + 1))
			expect 0 "$GODWIT" verify $last
		fi
	done
	note "$new images were complete all the same"
	[[ $(md5sum <img0) == "$sum" ]] || fail "the older image is damaged"
	enough
	expect 0 "$GODWIT" checkpoint "$PID" $1 -o last
	[[ -e $last ]] || last=last
	revive_all last $last
}

# --- commands on images ---

images() {
	become user
	launch "$SUBJECTS/mem_written" "$CTL" 4 20 2
	wait_ready
	local i
	for i in 1 2 3; do expect 0 "$GODWIT" checkpoint "$PID" --incremental -o img$i; done
	finish_off
	PID=
	md5sum img1 img2 img3 >sums
}
images_whole() { md5sum --quiet -c sums >cmd.out 2>&1 || fail "an image is damaged: $(cat cmd.out)"; }

of_images() { # COMMAND...
	images
	local i flat
	measure "$GODWIT" "$@"
	[[ ! -e flat ]] || flat=$(md5sum <flat)
	for ((i = 0; i < KILLS; i++)); do
		strike "$GODWIT" "$@"
		images_whole
		[[ ! -e flat || $(md5sum <flat) == "$flat" ]] || fail "the flat image is damaged"
	done
	enough
	wait_for 20 no_others
	expect 0 "$GODWIT" "$@"
	[[ -z $(compgen -G '*.godwit-*') ]] || fail "left behind: $(ls)"
}

# The log has grown since: what is behind its end then is beside it, or still there.
grown_log() {
	become user
	launch "$SUBJECTS/writes_log" "$CTL" append
	wait_ready
	ping
	expect 0 "$GODWIT" checkpoint "$PID" -o img
	ping
	finish_off
	PID=
	cp log log.grown
	md5sum img >sums
	: >"$CTL/release"
	as_it_was
}
as_it_was() {
	rm -f ./*.after-checkpoint*
	cat log.grown >log
	echo ready >out
}
nothing_lost() { # WHEN
	wait_for 20 no_others
	images_whole
	# A copy that was not complete is beside a log that was not cut.
	cmp -s log log.grown || cat log log.after-checkpoint | cmp -s - log.grown || fail "lines are lost $1"
	[[ $RC != 0 ]] || [[ $(tail -n 1 out) == ok ]] || fail "the program is not right $1"
}
restarts_after_all() { # OPTION
	as_it_was
	expect 0 "$GODWIT" restart $1 img
	[[ $(tail -n 1 out) == ok ]] || fail "the program is not right"
}

restarts() { # OPTION
	grown_log
	measure "$GODWIT" restart $1 img
	local i
	for ((i = 0; i < KILLS; i++)); do
		as_it_was
		strike "$GODWIT" restart $1 img
		nothing_lost "at a random moment"
	done
	enough
	restarts_after_all $1
}

# The guardian dies at each of its steps (with `both` the command, too): a program that is not
# complete never runs.
restart_steps() { # OPTION [both]
	grown_log
	local i n
	expect 0 env GODWIT_FAULT=list "$GODWIT" restart $1 img
	n=$(grep -c '^fault point [0-9]*: ' cmd.err)
	((n >= 5)) || fail "only $n fault points"
	for ((i = 1; i <= n; i++)); do
		as_it_was
		run env GODWIT_FAULT=$i ${2:+GODWIT_FAULT_BOTH=1} "$GODWIT" restart $1 img
		nothing_lost "at point $i"
	done
	note "$n points"
	restarts_after_all $1
}

# The program is killed when its guardian has not yet seen its new threads.
in_the_middle() { # OPTION
	become user
	launch "$SUBJECTS/threads" "$CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID" -o img
	finish_off
	PID=
	_stands() {
		local p stat
		for p in $(others); do
			read -r stat 2>/dev/null <"/proc/$p/stat" && [[ $stat == *"(godwit-guardian) T "* ]] && GUARDIAN=$p && return
		done
		return 1
	}
	_its_tracee() { # the program, of which all threads have that tracer
		local p
		for p in $(others); do
			_tracer "$p"
			[[ $TRACER == "$GUARDIAN" ]] && PROGRAM=$p && return
		done
		return 1
	}
	(as env GODWIT_FAULT="threads made" GODWIT_FAULT_STOP=1 "$GODWIT" restart $1 img) </dev/null >cmd.out 2>cmd.err &
	local cmd=$!
	note_pid $cmd
	wait_for 20 _stands
	wait_for 20 _its_tracee
	kill -9 "$PROGRAM"
	kill -CONT "$GUARDIAN"
	wait_for 20 no_others
	wait "$cmd"
	RC=$?
	[[ $RC == 137 || $RC == 6 ]] || fail "exit status $RC"
	PID=
	: >"$CTL/release"
	expect 0 "$GODWIT" restart $1 img
	[[ $(tail -n 1 out) == ok ]] || fail "the program is not right"
}

for o in --pause=copy --compress --pause=live --pause=short --incremental; do
	LIMIT=$((60 + KILLS)) try "checkpoint_killed_${o#--}" checkpoints $o
done
LIMIT=$((60 + KILLS)) try verify_killed of_images verify img3
LIMIT=$((60 + KILLS)) try flatten_killed of_images flatten img3 -o flat
LIMIT=$((60 + KILLS)) try restart_killed restarts --same-ids
LIMIT=$((60 + KILLS)) try restart_with_new_ids_killed restarts --new-ids
for o in same new; do
	try "killed_when_its_threads_have_just_been_made_with_${o}_ids" in_the_middle --$o-ids
	try "restart_with_${o}_ids_dies_at_each_step" restart_steps --$o-ids
	try "restart_with_${o}_ids_and_its_guardian_die_at_each_step" restart_steps --$o-ids both
done
finish
