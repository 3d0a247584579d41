#!/bin/bash
# A disk that fails: EIO, ENOSPC, EINTR and short transfers at the calls that godwit makes on
# files.  The command says what could not be done, and to which file; the program goes on
# unharmed; the older image is whole; nothing is left behind.  Where it says that all went
# well, the new image is whole, and restarts.
#
# faulty/godwit is godwit with tests/faulty/inject.c between it and the C library.  Each call
# site fails at least once; FAULTS_FULL=1: each call.
. "$(dirname "$0")/../lib.sh"

FAULTY=$B/faulty/godwit

# faulty WHAT CMD...: as run; CALL is the call that failed, empty if none was reached.
faulty() {
	rm -f calls
	run env GODWIT_INJECT="$1" GODWIT_INJECT_LOG="$W/calls" "$FAULTY" "${@:2}"
	CALL=
	[[ ! -e calls ]] || read -r CALL <calls
}

# points KIND CMD...: in POINTS, the numbers of the calls that are to fail.
points() {
	local kind=$1 n=0 line
	local -A seen=()
	POINTS=()
	shift
	faulty "$kind:0:EIO" "$@"
	[[ -s calls ]] || fail "no call of kind $kind"
	while read -r line; do
		n=$((n + 1))
		line=${line//[0-9]/}
		[[ -z ${FAULTS_FULL-} && -n ${seen[$line]-} ]] || POINTS+=("$n")
		seen[$line]=1
	done <calls
	note "$kind: ${#POINTS[@]} of $n calls"
	rm -f calls
}

# What failed is said, with the name of the file or of the image; and nothing of it crashed.
told() { # NAME
	local path=${CALL#* }
	path=${path% (deleted)}
	[[ $RC == [1-6] ]] || fail "exit status $RC after $CALL"
	has cmd.err '^godwit: ' || fail "it does not say what failed: $CALL"
	[[ $path != /proc/* ]] || return 0 # the process is named, and cannot fail so but by its end
	grep -qF -e "'$1'" -e "${path##*/}" -e "$1" cmd.err || fail "no file is named: $CALL: $(cat cmd.err)"
	has cmd.err "${2-(Input/output error|No space left|Interrupted)}" || fail "no reason: $CALL: $(cat cmd.err)"
}

nothing_left_in_the_folder() {
	local left
	left=$(find . -type f ! -name 'cmd.*' ! -name out ! -name err ! -name calls ! -name 'img*' ! -name 'file-*')
	[[ -z $left ]] || fail "left behind after $CALL: $left"
}

# Unharmed: nobody traces it, nothing of ours is in it, it computes.
unharmed() {
	wait_for 20 _untraced "$PID"
	ping
	[[ $(mappings_of_ours) == 0 ]] || fail "a mapping of ours is left after $CALL"
	[[ -z $(find "/proc/$PID/fd" -lname '*userfaultfd*' 2>/dev/null) ]] || fail "a userfaultfd is left after $CALL"
	wait_for 20 nothing_left_in_the_folder
}

# Calls whose failure loses nothing: a lock for who tidies up; the end of a file that is synced.
may_fail() { [[ $CALL == flock\ * || $CALL == close\ * || $CALL == fchmod\ * ]]; }

# An image below is looked for at two names, either of which will do.
other_name_will_do() { [[ $CALL != */"$NEWEST" ]] && OTHERS=$((${OTHERS-0} + 1)) && ((OTHERS <= 20)); }

checkpoints() { # KIND WHAT OPTION...
	become user
	local kind=$1 what=$2 i sum good=() n=0
	shift 2
	launch "$SUBJECTS/mem_written" "$CTL" 4 20 2
	wait_ready
	local -A revived=()
	if [[ "$*" == *incremental* ]]; then # (the first is complete)
		expect 0 "$GODWIT" checkpoint "$PID" "$@" -o img0
	fi
	points "$kind" checkpoint "$PID" "$@" -o img
	sum=$(md5sum <img)
	for i in "${POINTS[@]}"; do
		if [[ "$*" == *incremental* ]]; then # each on one that is there, by a name of its own
			rm -f img2
			expect 0 "$GODWIT" checkpoint "$PID" "$@" -o "img.b$i"
		fi
		faulty "$kind:$i:$what" checkpoint "$PID" "$@" -o img2
		[[ -n $CALL ]] || continue
		n=$((n + 1))
		if [[ $RC != 0 ]]; then
			told img2
			# In place, but nobody knows whether its name lasts.
			[[ ! -e img2 ]] || expect 0 "$GODWIT" verify img2
			rm -f img2
		else
			[[ $kind != write && $kind != space ]] || may_fail || fail "exit status 0 after $CALL"
			expect 0 "$GODWIT" verify img2
			if [[ -z ${revived[${CALL//[0-9]/}]-} ]]; then
				revived[${CALL//[0-9]/}]=1
				mv img2 "img.$i"
				good+=("img.$i")
			fi
		fi
		[[ $(md5sum <img) == "$sum" ]] || fail "the older image is damaged after $CALL"
		unharmed
	done
	note "$n calls failed, ${#good[@]} images to be restarted"
	((n * 3 > ${#POINTS[@]})) || fail "only $n of ${#POINTS[@]} calls were reached"
	expect 0 "$GODWIT" checkpoint "$PID" "$@" -o imgn
	expect 0 "$GODWIT" verify imgn
	revive_all imgn "${good[@]}"
}

# --- images are read ---

# Three images that stand on each other: 1.ckpt ... 3.ckpt; plain: 1.ckpt alone.
make_images() { # OPTION...
	become user
	launch "$SUBJECTS/mem_written" "$CTL" 4 20 2
	wait_ready
	local i
	for i in 1 2 3; do
		expect 0 "$GODWIT" checkpoint "$PID" "$@" -o img$i
		[[ "$*" == *incremental* ]] || break
	done
	NEWEST=img$i
	finish_off
	md5sum img* >sums
}
images_whole() { md5sum --quiet -c sums >cmd.out 2>&1 || fail "an image was damaged after $CALL: $(cat cmd.out)"; }

verifies() { # OPTION...
	local i n=0
	make_images "$@"
	points read verify "$NEWEST"
	for i in "${POINTS[@]}"; do
		faulty "read:$i:EIO" verify "$NEWEST"
		[[ -n $CALL ]] || continue
		n=$((n + 1))
		if ((RC)); then told "$NEWEST"; else other_name_will_do || fail "said to be good after $CALL"; fi
	done
	((n * 2 > ${#POINTS[@]})) || fail "only $n calls were reached"
	faulty "data:1+:short" verify "$NEWEST"
	((RC == 0)) || fail "short reads: exit status $RC"
}

flattens() { # KIND WHAT
	local kind=$1 what=$2 i n=0
	make_images --incremental
	expect 0 "$GODWIT" flatten "$NEWEST" -o flat
	local sum
	sum=$(md5sum <flat)
	points "$kind" flatten "$NEWEST" -o flat
	for i in "${POINTS[@]}"; do
		faulty "$kind:$i:$what" flatten "$NEWEST" -o flat
		[[ -n $CALL ]] || continue
		n=$((n + 1))
		if ((RC)); then told flat; else may_fail || other_name_will_do || fail "exit status 0 after $CALL"; fi
		[[ $(md5sum <flat) == "$sum" ]] || { expect 0 "$GODWIT" verify flat; sum=$(md5sum <flat); }
		[[ -z $(find . -name '*.godwit-*') ]] || fail "left behind after $CALL: $(ls)"
		images_whole
	done
	((n * 2 > ${#POINTS[@]})) || fail "only $n calls were reached"
	revive_flat
}
revive_flat() {
	echo ready >out
	: >"$CTL/release"
	expect 0 "$GODWIT" restart flat
	[[ $(tail -n 1 out) == ok ]] || fail "the flat image does not say ok"
}

# --- restart: the program is right, or there is none.  Its log has grown, and is cut back. ---

grown() { # as it was when the program had been killed
	rm -f log.after-checkpoint* out.after-checkpoint*
	cat log.grown >log
	echo ready >out
}

restarts() { # KIND WHAT OPTION...
	become user
	local kind=$1 what=$2 i n=0 right=0
	shift 2
	launch "$SUBJECTS/writes_log" "$CTL" append
	wait_ready
	ping
	expect 0 "$GODWIT" checkpoint "$PID" "$@" -o img
	local sum
	sum=$(md5sum <img)
	ping
	finish_off
	cp log log.grown
	: >"$CTL/release"
	grown
	points "$kind" restart img
	for i in "${POINTS[@]}"; do
		grown
		faulty "$kind:$i:$what" restart img
		[[ -n $CALL ]] || continue
		n=$((n + 1))
		if [[ $RC == 0 ]]; then
			[[ $(tail -n 1 out) == ok ]] || fail "the program is not right after $CALL"
			right=$((right + 1))
			note "went well: $CALL"
		else
			! has out '^ok$|^[^r]' || fail "the program ran after $CALL: $(cat out)"
			told img
		fi
		# Whole, or its end beside it.
		cat log log.after-checkpoint 2>/dev/null | cmp -s - log.grown || [[ $RC == 0 ]] ||
			fail "lines are lost after $CALL: $(head -n 50 log log.after* | cat)"
		cmp -s log log.grown || [[ -e log.after-checkpoint ]] || fail "the end of the log is lost after $CALL"
		! cmp -s log log.grown || [[ ! -e log.after-checkpoint ]] || fail "a second copy of the log's end is left after $CALL"
		[[ $(md5sum <img) == "$sum" ]] || fail "the image is damaged after $CALL"
		[[ -z $(pgrep -f "$SUBJECTS/writes_log $CTL") ]] || wait_for 20 none_runs
	done
	note "$n calls failed, $right times the program was right all the same"
	((n * 2 > ${#POINTS[@]})) || fail "only $n calls were reached"
}
none_runs() { [[ -z $(pgrep -f "$SUBJECTS/writes_log $CTL") ]]; }

# --- short transfers, and signals: no errors ---

goes_through() { # COMMAND...: with every call short or interrupted once, in turn
	local kind
	for kind in data:1+:short data:1:EINTR data:2:EINTR data:7:EINTR; do
		faulty $kind "$@"
		[[ $RC == 0 ]] || fail "exit status $RC with $kind: $*"
	done
	faulty data:1+:short "$@"
	[[ -n $CALL && $RC == 0 ]] || fail "exit status $RC: $*"
}

short_transfers() { # OPTION...
	become user
	launch "$SUBJECTS/mem_written" "$CTL" 4 20 2
	wait_ready
	[[ "$*" != *incremental* ]] || expect 0 "$GODWIT" checkpoint "$PID" "$@" -o img0
	# The last of them is kept: each image of a chain has a name of its own.
	local kind i=0 last
	for kind in data:1:EINTR data:2:EINTR data:7:EINTR data:20:EINTR data:1+:short; do
		i=$((i + 1)) last=img$i
		faulty $kind checkpoint "$PID" "$@" -o $last
		[[ $RC == 0 ]] || fail "exit status $RC with $kind"
		expect 0 "$GODWIT" verify $last
	done
	[[ -n $CALL ]] || fail "no call was short"
	unharmed
	goes_through verify $last
	goes_through flatten $last -o img.flat
	[[ "$*" != *--pause=copy* ]] || cmp $last img.flat || fail "the flat one is another"
	finish_off
	: >"$CTL/release"
	for i in $last img.flat; do
		echo ready >out
		goes_through restart $i
		[[ $(tail -n 1 out) == ok ]] || fail "$i does not say ok"
	done
}

# --- godwit run: whatever fails, the same line finishes the job ---

job_errors() { # KIND WHAT OPTION...
	become user
	local kind=$1 what=$2 i n=0 lines plain=0
	set -- run -o img --keep 1 --every 0.05 "${@:3}" -- "$SUBJECTS/lines" "$CTL"
	: >out
	chmod 666 out
	# A job with some images, one of them an older one's, and a stop; twice.
	for i in 1 2; do
		rm -f calls
		job "$kind:0:EIO" "$@"
		[[ $RC == 85 ]] || fail "exit status $RC without a fault"
	done
	local -A seen=()
	POINTS=()
	while read -r lines; do
		plain=$((plain + 1)) lines=${lines//[0-9]/}
		((plain < 400)) || break
		[[ -z ${FAULTS_FULL-} && -n ${seen[$lines]-} ]] || POINTS+=("$plain")
		seen[$lines]=1
	done <calls
	note "$kind: ${#POINTS[@]} of $plain calls"
	for i in "${POINTS[@]}"; do
		rm -f calls
		CALL=
		job "$kind:$i:$what" "$@"
		[[ ! -e calls ]] || read -r CALL <calls
		[[ -n $CALL ]] || continue
		n=$((n + 1))
		case $RC in
		85 | 143) ;; # 143: it was told to go, and the older image stands
		*)	told img ;;
		esac
		[[ -e img || -e img.1 || -e img.new ]] || fail "no image is left after $CALL"
	done
	note "$n calls failed"
	((n * 2 > ${#POINTS[@]})) || fail "only $n calls were reached"
	: >"$CTL/release"
	# If it must be, from the image before: that is its own business.
	run "$GODWIT" "$@"
	((RC == 0)) || fail "the last round: exit status $RC"
	cat cmd.out >>out
	awk '/^[0-9]+$/ && $1 != ++n { print "line " NR ": " $1 " instead of " n; exit 1 }' out || fail "the output is not 1, 2, 3, ..."
	[[ $(tail -n 1 out) == ok ]] || fail "not verified"
	[[ -z $(compgen -G 'img*') ]] || fail "left behind: $(ls)"
}
# job WHAT COMMAND...: when it has written some lines, and images if it does: SIGTERM, as of a batch
# system.  Its stderr is a pipe, since a file of the program's would be cut back.
job() {
	local before inode
	before=$(wc -l <out) inode=$(stat -c %i img 2>/dev/null)
	: >cmd.err
	exec 7> >(exec cat >>cmd.err)
	as env GODWIT_INJECT="$1" GODWIT_INJECT_LOG="$W/calls" "$FAULTY" "${@:2}" </dev/null >>out 2>&7 7>&- &
	PID=$!
	exec 7>&-
	note_pid "$PID"
	_moved_on() { ! alive "$PID" || { (($(wc -l <out) > before + 5)) && [[ $(stat -c %i img 2>/dev/null) != "$inode" || -s cmd.err ]]; }; }
	wait_for 30 _moved_on
	kill "$PID" 2>/dev/null
	wait "$PID"
	RC=$?
	wait_for 20 nobody_here
}
nobody_here() {
	local p
	for p in /proc/[0-9]*; do
		[[ $p/cwd -ef $W ]] || continue
		p=${p#/proc/}
		[[ $p == "$$" || $p == "$BASHPID" || $p == "$PPID" ]] || gone "$p" || return 1
	done 2>/dev/null
	return 0
}

try_full() { [[ -z ${FAULTS_FULL-} ]] || LIMIT=120 try "$@"; }

for o in --pause=copy --compress --pause=live --pause=short --incremental; do
	try "checkpoint_write_errors_${o#--}" checkpoints write EIO $o
done
try checkpoint_disk_full checkpoints space ENOSPC --pause=copy
try checkpoint_read_errors checkpoints read EIO --pause=copy
for o in --compress --pause=live --pause=short --incremental; do
	try_full "checkpoint_disk_full_${o#--}" checkpoints space ENOSPC $o
	try_full "checkpoint_read_errors_${o#--}" checkpoints read EIO $o
	try_full "checkpoint_proc_errors_${o#--}" checkpoints proc EIO $o
done
try_full checkpoint_proc_errors checkpoints proc EIO --pause=copy
for o in --pause=copy --compress --incremental; do
	try "verify_read_errors_${o#--}" verifies $o
done
try flatten_write_errors flattens write EIO
try flatten_read_errors flattens read EIO
try restart_read_errors restarts read EIO
try restart_read_errors_compressed restarts read EIO --compress
try restart_write_errors restarts write EIO
for o in --pause=copy --compress --pause=live --pause=short --incremental; do
	try "short_transfers_${o#--}" short_transfers $o
done
try run_write_errors job_errors write EIO
try run_disk_full job_errors space ENOSPC
try run_read_errors job_errors read EIO
LIMIT=120 try run_write_errors_incremental job_errors write EIO --incremental
try_full run_read_errors_incremental job_errors read EIO --incremental
finish
