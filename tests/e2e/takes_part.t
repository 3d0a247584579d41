#!/bin/bash
# include/godwit.h, and GODWIT_INTERVAL: programs that take part in their checkpoints.
. "$(dirname "$0")/../lib.sh"

build() { # COMPILER FLAG...
	local cc=$1
	shift
	need "$cc"
	"$cc" "$@" -Wall -Wextra -Werror -I"$TOP/include" -o prog "$TOP/examples/takes_part.c" 2>cmd.err ||
		fail "$cc $*: $(cat cmd.err)"
	chmod 755 prog
}

takes_part() { # COMPILER FLAG...
	become user
	build "$@"
	expect 0 ./prog
	prints 'no checkpoint: it runs without' '^step 4 draws'
	launch env LD_PRELOAD="$LIBCKPT" ./prog
	wait "$PID" || fail "exit status $?"
	has out '^before the checkpoint at step 3' && has out '^saved at step 3' &&
		has out '^this one goes on' || fail "not all callbacks ran"
	(($(stat -c %s myckpt) < 6000000)) || fail "the cache of 8 MiB is in the image: $(stat -c %s myckpt)"
	local i first
	first=$(grep '^step 3' out)
	for i in 1 2 3; do # the output is a file: cut back, and read at once
		OUT=cmd.out run "$MYRESTART" myckpt
		[[ $RC == 0 ]] || fail "exit status $RC: $(cat cmd.err)"
		[[ $(grep -c . out) == 7 ]] || fail "lines of the copy: $(cat out)"
		has out '^restarted at step 3, as another process' && has out '^this one has been woken up' ||
			fail "not told of the restart"
		[[ $(grep '^step 3' out) != "$first" ]] || fail "drawn twice: $first"
		first=$(grep '^step 3' out)
	done
}

# There the linker settles weak symbols for good: the program runs as without us.
no_pie_does_without() {
	become user
	build gcc -O2 -fno-pie -no-pie
	expect 0 env LD_PRELOAD="$LIBCKPT" ./prog
	prints 'no checkpoint: it runs without' '^step 4 draws'
}

every_standard() {
	need gcc g++
	local s
	printf '#include "godwit.h"\nint main(void) { return godwit_checkpoint() != GODWIT_FAILED || godwit_exclude(0, 0) + godwit_include(0, 0) + godwit_register(0) != -3; }\n' >t.c
	cp t.c t.cc
	for s in c99 c11 c17 c2x gnu11; do
		gcc -std=$s -pedantic -Wall -Wextra -Werror -I"$TOP/include" -o t t.c || fail "$s"
		expect 0 ./t
	done
	for s in c++11 c++17 c++20; do
		g++ -std=$s -pedantic -Wall -Wextra -Werror -I"$TOP/include" -o t t.cc || fail "$s"
		expect 0 ./t
	done
	gcc -static -I"$TOP/include" -o t t.c || fail "static"
	expect 0 ./t
}

from_python() {
	need /usr/bin/python3
	become user
	expect 0 /usr/bin/python3 "$TOP/examples/takes_part.py"
	prints '^no checkpoint 998001'
	launch env LD_PRELOAD="$LIBCKPT" /usr/bin/python3 "$TOP/examples/takes_part.py"
	wait "$PID" || fail "exit status $?"
	has out '^saved 998001' || fail "not saved"
	expect 0 "$MYRESTART" myckpt
	has out '^restarted 998001' || fail "not restarted"
}

# Five copies of one image at once, each another process; then twenty one after the other.
many_copies() {
	need /usr/bin/python3
	become user
	expect 0 env LD_PRELOAD="$LIBCKPT" /usr/bin/python3 "$TOP/examples/takes_part.py"
	# Its output was a file, which they would share: another image, with a pipe.
	rm -f myckpt
	as env LD_PRELOAD="$LIBCKPT" /usr/bin/python3 "$TOP/examples/takes_part.py" </dev/null 2>/dev/null | cat >first
	local i pids=()
	for i in 1 2 3 4 5; do
		(as "$GODWIT" restart --new-ids myckpt </dev/null 2>&1 | cat >"copy.$i") &
		pids+=($!)
	done
	wait "${pids[@]}"
	for i in 1 2 3 4 5; do has "copy.$i" '^restarted 998001 [0-9]+$' || fail "copy $i: $(cat "copy.$i")"; done
	[[ $(cat copy.? | sort -u | wc -l) == 5 ]] || fail "two copies drew the same: $(cat copy.?)"
	for i in {1..20}; do
		(as "$GODWIT" restart --new-ids myckpt </dev/null 2>&1 | cat) >again
		has again '^restarted 998001' || fail "restart $i: $(cat again)"
	done
}

_newer() { [[ -e myckpt && $(stat -c %i myckpt) != "$1" ]]; }
_ringers() { # of this test
	local p
	for p in $(pgrep -x godwit-interval); do
		tr '\0' ' ' <"/proc/$p/cmdline" | grep -q "^godwit-interval $1 " && echo "$p"
	done
}
_is_rung() { [[ -n $(_ringers "$1") ]]; }
no_ringer() { [[ -z $(_ringers "$1") ]]; }

interval() {
	become user
	launch env LD_PRELOAD="$LIBCKPT" GODWIT_INTERVAL=0.05 "$SUBJECTS/mem_anon" "$CTL"
	wait_ready
	local i old=
	for i in 1 2 3 4; do
		wait_alive "$PID" 30 _newer "$old"
		old=$(stat -c %i myckpt)
	done
	[[ -n $(_ringers "$PID") ]] || fail "nobody rings"
	[[ -z $(cat "/proc/$PID/task/$PID/children") ]] || fail "it is a child of the program"
	finish_off
	wait_for 10 no_ringer "$PID"
	OUT=out2 launch "$MYRESTART" myckpt
	ping
	verdict
}

# An image that the signal has made wakes up in its handler, which sees to it.
interval_after_restart() {
	become user
	launch env LD_PRELOAD="$LIBCKPT" GODWIT_INTERVAL=1h "$SUBJECTS/mem_anon" "$CTL"
	wait_ready
	ring
	finish_off
	wait_for 10 no_ringer "$PID"
	OUT=out2 launch "$MYRESTART" myckpt
	wait_alive "$PID" 30 _is_rung "$PID"
	ping
	verdict
	wait_for 10 no_ringer "$PID"
}

# bash puts a handler of its own in place of ours, and what it executes has none.
interval_and_exec() {
	become user
	local ringer
	: >script
	launch env LD_PRELOAD="$LIBCKPT" GODWIT_INTERVAL=0.05 bash -c 'echo ready; until [[ -e go ]]; do read -t 0.01 <> <(:); done; exec env -u LD_PRELOAD '"$SUBJECTS/mem_anon $CTL"
	wait_alive "$PID" 30 has out ready
	ringer=$(_ringers "$PID")
	[[ -n $ringer ]] || fail "nobody rings"
	: >go
	wait_alive "$PID" 30 has "/proc/$PID/cmdline" mem_anon
	wait_for 20 no_ringer "$PID"
	ping
	verdict
}

interval_nonsense() {
	become user
	expect 0 env LD_PRELOAD="$LIBCKPT" GODWIT_INTERVAL=often true
	says "GODWIT_INTERVAL is 'often'" 'seconds'
}

try takes_part_gcc takes_part gcc -O2
try no_pie_does_without no_pie_does_without
try takes_part_clang takes_part clang -O2
try every_standard every_standard
try from_python from_python
try many_copies many_copies
try interval interval
try interval_after_restart interval_after_restart
try interval_and_exec interval_and_exec
try interval_nonsense interval_nonsense
finish
