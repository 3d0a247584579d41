#!/bin/bash
# make bench, the thread hop's part: one hop for stacks of 256 B to 1 MiB on a
# standing connection, beside a bare TCP round trip of the same bytes; between two
# processes, and, as root, between two network namespaces through TLS.
# Goal: hop <= 2 x round trip + 20 µs; 64 threads hop as many times a second as one.
# Environment: B (build folder), HOP_ROUNDS (default 500).
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
rounds=${HOP_ROUNDS:-500}
W=$(mktemp -d)
export HOME=$W PSU_PORT=8080 ECHO_PORT=8079
pids=()
finish() {
	((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null
	ip netns del "hopb$$" 2>/dev/null
	rm -rf "$W"
}
trap finish EXIT
read -ra ssl < <(pkg-config --libs libssl libcrypto)
gcc -O2 -fPIE -pie -fstack-protector-strong -D_GNU_SOURCE -pthread -Iinclude -o "$W/hop" \
	bench/hop/hop.c "$B/libpsu_thread.a" "${ssl[@]}" || exit 1

table() {
	awk '{ goal = 2 * $5 + 20
		printf "%9d %8d %10.1f %10.1f %12.1f %10.1f  %-6s %9d\n", $1, $2, $3, $4, $5, goal,
			$3 <= goal ? "good" : "missed", $6 }'
}
measure() { # TITLE PEER PREFIX...
	local title=$1 peer=$2
	shift 2
	echo
	echo "$title"
	printf '%9s %8s %10s %10s %12s %10s  %-6s %9s\n' bytes threads 'hop µs' '99 % µs' 'round trip' goal '' hops/s
	timeout 170 "$@" "$W/hop" x 1 2>/dev/null &
	local server=$!
	pids+=("$server")
	sleep 0.5
	timeout 80 "$W/hop" "$peer" 0 "$rounds" 2>/dev/null | table
	kill "$server" 2>/dev/null
	wait "$server" 2>/dev/null
}
threads() { # TITLE N
	timeout 80 "$W/hop" x 1 2>/dev/null &
	local server=$!
	pids+=("$server")
	sleep 0.5
	timeout 70 "$W/hop" 127.0.0.1 0 $((rounds / 10 + 1)) "$1" 2>/dev/null | awk '{ printf "%d threads at once: %d hops/s\n", $2, $6 }'
	kill "$server" 2>/dev/null
	wait "$server" 2>/dev/null
}
measure 'thread hop, loopback' 127.0.0.1
echo
threads 1
threads 64
if [[ $(id -u) == 0 ]] && ip netns add "hopb$$" 2>/dev/null &&
	ip link add "hopv$$" type veth peer name eth0 netns "hopb$$" 2>/dev/null; then
	ip addr add 10.213.9.1/24 dev "hopv$$"
	ip link set "hopv$$" up
	ip -n "hopb$$" addr add 10.213.9.2/24 dev eth0
	ip -n "hopb$$" link set eth0 up
	ip -n "hopb$$" link set lo up
	(umask 077; od -An -tx1 -N32 /dev/urandom | tr -d ' \n' >"$W/key")
	PSU_KEY=$W/key measure 'thread hop, two network namespaces, TLS 1.3' 10.213.9.2 ip netns exec "hopb$$"
else
	echo "two network namespaces: left out (needs root)"
fi
