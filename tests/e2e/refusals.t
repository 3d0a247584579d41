#!/bin/bash
# What cannot be restored is refused at checkpoint time: exit 3, the object and its
# descriptor named, with a remedy; nothing is written and the program goes on.
. "$(dirname "$0")/../lib.sh"

refused() { # USER KIND WORDS: what the message must call it
	become "$1"
	launch "$SUBJECTS/refuse" "$CTL" "$2"
	wait_for 30 has out '^(ready|impossible)'
	has out '^impossible' && skip "$(grep -a impossible out)"
	_seconds 30
	expect 3 timeout "$SECONDS_NOW" "$GODWIT" checkpoint "$PID"
	says "^godwit: checkpoint: " "$3" '^hint: .{10}'
	local fd
	fd=$(sed -n 's/^fd //p' out)
	[[ -z $fd ]] || says "fd $fd([^0-9]|\$)|memory 0x"
	[[ ! -s cmd.out ]] || fail "something is on stdout"
	local left
	left=$(find . -newer out -type f ! -name 'cmd.*' ! -name out)
	[[ -z $left ]] || fail "left behind: $left"
	[[ $2 == traced ]] || nothing_left
	ping
	verdict
}

refused_by_preload() {
	become user
	launch env LD_PRELOAD="$LIBCKPT" "$SUBJECTS/refuse" "$CTL" "$1"
	wait_ready
	kill -12 "$PID"
	wait_alive "$PID" 20 has err "$2"
	ping
	[[ ! -e myckpt ]] || fail "an image was written"
	verdict
}

refused_32() {
	become user
	launch "$SUBJECTS/refuse32" "$CTL"
	wait_ready
	expect 3 "$GODWIT" checkpoint "$PID"
	says "32.bit" '^hint: '
	[[ ! -e myckpt ]] || fail "an image was written"
	ping
	verdict
}

while read -r user kind words; do
	try "checkpoint_refuses_$kind" refused "$user" "$kind" "$words"
done <<'END'
user io_uring io_uring
user tcp_established (tcp|connect)
user o_path O_PATH
user device (ptmx|terminal)
user inotify_unread events
user inotify_hidden inode
root fanotify fanotify
user userfaultfd userfaultfd
root perf_event perf
user memfd_large 64.MiB
user memfd_foreign memfd
user memfd_secret (secret)
user pidfd pidfd
user netlink netlink
root packet (packet|socket)
user message_queue godwit-test
user fd_in_flight (descriptor|in flight|SCM_RIGHTS)
user unix_connected (unix|socket)
user unix_replaced (gone|directory)
user multicast multicast
user thread_clock clock
user foreign_pipe pipe
user child (child|process [0-9]+)
user zombie (child|zombie)
user vforked (child|vfork)
user traced (traced|tracer|debugger)
user hugetlb huge
user sysv_shm (SysV|System V|shared memory)
user aio (aio|asynchronous)
user foreign_shared_memory shared
user no_bell signal
END
try checkpoint_refuses_a_32_bit_program refused_32
try preload_says_why_it_refuses refused_by_preload pidfd pidfd
finish
