#!/bin/sh
# The parts under the sanitizers: the wire and all that a peer may send (a fuzz
# target, corpus in tests/fuzz/corpus/hop) under address and undefined behaviour;
# the whole library under undefined behaviour, hopping.  The address sanitizer
# knows a thread's stack from its start on and cannot follow one that moves.
. "$(dirname "$0")/lib.sh"

SAN='-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all'
echo 'int main(void) { return 0; }' >"$W/try.c"
# shellcheck disable=SC2086
gcc $SAN -o "$W/try" "$W/try.c" 2>/dev/null && "$W/try" || skip_all "no sanitizers here"
BASE='src/base/err.c src/base/io.c'
WIRE=
for f in src/wire/*.c; do [ "$f" = src/wire/tls_none.c ] || WIRE="$WIRE $f"; done
# shellcheck disable=SC2086
gcc $SAN -D_GNU_SOURCE -Isrc -o "$W/wire" tests/hop/prog/wire.c $WIRE $BASE $SSL -pthread 2>"$W/build.err" ||
	not_ok "wire.c cannot be built" "$(head -5 "$W/build.err")"
timeout 120 "$W/wire" >"$W/wire.out" 2>&1
while read -r result _ _ name; do
	case $result in
	ok) ok "wire: $name" ;;
	not) not_ok "wire: $name" "$(grep -v '^ok' "$W/wire.out" | head -20)" ;;
	esac
done <"$W/wire.out"
check "wire: all tests were run" grep -q '^1\.\.9$' "$W/wire.out"

# The program's name is that of its corpus.
mkdir "$W/fuzz"
parts=
for f in src/thread/*.c $WIRE src/arch/x86_64/hop*.[cS] src/arch/x86_64/hash.c; do
	case $f in */serve.c | */addr.c) ;; *) parts="$parts $f" ;; esac
done
gcc $SAN -mavx2 -Isrc -c -o "$W/fuzz/hash_avx2.o" src/arch/x86_64/hash_avx2.c
# shellcheck disable=SC2086
gcc $SAN -D_GNU_SOURCE -Isrc -Iinclude -o "$W/fuzz/hop" "$W/fuzz/hash_avx2.o" tests/hop/prog/fuzz_hop.c tests/fuzz/main.c $parts $BASE $SSL \
	-pthread 2>"$W/build.err" || not_ok "fuzz_hop.c cannot be built" "$(head -5 "$W/build.err")"
FUZZ_ROUNDS=${FUZZ_ROUNDS:-200} ASAN_OPTIONS=detect_leaks=0 timeout 300 "$W/fuzz/hop" >"$W/fuzz.out" 2>&1
check "what a peer sends, and 200 changes of each, does no harm" \
	sh -c "grep -v '^ok' $W/fuzz.out | head -40; grep -q '^1\\.\\.[1-9]' $W/fuzz.out && ! grep -q '^not ok' $W/fuzz.out"

# All of it, without recovery: a program that goes wrong dies.
UB='-g -O1 -fsanitize=undefined -fno-sanitize-recover=all'
make -s B="$W/ub" OPT="$UB" "$W/ub/libpsu_thread.a" >"$W/build.err" 2>&1 ||
	not_ok "the library cannot be built with -fsanitize=undefined" "$(head -5 "$W/build.err")"
# shellcheck disable=SC2086
gcc -D_GNU_SOURCE $UB -fPIE -pie -pthread -Iinclude -o "$W/hard" tests/hop/prog/hard.c "$W/ub/libpsu_thread.a" $SSL -lm
printf 0123456789 >"$W/file"
export HOP_FILE="$W/file" UBSAN_OPTIONS=print_stacktrace=1
for c in fp registers deep big_frames errno tls sigmask longjmp dead_jmpbuf qsort arena globals mutex_types rwlock \
	specific cleanup locale altstack handler fd; do
	PSU_PORT=$(free_port)
	export PSU_PORT
	pair "$W/hard" "$c" x 1 -- "$W/hard" "$c" 127.0.0.1 0
	check "undefined behaviour: none in $c" \
		sh -c "cat $W/client.err $W/server.err; test \"\$(cat $W/server.out) $(rc client)$(rc server)\" = 'server: ok 00' && ! grep -q 'runtime error' $W/*.err"
done
export PSU_WAIT=1 PSU_LAYOUT=delta
for c in pingpong home; do
	PSU_PORT=$(free_port)
	export PSU_PORT
	pair "$W/hard" "$c" x 1 -- "$W/hard" "$c" 127.0.0.1 0
	check "undefined behaviour: none in $c" \
		sh -c "cat $W/client.err $W/server.err; test \"\$(cat $W/client.out) $(rc client)$(rc server)\" = 'client: ok 00' && ! grep -q 'runtime error' $W/*.err"
done
done_testing
