#!/bin/bash
# A compiler at work, and what other compilers, C libraries and sanitizers make.
. "$(dirname "$0")/real.sh"

# cc1 writes the functions in their order, `result` last: the same text, the same object.
compiler() { # DOOR USER
	local cc1 n
	cc1=$(gcc -print-prog-name=cc1)
	need "$cc1"
	for n in 250 750 2250; do /usr/bin/python3 "$WORK/generated.py" $n >$n; done
	"$1" "$2" "$cc1" -quiet -O2 -fno-toplevel-reorder @250 -o -
}

rust() { # DOOR USER
	need /usr/bin/rustc
	/usr/bin/rustc -C opt-level=2 -o prog "$WORK/words.rs" || fail "rustc"
	"$1" "$2" ./prog @60000
}

musl() { # DOOR USER FLAGS...
	need musl-gcc
	local door=$1 user=$2
	shift 2
	musl-gcc -O2 -pthread "$@" -o prog "$WORK/pool.c" || fail "musl-gcc"
	"$door" "$user" ./prog @60000
}

sanitized() { # DOOR USER SANITIZER
	gcc -O1 -g -pthread -fsanitize="$3" -o prog "$WORK/pool.c" || fail "gcc"
	# libckpt.so comes before the sanitizer's library.
	export ASAN_OPTIONS=verify_asan_link_order=0
	"$1" "$2" ./prog @30000
	if has err 'Sanitizer|runtime error' || has err2 'Sanitizer|runtime error'; then fail "the sanitizer says something"; fi
	# Terabytes of shadow are reserved, some MiB used.
	(($(stat -c %s myckpt) < 200000000)) || fail "the image is $(stat -c %s myckpt) bytes long"
}

# What was lost before the checkpoint is told at the end of the restarted program.
finds_leak() {
	gcc -O1 -g -pthread -fsanitize=address -o prog "$WORK/pool.c" || fail "gcc"
	ASAN_OPTIONS=exitcode=0 by_attach user ./prog @30000 leak
	has err 'Direct leak of 4711 byte' || fail "the leak is not found"
	has err ' in main .*pool.c:[0-9]+' || fail "it does not tell where"
	cmp -s <(grep SUMMARY err) <(grep SUMMARY want.err) || fail "another summary"
}

for door in by_attach by_preload goes_on; do
	try "cc1_${door}" compiler $door user
	try "rust_with_threads_and_channels_${door}" rust $door user
	try "musl_with_threads_${door}" musl $door user
	try "address_sanitizer_${door}" sanitized $door user address
done
for door in by_attach goes_on; do
	try "static_musl_with_threads_${door}" musl $door user -static
done
try undefined_behaviour_sanitizer_by_attach sanitized by_attach user undefined
try leak_sanitizer_finds_what_was_lost_before finds_leak
try rust_by_attach_as_root rust by_attach root
finish
