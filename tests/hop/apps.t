#!/bin/sh
# The 14 known programs, two processes on this machine, as distributions build
# programs: strict layout, then delta layout (ASLR on).
. "$(dirname "$0")/lib.sh"

# round APP PROGRAM LABEL: both sides' stdout, byte for byte, and exit status 0
round()
{
	PSU_PORT=$(free_port)
	export PSU_PORT
	pair "$2" "$1" 0.0.0.0 1 -- "$2" "$1" 127.0.0.1 0
	expect "$1" client | sed "s/@/$(hostname)/" >"$W/client.want"
	expect "$1" server | sed "s/@/$(hostname)/" >"$W/server.want"
	if cmp -s "$W/client.out" "$W/client.want" && cmp -s "$W/server.out" "$W/server.want" &&
		[ "$(rc client)$(rc server)" = 00 ]; then
		ok "$3: $1"
	else
		not_ok "$3: $1" "status: client $(rc client) server $(rc server)" \
			"$(diff "$W/client.want" "$W/client.out")" "$(diff "$W/server.want" "$W/server.out")" \
			"$(cat "$W/client.err" "$W/server.err")"
	fi
}
build "$W/apps" tests/hop/prog/apps.c $DEFAULT_FLAGS
for a in $ALL_APPS; do round "$a" "$W/apps" strict; done
PSU_LAYOUT='delta'
export PSU_LAYOUT
for a in $ALL_APPS; do round "$a" "$W/apps" delta; done
unset PSU_LAYOUT

for i in 1 2 3 4 5; do
	PSU_PORT=$(free_port)
	export PSU_PORT
	pair examples/app$i 0.0.0.0 1 -- examples/app$i 127.0.0.1 0
	check "examples/app$i ends with status 0 on both sides" test "$(rc client)$(rc server)" = 00
done
check "without arguments an app says so and ends with 0" sh -c 'examples/app1 | grep -q "Waiting for goodbye"'
done_testing
