#!/bin/sh
# What a person sees: on a terminal the steps, elsewhere nothing; stdout is the
# program's alone; without a key the steps to make one.
. "$(dirname "$0")/lib.sh"

command -v script >/dev/null || skip_all "script(1) is not installed"
build "$W/hard" tests/hop/prog/hard.c -D_GNU_SOURCE $DEFAULT_FLAGS
H="$W/hard"
PSU_PORT=$(free_port)
export PSU_PORT

# Both on terminals of their own; stdout to files, so that stderr is what is seen.
start server script -qec "$H plain x 1 >$W/server.stdout" "$W/server.tty"
sp=$LAST
LIMIT=20 timeout 30 script -qec "$H plain 127.0.0.1 0 >$W/client.stdout" "$W/client.tty" </dev/null >/dev/null 2>&1
check "client's status through the terminal" test $? = 0
wait "$sp"
check "server's status through the terminal" test "$(rc server)" = 0
for side in client server; do tr -d '\r' <"$W/$side.tty" >"$W/$side.seen"; done
check "server: listening, with the port" grep -q "^\[info\] listening on loopback, port $PSU_PORT" "$W/server.seen"
check "server: no key, and the two steps" sh -c "grep -q 'no key' $W/server.seen && grep -q 'godwit key ~/.config/godwit/key' $W/server.seen"
check "server: bytes read" grep -q '^\[info\] read [1-9][0-9]* bytes of stack from 127.0.0.1:' "$W/server.seen"
check "server: thread ended" grep -q '^\[info\] thread ended' "$W/server.seen"
check "client: listening too, on a port of its own" sh -c "grep '^\[info\] listening' $W/client.seen | grep -vq 'port $PSU_PORT'"
check "client: bytes sent" grep -q "^\[info\] sent [1-9][0-9]* bytes of stack to 127.0.0.1:$PSU_PORT" "$W/client.seen"
check "stdout is the program's" test "$(cat "$W/client.stdout" "$W/server.stdout" | tr '\n' ' ')" = 'client: before server: after '

PSU_PORT=$(free_port)
export PSU_PORT
pair "$H" plain x 1 -- "$H" plain 127.0.0.1 0
check "without a terminal the client says nothing" test ! -s "$W/client.err"
check "... and the server only that it has no key" sh -c "test \$(wc -l <$W/server.err) = 2 && ! grep -q info $W/server.err"
PSU_PORT=$(free_port)
export PSU_PORT
PSU_VERBOSE=1
export PSU_VERBOSE
pair "$H" plain x 1 -- "$H" plain 127.0.0.1 0
check "PSU_VERBOSE=1 says it all the same" grep -q 'thread ended' "$W/server.err"
unset PSU_VERBOSE

# The trace: each frame of the program, innermost first, once.
PSU_PORT=$(free_port)
export PSU_PORT
PSU_TRACE=1
export PSU_TRACE
pair examples/app3 x 1 -- examples/app3 127.0.0.1 0
check "PSU_TRACE shows bar three times, as it was called" test "$(grep -c ' bar' "$W/client.err")" = 3
unset PSU_TRACE
for a in '127.0.0.1 2' '127.0.0.1 -1'; do
	# shellcheck disable=SC2086
	timeout 10 examples/app1 $a >"$W/client.out" 2>"$W/client.err"
	check "mode ${a#* }: one line, status 2" test "$?$(wc -l <"$W/client.err")" = 21
done
for v in PSU_PORT=0 PSU_PORT=x PSU_PORT=65536 PSU_TIMEOUT=never PSU_CONNECT_TIMEOUT=-1 PSU_LISTEN_PORT=99999; do
	timeout 10 env $v examples/app1 127.0.0.1 0 >"$W/client.out" 2>"$W/client.err"
	check "$v: one line, status 2" test "$?$(wc -l <"$W/client.err")" = 21
done
done_testing
