#!/bin/bash
# Images that are damaged, foreign or empty: message, exit 5, nothing half-done; and
# what show, verify and other people's tools say of a good one.
. "$(dirname "$0")/../lib.sh"

make_image() { # [SUBJECT]
	become user
	launch "$SUBJECTS/${1:-threads}" "$CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID" --kill
	wait "$PID"
}

# Refused by verify, show and restart alike, whatever the bytes.
refused() { # IMAGE [COMMAND...]
	local c commands=("$GODWIT verify" "$GODWIT show" "$GODWIT restart" "$MYRESTART")
	_seconds 20
	(($# == 1)) || commands=("${@:2}")
	for c in "${commands[@]}"; do
		# shellcheck disable=SC2086
		(as timeout "$SECONDS_NOW" $c "$1") >cmd.out 2>cmd.err </dev/null
		RC=$?
		[[ $RC == 5 ]] || fail "$c $1: exit status $RC"
		says "$1" || fail "$c does not name the image"
	done
}

truncated() {
	make_image
	local size n
	size=$(stat -c %s myckpt)
	for n in 1 4 63 64 100 4095 4096 4097 $((size / 3)) $((size / 2)) $((size - 4096)) $((size - 1)); do
		head -c "$n" myckpt >cut.image
		refused cut.image
	done
}

longer() {
	make_image
	cp myckpt longer
	chmod 644 longer
	head -c 5000 /dev/zero >>longer
	refused longer
}

# One flipped bit is always found: at 150 places, in each part of the file.
flipped() {
	need python3
	make_image "$1"
	cp myckpt good
	[[ -z $IS_ROOT ]] || chown "$TEST_UID" good
	/usr/bin/python3 - "$GODWIT" <<-'END' || fail "a flipped bit went through"
		import os, random, subprocess, sys
		random.seed(4)
		size = os.path.getsize("good")
		places = list(range(0, 64, 5)) + [random.randrange(64, min(size, 9000)) for _ in range(40)]
		places += [random.randrange(size) for _ in range(70)] + [size - 1 - random.randrange(min(size, 3000)) for _ in range(27)]
		bad = 0
		for p in places:
		    with open("good", "r+b") as f:
		        f.seek(p)
		        b = f.read(1)[0]
		        f.seek(p)
		        f.write(bytes([b ^ 1 << random.randrange(8)]))
		    r = subprocess.run([sys.argv[1], "verify", "good"], capture_output=True, timeout=20)
		    if r.returncode != 5:
		        print("bit flipped at", p, "of", size, "- verify ends with", r.returncode)
		        bad += 1
		    with open("good", "r+b") as f:
		        f.seek(p)
		        f.write(bytes([b]))
		sys.exit(bad > 0)
	END
	expect 0 "$GODWIT" verify good
}

# Flipped in the middle of memory, and restarted: never runs on wrong data.
flipped_restart() {
	make_image mem_anon
	local size i at
	size=$(stat -c %s myckpt)
	for i in 1 2 3 4 5 6 7 8; do
		at=$((size * i / 9))
		cp myckpt bad
		chmod 644 bad
		printf '%b' "\\x$(printf %02x $((0x$(xxd_byte bad $at) ^ 4)))" |
			dd of=bad bs=1 seek=$at conv=notrunc 2>/dev/null
		refused bad "$GODWIT verify" "$GODWIT restart" "$MYRESTART"
	done
}
xxd_byte() { od -An -tx1 -j "$2" -N 1 "$1" | tr -d ' '; }

foreign() {
	become user
	: >empty
	echo 'just text' >text
	head -c 1000000 /dev/urandom >noise
	head -c 1000000 /dev/zero >zeros
	cp /bin/true program
	ln -s loop loop
	for f in empty text noise zeros program; do refused $f; done
}

# A core file of gdb's is an ELF core, but no image.
foreign_core() {
	need gdb
	become user
	launch "$SUBJECTS/mem_brk" "$CTL"
	wait_ready
	run gdb -p "$PID" -batch -nx -ex 'gcore core' -ex detach
	[[ -s core ]] || skip "gdb cannot write a core here"
	refused core
}

no_file() {
	become user
	local c
	for c in verify show restart; do
		run "$GODWIT" $c nowhere
		[[ $RC == 1 ]] || fail "$c: exit status $RC"
		says "nowhere" 'no such file'
	done
}

no_regular_file() {
	become user
	mkdir dir
	mkfifo fifo
	local c f
	_seconds 20
	for c in verify show restart; do
		for f in dir fifo /dev/null /dev/zero; do
			expect 5 timeout "$SECONDS_NOW" "$GODWIT" $c $f
			says "$f"
		done
	done
}

unreadable() {
	become user
	make_image mem_brk
	chmod 0 myckpt
	[[ -n $IS_ROOT ]] && chown root myckpt
	local c
	for c in verify show restart; do
		expect 4 "$GODWIT" $c myckpt
		says myckpt 'permission'
	done
}

other_user() { # an image that another user left where everyone can write
	become user
	make_image mem_brk
	[[ -n $IS_ROOT ]] || skip "needs root, to be two users"
	AS=other
	expect 4 "$GODWIT" restart myckpt
}

shown() {
	make_image threads
	expect 0 "$GODWIT" show myckpt
	[[ ! -s cmd.err ]] || fail "show talks on stderr"
	prints 'threads' 'th 3' "$SUBJECTS/threads" 'libc' 'rw-p' 'r-xp' '\[stack\]' '/dev/null' 'SIG' \
		'[a-z_]+\+0x[0-9a-f]+' 'ip|rip' "$(uname -r)" 'AMD|Intel|CPU'
}

shown_json() {
	need python3
	make_image threads
	(as "$GODWIT" show --json myckpt) >show.json || fail "exit status $?"
	/usr/bin/python3 - <<-'END' || fail "not the JSON expected"
		import json
		j = json.load(open("show.json"))
		text = json.dumps(j)
		assert isinstance(j, dict), "no object"
		assert "threads" in text and "th 3" in text and "/dev/null" in text
		threads = [v for k, v in j.items() if k == "threads"] or [p["threads"] for p in j["processes"]]
		assert len(threads[0]) == 22, len(threads[0])
	END
}

# Strange bytes in names must not reach a terminal or break the JSON.
shown_safely() {
	need python3
	become user
	cp "$SUBJECTS/mem_brk" $'e\e[31m"x\n'
	launch $'./e\e[31m"x\n' "$CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID"
	(as "$GODWIT" show myckpt) >show.txt || fail "exit status $?"
	if grep -q $'\e' show.txt; then fail "an escape sequence of a file name is printed"; fi
	(as "$GODWIT" show --json myckpt) | /usr/bin/python3 -c 'import json,sys; json.load(sys.stdin)' ||
		fail "broken JSON"
}

doctor() {
	need python3
	become "$1"
	expect 0 "$GODWIT" doctor
	prints ptrace kernel 'namespace'
	(as "$GODWIT" doctor --json) | /usr/bin/python3 -c 'import json,sys; json.load(sys.stdin)' ||
		fail "broken JSON"
}

by_gdb() {
	need gdb
	make_image threads
	run gdb -batch -nx -ex 'info threads' -ex 'thread apply all bt 12' -ex 'thread 1' \
		-ex 'frame function main' -ex 'p up' "$SUBJECTS/threads" myckpt
	[[ $(grep -c 'LWP' cmd.out) -ge 22 ]] || fail "gdb does not see 22 threads"
	# Their frames, down to the functions of the program.
	[[ $(grep -Ec '^#[0-9]+ .*[^a-z]run \(' cmd.out) -ge 20 ]] || fail "gdb's backtraces do not reach run()"
	prints ' main \(' 'subject_wait' '= 20$'
	# gdb 13 says so of the kernel's own cores too, on CPUs with another xsave layout.
	if grep -v 'reg-xstate.* too small' cmd.out cmd.err |
		grep -Ei 'corrupt|cannot access|warning: .*(core|truncat|unexpected size)'; then
		fail "gdb complains"
	fi
}

by_gdb_vectors() { # the vector registers of each thread are in the core
	need gdb
	make_image regs_live
	run gdb -batch -nx -ex 'thread apply all p $xmm3.uint128' -ex 'thread apply all p $st5' \
		-ex 'thread apply all p/x $mxcsr' "$SUBJECTS/regs_live" myckpt
	prints '0x7f80'
	if grep -Eiq 'value is not available|<unavailable>' cmd.out; then fail "registers are missing"; fi
}

by_gdb_memory() { # what is in memory, also of mappings that gdb reads from files else
	need gdb
	make_image mem_anon
	run gdb -batch -nx -ex 'p (char*)data_page' -ex 'p data_page[100]' -ex 'p rodata' \
		-ex 'x/i $pc' "$SUBJECTS/mem_anon" myckpt
	prints 'initialised' '= 7 ' 'read-only data'
}

by_eu_stack() {
	need eu-stack
	make_image threads
	run eu-stack --core=myckpt -e "$SUBJECTS/threads"
	[[ $(grep -c '^TID' cmd.out) -ge 22 ]] || fail "eu-stack does not see 22 threads"
	[[ $(grep -c ' run' cmd.out) -ge 20 ]] || fail "eu-stack does not reach run()"
	prints ' main'
}

by_readelf() {
	need readelf eu-readelf
	make_image threads
	run readelf -n -l -h -W myckpt
	[[ $RC == 0 ]] || fail "readelf ends with $RC"
	prints CORE NT_PRSTATUS NT_FPREGSET NT_X86_XSTATE NT_PRPSINFO NT_AUXV NT_FILE NT_SIGINFO GODWIT
	[[ $(grep -c NT_PRSTATUS cmd.out) == 22 ]] || fail "not 22 threads"
	if grep -Eiq 'warning|error|corrupt' cmd.err; then fail "readelf complains: $(cat cmd.err)"; fi
	run eu-readelf -n -l -h myckpt
	[[ $RC == 0 && ! -s cmd.err ]] || fail "eu-readelf complains: $(cat cmd.err)"
}

by_file() {
	command -v file >/dev/null || skip "file is not installed"
	make_image mem_brk
	run file myckpt
	prints 'core file' 'mem_brk'
}

size_follows_pages() { # 80,000 scattered pages: hardly more than their data
	make_image mem_runs
	local size=$(($(stat -c %s myckpt)))
	((size > 80000 * 4096)) || fail "only $size bytes"
	((size < 80000 * 4096 * 11 / 10)) || fail "$size bytes for 80,000 pages"
}

sparse_is_small() {
	make_image mem_sparse
	(($(stat -c %s myckpt) < 8 << 20)) || fail "$(stat -c %s myckpt) bytes for 150 pages"
	(($(stat -c %s myckpt) > 150 * 4096)) || fail "only $(stat -c %s myckpt) bytes"
}

many_runs_in_gdb() {
	need gdb
	make_image mem_runs
	run gdb -batch -nx -ex 'bt' -ex 'p *(unsigned long*)(area + 4096*100 + 8*100)' \
		"$SUBJECTS/mem_runs" myckpt
	prints ' main \(' '= 101$'
}

explained() {
	make_image mem_brk
	expect 0 "$GODWIT" restart --explain myckpt
	prints 'mmap\(' 'PR_SET_MM' 'munmap\(' 'rt_sigprocmask|sigaction|rseq'
	[[ $(wc -l <cmd.out) -gt 20 ]] || fail "only $(wc -l <cmd.out) lines"
	[[ ! -e ran ]] || fail "it ran"
}

try truncated_image_is_refused truncated
try image_with_a_tail_is_refused longer
try flipped_bit_is_found flipped threads
try flipped_bit_of_a_small_program_is_found flipped mem_brk
try flipped_memory_is_never_restarted flipped_restart
try foreign_file_is_refused foreign
try core_file_of_gdb_is_refused foreign_core
try missing_image_is_named no_file
try image_must_be_a_regular_file no_regular_file
try unreadable_image_is_named unreadable
try image_of_another_user_stays_private other_user
try show_prints_what_is_in_it shown
try show_prints_json shown_json
try show_prints_no_control_characters shown_safely
try doctor_reports_as_user doctor user
try doctor_reports_as_root doctor root
try gdb_shows_every_threads_backtrace by_gdb
try gdb_shows_vector_registers by_gdb_vectors
try gdb_shows_memory by_gdb_memory
try gdb_opens_80000_runs many_runs_in_gdb
try eu_stack_shows_every_thread by_eu_stack
try readelf_lists_the_notes by_readelf
try file_knows_it_as_a_core by_file
try image_size_follows_scattered_pages size_follows_pages
try image_of_terabytes_is_small sparse_is_small
try explain_prints_the_system_calls explained
finish
