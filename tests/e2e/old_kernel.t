#!/bin/bash
# Debian's Linux 6.1, in qemu, has no tracking of written pages: --pause=live and
# --incremental say so, and make complete images, which can be restarted there.
#
. "$(dirname "$0")/../lib.sh"

find_kernel() {
	local dir
	dir=$("$TOP/tests/kernel.sh") || skip "cannot fetch the package linux-image-cloud-amd64"
	KERNEL=$(echo "$dir"/boot/vmlinuz-*)
}

# The archive format of initramfs (cpio newc), written here: cpio may be missing.
make_initrd() { # FOLDER
	perl -e '
		use Fcntl ":mode"; chdir $ARGV[0] or die;
		sub put { my ($n, $mode, $data, $maj, $min) = @_; our $ino++;
			printf "070701" . "%08x" x 13, $ino, $mode, 0, 0, 1, 0, length $data, 0, 0, $maj // 0, $min // 0, 1 + length $n, 0;
			print $n, "\0" x (1 + (4 - (110 + length($n) + 1) % 4) % 4), $data, "\0" x ((4 - length($data) % 4) % 4); }
		binmode STDOUT;
		for my $n (glob "*") { my @s = stat $n;
			if (S_ISDIR($s[2])) { put($n, $s[2], ""); next }
			open my $f, "<", $n or die $n; binmode $f; local $/; put($n, $s[2], <$f>) }
		put("dev/console", 020600, "", 5, 1); put("dev/null", 020666, "", 1, 3); put("TRAILER!!!", 0, "");' "$1"
}

# What the machine printed for the command that begins so.
guest() {
	tr -d '\r' <console | awk -v c="<<$1" 'index($0, c) == 1 { on = 1 } on { print } /^>>/ { on = 0 }' >answer
	[[ -s answer ]] || fail "no answer to $1"
}

answers() { # COMMAND TEXT...
	local re
	guest "$1"
	for re in "${@:2}"; do grep -Eq -- "$re" answer || fail "'$1' does not say '$re': $(cat answer)"; done
}

falls_back() {
	become root
	need qemu-system-x86_64 gcc perl
	[[ $(file -b "$GODWIT") != *dynamic* ]] || skip "godwit is not static (SAN=)"
	find_kernel
	mkdir -p root/proc root/dev root/tmp
	gcc -O1 -static -D_GNU_SOURCE -o root/init "$TOP/tests/e2e/work/guest_init.c" || fail "gcc"
	cp "$GODWIT" root/godwit
	cp "$SUBJECTS/mem_written+static" root/subject
	cat >root/commands <<-END
		/godwit checkpoint PID --pause=live -v -o /tmp/live
		/godwit checkpoint PID --incremental -v -o /tmp/one
		/godwit checkpoint PID --incremental -v -o /tmp/two
		/godwit verify /tmp/live
		/godwit verify /tmp/two
		/godwit doctor
	END
	make_initrd root >initrd || fail "no initrd"
	timeout 100 qemu-system-x86_64 -accel tcg -cpu max -m 512 -nographic -no-reboot -kernel "$KERNEL" \
		-initrd initrd -append 'console=ttyS0 quiet loglevel=1 panic=-1' </dev/null >console 2>qemu.err ||
		fail "qemu: $(tail -n 5 qemu.err)"
	has console 'kernel 6\.1\.' || fail "another kernel: $(grep -a kernel console)"
	has console 'the end' || fail "the machine did not come to its end: $(tail -n 5 console)"
	answers '/godwit checkpoint PID --pause=live' 'cannot be tracked: ' 'Linux 6.7' 'copied in 0 rounds' '^>>0'
	answers '/godwit checkpoint PID --incremental -v -o /tmp/one' ', complete;' 'cannot be tracked' '^>>0'
	answers '/godwit checkpoint PID --incremental -v -o /tmp/two' ', complete;' '^>>0'
	answers '/godwit verify /tmp/live' 'good' '^>>0'
	answers '/godwit verify /tmp/two' 'good' '^>>0'
	answers '/godwit doctor' 'userfaultfd WP_ASYNC +NO' 'remedy: Linux 6\.7'
	answers restarted '^ok' '^>>0'
}

LIMIT=200 try live_and_incremental_on_linux_6_1 falls_back
finish
