#!/bin/bash
# The format: what is written is what docs/IMAGE-FORMAT.md says, and images of
# every version that was released stay readable.
. "$(dirname "$0")/../lib.sh"

READ=$TOP/tests/golden/read_image.py

read_image() { # IMAGE ARG...
	/usr/bin/python3 "$READ" "$@" >page.out 2>page.err
	local rc=$?
	[[ $rc != 77 ]] || skip "libxxhash is not installed (setup.sh as root installs it)"
	return $rc
}

# A reader made from the page alone accepts the image, and finds in it the memory
# of the program, which is stopped meanwhile.
follows_the_page() { # SUBJECT
	need python3
	[[ -x $SUBJECTS/$1 ]] || skip "there is no such subject"
	become user
	launch "$SUBJECTS/$1" "$CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID"
	read_image myckpt || fail "$(cat page.err)"
	grep -q "^process.pid: $PID$" page.out || fail "another pid: $(grep process.pid page.out)"
	[[ $(grep -c '^thread ' page.out) == $(ls "/proc/$PID/task" | wc -l) ]] || fail "other threads"
	verdict
}

live_image_follows_the_page() { # with the note PLACES
	need python3
	become user
	launch "$SUBJECTS/mem_written" "$CTL" 16 100 20
	wait_ready
	local i
	for i in 1 2 3 4 5 6; do
		expect 0 "$GODWIT" checkpoint "$PID" --pause=live
		read_image myckpt || fail "$(cat page.err)"
		# bit 0 of the required features, at byte 80
		[[ $(od -An -tu1 -j80 -N1 myckpt | tr -d ' ') != 1 ]] || break
	done
	[[ $i -lt 6 ]] || skip "no image had its pages out of order"
	verdict
}

incremental_image_follows_the_page() { # with the note PARENT
	need python3
	become user
	launch "$SUBJECTS/mem_written" "$CTL" 16 20 20
	wait_ready
	local i
	for i in 1 2 3; do
		expect 0 "$GODWIT" checkpoint "$PID" --incremental -o $i
		read_image $i || fail "$(cat page.err)"
	done
	# bit 1 of the required features, at byte 80
	(($(od -An -tu1 -j80 -N1 3) & 2)) || fail "it is not incremental"
	verdict
}

same_memory() {
	need python3
	become user
	launch "$SUBJECTS/mem_anon" "$CTL"
	wait_ready
	kill -STOP "$PID"
	expect 0 "$GODWIT" checkpoint "$PID"
	read_image myckpt --memory "$PID" || fail "$(cat page.err)"
	kill -CONT "$PID"
	verdict
}

# Both readers say the same of an image with one wrong bit: no.
both_refuse() {
	need python3
	become user
	launch "$SUBJECTS/mem_brk" "$CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID" --kill
	wait "$PID"
	run cp myckpt bad
	/usr/bin/python3 - "$READ" "$GODWIT" <<-'END' || fail "the readers differ"
		import os, random, subprocess, sys
		random.seed(7)
		size, wrong = os.path.getsize("bad"), 0
		for i in range(40):
		    at = random.randrange(152) if i < 10 else random.randrange(size)
		    bit = 1 << random.randrange(8)
		    with open("bad", "r+b") as f:
		        f.seek(at)
		        old = f.read(1)[0]
		        f.seek(at)
		        f.write(bytes([old ^ bit]))
		        f.flush()
		        ours = subprocess.run([sys.argv[2], "verify", "bad"], capture_output=True).returncode
		        page = subprocess.run([sys.executable, sys.argv[1], "bad"], capture_output=True).returncode
		        f.seek(at)
		        f.write(bytes([old]))
		    if page == 77:
		        sys.exit(0)
		    if (ours, page) != (5, 5):
		        print("byte", at, "bit", bit, "verify:", ours, "read_image.py:", page)
		        wrong += 1
		sys.exit(wrong > 0)
	END
}

compressed_image_follows_the_page() {
	need python3
	become user
	launch "$SUBJECTS/mem_anon" "$CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID" --compress
	read_image myckpt || fail "$(cat page.err)"
	grep -q "^process.pid: $PID$" page.out || fail "another pid: $(grep process.pid page.out)"
	verdict
}

# An image of a released version: accepted, and read as it was on the day.
stays_readable() { # IMAGE
	need python3
	expect 0 "$GODWIT" verify "$1"
	expect 0 "$GODWIT" show "$1"
	expect 0 "$GODWIT" show --json "$1"
	read_image "$1" || fail "$(cat page.err)"
	diff "${1%.image}.txt" page.out || fail "read in another way than before"
}

for s in mem_anon mem_sparse mem_runs mem_shared_anon mem_file_private threads threads_1000 sig_pending sig_state \
	timers files_locked files_devices socketpairs sockets_listening eventfds signalfds timerfds ptys sockets_named_unread; do
	[[ ! -e $TOP/tests/subjects/$s.c ]] || try "image_of_${s}_follows_the_page" follows_the_page "$s"
done
try live_image_follows_the_page live_image_follows_the_page
try incremental_image_follows_the_page incremental_image_follows_the_page
try compressed_image_follows_the_page compressed_image_follows_the_page
try image_holds_the_memory_of_the_program same_memory
try two_readers_refuse_the_same both_refuse
for i in "$TOP"/tests/golden/v*/*.image; do
	[[ ! -e $i ]] || try "golden_$(basename "$(dirname "$i")")_$(basename "$i" .image)" stays_readable "$i"
done
finish
