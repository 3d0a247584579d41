#!/bin/sh
# One test for each thing that public thread-hop libraries get wrong.  The list is
# the table in tests/README.md: a row without a test here, or a test that did not
# run, fails.
. "$(dirname "$0")/lib.sh"

build "$W/apps" tests/hop/prog/apps.c $DEFAULT_FLAGS
build "$W/hard" tests/hop/prog/hard.c -D_GNU_SOURCE $DEFAULT_FLAGS
H="$W/hard"
printf 0123456789 >"$W/file"
export HOP_FILE="$W/file"
# Each notes what went wrong in bad; report NAME says it.
bad=
names=
report()
{
	names="$names $1"
	if [ -z "$bad" ]; then ok "$1"; else not_ok "$1" "$bad" "$(cat "$W/client.err" "$W/server.err" 2>/dev/null)"; fi
	bad=
}
must() { what=$1; shift; "$@" >/dev/null 2>&1 || bad="$bad; $what"; }
new_port() { PSU_PORT=$(free_port); export PSU_PORT; }
# hard WHO CASE...: WHO's stdout is "WHO: ok", both end with status 0
hard()
{
	who=$1
	shift
	for c; do
		new_port
		pair "$H" "$c" x 1 -- "$H" "$c" 127.0.0.1 0
		[ "$(cat "$W/$who.out") $(rc client)$(rc server)" = "$who: ok 00" ] ||
			bad="$bad; $c: $(cat "$W/client.out" "$W/server.out") $(rc client) $(rc server)"
	done
}
# apps PROGRAM APP...: both sides' stdout, byte for byte
apps()
{
	p=$1
	shift
	for a; do
		new_port
		pair "$p" "$a" x 1 -- "$p" "$a" 127.0.0.1 0
		must "$a, client" sh -c "cd tests/hop && . ./expect.sh && expect $a client | sed s/@/\$(hostname)/ | cmp - $W/client.out"
		must "$a, server" sh -c "cd tests/hop && . ./expect.sh && expect $a server | sed s/@/\$(hostname)/ | cmp - $W/server.out"
		must "$a, status" test "$(rc client)$(rc server)" = 00
	done
}
wait_listen()
{
	i=0
	hex=$(printf ':%04X 00000000:0000 0A' "$PSU_PORT")
	while [ $i -lt 100 ] && ! grep -q "$hex" /proc/net/tcp; do sleep 0.05; i=$((i + 1)); done
}

# -m32, and pointers above 4 GiB, which an int cannot hold
must "-m32 is no #error" sh -c 'echo "#include <psu_thread.h>" | gcc -m32 -Iinclude -xc -E - 2>&1 | grep -c "error: #error" | grep -qx 1'
apps "$W/apps" app11
hard server stack_list
report pointers_have_64_bits

for o in '-O2' '-O3'; do
	build "$W/nofp" tests/hop/prog/apps.c $o -fPIE -pie -fomit-frame-pointer
	apps "$W/nofp" app6 app9 app12
done
report optimised_code_has_no_frame_pointers

PSU_LAYOUT=delta PSU_TRACE=1
export PSU_LAYOUT PSU_TRACE
apps "$W/apps" app3 app9 app10
must "addresses were not random" grep -q 'delta mode: [1-9]' "$W/server.err"
unset PSU_LAYOUT PSU_TRACE
report code_is_at_random_addresses

build "$W/all" tests/hop/prog/apps.c -O2 -fPIE -pie -fstack-protector-all
must "no protector in the program" sh -c "nm -D $W/all | grep -q __stack_chk_fail"
apps "$W/all" app3 app9 app12 ant5
report stack_protector_values_differ

hard server registers fp sigmask
report registers_modes_and_signal_mask_travel

hard server very_deep big_frames
new_port
pair "$H" overflow x 1 -- "$H" overflow 127.0.0.1 0
must "a stack that overflows does not end by SIGSEGV" test "$(rc client)$(rc server)" = 0139
report deep_recursion_fits_and_its_end_is_guarded

hard server very_deep big_frames arena
report depth_and_message_have_no_cap

# Between the two a relay that hands on pieces of 1 to 700 bytes.
new_port
RELAY=$(free_port)
start server "$H" deep x 1
sp=$LAST
wait_listen
perl -MIO::Socket::INET -MIO::Select -e '$SIG{ALRM} = sub { exit }; alarm 30; srand 3;
	$l = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1", LocalPort => $ARGV[0], ReuseAddr => 1) or die;
	$a = $l->accept; $b = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $ARGV[1]) or die;
	setsockopt $_, 6, 1, 1 for $a, $b;
	$s = IO::Select->new($a, $b);
	while (@r = $s->can_read) { for $f (@r) { sysread $f, $d, 1 + int rand(rand() < .2 ? 700 : 9) or exit;
		syswrite $f == $a ? $b : $a, $d } }' "$RELAY" "$PSU_PORT" &
CHILDREN="$CHILDREN $!"
LIMIT=40 timeout 40 "$H" deep "127.0.0.1:$RELAY" 0 >"$W/client.out" 2>"$W/client.err"
st=$?
wait "$sp"
must "it did not arrive whole" test "$(cat "$W/server.out") $st$(rc server)" = 'server: ok 00'
report short_reads_and_writes_are_put_together

new_port
for i in 1 2 3; do
	pair "$H" fp x 1 -- "$H" fp 127.0.0.1 0
	must "run $i on the same port" test "$(cat "$W/server.out") $(rc client)$(rc server)" = 'server: ok 00'
done
start server "$H" plain x 1
sp=$LAST
wait_listen
timeout 10 "$H" plain x 1 >/dev/null 2>"$W/client.err"
st=$?
must "status $st while the port is taken" test $st = 1
must "the reason is not told" grep -q 'Address already in use' "$W/client.err"
kill "$sp"
wait "$sp" 2>/dev/null
report server_restarts_at_once_and_a_taken_port_is_an_error

PSU_WAIT=1
export PSU_WAIT
hard client pingpong home
new_port
pair "$H" many8 x 1 -- "$H" many8 127.0.0.1 0
must "eight threads at once" test "$(grep -c 'server: ok' "$W/server.out") $(rc client)$(rc server)" = '8 00'
unset PSU_WAIT
new_port
start server "$H" many3 x 1
sp=$LAST
clients=
for i in 1 2 3; do start "c$i" "$H" stack_list 127.0.0.1 0; clients="$clients $LAST"; done
wait $clients "$sp"
must "three clients of one server" test "$(grep -c 'server: ok' "$W/server.out") $(rc c1)$(rc c2)$(rc c3)$(rc server)" = '3 0000'
report many_clients_threads_and_hops

build "$W/other" tests/hop/prog/hard.c -D_GNU_SOURCE $DEFAULT_FLAGS -DOTHER=1 -g
new_port
start server "$W/other" plain x 1
sp=$LAST
wait_listen
timeout 20 "$H" plain 127.0.0.1 0 >"$W/client.out" 2>"$W/client.err"
must "status $?, not 3" test $? = 3
must "it did not stay" test "$(tail -1 "$W/client.out")" = 'client: after'
must "the program is not named" grep -q 'the program differs: build-id' "$W/client.err"
kill "$sp"
wait "$sp" 2>/dev/null
report another_program_is_refused

# Without a key: loopback only, and there the same user only, and no TLS.
new_port
start server "$H" plain x 1
sp=$LAST
wait_listen
hex=$(printf %04X "$PSU_PORT")
must "it listens beyond loopback" sh -c "grep -qi '0100007F:$hex 00000000:0000 0A' /proc/net/tcp && ! grep -qi '00000000:$hex 00000000:0000 0A' /proc/net/tcp"
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	kill "$sp"
	wait "$sp" 2>/dev/null
	start server setpriv --reuid 65533 --regid 65533 --clear-groups "$H" plain x 1
	sp=$LAST
	wait_listen
	timeout 20 setpriv --reuid 65534 --regid 65534 --clear-groups "$H" plain 127.0.0.1 0 >"$W/client.out" 2>"$W/client.err"
	must "status $? for another user, not 4" test $? = 4
	must "another user's thread" test "$(tail -1 "$W/client.out")$(cat "$W/server.out")" = 'client: after'
fi
# A stranger that knows the format and sends a stack and an instruction pointer.
perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $ARGV[0]) or die;
	print $s pack("VVQ<", 0x31504847, 4, 4000) . "\x41" x 4000; shutdown $s, 1; sysread $s, $x, 1' "$PSU_PORT"
must "the server died of it" kill -0 "$sp"
kill "$sp"
wait "$sp" 2>/dev/null
must "it ran something" test ! -s "$W/server.out"
report strangers_run_nothing_here

PSU_TIMEOUT=1
for fault in got-hop:kill got-hop:stall send-ready:kill send-ready:cut; do
	rm -f "$W/lines"
	new_port
	start server env PSU_FAULT=$fault HOP_FILE="$W/lines" "$H" once x 1
	sp=$LAST
	wait_listen
	HOP_FILE="$W/lines" timeout 20 "$H" once 127.0.0.1 0 >"$W/client.out" 2>"$W/client.err"
	must "$fault: status $?" test $? = 0
	must "$fault: $(cat "$W/lines")" sh -c "test \$(wc -l <$W/lines) = 1 && grep -q '^client -' $W/lines"
	kill "$sp" 2>/dev/null
	wait "$sp" 2>/dev/null
done
PSU_TIMEOUT=5
HOP_FILE="$W/file"
report server_that_dies_or_stalls_in_the_middle_loses_no_thread

hard server arena globals tls errno fp fd mutex rwlock specific cleanup locale
for word in malloc __thread errno 'FILE \*' descriptors mutex pthread_getspecific psu_malloc psu_fd_carry; do
	must "$word is not told in docs/THREAD-HOP.md" grep -q -- "$word" docs/THREAD-HOP.md
done
report heap_tls_errno_modes_files_and_locks_have_a_story

# --- the table and the tests ---
table=$(sed -n '/^## What other thread-hop libraries get wrong/,/^## /p' tests/README.md | sed -n 's/^| .* | \([a-z0-9_]*_[a-z0-9_]*\) |$/\1/p')
check "the table has the 14 rows" test "$(echo "$table" | grep -c .)" = 14
missing=
for t in $table; do case " $names " in *" $t "*) ;; *) missing="$missing $t" ;; esac; done
for t in $names; do echo "$table" | grep -qx "$t" || missing="$missing (not in the table) $t"; done
check "each row has its test, each test its row:$missing" test -z "$missing"
done_testing
