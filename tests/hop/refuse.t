#!/bin/sh
# What must not work does not, says why, and harms nothing: other builds, other
# layouts, strangers, garbage, peers that stall.  And what must work in spite of
# differences does.
. "$(dirname "$0")/lib.sh"

build "$W/hard" tests/hop/prog/hard.c -D_GNU_SOURCE $DEFAULT_FLAGS
build "$W/other" tests/hop/prog/hard.c -D_GNU_SOURCE $DEFAULT_FLAGS -DOTHER=1 -g
gcc -O2 -o "$W/nopersonality" tests/hop/prog/nopersonality.c
H="$W/hard"
PLAIN_MOVED='client: before server: after '
PLAIN_STAYED='client: before client: after '
said() { cat "$W/client.out" "$W/server.out" 2>/dev/null | tr '\n' ' '; }
errors() { cat "$W/client.err" "$W/server.err" 2>/dev/null; }
new_port() { PSU_PORT=$(free_port); export PSU_PORT; }
# moves LABEL SERVER... -- CLIENT...
moves()
{
	label=$1
	shift
	new_port
	pair "$@"
	if [ "$(said)" = "$PLAIN_MOVED" ] && [ "$(rc client)$(rc server)" = 00 ]; then ok "$label"; else
		not_ok "$label" "$(said) status $(rc client) $(rc server)" "$(errors)"; fi
}
# stays LABEL STATUS TEXT COMMAND...: the client alone; a server may be running
stays()
{
	label=$1 status=$2 text=$3
	shift 3
	rm -f "$W/server.out"
	timeout 30 "$@" >"$W/client.out" 2>"$W/client.err"
	got=$?
	if [ "$(said)" = "$PLAIN_STAYED" ] && [ $got = "$status" ] && grep -q -- "$text" "$W/client.err"; then ok "$label"; else
		not_ok "$label" "$(said) status $got, wanted $status" "$(errors)"; fi
}
# A server that stays; its pid in SERVER.
serve() { new_port; start keep "$@"; SERVER=$LAST; wait_listen; }
wait_listen()
{
	i=0
	hex=$(printf ':%04X 00000000:0000 0A' "$PSU_PORT")
	while [ $i -lt 100 ] && ! grep -q "$hex" /proc/net/tcp; do sleep 0.05; i=$((i + 1)); done
}
# Until the client below timeout(1) naps, having found nobody (src/thread/link.c).
wait_in_vain()
{
	i=0
	while [ $i -lt 200 ]; do
		c=$(cat "/proc/$1/task/$1/children" 2>/dev/null)
		case $(cat "/proc/${c%% *}/wchan" 2>/dev/null) in
		*nanosleep*) return ;;
		esac
		sleep 0.02
		i=$((i + 1))
	done
}
unserve() { kill "$SERVER" 2>/dev/null; wait "$SERVER" 2>/dev/null; }

# --- differences that do not matter ---
moves "another stack limit (1 GiB)" prlimit --stack=1073741824: "$H" plain x 1 -- "$H" plain 127.0.0.1 0
moves "an unlimited stack limit" prlimit --stack=unlimited: "$H" plain x 1 -- "$H" plain 127.0.0.1 0
moves "personality() forbidden on the server" "$W/nopersonality" "$H" plain x 1 -- "$H" plain 127.0.0.1 0
moves "personality() forbidden on the client" "$H" plain x 1 -- "$W/nopersonality" "$H" plain 127.0.0.1 0
moves "personality() forbidden on both" "$W/nopersonality" "$H" plain x 1 -- "$W/nopersonality" "$H" plain 127.0.0.1 0
moves "by name" "$H" plain x 1 -- "$H" plain localhost 0
moves "wildcard address means this machine" "$H" plain x 1 -- "$H" plain 0.0.0.0 0
if grep -q . /proc/net/if_inet6 2>/dev/null; then
	moves "IPv6" "$H" plain x 1 -- "$H" plain ::1 0
else
	skip "IPv6" "no IPv6 here"
fi
check "the stack limit is as the user set it" sh -c \
	"ulimit -s 4096; cat >$W/lim.c <<'X'
#include <sys/resource.h>
#include <stdio.h>
#include <psu_thread.h>
int main(void) { struct rlimit r; getrlimit(RLIMIT_STACK, &r); psu_thread_setup_init(0); printf(\"%lu\\n\", r.rlim_cur >> 10); return 0; }
X
	gcc -Iinclude -o $W/lim $W/lim.c $B/libpsu_thread.a $SSL && test \$($W/lim) = 4096 && ulimit -S -s 2048 && test \$($W/lim) = 2048"

port=$(free_port)
new_port # not the one that is used
start server env PSU_PORT="$port" "$H" plain x 1
sp=$LAST
timeout 30 "$H" plain "127.0.0.1:$port" 0 >"$W/client.out" 2>"$W/client.err"
wait "$sp"
check "host:port" test "$(said)" = "$PLAIN_MOVED"
mkdir "$W/cwd"
printf 'hostname: 127.0.0.1\nport: %s\n' "$(free_port)" >"$W/cwd/server_sock_info.in"
(
	cd "$W/cwd" || exit
	unset PSU_PORT
	pair "$H" plain x 1 -- "$H" plain '' 0
)
check "server_sock_info.in gives host and port" test "$(said)" = "$PLAIN_MOVED"
new_port
timeout 30 "$H" plain 127.0.0.1 0 >"$W/client.out" 2>"$W/client.err" &
wait_in_vain $!
timeout 30 "$H" plain x 1 >"$W/server.out" 2>"$W/server.err" &
wait
check "the client may start first" test "$(said)" = "$PLAIN_MOVED"
timeout 30 "$H" plain x 1 >"$W/server.out" 2>"$W/server.err" &
timeout 30 "$H" plain 127.0.0.1 0 >"$W/client.out" 2>"$W/client.err"
wait $!
check "a server starts again at once on the same port" test "$(said)" = "$PLAIN_MOVED"

# --- differences that matter ---
serve "$W/other" plain x 1
stays "another build is refused, by name" 3 'the program differs: build-id' "$H" plain 127.0.0.1 0
unserve
libc=$(ldd "$H" | awk '/libc.so.6/ {print $3}')
mkdir "$W/lib"
perl -0777 -e '
	open F, "<", $ARGV[0]; binmode F; $d = <F>; $i = index($d, "GNU\0", index($d, pack("V3", 4, 20, 3)));
	substr($d, $i + 4, 4) = "\xde\xad\xbe\xef"; open O, ">", $ARGV[1]; binmode O; print O $d' "$libc" "$W/lib/libc.so.6"
serve env LD_LIBRARY_PATH="$W/lib" "$H" plain x 1
stays "another C library is refused, by name" 3 'libc.so.6 differs: build-id .* deadbeef' "$H" plain 127.0.0.1 0
unserve
serve env PSU_LAYOUT=delta "$H" plain x 1
PSU_LAYOUT=strict
export PSU_LAYOUT
stays "PSU_LAYOUT=strict refuses another layout, with both addresses" 3 'is at 0x.* on the sender, at 0x.* on the receiver' "$H" plain 127.0.0.1 0
unset PSU_LAYOUT
unserve
export HOP_FILE="$W/linger"
serve "$H" linger x 1
export PSU_SLOT=6400
timeout 30 "$H" linger 127.0.0.1 0 >"$W/linger.out" 2>&1
stays "two threads with the same addresses: the second is refused" 1 'same addresses' "$H" plain 127.0.0.1 0
unset PSU_SLOT
moves2() { timeout 30 "$H" plain 127.0.0.1 0 >"$W/client.out" 2>"$W/client.err"; }
check "... and others are not" moves2
touch "$W/linger.go"
wait "$SERVER"
check "... nor is the first one disturbed" sh -c "sort $W/keep.out | tr '\\n' ' ' | grep -qx 'client: after server: ok ' || sort $W/keep.out | tr '\\n' ' ' | grep -qx 'server: after server: ok '"

# A client that is still there but does not wait for its thread.
cat >"$W/late.c" <<'X'
#include <psu_thread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static char *host;
static void *f(void *arg)
{
	const char *why;
	char home[100];

	psu_thread_migrate(host);
	strcpy(home, psu_thread_home());
	usleep(300000);
	if (psu_thread_hop(home) < 0 && psu_thread_migrate_result(&why))
		printf("%s\n", why);
	return arg;
}
int main(int argc, char **argv)
{
	psu_thread_setup_init(atoi(argv[2]));
	host = argv[1];
	psu_thread_create(f, NULL);
	if (argc > 3)
		sleep(3);
	return 0;
}
X
build "$W/late" "$W/late.c" $DEFAULT_FLAGS
new_port
pair "$W/late" x 1 -- "$W/late" 127.0.0.1 0 linger
check "a thread does not go home where nobody waits for it" grep -q 'nobody waits' "$W/server.out"

# --- failures that are no crash, each with one line and a status ---
new_port
export PSU_CONNECT_TIMEOUT=2
stays "nobody listens: the thread goes on here" 1 'cannot connect to 127.0.0.1' "$H" plain 127.0.0.1 0
stays "an unknown host" 1 "cannot find host" "$H" plain no.such.host.invalid 0
stays "a port that is none" 1 "is no port" "$H" plain 127.0.0.1:99999 0
unset PSU_CONNECT_TIMEOUT
timeout 30 "$H" result "127.0.0.1:1" 0 >"$W/client.out" 2>"$W/client.err" &
rp=$!
perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1", LocalPort => $ARGV[0], ReuseAddr => 1) or die;
	$SIG{ALRM} = sub { exit }; alarm 20; push @c, $_ while $_ = $s->accept' "$PSU_PORT" &
stall=$!
CHILDREN="$CHILDREN $stall"
wait_listen
PSU_TIMEOUT=1
export PSU_TIMEOUT
PSU_CONNECT_TIMEOUT=1
export PSU_CONNECT_TIMEOUT
stays "a peer that accepts and says nothing" 1 'does not answer in time' "$H" plain 127.0.0.1 0
PSU_TIMEOUT=5
kill $stall
wait $rp
unset PSU_CONNECT_TIMEOUT
timeout 30 env PSU_CONNECT_TIMEOUT=0.2 "$H" result 127.0.0.1 0 >"$W/client.out" 2>"$W/client.err"
check "a program that asks for the result ends as it likes" test $? = 0
check "... and learns why" grep -q 'client: -[0-9]* cannot connect' "$W/client.out"
serve "$H" plain x 1
timeout 10 "$H" plain x 1 >"$W/second.out" 2>"$W/second.err"
st=$?
check "a second server on the port: status not 0" test $st != 0 -a $st != 124
check "... and one line of reason" sh -c "test \$(wc -l <$W/second.err) = 1 && grep -q 'Address already in use' $W/second.err"

unserve
PSU_TIMEOUT=1
serve env HOP_LATE=60000 "$H" plain x 1
stays "a program that never calls psu_thread_create gets no thread" 3 'has not called psu_thread_create' "$H" plain 127.0.0.1 0
PSU_TIMEOUT=5
unserve
serve "$H" plain x 1

# --- strangers at the port of that server ---
garbage()
{
	perl -MIO::Socket::INET -e '
	sub c { my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $ARGV[0]) or die; $s }
	@keep = ();
	$s = c(); print $s "GET / HTTP/1.0\r\n\r\n"; push @keep, $s;
	srand 7; for $n (1 .. 40) { $s = c(); print $s join "", map { chr int rand 256 } 1 .. $n * 37; close $s }
	# frames of ours: no body, a body cut short, lengths that lie, types that do not exist
	for $t (0 .. 12) { for $l (0, 1, 64, 1 << 20, 1 << 40, ~0) {
		$s = c(); print $s pack("VVQ<", 0x31504847, $t, $l) . "x" x 50; close $s } }
	$s = c(); print $s "\x16\x03\x01\x00"; push @keep, $s;      # half a TLS hello
	$s = c(); print $s "G"; push @keep, $s;                      # half a magic
	$s = c(); push @keep, $s;                                    # and one that says nothing
	# a good greeting (of no modules, of too many) and then a hop of garbage
	for $m (0, 1, 500) { $s = c(); $h = pack("VV", 1, 99) . "i" x 16 . pack("Q<4VV", 0x100000000000, 64 << 20, 16 << 20, 4096, 0, $m);
		$body = $h . ("m" x (152 * ($m > 200 ? 1 : $m)));
		print $s pack("VVQ<", 0x31504847, 1, length $body) . $body . pack("VVQ<", 0x31504847, 4, 5000) . "z" x 5000; close $s }
	' "$PSU_PORT"
}
check "garbage can be sent" garbage
check "the server is alive" kill -0 "$SERVER"
timeout 30 "$H" plain 127.0.0.1 0 >"$W/client.out" 2>"$W/client.err"
wait "$SERVER"
cp "$W/keep.out" "$W/server.out"
check "... and serves an honest client afterwards" test "$(said) $(rc keep)" = "$PLAIN_MOVED 0"

if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	as() { u=$1; shift; setpriv --reuid "$u" --regid "$u" --clear-groups "$@"; }
	chmod 755 "$W/hard"
	moves "an ordinary user" setpriv --reuid 65534 --regid 65534 --clear-groups "$H" plain x 1 -- \
		setpriv --reuid 65534 --regid 65534 --clear-groups "$H" plain 127.0.0.1 0
	serve setpriv --reuid 65533 --regid 65533 --clear-groups "$H" plain x 1
	stays "another user of the same machine is not served" 4 'same user only' \
		setpriv --reuid 65534 --regid 65534 --clear-groups "$H" plain 127.0.0.1 0
	unserve
else
	skip "an ordinary user" "needs root"
	skip "another user of the same machine is not served" "needs root"
fi

# --- keys, as far as one machine can show it; netns.t does the rest ---
serve "$H" plain x 1
check "without a key stderr tells the steps" grep -q 'godwit key ~/.config/godwit/key' "$W/keep.err"
check "without a key only loopback is listened on" sh -c "! grep -i '00000000:$(printf %04X "$PSU_PORT") 00000000:0000 0A' /proc/net/tcp"
unserve
echo zz >"$W/badkey"
chmod 600 "$W/badkey"
check "a bad key file stops the program" sh -c "PSU_KEY=$W/badkey timeout 10 $H plain x 1 2>&1 | grep -q '64 hex digits'"
head -c 64 /dev/zero | tr '\0' a >"$W/badkey"
chmod 644 "$W/badkey"
check "a key file that others can read stops the program" sh -c "PSU_KEY=$W/badkey timeout 10 $H plain x 1 2>&1 | grep -q 'chmod 600'"

# --- the header ---
for std in c99 c11 c17 c2x; do
	check "psu_thread.h is clean $std" sh -c "echo '#include <psu_thread.h>' | gcc -std=$std -Wall -Wextra -pedantic -Werror -Iinclude -xc -fsyntax-only -"
done
for std in c++98 c++17; do
	check "psu_thread.h is clean $std" sh -c "echo '#include <psu_thread.h>' | g++ -std=$std -Wall -Wextra -pedantic -Werror -Iinclude -xc++ -fsyntax-only -"
done
check "-m32 is one #error" sh -c "echo '#include <psu_thread.h>' | gcc -m32 -Iinclude -xc -E - 2>&1 | grep -c 'error: #error' | grep -qx 1"
check "the library's inner names do not collide" sh -c "nm -g --defined-only $B/libpsu_thread.a | awk 'NF == 3 && \$3 !~ /^psu_/' | grep . && exit 1; exit 0"
done_testing
