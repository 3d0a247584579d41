#!/bin/bash
# make demo: a real Python computation is checkpointed while it prints, killed,
# and woken up; nothing is missing.  Then gdb opens the checkpoint.
B=${B:-build}
[[ $B == /* ]] || B=$PWD/$B
python=/usr/bin/python3
dir=$(mktemp -d) || exit 1
pid=
trap '[[ -z $pid ]] || kill -9 $pid 2>/dev/null; rm -rf "$dir"' EXIT

# What the caller left open (make -j, some terminals) would be the program's, too.
for fd in /proc/self/fd/*; do
	fd=${fd##*/}
	((fd < 3 || fd == 255)) || eval "exec $fd>&-"
done

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
cmd() { printf '\033[1m$ %s\033[0m\n' "$*"; }
fail() { echo "demo: $*" >&2; exit 1; }
[[ -x $python ]] || fail "$python is missing: ./setup.sh as root installs it"

cat >"$dir/primes.py" <<'END'
import time
primes, n, total = [], 2, 0
while len(primes) < 1500:
    if all(n % p for p in primes if p * p <= n):
        primes.append(n)
        total += n
        if len(primes) % 100 == 0:
            print(f"{len(primes):5} primes, the last is {n:6}, their sum {total}", flush=True)
            time.sleep(0.2)
    n += 1
END
cd "$dir" || exit 1
$python primes.py >expected &
expected=$!

say "A computation nobody prepared for this:"
cmd "python3 primes.py &"
exec 4> >(tee out) # here, else tee would be a child of the program
$python primes.py </dev/null >&4 2>&4 4>&- &
pid=$!
exec 4>&-
lines() { (($(wc -l <out) >= $1)); }
for ((i = 0; i < 3000; i++)); do lines 5 && break; sleep 0.01; done
say "In the middle of it, into a file, and end it:"
cmd "godwit checkpoint $pid --kill"
"$B/godwit" checkpoint $pid --kill || fail "the checkpoint failed"
wait $pid 2>/dev/null
pid=
ls -l myckpt
say "It is gone. Wake it up:"
cmd "godwit restart myckpt"
"$B/godwit" restart myckpt </dev/null | tee out2 || fail "the restart failed"
wait $expected
sleep 0.1
cat out out2 >all
if cmp -s all expected; then
	say "All $(wc -l <all) lines are there, once each, as in a run that was never interrupted."
else
	fail "the output differs from an uninterrupted run: $(diff all expected)"
fi
if command -v gdb >/dev/null; then
	say "A checkpoint is an ELF core file. Any debugger opens it:"
	cmd "gdb -batch -ex bt $python myckpt"
	timeout 60 gdb -batch -nx -ex 'bt 6' $python myckpt 2>/dev/null | grep -E '^(#|Core)' || fail "gdb shows nothing"
else
	say "(gdb is not installed: ./setup.sh as root installs it)"
fi
