#!/bin/bash
# Prints a folder with Debian's kernel 6.1, for machines in qemu: the package
# linux-image-cloud-amd64, fetched and unpacked (not installed) once for all tests of the
# build $B.  HOP_KERNEL names a folder that has it.
dir=${HOP_KERNEL:-$B/kernel}
there() { compgen -G "$dir/boot/vmlinuz-*" >/dev/null; }

if ! there; then
	exec 9>"$B/kernel.lock" && flock 9 || exit 1
	if ! there; then
		rm -rf "$B/kernel.new" "$B/kernel"
		dir=$B/kernel
		mkdir "$B/kernel.new" && cd "$B/kernel.new" || exit 1
		package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
		timeout 90 apt-get download "$package" 9>&- && dpkg -x linux-image-*.deb . && rm linux-image-*.deb &&
			mv "$B/kernel.new" "$dir" || exit 1
	fi >&2
fi
echo "$dir"
