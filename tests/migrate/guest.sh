# shellcheck shell=bash disable=SC2034
# Sourced by tests that need a second host of another kind, after lib.sh: Debian's
# kernel 6.1 in qemu, without acceleration, with a CPU of one's choice.
#
#   start_guest CPU FILE...     boots it with these files (and godwit, at /godwit)
#   guest COMMAND               runs it there; output in guest.out, status in GUEST
#   guest_serve                 a destination there, at 127.0.0.1:$GUEST_PORT here
# From there this machine's 127.0.0.1 is 10.0.2.2.

find_kernel() {
	KERNEL_DIR=$("$TOP/tests/kernel.sh") || skip "cannot fetch the package linux-image-cloud-amd64"
	KERNEL=$(echo "$KERNEL_DIR"/boot/vmlinuz-*)
}

# What is in its root: at the same paths as here, with the libraries.
_guest_root() {
	local f lib p
	mkdir -p root/{proc,sys,dev,tmp,modules,root} "root$W"
	gcc -O1 -static -D_GNU_SOURCE -o root/init "$TOP/tests/migrate/guest/init.c" || fail "gcc"
	cp "$GODWIT" root/godwit
	cp key root/key
	for f in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover \
		net_failover virtio_net; do
		find "$KERNEL_DIR" -name "$f.ko" -exec cp {} root/modules/ \;
	done
	for f; do
		for lib in "$f" $(ldd "$f" 2>/dev/null | grep -o '/[^ )]*' | sort -u); do
			# As ldd names it, and as a mapping does.
			for p in "$lib" "$(realpath "$lib")"; do
				mkdir -p "root${p%/*}"
				cp -L "$lib" "root$p"
			done
		done
	done
	perl "$TOP/tests/migrate/guest/initrd.pl" root >initrd || fail "no initrd"
}

_booted_or_gone() { has console '^>>0 0' || gone "$QEMU"; }

_boot_guest() {
	GUEST_PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	timeout 300 qemu-system-x86_64 -accel tcg -cpu "$1" -m 512 -nographic -no-reboot \
		-kernel "$KERNEL" -initrd initrd \
		-append 'console=ttyS0 quiet loglevel=1 panic=-1 no_timer_check' \
		-netdev "user,id=n,hostfwd=tcp:127.0.0.1:$GUEST_PORT-10.0.2.15:7000" \
		-device virtio-net-pci,netdev=n <to_guest >console 2>qemu.err 8>&- &
	QEMU=$!
	note_pid "$QEMU"
	wait_for 60 _booted_or_gone
	has console '^>>0 0'
}

start_guest() {
	local cpu=$1
	shift
	need qemu-system-x86_64 gcc perl
	[[ $(file -b "$GODWIT") != *dynamic* ]] || skip "godwit is not static (SAN=)"
	find_kernel
	make_key
	_guest_root "$@"
	mkfifo to_guest
	exec 8<>to_guest
	# On a crowded machine its timer may seem to stand still, and its kernel gives up.
	_boot_guest "$cpu" || _boot_guest "$cpu" || _boot_guest "$cpu" ||
		fail "it does not boot: $(tail -n 5 console qemu.err)"
	GUEST_N=0
	has console 'kernel 6\.1\.' || fail "another kernel: $(grep -a kernel console)"
}

guest() {
	GUEST_N=$((GUEST_N + 1))
	echo "$GUEST_N $*" >&8
	wait_alive "$QEMU" 60 has console "^>>$GUEST_N "
	tr -d '\r' <console | sed -n "/^<<$GUEST_N\$/,/^>>$GUEST_N /p" >guest.out
	GUEST=$(sed -n "s/^>>$GUEST_N //p" guest.out)
}

_guest_log() {
	guest cat /log
	grep -Eq -- "$1" guest.out
}

guest_serve() {
	guest "& /godwit serve --listen 10.0.2.15:7000 --key /key --stdio null --timeout 60 $*"
	wait_alive "$QEMU" 30 _guest_log 'listening on'
}

# The line that matches, of a file there: waits for it.
_guest_has() {
	guest cat "$1"
	grep -Eaq -- "$2" guest.out
}
guest_waits() { wait_alive "$QEMU" 60 _guest_has "$@"; }

# The id of a worker that runs there, or nothing.
guest_worker() {
	guest pids worker
	sed -n 's/^pid \([0-9]*\)$/\1/p' guest.out | tail -n 1
}

end_guest() {
	echo "$((GUEST_N + 1)) off" >&8
	exec 8>&-
	wait "$QEMU"
}
