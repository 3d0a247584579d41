#!/bin/bash
# --compress: an image as standard zstd, which every command reads as it is.
. "$(dirname "$0")/../lib.sh"

begin() { # USER MIB
	become "$1"
	launch "$SUBJECTS/mem_written" "$CTL" "$2" 20 2
	wait_ready
}

is_zstd() { [[ $(head -c 4 "$1" | od -An -tx1 | tr -d ' \n') == 28b52ffd ]]; }

packed() { # ARGS...
	expect 0 "$GODWIT" checkpoint "$PID" --compress "$@" -o image
	is_zstd image || fail "the image is not compressed"
}

unpack() { # FROM TO
	need zstd
	zstd -tq "$1" || fail "zstd -t $1: $?"
	zstd -dqf "$1" -o "$2" || fail "zstd -d $1: $?"
	[[ -z $IS_ROOT ]] || chown --reference="$1" "$2"
}

restarted() { # COMMAND... IMAGE
	OUT=out2 ERR=err2 launch "$@"
	ping
	verdict
}

plain_core() {
	begin user 24
	packed --kill
	wait "$PID" 2>/dev/null
	unpack image plain
	expect 0 "$GODWIT" verify plain
	expect 0 "$GODWIT" verify image
	prints '^image: good: 2 threads'
	expect 0 "$GODWIT" show image
	prints '^compressed  *[0-9.]+ [KM]iB' 'mem_written'
	grep -v '^compressed' cmd.out | sed 's/\<image$/plain/' >shown
	expect 0 "$GODWIT" show plain
	cmp shown cmd.out || fail "shown differently: $(diff shown cmd.out | head)"
	(($(stat -c %s image) * 2 < $(stat -c %s plain))) || fail "it is not smaller: $(stat -c %s image)"
	[[ $(stat -c %a image) == 600 ]] || fail "mode $(stat -c %a image)"
	if type -P gdb >/dev/null; then
		gdb -nx -batch -ex 'info threads' "$SUBJECTS/mem_written" plain >gdb.out 2>&1 </dev/null
		has gdb.out 'LWP' || fail "gdb: $(tail -n 5 gdb.out)"
	fi
	restarted "$GODWIT" restart image
}

by_myrestart() {
	begin user 24
	packed --kill
	wait "$PID" 2>/dev/null
	restarted "$MYRESTART" image
}

levels() {
	begin user 4
	local level
	for level in 1 7 19; do
		packed --compress=$level --threads=$((level % 4 + 1))
		expect 0 "$GODWIT" verify image
	done
	for level in 0 20 -1 x ''; do
		expect 2 "$GODWIT" checkpoint "$PID" --compress="$level" -o other
		says "compress=$level: 1 to 19"
	done
	[[ ! -e other ]] || fail "an image in spite of it"
	verdict
}

with_each_pause() { # USER
	begin "$1" 24
	local pause
	for pause in copy short live; do
		packed --pause=$pause
		expect 0 "$GODWIT" verify image
		mv image $pause
		ping
	done
	finish_off
	for pause in copy short live; do restarted "$GODWIT" restart $pause; done
}

# A chain in which some are compressed: each is the same image either way.
chain() {
	begin user 16
	local i
	for i in 1 2 3 4; do
		ping
		expect 0 "$GODWIT" checkpoint "$PID" --incremental --compress -o image$i
	done
	ping
	finish_off
	unpack image2 plain2
	mv plain2 image2
	expect 0 "$GODWIT" verify image4
	expect 0 "$GODWIT" flatten image4 -o flat
	expect 0 "$GODWIT" verify flat
	if is_zstd flat; then fail "flatten compresses, too"; fi
	restarted "$GODWIT" restart image3
	restarted "$GODWIT" restart image4
	restarted "$GODWIT" restart flat
}

refused() { # WHAT
	local command
	for command in "verify" "restart" "show"; do
		[[ $command != show || ${2-} != data ]] || continue
		run timeout 60 "$GODWIT" $command bad
		[[ $RC == 5 ]] || fail "$command of an image with $1: $RC"
		says 'bad' 'hint: .{10}'
	done
}

damaged() {
	become user
	launch "$SUBJECTS/mem_written" "$CTL" 8 5 2
	wait_ready
	packed
	verdict
	local size n
	size=$(stat -c %s image)
	for n in 3 4 20 4096 $((size / 3)) $((size / 2)) $((size - 30)) $((size - 9)) $((size - 1)); do
		head -c "$n" image >bad
		refused "its first $n bytes"
	done
	{ cat image; echo more; } >bad
	refused "bytes behind it"
	zstd -q image -o bad -f && refused "another compression"
	for n in 5 9 60 $((size / 4)) $((size / 2)) $((size - 40)) $((size - 20)); do
		cp image bad
		printf '\377\125' | dd of=bad bs=1 seek=$n conv=notrunc 2>/dev/null
		refused "two bytes changed at $n" data
	done
}

# Tables that lie, frames that give too much, frames that zstd skips.
hostile() {
	need python3 zstd
	become user
	launch "$SUBJECTS/mem_written" "$CTL" 8 5 2
	wait_ready
	packed
	verdict
	local kind
	for kind in huge_frame many_frames no_frames longer shorter zero skipped swapped bomb; do
		python3 "$TOP/tests/e2e/work/lying_zstd.py" image bad $kind || fail "cannot make $kind"
		(ulimit -v 400000; as timeout 60 "$GODWIT" verify bad) >cmd.out 2>cmd.err </dev/null
		RC=$?
		[[ $RC == 5 ]] || fail "verify of $kind: $RC"
		says 'bad' 'hint: .{10}'
		refused "$kind" data
	done
}

full_disk() {
	need unshare
	become root
	own_mounts
	mkdir full
	mount -t tmpfs -o size=10m none full
	begin root 16
	expect 1 "$GODWIT" checkpoint "$PID" --compress -o full/image
	says 'No space left' 'hint: '
	[[ -z $(ls full) ]] || fail "left behind: $(ls full)"
	ping
	verdict
}

_guardian_stopped() {
	local stat
	GUARDIAN=$(cat "/proc/$CMD/task/$CMD/children" 2>/dev/null)
	GUARDIAN=${GUARDIAN% }
	[[ -n $GUARDIAN ]] && read -r stat 2>/dev/null <"/proc/$GUARDIAN/stat" && [[ $stat == *"(godwit-guardian) T "* ]]
}

only_old() { [[ $(find . -name 'image*') == ./image ]]; }

interrupted() {
	begin user 8
	packed
	local old
	old=$(md5sum <image)
	(as env GODWIT_FAULT="image complete" GODWIT_FAULT_STOP=1 "$GODWIT" checkpoint "$PID" --compress -o image) >cmd.out 2>cmd.err </dev/null &
	CMD=$!
	wait_for 20 _guardian_stopped
	kill -TERM "$CMD"
	# Having passed that on it waits (poll) for as long as it takes.
	wait_for 20 grep -qs '^7 0x[0-9a-f]* 0x1 0xffffffff' "/proc/$CMD/syscall"
	kill -CONT "$GUARDIAN"
	wait "$CMD"
	[[ $? == 1 ]] || fail "$(cat cmd.err)"
	says 'interrupted'
	[[ $(md5sum <image) == "$old" ]] || fail "the old image is gone"
	only_old || fail "left behind: $(ls)"
	ping
	verdict
}

killed() {
	begin user 8
	packed
	local old
	old=$(md5sum <image)
	run env GODWIT_FAULT="image complete" GODWIT_FAULT_BOTH=1 "$GODWIT" checkpoint "$PID" --compress -o image
	[[ $RC == 137 ]] || fail "exit status $RC"
	[[ $(md5sum <image) == "$old" ]] || fail "the old image is gone"
	ping
	packed
	only_old || fail "left behind: $(ls)"
	verdict
}

# Where memory is scarce it is decompressed to a file without a name.
to_a_file() {
	need unshare
	become root
	own_mounts
	begin root 24
	packed --kill
	wait "$PID" 2>/dev/null
	echo 'MemAvailable: 1000 kB' >meminfo
	mount --bind meminfo /proc/meminfo
	mkdir scarce && chmod 777 scarce
	restarted env TMPDIR="$W/scarce" "$GODWIT" restart image
	[[ -z $(ls scarce) ]] || fail "left behind: $(ls scarce)"
}

try zstd_makes_the_plain_core_of_it plain_core
try compressed_image_is_restarted_by_myrestart by_myrestart
try compression_levels levels
for u in user root; do try compressed_with_each_pause_as_$u with_each_pause $u; done
try chain_of_compressed_images chain
try damaged_compressed_image_is_refused damaged
try hostile_compressed_image_is_refused hostile
try compressed_into_a_full_disk full_disk
try compression_is_interrupted interrupted
try decompressed_to_a_file_where_memory_is_scarce to_a_file
try killed_before_it_is_compressed killed
finish
