#!/bin/bash
# Makes the golden image of a version that is about to be released:
#
#	tests/golden/make.sh v1        (as root: the image belongs to nobody)
#	tests/golden/make.sh v1 packed a compressed one
#	tests/golden/make.sh v1 chain  an incremental image, and the one that it stands on
#
# An image of a version that was released is never made again: a change that needs
# it is a change of the format, and gets a new version.
set -eu
cd "$(dirname "$0")/../.."
B=$(realpath "${B:-build}")
version=$1 what=${2:-tiny} dir=/tmp/golden
top=$PWD
mkdir -p "tests/golden/$version"
rm -rf "$dir"
mkdir "$dir"
chown 65534:65534 "$dir"
gcc -Os -nostdlib -ffreestanding -fno-stack-protector -static -no-pie -Wl,--build-id \
	-o "$dir/tiny" tests/golden/tiny.c
cd "$dir"
cat >run.sh <<'END'
hostname golden
for fd in /proc/self/fd/*; do
	fd=${fd##*/}
	((fd < 3 || fd == 255)) || eval "exec $fd>&-"
done 2>/dev/null
setpriv --reuid=65534 --regid=65534 --clear-groups env -i /tmp/golden/tiny </dev/null >out 2>/dev/null &
until [[ -s out ]]; do :; done
save() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
case $2 in
tiny)	save "$1" checkpoint $! -o tiny.image --kill ;;
packed)	save "$1" checkpoint $! -o packed.image --compress --kill ;;
chain)	save "$1" checkpoint $! -o chain-parent.image --incremental
	save "$1" checkpoint $! -o chain.image --incremental --kill ;;
esac
END
# An empty environment, no descriptors of ours, a host name that says nothing.
timeout 30 unshare -u bash run.sh "$B/godwit" "$what"
for i in *.image; do
	cp "$i" "$top/tests/golden/$version/$i"
	chmod 644 "$top/tests/golden/$version/$i"
	"$top/tests/golden/read_image.py" "$i" >"$top/tests/golden/$version/${i%.image}.txt"
done
ls -l "$top/tests/golden/$version"
