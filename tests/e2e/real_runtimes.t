#!/bin/bash
# Programs with a runtime of their own: JVM, node, Go; and compiled C.
. "$(dirname "$0")/real.sh"

jvm() { # DOOR USER
	java_classes "$WORK/Work.java"
	# The JVM takes SIGUSR2 for itself: the doorbell needs another one.
	SIGNAL=40 "$1" "$2" java -Xmx256m -cp "$BUILT" Work "@$3"
}

nodejs() { # DOOR USER
	need node
	"$1" "$2" "$(command -v node)" "$WORK/work.js" "@$3"
}

golang() { # DOOR USER IDLE-GOROUTINES
	go_prog "$WORK/work.go"
	"$1" "$2" ./prog @20000 "$3"
}

compiled() { # DOOR USER FLAGS...
	local door=$1 user=$2
	shift 2
	gcc -O2 "$@" -o prog "$WORK/crunch.c" -lm || fail "gcc"
	"$door" "$user" ./prog @20000
}

# xz prints no lines: its work is the input, its result the output.
xz_threads() { # DOOR USER
	need xz
	become "$2"
	local size
	for size in 16 64 256; do
		cat /usr/bin/* /usr/lib/x86_64-linux-gnu/*.so* 2>/dev/null | head -c ${size}000000 >input
		xz -T2 --block-size=1000000 -1 -c input >want
		rm -f out
		"_xz_$1" && return
		note "done before it was stopped, with $size MB"
	done
	fail "the work is too small"
}

_xz_started() {
	launch xz -T2 --block-size=1000000 -1 -c input
	_some() { (($(stat -c %s out) > 1000000)); }
	wait_alive "$PID" 60 _some
}

# The target may have ended before the checkpoint, and only then it may fail.
_xz_checkpoint() {
	run "$GODWIT" checkpoint "$PID" "$@"
	[[ $RC == 0 ]] && return
	gone "$PID" || fail "checkpoint: $RC"
	return 1
}

_xz_same() {
	wait "$PID" || fail "status $?: $(cat err err2)"
	cmp out want || fail "the compressed file differs"
}

_xz_goes_on() { _xz_started; _xz_checkpoint || return; _xz_same; }

_xz_by_attach() {
	_xz_started
	_xz_checkpoint --kill || return
	wait "$PID" 2>/dev/null
	cmp -s out want && return 1
	OUT=out2 ERR=err2 launch "$GODWIT" restart myckpt
	_xz_same
}

for door in by_attach by_preload goes_on; do
	[[ $door == goes_on ]] && n=4 || n=1
	LIMIT=120 try "jvm_with_a_dozen_threads_${door}" jvm $door user $((n * 15000))
	LIMIT=120 try "node_${door}" nodejs $door user $((n * 2500))
	try "a_c_program_${door}" compiled $door user
done
for door in by_attach goes_on; do
	LIMIT=120 try "static_go_${door}" golang $door user 100
	LIMIT=120 try "static_go_with_2000_goroutines_${door}" golang $door user 2000
	try "static_c_${door}" compiled $door user -static
	try "static_pie_${door}" compiled $door user -static-pie -fPIE
	LIMIT=120 try "xz_with_threads_${door}" xz_threads $door user
done
try non_pie_by_attach compiled by_attach user -no-pie -fno-pie
try non_pie_by_preload compiled by_preload user -no-pie -fno-pie
try jvm_by_attach_as_root jvm by_attach root 15000
try static_go_by_attach_as_root golang by_attach root 100
finish
