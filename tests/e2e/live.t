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

# Without tracking: a notice with the reason, and a right image all the same.
denied() { # a container's filter
	need /usr/bin/python3
	begin user mem_written 16 20 2
	local nr=323 # userfaultfd
	expect 0 /usr/bin/python3 "$TOP/tests/cli/denied.py" $nr errno "$GODWIT" checkpoint "$PID" --pause=live --kill -v
	says 'cannot be tracked: userfaultfd: Operation not permitted' 'stopped while its memory is copied' \
		'hint: .*seccomp' 'copied in 0 rounds'
	restart_it
}

o_direct() { # a device writes to memory unseen
	need /usr/bin/python3
	become user
	# shellcheck disable=SC2016
	launch /usr/bin/python3 -c '
import os, sys, time
try:
    fd = os.open("data", os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)
except OSError:
    print("none", flush=True)
    sys.exit()
print("ready", flush=True)
while not os.path.exists(sys.argv[1] + "/release"):
    time.sleep(0.01)
print("ok", flush=True)' "$CTL"
	wait_for 10 has out 'ready|none'
	! has out none || skip "no O_DIRECT on this file system"
	expect 0 "$GODWIT" checkpoint "$PID" --pause=live -v
	says "data. .fd 3 of process $PID. is open with O_DIRECT" 'copied in 0 rounds'
	expect 0 "$GODWIT" checkpoint "$PID" --incremental -v -o inc
	says 'O_DIRECT' 'the next checkpoint will be complete' ', complete;'
	nothing_left
	verdict
}

no_free_descriptor() { # of the program
	need /usr/bin/python3
	become user
	launch bash -c 'ulimit -n 10; exec /usr/bin/python3 -c "
import os, sys, time
while True:
    try: os.open(\"/dev/null\", os.O_RDONLY)
    except OSError: break
os.write(1, b\"ready\n\")
while not os.access(sys.argv[1] + \"/release\", os.F_OK): time.sleep(0.01)
os.write(1, b\"ok\n\")" "$0"' "$CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID" --pause=live -v
	says 'cannot be tracked: .*Too many open files' 'hint: .*nofile'
	nothing_left
	verdict
}

one_tracker() { # two at once would blind each other
	begin user mem_written 64 20 2
	local first
	(as "$GODWIT" checkpoint "$PID" --pause=live -o first) </dev/null >/dev/null 2>first.err &
	first=$!
	expect 0 "$GODWIT" checkpoint "$PID" --pause=live -o second
	wait "$first" || fail "the first: $(cat first.err)"
	finish_off
	mv first myckpt
	restart_it
	mv second myckpt
	restart_it
}

for rate in 0 10 100; do
	LIMIT=100 try "live_of_64_mib_at_${rate}_mb_per_s" live_and_restart user 64 $rate 0
done
LIMIT=100 try live_while_mappings_come_and_go live_and_restart user 32 20 20
LIMIT=100 try live_as_root live_and_restart root 32 20 2
LIMIT=100 try live_again_and_again live_again_and_again
try program_goes_on_after_live goes_on
try live_without_userfaultfd denied
try live_of_a_program_with_o_direct o_direct
try live_of_a_program_without_a_free_descriptor no_free_descriptor
LIMIT=100 try two_live_checkpoints_at_once one_tracker
finish
