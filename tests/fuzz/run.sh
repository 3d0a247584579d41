#!/bin/bash
# Searches with libFuzzer: run.sh BUILD [TARGET...].  New inputs that reach new
# code go to BUILD/fuzzing/found/TARGET; those worth keeping are copied to
# tests/fuzz/corpus/TARGET by hand.  FUZZ_SECONDS= for each target (60).
set -eu
cd "$(dirname "$0")/../.."
build=$1/fuzzing
shift
./setup.sh -q build fuzz
if ! command -v clang >/dev/null; then
	echo "make fuzz: needs clang with libFuzzer (Debian: clang, libclang-rt-14-dev)" >&2
	exit 1
fi
if (($# == 0)); then
	for f in tests/fuzz/*.c; do
		[[ $f == */main.c ]] || set -- "$@" "$(basename "$f" .c)"
	done
fi
for name; do
	make --no-print-directory B="$build" CC=clang SAN=address,undefined,fuzzer-no-link \
		"$build/libfuzzer/$name"
	mkdir -p "$build/found/$name"
	"$build/libfuzzer/$name" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=20 -rss_limit_mb=2048 \
		-max_len=65536 -print_final_stats=1 -artifact_prefix="$build/found/$name-" \
		"$build/found/$name" "tests/fuzz/corpus/$name"
done
