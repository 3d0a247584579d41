#!/bin/bash
# The classic round in plain sight: a program under LD_PRELOAD, kill -12 writes
# myckpt, kill -9 ends the program.  `make res` wakes it up again.
B=${B:-build}
[[ $B == /* ]] || B=$PWD/$B
image=myckpt

# What the caller left open (make -j, some terminals) would be the program's, too.
for fd in /proc/self/fd/*; do
	fd=${fd##*/}
	((fd < 3 || fd == 255)) || eval "exec $fd>&-"
done

say() { printf '\033[1m$ %s\033[0m\n' "$*"; }
[[ -t 1 ]] || say() { printf '$ %s\n' "$*"; }
give_up() { echo "make check: $*" >&2; kill -9 "$pid" 2>/dev/null; exit 1; }

# until CMD: within 20 s
until_() {
	for ((i = 0; i < 2000; i++)); do
		"$@" && return 0
		kill -0 "$pid" 2>/dev/null || return 1
		sleep 0.01
	done
	return 1
}

rm -f $image
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
say "LD_PRELOAD=$B/libckpt.so $B/count &"
exec 4> >(tee "$out") # here, else tee would be a child of the program
LD_PRELOAD=$B/libckpt.so "$B/count" </dev/null >&4 2>&4 4>&- &
pid=$!
exec 4>&-
until_ grep -q 3 "$out" || give_up "count does not count"
say "kill -12 $pid"
kill -12 $pid
until_ test -s $image || give_up "no ./$image was written"
n=$(tail -n 1 "$out")
until_ grep -q $((n + 1)) "$out" || give_up "count does not go on after the checkpoint"
say "kill -9 $pid"
kill -9 $pid
wait $pid 2>/dev/null
say "ls -l $image"
ls -l $image
echo "(make res restarts it, as often as you like)"
