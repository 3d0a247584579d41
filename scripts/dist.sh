#!/bin/sh
# make dist: scripts/dist.sh NAME BUILD writes BUILD/NAME.tar.gz, without needing git.
set -eu
mkdir -p "$2"
out=$2/$1.tar.gz
tar --exclude-vcs --exclude="./$2" --exclude=./build --exclude=./myckpt --sort=name --owner=0 --group=0 \
	--transform "s,^\.,$1," -czf "$out" .
echo "$out"
