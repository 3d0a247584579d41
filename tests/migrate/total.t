#!/bin/bash
# Moving a program by TLS: stop, send all, go on over there.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"

moves() { # USER ARGS OF THE COUNTER...
	become "$1"
	shift
	two_hosts
	serve_on beta
	count_on alpha "$@"
	migrate_from alpha "tls://$BETA:$PORT" --key key "--mode=${MODE:-total}"
	[[ $RC == 0 ]] || fail "exit status $RC"
	says 'goes on on beta' 'address-space restoring' 'downtime'
	gone "$PID" || fail "the copy here was not ended"
	finish_counter over
	[[ -z $(ls state-alpha 2>/dev/null) ]] || fail "a record is left on the source"
}
try total_copy_to_another_host_as_user moves user
try total_copy_to_another_host_as_root moves root
try total_copy_of_threads moves user 3 4
try total_copy_of_64_mib moves user 64

subject_moves() { # MODE SUBJECT ARGS...
	become user
	two_hosts
	goes_over "$@"
}
# What is removed is made anew over there.
try removed_system_v_memory_moves subject_moves total sysv_shm gone
try removed_system_v_memory_moves_by_pre_copy subject_moves pre-copy sysv_shm gone
try pseudo_terminals_move subject_moves total ptys

# Filters that kill for nearly every call: set over there when all else is done.
filters_move() { # MODE
	become root
	two_hosts
	goes_over "$1" seccomp_filters
}
for mode in total pre-copy post-copy; do
	try "seccomp_filters_move_by_$mode" filters_move $mode
done

count_moves() {
	become user
	two_hosts
	serve_on beta
	pipe_on alpha "$B/count"
	wait_for 30 has out '^2$'
	migrate_from alpha "tls://$BETA:$PORT" --key key
	[[ $RC == 0 ]] || fail "exit status $RC"
	wait_for 30 has over '^[5-9]$'
	# Each number once, here or there.
	[[ $(sort -n out over | uniq -d) == "" ]] || fail "a number twice"
	[[ $(cat out over | sort -n | head -n 5 | tr '\n' ' ') == "1 2 3 4 5 " ]] || fail "a number is missing"
}
try count_goes_on_over_there count_moves

python_moves() {
	become user
	need python3
	two_hosts
	serve_on beta
	cat >work.py <<-'P'
		import hashlib, os, time
		h = hashlib.sha256()
		for i in range(400):
		    for k in range(200): h.update(b'%d' % (i * k))
		    print(i, flush=True)
		    time.sleep(0.005)
		print(h.hexdigest(), flush=True)
	P
	/usr/bin/python3 work.py | tail -n 1 >want
	pipe_on alpha /usr/bin/python3 "$W/work.py"
	wait_for 30 has out '^20$'
	note_pid "$PID"
	migrate_from alpha "tls://$BETA:$PORT" --key key
	[[ $RC == 0 ]] || fail "exit status $RC"
	wait_for 60 has over '^[0-9a-f]{64}$'
	[[ $(tail -n 1 over) == "$(cat want)" ]] || fail "another result than uncut"
}
try python_goes_on_over_there python_moves

asks() {
	become user
	two_hosts
	serve_on beta
	count_on alpha
	migrate_from alpha "tls://$BETA:$PORT" --key key --dry-run
	[[ $RC == 0 ]] || fail "exit status $RC"
	says 'beta.*can take process'
	nothing_left
	migrate_from alpha "tls://$BETA:$PORT" --key key --dry-run --json
	python3 -c 'import json,sys; d = json.load(open("cmd.out")); assert d["outcome"] == "possible" and d["host"] == "beta", d'
	finish_counter out
}
try dry_run_moves_nothing asks

# A destination that sees this much free memory.
little_memory() {
	become root
	own_mounts
	sed 's/^MemAvailable:.*/MemAvailable: 20000 kB/' /proc/meminfo >meminfo
	mount --bind meminfo /proc/meminfo || skip "cannot mount over /proc/meminfo here"
	serve_on beta
	umount /proc/meminfo
	count_on alpha 64
	migrate_from alpha "tls://$BETA:$PORT" --key key --dry-run
	[[ $RC == 0 ]] || fail "exit status $RC with memory enough"
	says 'memory it needs there *6[4-9]' 'memory free there'
	mount --bind meminfo /proc/meminfo
	migrate_from alpha "tls://$BETA:$PORT" --key key --dry-run
	[[ $RC == 1 ]] || fail "exit status $RC"
	says 'needs 6[4-9] MiB of memory, and .* has 19 MiB free' '^hint: '
	nothing_left
	finish_counter out
}
try dry_run_judges_memory little_memory

full_disk() {
	become root
	own_mounts
	mkdir small
	mount -t tmpfs -o size=64k none small || fail "cannot mount a tmpfs"
	serve_on beta --stdio "file:$W/small/over"
	count_on alpha
	migrate_from alpha "tls://$BETA:$PORT" --key key --dry-run
	[[ $RC == 0 ]] || fail "exit status $RC with room enough"
	[[ ! -e small/over ]] || fail "the question has made the file"
	head -c 100000 /dev/zero >small/zeros 2>/dev/null
	migrate_from alpha "tls://$BETA:$PORT" --key key --dry-run
	[[ $RC == 1 ]] || fail "exit status $RC"
	says 'disk is full.*small/over' '^hint: '
	nothing_left
	finish_counter out
}
try dry_run_judges_the_disk full_disk

full_disk_of_the_programs() {
	become root
	own_mounts
	mkdir small
	mount -t tmpfs -o size=64k none small || fail "cannot mount a tmpfs"
	serve_on beta
	pipe_on alpha "$COUNTER" "$W/small/numbers"
	wait_alive "$PID" 30 test -s small/numbers
	head -c 100000 /dev/zero >small/zeros 2>/dev/null
	migrate_from alpha "tls://$BETA:$PORT" --key key --dry-run
	[[ $RC == 0 ]] || fail "exit status $RC"
	says "over there: the disk of '.*/small/numbers', which it writes to, is full"
	kill -9 "$PID"
}
try dry_run_tells_full_disks_of_the_programs full_disk_of_the_programs

no_folder() {
	become user
	serve_on beta --stdio "file:$W/nowhere/over"
	count_on alpha
	migrate_from alpha "tls://$BETA:$PORT" --key key --dry-run
	[[ $RC == 1 ]] || fail "exit status $RC"
	says 'output cannot go to.*nowhere/over' '^hint: '
	finish_counter out
}
try dry_run_judges_the_file_of_stdio no_folder

json() {
	become user
	serve_on beta
	count_on alpha
	migrate_from alpha "tls://$BETA:$PORT" --key key --json -q
	[[ $RC == 0 ]] || fail "exit status $RC"
	[[ ! -s cmd.err ]] || fail "it is not quiet"
	python3 -c 'import json; d = json.load(open("cmd.out")); assert d["outcome"] == "moved" and d["phases"]["downtime_ns"] > 0 and d["memory"]["sent"] > 0, d'
	finish_counter over
}
try report_as_json json

to_and_fro() {
	become user
	two_hosts
	local i port_beta port_alpha host=alpha
	serve_on beta
	port_beta=$PORT
	(on alpha "$GODWIT" serve --listen "10.214.7.1:0" --key key --stdio "file:$W/over") </dev/null \
		>/dev/null 2>serve2.err &
	note_pid "$!"
	wait_for 20 has serve2.err 'listening on'
	port_alpha=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' serve2.err)
	count_on alpha 2
	for ((i = 0; i < ${HOPS:-10}; i++)); do
		if [[ $host == alpha ]]; then
			migrate_from alpha "tls://10.214.7.2:$port_beta" --key key -q
			host=beta
		else
			migrate_from beta "tls://10.214.7.1:$port_alpha" --key key -q
			host=alpha
		fi
		[[ $RC == 0 ]] || fail "hop $i: exit status $RC"
		wait_for 30 _count_is 1
		PID=${COUNTERS[0]}
		goes_on
	done
	finish_counter over
}
LIMIT=120 try ten_hops_to_and_fro to_and_fro
HOPS=100 LIMIT=900 try a_hundred_hops_to_and_fro to_and_fro

# --- who may, and what is wrong ---

stays() { # STATUS TEXT ARGS...: the program goes on here
	local status=$1 text=$2
	shift 2
	count_on alpha
	migrate_from alpha "$@"
	[[ $RC == "$status" ]] || fail "exit status $RC instead of $status"
	says "$text" '^hint: '
	gone "$PID" && fail "the program is gone"
	nothing_left
	finish_counter out
}
refuses() { become user; serve_on beta; stays "$@"; }
wrong_key() {
	become user
	serve_on beta
	(as "$GODWIT" key other)
	stays 4 'TLS|key' "tls://$BETA:$PORT" --key other
	count_on alpha
	[[ $(counters | wc -l) == 1 ]] || fail "a copy runs over there"
}
try a_wrong_key_is_refused wrong_key
try a_key_that_others_can_read_is_refused eval 'become user; make_key; chmod 644 key; count_on alpha; migrate_from alpha tls://127.0.0.1:9 --key key; [[ $RC == 4 ]] && says "mode 0644" && finish_counter out'
try no_key refuses 2 'needs the shared key' tls://127.0.0.1:9
try no_such_host refuses 1 "cannot find host 'no.such.host.invalid'" tls://no.such.host.invalid:9 --key key
try a_closed_port refuses 1 'cannot connect.*refused' tls://127.0.0.1:9 --key key
try a_name_without_a_port refuses 2 'names no port' tls://127.0.0.1 --key key
try another_scheme refuses 2 'no way to a host' http://127.0.0.1:80

other_version() {
	become user
	make_key
	count_on alpha
	# A destination of another time: the same frames, another version.
	cat >fake.py <<-'P'
		import os, struct, sys
		def frame(t, b): os.write(1, struct.pack('<IIQ', 0x314d5747, t, len(b)) + b)
		def text(s): return struct.pack('<I', len(s)) + s
		os.read(0, 16)
		frame(3, struct.pack('<iI', -93, 3) + text(b'this host has godwit 9.9, which speaks version 7') + text(b'install the same version'))
	P
	printf '#!/bin/sh\nexec python3 %s/fake.py\n' "$W" >ssh
	chmod 755 ssh
	migrate_from alpha somewhere --ssh "$W/ssh"
	[[ $RC == 3 ]] || fail "exit status $RC"
	says 'version 7' 'hint: install the same'
	# And the other way: a source of another time.
	python3 -c 'import struct, sys; b = struct.pack("<IQI", 7, 0, 1) + bytes(16) + b"whatever comes then"; sys.stdout.buffer.write(struct.pack("<IIQ", 0x314d5747, 1, len(b)) + b)' >hello
	(as "$GODWIT" receive <hello >answer 2>cmd.err)
	[[ $? == 3 ]] || fail "receive takes a source of another version"
	grep -aq 'speaks version 1 of the protocol' answer || fail "the source is not told"
	finish_counter out
}
try another_version_is_refused_on_both_sides other_version

no_godwit() {
	become user
	count_on alpha
	printf '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift 2\nexec sh -c "$1"\n' >ssh
	chmod 755 ssh
	migrate_from alpha somewhere --ssh "$W/ssh" --remote-godwit /nowhere/godwit
	[[ $RC == 1 ]] || fail "exit status $RC"
	says "there is no '/nowhere/godwit' on somewhere" 'hint: install'
	finish_counter out
}
try a_destination_without_godwit no_godwit

another_user() {
	become user
	[[ -n $IS_ROOT ]] || skip "needs root, to be two users"
	make_key
	chmod 600 key
	cp key key.root
	KEY=key.root AS=root serve_on beta
	chown "$TEST_UID" key
	stays 4 'program of user' "tls://$BETA:$PORT" --key key
}
try a_destination_of_another_user another_user

allowed_user() {
	[[ -n $IS_ROOT ]] || skip "needs root"
	become user
	make_key
	cp key key.root
	KEY=key.root AS=root serve_on beta --allow-uid "$TEST_UID"
	count_on alpha
	migrate_from alpha "tls://$BETA:$PORT" --key key
	[[ $RC == 0 ]] || fail "exit status $RC"
	wait_for 30 _count_is 1
	[[ $(stat -c %u "/proc/$(counters)") == "$TEST_UID" ]] || fail "it runs as another user"
	finish_counter over
}
try root_takes_programs_of_allowed_users allowed_user

# Whose program it is is only said: nobody else's user, and none of root's groups.
claims() { # UID GID STATUS TEXT
	[[ -n $IS_ROOT ]] || skip "needs root"
	become root
	serve_on beta --allow-uid "$TEST_UID"
	pipe_on alpha setpriv "--reuid=$1" "--regid=$2" --clear-groups -- "$B/count" 100000
	wait_for 30 has out '^2$'
	migrate_from alpha "tls://$BETA:$PORT" --key key
	[[ $RC == "$3" ]] || fail "exit status $RC"
	says "$4"
	alive "$PID" || fail "the program is gone"
	kill -9 "$PID"
}
try a_user_that_is_not_allowed claims "$OTHER_UID" "$OTHER_UID" 4 "program of user $OTHER_UID, and this destination"
try a_group_that_is_not_the_users claims "$TEST_UID" 0 4 "program of group 0, and user $TEST_UID is not in that group"

not_saved() {
	become user
	serve_on beta
	: >out
	chmod 666 out
	(as sh -c 'sleep 1000 & wait') </dev/null >out 2>err &
	PID=$!
	note_pid "$PID"
	wait_for 20 pgrep -P "$PID"
	migrate_from alpha "tls://$BETA:$PORT" --key key
	[[ $RC == 3 ]] || fail "exit status $RC"
	says 'has a child'
	nothing_left
}
try what_cannot_be_saved_is_refused_before_it_moves not_saved

finish
