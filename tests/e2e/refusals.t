#!/bin/bash
# What cannot be restored is refused at checkpoint time: exit 3, the object and its
# descriptor named, with a remedy; nothing is written and the program goes on.
. "$(dirname "$0")/../lib.sh"

# The table of the manual: "WHAT<tab>REMEDY", which tests/unit/man_kinds.c compares with the code.
table() {
	awk -v OFS='\t' '/^\.S/ { on = /What is refused/; next } !on { next }
		/^\.It / { what = substr($0, 5); next } what && !/^\./ { print what, $0 }' "$TOP/man/godwit.1"
}

# hints_at WHAT: what the command said is the remedy of that line of the table.
hints_at() {
	local remedy
	remedy=$(table | awk -F'\t' -v what="$1" '$1 == what { print $2 }')
	[[ -n $remedy ]] || fail "the table has no line '$1'"
	grep -Fxq "hint: $remedy" cmd.err || fail "the hint is not '$remedy'"
}

refused() { # PROGRAM USER KIND WORDS LINE: what the message must call it, and the table
	become "$2"
	launch "$SUBJECTS/$1" "$CTL" "$3"
	wait_for 30 has out '^(ready|impossible|absent)'
	has out '^impossible' && skip "$(grep -a impossible out)"
	has out '^absent' && skip_hardware "$(grep -a absent out)"
	_seconds 30
	expect 3 timeout "$SECONDS_NOW" "$GODWIT" checkpoint "$PID"
	says "^godwit: checkpoint: " "$4"
	hints_at "$5"
	local fd
	fd=$(sed -n 's/^fd //p' out)
	[[ -z $fd ]] || says "fd $fd([^0-9]|\$)|memory 0x"
	[[ ! -s cmd.out ]] || fail "something is on stdout"
	local left
	left=$(find . -newer out -type f ! -name 'cmd.*' ! -name out)
	[[ -z $left ]] || fail "left behind: $left"
	[[ $3 == traced ]] || nothing_left
	ping
	verdict
}

refused_by_preload() {
	become user
	launch env LD_PRELOAD="$LIBCKPT" "$SUBJECTS/refuse_files" "$CTL" "$1"
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
	says "32.bit"
	hints_at "32-bit code"
	[[ ! -e myckpt ]] || fail "an image was written"
	ping
	verdict
}

# PROGRAM USER KIND;what the message says (regular expression);the line of the table
refusals() {
	cat <<'END'
refuse user io_uring;io_uring;an io_uring
refuse user tcp_established;established;TCP connections
refuse_files user o_path;O_PATH;a place (O_PATH) that is not there any more
refuse_files user device;one way;the master of a pseudo-terminal, open one way only
refuse_files user pty_unopened;never opened;a pseudo-terminal's master whose slave was never opened
refuse_files user pty_controls;controlling terminal;a pseudo-terminal's master whose slave controls a session
refuse_files user pty_foreign;process [0-9]+ has it;a pseudo-terminal's master, of which another process has an end, too
refuse_files user pty_stopped;stopped;a pseudo-terminal that is full, stopped, or not a plain terminal
refuse_files user pty_status;packet mode;a pseudo-terminal that is full, stopped, or not a plain terminal
refuse_files root pty_full;full;a pseudo-terminal that is full, stopped, or not a plain terminal
refuse_files user inotify_unread;events;an inotify with events not yet read
refuse_files user inotify_hidden;inode;an inotify of which a name cannot be found
refuse_files user inotify_numbers;too high numbers;an inotify whose watches have too high numbers
refuse_files root fanotify;fanotify;a fanotify
refuse user userfaultfd;userfaultfd;a userfaultfd
refuse root perf_event;perf;a performance counter
refuse user memfd_large;64.MiB;files without a name that hold more than 64 MiB
refuse user memfd_foreign;memfd;a file without a name that another process has, too
refuse_files user content_closed;ermission denied;a file without a name that its mode closes
refuse_files user content_lock;a lock on it;a file without a name, with a lock on it
refuse_files user content_huge;huge pages;a file without a name, of huge pages
refuse_files user secret;(secret);secret memory (memfd_secret)
refuse user secret_mapped;secret memory;a mapping of secret memory
refuse_files user pidfd;pidfd;a pidfd
refuse_files user netlink;netlink;a netlink socket
refuse_files root packet;(packet|socket);a packet socket
refuse user message_queue;godwit-test;a POSIX message queue (mqueue)
refuse user fd_in_flight;kind: epoll;an epoll, inotify, terminal or file without a name that is only on its way in a socket (SCM_RIGHTS)
refuse user memfd_in_flight;in flight;an epoll, inotify, terminal or file without a name that is only on its way in a socket (SCM_RIGHTS)
refuse user credentials;another process;an unread message with another process's credentials
refuse_files user unix_connected;(unix|socket);connections of Unix sockets with a name
refuse user unix_replaced;(gone|directory);a Unix socket whose file is gone
refuse_files user unix_lone;never connected;a Unix socket that was never connected
refuse_files user unix_unread;of the socket 'somebody';an unread datagram of a Unix socket with a name that is not the program's
refuse_files user unix_waiting;1 connections;connections to a Unix socket, not accepted yet
refuse_files user large_message;unread message of 204800;an unread message of more than 192 KiB
refuse_files user multicast;multicast;a UDP socket that is in a multicast group
refuse user thread_clock;clock;a POSIX timer of a wake-up clock, or of one of several threads' CPU time
refuse user foreign_pipe;pipe;a pipe or socket to another process, other than 0, 1 and 2
refuse user child;(child|process [0-9]+);a child process
refuse user zombie;(child|zombie);a child process
refuse user vforked;(child|vfork);a thread that waits in vfork(2)
refuse user traced;(traced|tracer|debugger);a tracer
refuse_seccomp user seccomp;seccomp;a seccomp filter, where godwit is not root
refuse_seccomp user seccomp_strict;strict;the strict mode of seccomp
refuse_seccomp root seccomp_strict;strict;the strict mode of seccomp
refuse_seccomp root seccomp_asks;asks another;a seccomp filter that asks another process (SECCOMP_RET_USER_NOTIF)
refuse_seccomp root seccomp_heal;rt_sigprocmask;a seccomp filter that forbids rt_sigprocmask()
refuse_seccomp root seccomp_rights;no_new_privs;a seccomp filter without no_new_privs, of a program that is not root's
refuse root two_users;two users;the rights of two users
refuse root deadline;SCHED_DEADLINE;a thread under SCHED_DEADLINE
refuse user directory_gone;working directory.*gone;a working or root directory that was deleted
refuse user own_descriptors;thread [0-9]+ .*of its own;a thread with descriptors of its own
refuse root own_capabilities;thread [0-9]+ .*capabilities of its own;a thread with capabilities of its own
refuse user own_directory;thread [0-9]+ .*directory of its own;a thread with a working directory of its own
refuse root high_descriptor;descriptor 1048576;a descriptor above 1048575
refuse user hugetlb;not of 2 MiB;huge pages, other than of 2 MiB, by one mmap() each
refuse user hugetlb_parts;(part|twice);huge pages, other than of 2 MiB, by one mmap() each
refuse_sysv root sysv_huge;System V.*huge;huge pages, other than of 2 MiB, by one mmap() each
refuse_sysv user sysv_part;System V.*part;System V shared memory that is locked, or mapped in part
refuse_sysv user sysv_locked;System V.*locked;System V shared memory that is locked, or mapped in part
refuse_sysv user sysv_foreign;System V.*another process;shared memory that another process has, too
refuse user aio;(aio|asynchronous);memory of a kernel object (asynchronous I/O, rings)
refuse root device_memory;memory of a device;memory of a device
refuse user foreign_shared_memory;shared;shared memory that another process has, too
refuse user shared_file_closed;shared mapping;a shared mapping of a file that its name does not reach
refuse user no_bell;signal;four pending signals: SIGURG, SIGWINCH, SIGCHLD and SIGCONT
refuse_files root bpf;BPF;a BPF object
refuse_files user namespace;namespace;a namespace
refuse_files root anonymous;no support;other anonymous objects
refuse_files root kernel_filesystem;debugfs;a file of debugfs, tracefs, bpf and the like
refuse_files root block_device;block device;a block device
refuse_files root other_device;/dev/kmsg;other devices
refuse_files user datagrams;datagram socket;a datagram socket that is not UDP
refuse_files user stream;stream socket;a stream socket that is not plain TCP
refuse_files root raw;raw socket;a raw socket
refuse_files user other_socket;socket;other sockets
refuse_files user file_replaced;replaced;a file that its name does not lead to any more
refuse_files user lease_broken;waits for the lease;a lease that somebody waits for
refuse_files user lease_mapped;lease for writing;a lease for writing on a file that is mapped or has no name
refuse_files user lease_unlinked;lease for writing;a lease for writing on a file that is mapped or has no name
refuse_files user foreign_owner;another process;a descriptor whose signals go to another process (F_SETOWN)
refuse_files user dnotify;F_NOTIFY;a directory whose changes may be signalled (F_NOTIFY)
refuse_files user directory_lock;lock;a directory with a lock on it
refuse_files root device_gone;device of that name;a device that its name does not lead to any more
refuse_files user proc_gone;not this name;a file of /proc, /sys or cgroups that is not there any more
refuse_files user proc_other;another process;a file of /proc of another process, or of a thread
refuse_files user epoll_stale;watches what descriptor;an epoll that watches a descriptor closed since
refuse_files user fifo_packets;packets;a named pipe with unread packets (O_DIRECT)
refuse_files user fifo_gone;deleted or replaced;a named pipe that was deleted or replaced
END
}

# Lines of the table that other tests show, and those that nothing here can show.
elsewhere() {
	cat <<'END'
32-bit code;tests/e2e/refusals.t checkpoint_refuses_a_32_bit_program
a stopped wait that would do for two calls;tests/e2e/waits.t wait_that_cannot_be_told_is_refused
END
}
unseen() {
	cat <<'END'
a user shadow stack;needs a CPU and a kernel with CET, and a C library that asks for it
memory with a protection key;needs a CPU with PKU; tests/unit/advice.c shows how it is read
anything else;no such thing is known: the rule that ends the list
END
}

each_line_has_its_test() {
	local line file name
	{ refusals | cut -d';' -f3; elsewhere | cut -d';' -f1; unseen | cut -d';' -f1; } | sort -u >shown
	table | cut -f1 | sort >lines
	[[ $(wc -l <lines) -gt 60 ]] || fail "the table is not read: $(cat lines)"
	[[ -z $(uniq -d lines) ]] || fail "twice in the table: $(uniq -d lines)"
	diff lines shown >differ || fail "no test for (<), no line for (>): $(cat differ)"
	while IFS=';' read -r line name; do
		file=${name% *} name=${name##* }
		grep -Eq "^(LIMIT=[0-9]+ )?try $name " "$TOP/$file" || fail "$file has no test $name, for: $line"
	done < <(elsewhere)
}

# To open the file would break the lease of the program that goes on.
lease_of_the_first() {
	become user
	launch "$SUBJECTS/files_leases" "$CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID"
	expect 1 "$GODWIT" restart myckpt
	says "cannot give the program its lease on '.*' back .*: process $PID has one" "^hint: end process $PID "
	ping
	verdict
}
try restart_breaks_no_lease_of_others lease_of_the_first

while IFS=';' read -r what words line; do
	# shellcheck disable=SC2086  # three words
	set -- $what
	name=checkpoint_refuses_$3
	[[ $2 == user ]] || name+=_as_$2
	try "$name" refused "$@" "$words" "$line"
done < <(refusals)
try checkpoint_refuses_a_32_bit_program refused_32
try each_line_of_the_manuals_table_has_its_test each_line_has_its_test
try preload_says_why_it_refuses refused_by_preload pidfd pidfd
finish
