#!/bin/bash
# make demo, last part: a running Python program moves from one host to another while it
# computes, and prints on.  The hosts are two network namespaces with names of their own,
# joined by a cable: as root, or in a user namespace where the kernel allows that.
# Elsewhere both are this machine, and the demonstration says so.
B=${B:-build}
[[ $B == /* ]] || B=$PWD/$B
python=/usr/bin/python3
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
cmd() { printf '\033[1m%s\033[0m\n' "$*"; }
fail() { echo "demo: $*" >&2; exit 1; }

for fd in /proc/self/fd/*; do # what the caller left open would be the program's, too
	fd=${fd##*/}
	((fd < 3 || fd == 255)) || eval "exec $fd>&-"
done

# The words that give namespaces to whom may not make them else; WHY there are none.
WHY=
find_namespaces() {
	local c
	for c in ip unshare nsenter; do
		command -v $c >/dev/null || { WHY="$c is not installed"; return 1; }
	done
	unshare -nu sh -c : 2>/dev/null && return 0
	[[ -z ${INSIDE-} ]] && unshare -Ur -- unshare -nu sh -c : 2>/dev/null &&
		INSIDE=1 exec unshare -Ur -- "$BASH" "$0"
	WHY="neither root nor user namespaces here"
	return 1
}
find_namespaces
[[ -x $python ]] || fail "$python is missing: ./setup.sh as root installs it"
"$B/godwit" serve --help >/dev/null || fail "$B/godwit is missing: make"

dir=$(mktemp -d) || exit 1
pids=()
finish() { kill "${pids[@]}" 2>/dev/null; rm -rf "$dir"; }
trap finish EXIT
wait_for() { # CMD...
	local i
	for ((i = 0; i < 6000; i++)); do "$@" && return; sleep 0.01; done
	fail "waited in vain for: $*"
}

# A host is a process that waits in its namespaces.
alpha=(env) beta=(env) address=127.0.0.1 here='$' there='$' listen=127.0.0.1:0
make_hosts() {
	local h
	for h in alpha beta; do
		# shellcheck disable=SC2016
		unshare -nu sh -c 'hostname "$1" && ip link set lo up && : >"$2" && exec sleep 1000' sh \
			$h "$dir/$h" </dev/null >/dev/null 2>&1 &
		pids+=("$!")
		eval "$h=(nsenter -t $! -n -u --)"
		wait_for test -e "$dir/$h"
	done
	"${alpha[@]}" ip link add cable type veth peer name cable netns "${pids[1]}" &&
		"${alpha[@]}" ip addr add 10.213.12.1/24 dev cable && "${alpha[@]}" ip link set cable up &&
		"${beta[@]}" ip addr add 10.213.12.2/24 dev cable && "${beta[@]}" ip link set cable up &&
		address=10.213.12.2 here='alpha$' there='beta$' listen=10.213.12.2:7000
}
if [[ -n $WHY ]]; then
	say "A live migration, on one machine ($WHY): to itself, over the loopback."
elif make_hosts 2>"$dir/why"; then
	say "A live migration, between two hosts: alpha and beta, network namespaces joined by a cable."
else
	alpha=(env) beta=(env)
	say "A live migration, on one machine ($(head -n 1 "$dir/why")): to itself, over the loopback."
fi

cd "$dir" || exit 1
cat >primes.py <<'END'
import os, time
size, step = 32 << 20, 2 << 20
table = bytearray(b"\1") * size          # of each number: is it prime?
table[:2] = b"\0\0"
small = [n for n in range(2, 5793) if all(n % d for d in range(2, int(n ** 0.5) + 1))]
for low in range(0, size, step):
    for p in small:
        first = max(p * p, (low + p - 1) // p * p)
        table[first:low + step:p] = bytes(len(range(first, low + step, p)))
    print(f"{os.uname().nodename}: {low + step:8} numbers looked at", flush=True)
    time.sleep(0.15)
print(f"{os.uname().nodename}: {sum(table)} primes below {size}", flush=True)
END
cmd "$here godwit key key        # the same file on both hosts"
"$B/godwit" key key
cmd "$there godwit serve --listen $listen --key key"
: >over
: >serve.log
serve() { GODWIT_STATE=$dir/state-beta exec "${beta[@]}" "$B/godwit" "$@"; }
serve serve --listen "$listen" --key key --stdio "file:$dir/over" </dev/null >/dev/null 2>serve.log &
pids+=("$!")
wait_for grep -q 'listening on' serve.log
port=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' serve.log)

cmd "$here python3 primes.py &"
: >out
exec 4> >(exec tee out) # here, else tee would be a child of the program
"${alpha[@]}" $python primes.py </dev/null >&4 2>&4 4>&- &
pid=$!
pids+=("$pid")
disown $pid # no word of this shell's when it has left
exec 4>&-
lines() { (($(wc -l <"$1") >= $2)); }
wait_for lines out 5
cmd "$here godwit migrate $pid tls://$address:$port --key key"
picture=$B/migration.svg
: 2>/dev/null >"$picture" || picture=$dir/migration.svg
GODWIT_STATE=$dir/state-alpha "${alpha[@]}" "$B/godwit" migrate $pid "tls://$address:$port" --key key \
	--plot "$picture" 2>report || fail "$(cat report)"
new=$(sed -n 's/.* goes on on .*, as process \([0-9]*\) .*/\1/p' report)
[[ -z $new ]] || pids+=("$new")
sed -n '1p; /^Rounds/,/^ *stop/p; /^ *downtime/p' report
tail -n +1 -f over --pid="${pids[-1]}" 2>/dev/null &
wait $!
wait_for grep -q 'primes below' over
cat out over | sed 's/^[^:]*: //' >all
for ((n = 2; n <= 32; n += 2)); do printf '%8d numbers looked at\n' $((n << 20)); done >expected
echo '2063689 primes below 33554432' >>expected # a fact of mathematics
if cmp -s all expected; then
	say "$(wc -l <out) lines here, $(wc -l <over) there, none missing, and the right result. Away for $(sed -n 's/^ *downtime *\([0-9.]* ms\).*/\1/p' report)."
	[[ $picture == "$dir"/* ]] || echo "Its rounds as a picture: $picture"
else
	fail "the output differs: $(diff all expected)"
fi
