#!/bin/bash
# Post-copy: the program goes on over there at once, its memory follows.  A throttle
# between the two makes the time in between long enough for all that can happen in it.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/postcopy.sh"

counter_moves() { # MIB THREADS
	may_come_later
	serve_on beta
	count_on alpha "$@"
	VIA=tls://$BETA:$PORT
	leaves
	arrives
	(($(number pushed_pages) > $1 * 128)) || fail "its pages did not come later: $(cat cmd.out)"
	nothing_left "$(counters)"
	finish_counter over
}
try a_counter_moves counter_moves 64
try a_counter_with_threads_moves counter_moves 64 6

# All that a program can do with memory that has not come.
toucher_moves() { # MIB THREADS BYTES-A-SECOND
	may_come_later
	COUNTER=$B/migrate/toucher
	serve_on beta
	throttle "$3"
	count_on alpha "$1" "$2"
	leaves
	: >numbers.go
	wait_for 40 test -e numbers.done
	_lacks_pages || fail "all had come before anything could happen"
	rm numbers.go
	_lacks_pages || skip "all had come meanwhile"
	arrives
	(($(number asked_pages) > 50)) || fail "nobody waited for a page: $(cat cmd.out)"
	finish_counter over
}
LIMIT=120 try memory_is_right_whatever_is_done_with_it toucher_moves 200 4 30000000

# What has not come would be missing in it.
no_checkpoint() {
	may_come_later
	serve_on beta --timeout 60
	throttle 20000000
	count_on alpha 64 3
	leaves --timeout 60
	wait_for 20 _some_have_come
	: >stall
	_lacks_pages || fail "all had come before"
	expect 1 "$GODWIT" checkpoint "$(counters | grep -vx "$PID")" -o image
	says 'is filled by somebody else' 'post-copy'
	! test -e image || fail "an image without its pages"
	rm stall
	arrives
	expect 0 "$GODWIT" checkpoint "$(counters)" -o image
	finish_counter over
}
try no_checkpoint_before_all_pages_have_come no_checkpoint

# The copy here still has the old id: who sends a signal to it means the program.
signal_to_the_copy() {
	may_come_later
	serve_on beta
	throttle 20000000
	count_on alpha 64 3
	leaves
	wait_for 20 _some_have_come
	kill -TERM "$PID"
	wait_for 20 has serve.err 'was ended by signal 15'
	_lacks_pages || fail "all had come before"
	# Then nobody needs its pages any more.
	wait "$CMD" || fail "exit status $?"
	gone "$PID" || fail "the copy here is still there"
	[[ -z $(ls state-alpha) ]] || fail "left: $(ls state-alpha)"
	_count_is 0 || fail "it is still there"
}
try a_signal_to_the_copy_ends_the_program_over_there signal_to_the_copy

hops() {
	may_come_later
	COUNTER=$B/migrate/toucher
	local i
	serve_on beta
	count_on alpha 24 3
	: >numbers.go
	for ((i = 0; i < ${HOPS:-8}; i++)); do
		migrate_from alpha "tls://$BETA:$PORT" --key key --mode=post-copy -q
		# While it has a child it cannot be moved.
		while [[ $RC == 3 ]] && has cmd.err 'has a child'; do
			migrate_from alpha "tls://$BETA:$PORT" --key key --mode=post-copy -q
		done
		[[ $RC == 0 ]] || fail "hop $i: exit status $RC"
		wait_for 30 _count_is 1
		PID=${COUNTERS[0]}
		nothing_left
		goes_on
	done
	rm numbers.go
	finish_counter over
}
LIMIT=120 try eight_hops_of_a_program_that_forks_and_moves_its_memory hops

redis_moves() {
	may_come_later
	need redis-server redis-cli
	two_hosts
	serve_on beta
	throttle 30000000
	ip -n "$NS_ALPHA" addr add 10.214.8.1/32 dev lo
	ip -n "$NS_BETA" addr add 10.214.8.1/32 dev lo
	mkdir -p redis && chmod 777 redis
	pipe_on alpha redis-server --bind 10.214.8.1 --port 7777 --save '' --dir "$W/redis" --protected-mode no --enable-debug-command yes --daemonize no
	wait_alive "$PID" 30 has out 'Ready to accept connections'
	_redis() { (on "$1" redis-cli -h 10.214.8.1 -p 7777 "${@:2}"); }
	_redis alpha debug populate 200000 key 300 >/dev/null || fail "cannot fill redis"
	_redis alpha eval 'for i = 1, 1000 do redis.call("set", "n:" .. i, i * i) end return 1' 0 >/dev/null
	local digest
	digest=$(_redis alpha debug digest)
	[[ $digest =~ ^[0-9a-f]{40}$ ]] || fail "no digest: $digest"
	wait_for 10 _no_clients
	leaves
	# A child that writes all of it to a file, while most of it is still over here.
	[[ $(_redis beta get n:777) == 603729 ]] || fail "other data"
	[[ $(_redis beta incr n:777) == 603730 ]] || fail "it does not go on"
	_redis beta bgsave >/dev/null
	_lacks_pages || fail "all had come before"
	arrives
	wait_for 40 _is_saved
	[[ $(_redis beta decr n:777) == 603729 ]] || fail "it does not go on"
	[[ $(_redis beta debug digest) == "$digest" ]] || fail "other data"
	_redis beta debug reload nosave >/dev/null || fail "what the child saved cannot be read"
	[[ $(_redis beta get n:777) == 603730 ]] || fail "the child saved other data"
	_redis beta decr n:777 >/dev/null
	[[ $(_redis beta debug digest) == "$digest" ]] || fail "the child saved other data"
	_redis beta shutdown nosave 2>/dev/null
	true
}
_no_clients() { [[ $(readlink "/proc/$PID/fd/"* | grep -c 'socket:') -le 1 ]]; }
_is_saved() { _redis beta info persistence | grep -q 'rdb_bgsave_in_progress:0' && [[ -s redis/dump.rdb ]]; }
LIMIT=150 try redis_with_its_data_moves_and_saves_it_meanwhile redis_moves

falls_back() {
	become user
	serve_on beta
	count_on alpha
	migrate_from alpha "tls://$BETA:$PORT" --key key --mode=post-copy
	[[ $RC == 0 ]] || fail "exit status $RC"
	says 'post-copy is not possible .*CAP_SYS_PTRACE' 'doing pre-copy'
	finish_counter over
}
[[ $(cat /proc/sys/vm/unprivileged_userfaultfd 2>/dev/null) == 1 ]] ||
	try without_privilege_it_says_so_and_does_precopy falls_back


finish
