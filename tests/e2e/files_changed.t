#!/bin/bash
# Files that changed between checkpoint and restart.
. "$(dirname "$0")/../lib.sh"

start_log() { # USER HOW
	become "$1"
	launch "$SUBJECTS/writes_log" "$CTL" "$2"
	wait_ready
	ping
	ping
	expect 0 "$GODWIT" checkpoint "$PID"
}

revive() { OUT=out2 ERR=err2 launch "$GODWIT" restart "$@" myckpt; }

# The lines written after the checkpoint are cut off and kept beside.
grew() { # HOW
	start_log user "$1"
	ping
	ping
	finish_off
	[[ $(wc -l <log) == 4 ]] || fail "the log has not grown"
	revive
	ping
	[[ $(cat log) == $'line 1\nline 2\nline 3' ]] || fail "the log: $(cat log)"
	[[ $(cat log.after-checkpoint) == $'line 3\nline 4' ]] || fail "what was cut off is not kept"
	has err2 'log' || fail "no notice on stderr"
	has err2 'log\.after-checkpoint' || fail "the notice does not say where it is"
	verdict
}

grew_keep() {
	start_log user append
	ping
	finish_off
	revive --files=keep
	ping
	[[ $(cat log) == $'line 1\nline 2\nline 3\nline 3' ]] || fail "the log: $(cat log)"
	[[ ! -e log.after-checkpoint ]] || fail "something was cut off"
}

# A second restart of one image must not lose what the first one kept.
grew_twice() {
	start_log user append
	ping
	finish_off
	revive
	ping
	finish_off
	revive
	ping
	verdict
	[[ $(cat log) == $'line 1\nline 2\nline 3' ]] || fail "the log: $(cat log)"
	[[ $(cat log.after-checkpoint*) == *'line 3'* ]] || fail "nothing is kept"
}

look() { find . ! -name 'cmd*' ! -name . -printf '%p %i %s %T@\n' | sort; md5sum ./log* 2>&1; }

# Refused before anything is touched.
refused() { # HOW-TO-CHANGE WORDS
	start_log user append
	ping
	finish_off
	eval "$1"
	local before after
	before=$(look)
	expect 3 "$GODWIT" restart myckpt
	after=$(look)
	says "log" "$2" '^hint: .{10}'
	[[ $before == "$after" ]] || fail "something was touched: $before --- $after"
}

reader() {
	become user
	printf 'hello world' >input
	launch "$SUBJECTS/writes_log" "$CTL" read
	wait_ready
	expect 0 "$GODWIT" checkpoint --kill "$PID"
	wait "$PID"
	echo more >>input
	revive
	ping
	verdict
	[[ ! -e input.after-checkpoint ]] || fail "a file open for reading was cut"
	[[ $(cat input) == "hello worldmore" ]] || fail "a file open for reading was changed"
}

# Mapped files need not be there: the image alone is enough.
program_gone() { # WHAT
	become user
	mkdir lib
	cp "$SUBJECTS/mem_anon" prog
	cp "$(ldd prog | awk '/libc\.so/ {print $3}')" lib/
	launch env LD_LIBRARY_PATH="$W/lib" ./prog "$CTL"
	wait_ready
	grep -q "$W/lib/libc.so.6" "/proc/$PID/maps" || fail "the copy of libc is not used"
	expect 0 "$GODWIT" checkpoint --kill "$PID"
	wait "$PID"
	case $1 in
	gone)	rm -r lib prog ;;
	other)	rm -r lib prog; mkdir lib
		cp /bin/true prog
		cp "$SUBJECTS/mem_brk" lib/libc.so.6 ;;
	touched)
		cp prog prog2; mv prog2 prog
		cp lib/libc.so.6 l2; mv l2 lib/libc.so.6
		touch prog lib/libc.so.6 ;;
	patched) # same name and size, other bytes, no other build-id
		cp lib/libc.so.6 l2
		printf '\xcc' | dd of=l2 bs=1 seek=$((0x60000)) conv=notrunc 2>/dev/null
		mv l2 lib/libc.so.6 ;;
	esac
	OUT=out2 ERR=err2 launch "$MYRESTART" myckpt
	ping
	verdict
}

try restart_cuts_back_an_appended_file grew append
try restart_cuts_back_a_written_file grew plain
try restart_with_files_keep_cuts_nothing grew_keep
try restart_twice_keeps_what_was_cut_off grew_twice
try restart_refuses_a_file_that_shrank refused 'truncate -s 3 log' '(shrank|shorter|smaller|truncated|has only|[0-9]+ bytes)'
try restart_refuses_a_file_that_vanished refused 'rm log' '(vanished|gone|missing|no such|not there|exist)'
try restart_refuses_a_file_that_was_replaced refused 'cp log log2; mv log2 log' '(replaced|another|other|not the)'
try restart_refuses_a_directory_in_place_of_a_file refused 'rm log; mkdir log' '(replaced|another|directory|other|not the|no regular file)'
try restart_leaves_a_grown_input_file_alone reader
try restart_works_without_the_program_and_its_libraries program_gone gone
try restart_works_with_another_program_of_that_name program_gone other
try restart_works_with_copied_libraries program_gone touched
try restart_does_not_trust_a_patched_library program_gone patched
finish
