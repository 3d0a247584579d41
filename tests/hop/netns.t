#!/bin/sh
# Two hosts on one machine: network namespaces joined by a cable, each with its
# own host name.  Everything between them goes through TLS with the shared key.
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" = 0 ] || skip_all "needs root for network namespaces"
A=hopA$$ Z=hopB$$
drop() { ip netns del $A 2>/dev/null; ip netns del $Z 2>/dev/null; finish; }
trap drop EXIT
{ command -v ip && ip netns add $A && ip netns add $Z &&
	ip link add hv$$a netns $A type veth peer name hv$$b netns $Z; } >/dev/null 2>&1 ||
	skip_all "cannot make network namespaces joined by veth here"
ip -n $A addr add 10.213.7.1/24 dev hv$$a
ip -n $Z addr add 10.213.7.2/24 dev hv$$b
for n in $A $Z; do ip -n $n link set lo up; done
ip -n $A link set hv$$a up
ip -n $Z link set hv$$b up
cat >"$W/on" <<X
#!/bin/sh
# on alpha|beta COMMAND...
case \$1 in alpha) n=$A ;; *) n=$Z ;; esac
h=\$1
shift
exec ip netns exec \$n unshare -u sh -c 'hostname "\$0" && exec "\$@"' \$h "\$@"
X
chmod 755 "$W/on"
ON="$W/on"
export PSU_PORT=8080

[ -x "$B/godwit" ] || make -s B="$B" "$B/godwit" >/dev/null 2>&1
if [ -x "$B/godwit" ]; then "$B/godwit" key "$W/key"; else
	(umask 077; od -An -tx1 -N32 /dev/urandom | tr -d ' \n' >"$W/key"); fi
(umask 077; od -An -tx1 -N32 /dev/urandom | tr -d ' \n' >"$W/wrong")
check "godwit key writes a file of mode 0600" test "$(stat -c %a "$W/key")" = 600

# hosts APP PROGRAM LABEL
hosts()
{
	expect "$1" client | sed 's/@/alpha/' >"$W/client.want"
	expect "$1" server | sed 's/@/beta/' >"$W/server.want"
	pair "$ON" beta "$2" "$1" 10.213.7.1 1 -- "$ON" alpha "$2" "$1" 10.213.7.2 0
	if cmp -s "$W/client.out" "$W/client.want" && cmp -s "$W/server.out" "$W/server.want" &&
		[ "$(rc client)$(rc server)" = 00 ]; then
		ok "$3: $1"
	else
		not_ok "$3: $1" "status: client $(rc client) server $(rc server)" \
			"$(diff "$W/client.want" "$W/client.out")" "$(diff "$W/server.want" "$W/server.out")" \
			"$(cat "$W/client.err" "$W/server.err")"
	fi
}
build "$W/apps" tests/hop/prog/apps.c $DEFAULT_FLAGS
build "$W/hard" tests/hop/prog/hard.c -D_GNU_SOURCE $DEFAULT_FLAGS
build "$W/cxx" tests/hop/prog/cxx.cc $DEFAULT_FLAGS
H="$W/hard"

export PSU_KEY="$W/key"
for a in $ALL_APPS; do hosts "$a" "$W/apps" "two hosts, TLS"; done
printf 0123456789 >"$W/file"
export HOP_FILE="$W/file"
hard() # CASE WHO PROGRAM
{
	pair "$ON" beta "$3" "$1" 10.213.7.1 1 -- "$ON" alpha "$3" "$1" 10.213.7.2 0
	check "two hosts, TLS: $1" test "$(cat "$W/$2.out") $(rc client)$(rc server)" = "$2: ok 00"
}
for c in fp deep big_frames errno tls sigmask longjmp qsort arena globals fd; do hard $c server "$H"; done
for c in throw_after sorting; do hard $c server "$W/cxx"; done
export PSU_WAIT=1
export HOP_HOME=10.213.7.1:
hard home client "$H"
hard pingpong client "$H"
pair "$ON" beta "$H" byname x 1 -- "$ON" alpha "$H" byname 10.213.7.2,10.213.7.1 0
check "home again by the host's address alone" test "$(cat "$W/client.out") $(rc client)$(rc server)" = "client: ok 00"
unset PSU_WAIT

pair "$ON" beta env -u PSU_PORT "$H" plain x 1 -- "$ON" alpha env -u PSU_PORT "$H" plain 10.213.7.2 0
check "port 8080 unless another one is named" test "$(cat "$W/server.out") $(rc client)$(rc server)" = "server: after 00"

# --- who may ---
# try LABEL STATUS WORDS SERVER-KEY CLIENT-KEY: the thread must stay on alpha
try()
{
	start keep "$ON" beta env PSU_KEY="$4" HOME="$W/none" "$H" plain x 1
	keep=$LAST
	timeout 30 "$ON" alpha env PSU_KEY="$5" HOME="$W/none" PSU_CONNECT_TIMEOUT=1 PSU_TIMEOUT=3 "$H" plain 10.213.7.2 0 \
		>"$W/client.out" 2>"$W/client.err"
	st=$?
	if [ $st = "$2" ] && grep -q -- "$3" "$W/client.err" && [ "$(tr '\n' ' ' <"$W/client.out")" = 'client: before client: after ' ] &&
		[ ! -s "$W/keep.out" ]; then ok "$1"; else
		not_ok "$1" "status $st, wanted $2" "$(cat "$W/client.out" "$W/client.err" "$W/keep.err" "$W/keep.out")"; fi
	kill "$keep" 2>/dev/null
	wait "$keep" 2>/dev/null
}
unset PSU_KEY
try "a wrong key is refused" 4 'TLS' "$W/key" "$W/wrong"
try "no key here: not sent, and the steps are told" 4 'godwit key' "$W/key" ''
try "no key there: it listens on loopback only" 1 'cannot connect' '' "$W/key"

# Clear text from another machine to a host with a key: dropped in words.
start keep "$ON" beta env PSU_KEY="$W/key" "$H" plain x 1
keep=$LAST
timeout 30 "$ON" alpha env HOME="$W/none" PSU_INSECURE=1 PSU_TIMEOUT=3 "$H" plain 10.213.7.2 0 >"$W/client.out" 2>"$W/client.err"
check "PSU_INSECURE=1 on one side does not open the other" sh -c "test $? = 4 && grep -q 'wants TLS' $W/client.err && test ! -s $W/keep.out"
kill "$keep"
wait "$keep" 2>/dev/null
export PSU_INSECURE=1
start keep "$ON" beta env HOME="$W/none" "$H" plain x 1
keep=$LAST
timeout 30 "$ON" alpha env HOME="$W/none" "$H" plain 10.213.7.2 0 >"$W/client.out" 2>"$W/client.err"
wait "$keep"
check "PSU_INSECURE=1 on both sides works" test "$(cat "$W/keep.out")" = 'server: after'
check "... and warns on both" sh -c "grep -q 'warning: PSU_INSECURE' $W/client.err && grep -q 'warning: PSU_INSECURE' $W/keep.err"
unset PSU_INSECURE
# Nothing readable on the cable: the program's own words must not be seen there.
start spy "$ON" beta perl -e '
	socket(S, 17, 3, 0x0300) or exit 3; $SIG{ALRM} = sub { print length $all, " ", ($all =~ /thread local, changed/ ? "seen" : "hidden"); exit };
	$| = 1; print STDERR "up\n"; alarm 4; while (1) { recv(S, $b, 65536, 0); $all .= $b }'
spy=$LAST
i=0
while [ $i -lt 50 ] && ! grep -qs up "$W/spy.err"; do sleep 0.1; i=$((i + 1)); done
export PSU_KEY="$W/key"
pair "$ON" beta "$H" tls x 1 -- "$ON" alpha "$H" tls 10.213.7.2 0
wait "$spy"
check "what the thread carries is not readable on the wire" sh -c "test \$(cut -d' ' -f1 $W/spy.out) -gt 1000 && grep -q hidden $W/spy.out"
done_testing
