#!/bin/bash
# Sizes: more than 2 GiB in one mapping; the tool's own memory stays small.
. "$(dirname "$0")/../lib.sh"

room() { # MiB of memory and of disk
	(($(awk '/^MemAvailable/ {print $2}' /proc/meminfo) > $1 * 1024)) || skip_hardware "less than $1 MiB of free memory"
	(($(df --output=avail . | tail -n 1) > $1 * 1024)) || skip_hardware "less than $1 MiB of free disk"
}

two_gib() {
	room 6000
	become user
	launch "$SUBJECTS/big_memory" "$CTL" 2300
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID" --kill
	wait "$PID" 2>/dev/null
	(($(stat -c %s myckpt) > 2300 << 20)) || fail "the image is too small"
	OUT=out2 ERR=err2 launch "$MYRESTART" myckpt
	ping
	verdict
}

# The largest of the command and its helpers, in KiB, by what the kernel counted.
peak() {
	need /usr/bin/python3
	as /usr/bin/python3 -c '
import resource, subprocess, sys
r = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(r.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' "$@"
}

little() { # SUBJECT
	become user
	launch "$SUBJECTS/$1" "$CTL" 512
	wait_ready
	local rc kib
	read -r rc kib <<<"$(peak "$GODWIT" checkpoint "$PID")"
	note "checkpoint: $rc, $kib KiB"
	[[ $rc == 0 ]] || fail "the checkpoint failed: $rc"
	((kib <= 16384)) || fail "the checkpoint took $kib KiB"
	verdict
	for c in verify show; do
		read -r rc kib <<<"$(peak "$GODWIT" $c myckpt)"
		note "$c: $rc, $kib KiB"
		[[ $rc == 0 ]] || fail "$c failed: $rc"
		((kib <= 32768)) || fail "$c took $kib KiB"
	done
}

LIMIT=200 try more_than_2_gib_in_one_mapping two_gib
for s in big_memory mem_runs threads_1000 mem_many_maps; do
	LIMIT=120 try "tool_stays_small_with_$s" little $s
done
finish
