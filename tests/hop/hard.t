#!/bin/sh
# State that is hard to carry: carried, or refused with its name.  Two processes
# on this machine, strict and delta layout.
. "$(dirname "$0")/lib.sh"

printf 0123456789 >"$W/file"
export HOP_FILE="$W/file"
# one PROGRAM CASE LABEL WHO: WHO's stdout must be "WHO: ok" and nothing else be said
one()
{
	PSU_PORT=$(free_port)
	export PSU_PORT
	pair "$1" "$2" 0.0.0.0 1 -- "$1" "$2" "${HOST:-127.0.0.1}" 0
	if [ "$(cat "$W/$4.out")" = "${WANT:-$4: ok}" ] && [ "$(rc client)$(rc server)" = 00 ]; then
		ok "$3: $2"
	else
		not_ok "$3: $2" "status: client $(rc client) server $(rc server)" \
			"$(cat "$W/client.out" "$W/server.out" "$W/client.err" "$W/server.err")"
	fi
}
build "$W/hard" tests/hop/prog/hard.c -D_GNU_SOURCE $DEFAULT_FLAGS
build "$W/cxx" tests/hop/prog/cxx.cc $DEFAULT_FLAGS
# The same against the shared library.
gcc -D_GNU_SOURCE -O2 -pthread -Iinclude -o "$W/hard.so" tests/hop/prog/hard.c -L"$B" -Wl,-rpath,"$B" \
	-lpsu_thread -lm

SIMPLE='fp registers stack_list deep very_deep big_frames errno tls sigmask longjmp longjmp_global dead_jmpbuf qsort arena globals
	pthread_exit mutex mutex_cond mutex_types lookalikes rwlock specific cleanup locale altstack handler fd'
for layout in strict delta; do
	[ $layout = delta ] && { PSU_LAYOUT='delta'; export PSU_LAYOUT; }
	for c in $SIMPLE; do one "$W/hard" "$c" "$layout" server; done
	for c in throw_after in_catch in_destructor sorting thread_local; do one "$W/cxx" "$c" "$layout" server; done
	export PSU_WAIT=1
	for c in home pingpong; do one "$W/hard" "$c" "$layout" client; done
	WANT=$(yes 'server: ok' | head -8)
	one "$W/hard" many8 "$layout" server
	# All of them connect at the same moment, in both directions.
	WANT=$(yes 'server: ok' | head -64)
	one "$W/hard" many64 "$layout" server
	WANT=
	unset PSU_WAIT
	export PSU_ISOMALLOC=1
	one "$W/hard" isomalloc "$layout, PSU_ISOMALLOC" server
	for c in in_catch rethrow containers throw_after; do
		one "$W/cxx" $c "$layout, PSU_ISOMALLOC" server
	done
	unset PSU_ISOMALLOC
done
unset PSU_LAYOUT
for c in tls errno arena globals longjmp; do one "$W/hard.so" "$c" "shared library" server; done
PSU_ISOMALLOC=1
export PSU_ISOMALLOC
one "$W/hard.so" isomalloc "shared library, PSU_ISOMALLOC" server
unset PSU_ISOMALLOC

# A program that can be reached before it has registered its globals.
LATE='env HOP_LATE=700'
PSU_PORT=$(free_port)
export PSU_PORT
pair $LATE "$W/hard" globals 0.0.0.0 1 -- "$W/hard" globals 127.0.0.1 0
check "a thread waits until the server has registered its globals" \
	test "$(cat "$W/server.out") $(rc client)$(rc server)" = "server: ok 00"

# A, B, C and home again.
PA=$(free_port) PB=$(free_port)
export PSU_WAIT=1
route="127.0.0.1:$PA,127.0.0.1:$PB"
HOP_NAME=B PSU_PORT=$PA start B "$W/hard" chain "$route" 1
bp=$LAST
HOP_NAME=C PSU_PORT=$PB start C "$W/hard" chain "$route" 1
cp=$LAST
HOP_NAME=A start A "$W/hard" chain "$route" 0
wait "$LAST" "$bp" "$cp"
check "A to B to C and home again" test "$(cat "$W/A.out") $(rc A)$(rc B)$(rc C)" = "A: ok 000"
unset PSU_WAIT

PSU_LISTEN_PORT=$(free_port)
export PSU_LISTEN_PORT
timeout 20 "$W/hard" self 127.0.0.1 0 >"$W/self.out" 2>"$W/self.err"
check "a hop to the same process is a no-op, and known as such" test "$(cat "$W/self.out")" = 'client: ok'
unset PSU_LISTEN_PORT
check "a thread that psu_thread_create did not make is told so" \
	sh -c "timeout 20 $W/hard outside 127.0.0.1 0 | grep -q 'only a thread made by psu_thread_create'"

# Two hosts whose threads want the same addresses.
PSU_PORT=$(free_port)
export PSU_PORT PSU_SLOT=6400 PSU_CONNECT_TIMEOUT=5
start server "$W/hard" plain 127.0.0.1:1 1
sp=$LAST
unset PSU_SLOT PSU_CONNECT_TIMEOUT
PSU_TRACE=1 timeout 20 "$W/hard" plain 127.0.0.1 0 >"$W/client.out" 2>"$W/client.err"
wait "$sp"
check "PSU_TRACE names the function that hops" grep -q 'case_plain' "$W/client.err"
check "nothing but the program's own output on stdout" test "$(cat "$W/client.out" "$W/server.out" | tr '\n' ' ')" = 'client: before server: after '
done_testing
