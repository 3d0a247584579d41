#!/bin/sh
# The programs there and back between this kernel and Debian's 6.1 in qemu: another
# kernel, another vdso, another CPU, other addresses of the libraries; through TLS.
# Needs root (a tap device), qemu-system-x86 and a kernel (tests/kernel.sh).
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" = 0 ] || skip_all "needs root for a tap device"
[ -c /dev/net/tun ] || skip_all "no /dev/net/tun"
command -v qemu-system-x86_64 >/dev/null || skip_all "qemu-system-x86_64 is not installed"
K=$(B=$B tests/kernel.sh) || skip_all "cannot fetch the package linux-image-cloud-amd64"
VM=$(ls "$K"/boot/vmlinuz-* | head -1)

build "$W/apps" tests/hop/prog/apps.c $DEFAULT_FLAGS
build "$W/hard" tests/hop/prog/hard.c -D_GNU_SOURCE $DEFAULT_FLAGS
gcc -O2 -static -D_GNU_SOURCE -o "$W/init" tests/hop/prog/guest.c

# A network of this run's own: one left behind by a killed run must not catch it.
NET=10.$((100 + $$ % 100)).$(($$ / 100 % 250))
# --- what the machine boots with ---
R="$W/root"
mkdir -p "$R/proc" "$R/sys" "$R/dev" "$R/tmp" "$R/modules" "$R/root/.config/godwit"
cp "$W/init" "$R/init"
cp "$W/apps" "$W/hard" "$R/"
for m in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net; do
	find "$K/lib/modules" "$K/usr/lib/modules" -name "$m.ko" -exec cp {} "$R/modules/" \; 2>/dev/null
done
for l in $(ldd "$W/apps" "$W/hard" | grep -o '/[^ )]*' | sort -u); do
	[ -f "$l" ] || continue
	mkdir -p "$R$(dirname "$l")"
	cp -L "$l" "$R$l"
done
(umask 077; od -An -tx1 -N32 /dev/urandom | tr -d ' \n' >"$W/key"; cp "$W/key" "$R/root/.config/godwit/key")
HARD='fp deep errno tls longjmp longjmp_global arena globals'
{
	echo "HOP_HOME=$NET.1:"
	echo PSU_TRACE=1
	for a in $ALL_APPS; do echo "/apps $a x 1"; done
	for c in $HARD; do echo "/hard $c x 1"; done
	echo PSU_WAIT=1
	for c in home pingpong; do echo "/hard $c x 1"; done
	echo PSU_WAIT=0
	for a in $ALL_APPS; do echo "/apps $a $NET.1 0"; done
} >"$R/commands"
echo "$NET.2" >"$R/address"
# The archive format of initramfs (cpio newc), written here: cpio may be missing.
perl -e '
	use Fcntl ":mode"; chdir $ARGV[0] or die;
	sub put { my ($n, $mode, $data, $maj, $min) = @_; our $ino++;
		printf "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", $ino, $mode, 0, 0, 1, 0, length $data, 0, 0, $maj // 0, $min // 0, 1 + length $n, 0;
		print $n, "\0" x (1 + (4 - (110 + length($n) + 1) % 4) % 4), $data, "\0" x ((4 - length($data) % 4) % 4); }
	sub walk { for my $p (sort glob("$_[0]/* $_[0]/.c*")) { my $n = substr $p, 2; my @s = lstat $p;
		if (S_ISDIR($s[2])) { put($n, $s[2], ""); walk($p) } else { open my $f, "<", $p or die $p; binmode $f; local $/; put($n, $s[2], <$f>) } } }
	binmode STDOUT; walk("."); put("dev/console", 020600, "", 5, 1); put("dev/null", 020666, "", 1, 3);
	put("dev/urandom", 020666, "", 1, 9); put("TRAILER!!!", 0, "");' "$R" >"$W/initrd"

# --- the cable ---
T=hoptap$$
drop() { [ -n "${QEMU:-}" ] && kill "$QEMU" 2>/dev/null; ip link del $T 2>/dev/null; finish; }
trap drop EXIT
ip tuntap add dev $T mode tap && ip addr add $NET.1/24 dev $T && ip link set $T up || skip_all "cannot make a tap device"
timeout 400 qemu-system-x86_64 -accel tcg -cpu max -m 512 -nographic -no-reboot -kernel "$VM" -initrd "$W/initrd" \
	-append 'console=ttyS0 quiet loglevel=1 panic=-1' -netdev tap,id=n,ifname=$T,script=no,downscript=no \
	-device virtio-net-pci,netdev=n >"$W/console" 2>"$W/qemu.err" </dev/null &
QEMU=$!
export PSU_KEY="$W/key" PSU_CONNECT_TIMEOUT=90 PSU_TIMEOUT=30 PSU_PORT=8080 LIMIT=100

# What the guest printed for the command that begins so; nothing while it runs.
guest() { tr -d '\r' <"$W/console" | awk -v c="<<$1" 'index($0, c) == 1 { on = 1; t = ""; next } /^>>/ { if (on) { print t $0; exit } } on { t = t $0 "\n" }'; }
wait_guest() { i=0; while [ $i -lt 600 ] && [ -z "$(guest "$1")" ] && kill -0 $QEMU 2>/dev/null; do sleep 0.1; i=$((i + 1)); done; guest "$1"; }
n=$(hostname)
for a in $ALL_APPS; do
	timeout $LIMIT "$W/apps" "$a" $NET.2 0 >"$W/client.out" 2>"$W/client.err"
	rc=$?
	wait_guest "/apps $a x 1" | grep -v '^psu_thread\|^\[info\]' >"$W/guest.out"
	expect "$a" client | sed "s/@/$n/" >"$W/client.want"
	{ expect "$a" server | sed 's/@/guest/'; echo '>>0'; } >"$W/guest.want"
	if [ $rc = 0 ] && cmp -s "$W/client.out" "$W/client.want" && cmp -s "$W/guest.out" "$W/guest.want"; then ok "to the other kernel: $a"; else
		not_ok "to the other kernel: $a" "status $rc" "$(cat "$W/client.out" "$W/client.err" "$W/guest.out")" "$(tail -n 5 "$W/console")"; fi
	[ "$N" = 1 ] && [ "$FAILED" = 1 ] && done_testing
done
for c in $HARD; do
	timeout $LIMIT "$W/hard" "$c" $NET.2 0 >"$W/client.out" 2>"$W/client.err"
	check "to the other kernel: $c" sh -c "[ $? = 0 ] && cat $W/client.err >&2; [ -z \"\$(cat $W/client.out)\" ]"
	check "... and right over there" test "$(wait_guest "/hard $c x 1" | grep -v '^psu_\|^\[info' | tr '\n' ' ')" = 'server: ok >>0 '
done
export PSU_WAIT=1 HOP_HOME=$NET.1:
for c in home pingpong; do
	timeout $LIMIT "$W/hard" $c $NET.2 0 >"$W/client.out" 2>"$W/client.err"
	check "there and back: $c" sh -c "[ $? = 0 ] && [ \"\$(cat $W/client.out)\" = 'client: ok' ] || { grep -v '^psu_thread:  ' $W/client.err | tail -20; false; }"
done
unset PSU_WAIT
for a in $ALL_APPS; do
	timeout $LIMIT "$W/apps" "$a" x 1 >"$W/server.out" 2>"$W/server.err"
	rc=$?
	expect "$a" server | sed "s/@/$n/" >"$W/server.want"
	check "from the other kernel: $a" sh -c "[ $rc = 0 ] && cmp $W/server.out $W/server.want"
done
check "the other kernel was another one" sh -c "tr -d '\\r' <$W/console | grep -q 'kernel 6\\.1\\.' && ! uname -r | grep -q '^6\\.1\\.'"
check "... with the libraries at other addresses" grep -q 'delta mode' "$W/console"
done_testing
