#!/bin/bash
# make demo, second part: a recursion hops in the middle and returns on the other
# host.  As root the other host is a network namespace with its own name.
cd "$(dirname "$0")/.." || exit 1
[[ -x examples/app3 ]] || { echo 'demo: the thread hop is not built (libssl-dev is missing)'; exit 0; }
W=$(mktemp -d)
ns=demo$$
finish() { ip netns del $ns 2>/dev/null; rm -rf "$W"; }
trap finish EXIT
export HOME=$W PSU_CONNECT_TIMEOUT=20 PSU_TRACE=1
peer=127.0.0.1 on=() port=18080
if [[ $(id -u) == 0 ]] && ip netns add $ns 2>/dev/null &&
	ip link add "dv$$" type veth peer name eth0 netns $ns 2>/dev/null; then
	ip addr add 10.213.11.1/24 dev "dv$$"
	ip link set "dv$$" up
	ip -n $ns addr add 10.213.11.2/24 dev eth0
	ip -n $ns link set eth0 up
	${B:-build}/godwit key "$W/.config/godwit/key"
	peer=10.213.11.2
	# shellcheck disable=SC2016
	on=(ip netns exec "$ns" unshare -u sh -c 'hostname over-there && exec "$@"' sh)
fi
echo
echo "The thread hop: a recursion counts 1, 2, 3 here, hops, and returns on the other host."
echo "Both run ./examples/app3, built with -O2 -fPIE -pie -fstack-protector-strong."
PSU_PORT=$port timeout 60 "${on[@]}" examples/app3 0.0.0.0 1 >"$W/there" 2>/dev/null &
echo
echo "--- here: ./app3 $peer 0"
PSU_PORT=$port timeout 60 examples/app3 "$peer" 0
here=$?
wait $!
there=$?
echo
echo "--- there: ./app3 0.0.0.0 1"
cat "$W/there"
[[ $here$there == 00 && $(grep -c 'Exit Value' "$W/there") == 5 ]]
