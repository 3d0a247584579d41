#!/bin/bash
# make bench, the thread hop's part: one hop for stacks of 256 B to 1 MiB on a
# standing connection, beside a bare TCP round trip of the same bytes, in turns.
# Between two processes, and, as root, between two network namespaces, bare and through
# TLS, there beside a TLS round trip, too.
#
# Where the scheduler puts the threads changes either time by a factor of three, and
# not both alike: a wake-up on the other core costs more than all the rest.  So each
# process is held to a core: each to its own, as two hosts are, then both to one.
#
# Goal: hop <= 2 x bare round trip + 20 µs; 64 threads hop as many times a second as one.
# Environment: B (build folder), HOP_REPEATS (default 50, of 10 hops each).
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
repeats=${HOP_REPEATS:-50}
W=$(mktemp -d)
export HOME=$W PSU_PORT=18080 ECHO_PORT=18079
unset PSU_KEY
server=
ns=
finish() {
	[[ -z $server ]] || kill "$server" 2>/dev/null
	[[ -z $ns ]] || ip netns del "$ns" 2>/dev/null
	rm -rf "$W"
}
trap finish EXIT
read -ra ssl < <(pkg-config --libs libssl libcrypto)
sources=()
for f in src/wire/*.c; do [[ $f == */tls_none.c ]] || sources+=("$f"); done
gcc -O2 -fPIE -pie -fstack-protector-strong -D_GNU_SOURCE -pthread -Iinclude -Isrc -o "$W/hop" bench/hop/hop.c \
	"${sources[@]}" src/base/err.c src/base/io.c "$B/libpsu_thread.a" "${ssl[@]}" || exit 1

table() {
	awk '{ goal = 2 * $4 + 20
		printf "%9d %9.1f %9.1f %11.1f %9.1f %7.2f  %-6s", $1, $2, $3, $4, goal, $6, $2 <= goal ? "good" : "missed"
		if ($5 > 0) printf " %11.1f %7.2f", $5, $2 / $5
		printf "\n" }'
}
start() { # CPU PREFIX...
	local cpu=$1
	shift
	timeout 300 taskset -c "$cpu" "$@" "$W/hop" x 1 2>/dev/null &
	server=$!
	sleep 0.5
}
stop() {
	kill "$server" 2>/dev/null
	wait "$server" 2>/dev/null
	server=
}
measure() { # TITLE PEER PREFIX...
	local title=$1 peer=$2 cpu
	shift 2
	for cpu in 1 0; do
		echo
		echo "$title, $( ((cpu)) && echo 'a core each' || echo 'both on one core')"
		printf '%9s %9s %9s %11s %9s %7s  %-6s' bytes 'hop µs' '99 % µs' 'round trip' goal ratio ''
		[[ -z ${PSU_KEY-} ]] || printf ' %11s %7s' 'TLS r. trip' ratio
		echo
		start $cpu "$@"
		timeout 250 taskset -c 0 "$W/hop" "$peer" 0 "$repeats" 2>/dev/null | table
		stop
	done
}
threads() { # N...: three times each, in turns
	local n
	for _ in 1 2 3; do
		for n; do
			start 1
			timeout 100 taskset -c 0 "$W/hop" 127.0.0.1 0 $((6400 / n)) "$n" 2>/dev/null >>"$W/threads"
			stop
		done
	done
	sort -n "$W/threads" | awk '{ k[$1]++; v[$1, k[$1]] = $2 } END { for (n in k) print n, v[n, 2] }' | sort -n |
		awk '{ printf "%2d thread%s: %d hops/s\n", $1, ($1 > 1 ? "s" : ""), $2 }'
}
(($(nproc) > 1)) || { echo "the thread hop is measured on two cores or more"; exit 0; }
measure 'thread hop, loopback' 127.0.0.1
echo
threads 1 64
if [[ $(id -u) == 0 ]] && ip netns add "hopb$$" 2>/dev/null && ns=hopb$$ &&
	ip link add "hopv$$" type veth peer name eth0 netns "$ns" 2>/dev/null; then
	ip addr add 10.213.9.1/24 dev "hopv$$"
	ip link set "hopv$$" up
	ip -n "$ns" addr add 10.213.9.2/24 dev eth0
	ip -n "$ns" link set eth0 up
	ip -n "$ns" link set lo up
	PSU_INSECURE=1 measure 'thread hop, two network namespaces, no TLS' 10.213.9.2 ip netns exec "$ns"
	(umask 077; od -An -tx1 -N32 /dev/urandom | tr -d ' \n' >"$W/key")
	export PSU_KEY=$W/key
	measure 'thread hop, two network namespaces, TLS 1.3' 10.213.9.2 ip netns exec "$ns"
else
	echo "two network namespaces: left out (needs root)"
fi
