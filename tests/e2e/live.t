#!/bin/bash
# --pause=live: the memory is copied while the program writes to it, and is exactly
# that of the last stop.
. "$(dirname "$0")/../lib.sh"

begin() { # USER SUBJECT ARGS
	become "$1"
	shift
	launch "$SUBJECTS/$1" "$CTL" "${@:2}"
	wait_ready
}

rounds_of() { sed -n 's/.*copied in \([0-9]*\) round.*/\1/p' cmd.err | head -n 1; }

restart_it() {
	wait "$PID" 2>/dev/null
	wait_for 10 gone "$PID"
	expect 0 "$GODWIT" verify myckpt
	OUT=out2 ERR=err2 launch "$GODWIT" restart myckpt
	ping
	verdict
}

live_and_restart() { # USER MIB RATE CHURN
	begin "$1" mem_written "$2" "$3" "$4"
	expect 0 "$GODWIT" checkpoint "$PID" --pause=live --kill -v
	[[ $(rounds_of) -ge 1 ]] || fail "it did not copy while the program ran"
	restart_it
}

live_again_and_again() { # each image must be right, and so must the program
	begin user mem_written 16 20 2
	local i
	for i in 1 2 3 4 5; do
		expect 0 "$GODWIT" checkpoint "$PID" --pause=live -o "image$i"
		nothing_left
		expect 0 "$GODWIT" verify "image$i"
		ping
	done
	finish_off
	for i in 1 3 5; do
		OUT=out$i ERR=err$i launch "$GODWIT" restart "image$i"
		ping
		verdict
	done
}

goes_on() {
	begin user mem_written 32 20 2
	expect 0 "$GODWIT" checkpoint "$PID" --pause=live
	nothing_left
	ping
	verdict
}

for rate in 0 10 100; do
	LIMIT=100 try "live_of_64_mib_at_${rate}_mb_per_s" live_and_restart user 64 $rate 0
done
LIMIT=100 try live_while_mappings_come_and_go live_and_restart user 32 20 20
LIMIT=100 try live_as_root live_and_restart root 32 20 2
LIMIT=100 try live_again_and_again live_again_and_again
try program_goes_on_after_live goes_on
finish
