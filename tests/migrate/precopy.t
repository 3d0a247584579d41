#!/bin/bash
# Pre-copy: memory goes over while the program runs.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"

can_track() {
	"$GODWIT" doctor --json >doctor.out 2>/dev/null
	(($(uname -r | cut -d. -f1) * 100 + $(uname -r | cut -d. -f2) >= 607)) ||
		skip_hardware "this kernel is older than 6.7: it does not tell written pages"
}

moves() { # USER PROGRAM ARGS...
	can_track
	become "$1"
	COUNTER=$B/migrate/$2
	shift 2
	two_hosts
	serve_on beta
	count_on alpha "$@"
	if [[ -n ${INCREMENTAL-} ]]; then
		(on alpha "$GODWIT" checkpoint "$PID" --incremental -q -o before.ckpt) || fail "no checkpoint"
	fi
	migrate_from alpha "tls://$BETA:$PORT" --key key --json
	[[ $RC == 0 ]] || fail "exit status $RC"
	python3 - <<-'P' || fail "no pages went over while it ran: $(cat cmd.out)"
		import json
		d = json.load(open('cmd.out'))
		assert not d['stopped_because'], d
		r = d['rounds']
		assert r and r[0]['bytes'] > 0, r
	P
	finish_counter over
}
try precopy_of_a_counter_as_user moves user counter 16
try precopy_of_a_counter_as_root moves root counter 16
try precopy_of_threads moves user counter 8 6
# Who only asks is told the same, and the chain goes on.
asked() {
	can_track
	become user
	serve_on beta
	count_on alpha 8
	expect 0 "$GODWIT" checkpoint "$PID" --incremental -q -o 1.ckpt
	local words
	for words in --dry-run --explain; do
		migrate_from alpha "tls://$BETA:$PORT" --key key --json $words
		[[ $RC == 0 ]] || fail "exit status $RC"
		/usr/bin/python3 -c 'import json; d = json.load(open("cmd.out")); assert not d["stopped_because"], d["stopped_because"]' ||
			fail "$words: $(cat cmd.out)"
	done
	expect 0 "$GODWIT" checkpoint "$PID" --incremental -v -o 2.ckpt
	says 'is saved in.*incremental;'
	migrate_from alpha "tls://$BETA:$PORT" --key key --json
	[[ $RC == 0 ]] || fail "exit status $RC"
	/usr/bin/python3 -c 'import json; d = json.load(open("cmd.out")); assert d["mode"] == "pre-copy", d' || fail "$(cat cmd.out)"
	finish_counter over
}
try asked_of_what_an_incremental_checkpoint_tracks asked

INCREMENTAL=1 try precopy_of_what_an_incremental_checkpoint_tracks moves user counter 8
try precopy_of_changing_memory moves user churner 16

churn_hops() {
	can_track
	become user
	COUNTER=$B/migrate/churner
	local i
	serve_on beta
	count_on alpha 8
	for ((i = 0; i < ${HOPS:-12}; i++)); do
		migrate_from alpha "tls://$BETA:$PORT" --key key -q --max-pause $((1 + i % 3 * 20))
		# A stack that jumps may ask for another try; nothing is lost by it.
		[[ $RC == 0 ]] || says 'try again' || fail "hop $i: exit status $RC"
		wait_for 30 _count_is 1
		PID=${COUNTERS[0]}
		goes_on
	done
	finish_counter over
}
LIMIT=200 try twelve_hops_of_changing_memory churn_hops

# Godwit must not cut what the program has mapped as one; the churner ends if it does.
mremap_holds() {
	can_track
	become user
	COUNTER=$B/migrate/churner
	local i
	launch "$COUNTER" "$W/numbers" 8 50
	wait_for 30 test -s numbers
	for ((i = 0; i < 30; i++)); do
		expect 0 "$GODWIT" checkpoint "$PID" --pause=live -q -o image
		alive "$PID" || fail "it ended after checkpoint $i"
	done
	finish_counter out
}
LIMIT=120 try mremap_never_fails_while_tracked mremap_holds

java_moves() {
	become user
	two_hosts
	java_classes "$TOP/tests/e2e/work/Work.java"
	local words=(java -Xmx256m -XX:-UsePerfData -cp "$BUILT" Work 6000)
	(as "${words[@]}") </dev/null 2>/dev/null | tail -n 1 >want
	grep -q '^result ' want || fail "it does not run uncut"
	serve_on beta
	pipe_on alpha "${words[@]}" "$W/moved"
	wait_alive "$PID" 60 has out '^200$'
	migrate_from alpha "tls://$BETA:$PORT" --key key ${MODE:+--mode=$MODE}
	[[ $RC == 0 ]] || fail "exit status $RC"
	has out '^result' && fail "it had ended before it moved"
	# It writes now more, now less: no reason to go on for ever.
	(($(grep -c 'MiB .* ms$' cmd.err) < 32)) || fail "as many rounds as there may be"
	touch moved
	wait_for 120 has over '^result '
	[[ $(tail -n 1 over) == "$(cat want)" ]] || fail "another result than uncut: $(tail -n 1 over)"
}
LIMIT=200 try a_jvm_goes_on_over_there java_moves
MODE=total LIMIT=200 try a_jvm_goes_on_after_a_total_copy java_moves

cannot_track() {
	become user
	serve_on beta
	cat >direct.py <<-'P'
		import os, sys, time
		fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_DIRECT)
		print('ready', flush=True)
		n = 0
		while not os.path.exists(sys.argv[1] + '.stop'):
		    n += 1
		    os.write(os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND), b'%d\n' % n) if n == 1 else None
		    time.sleep(0.01)
		print('ok', flush=True)
	P
	: >direct
	chmod 666 direct
	pipe_on alpha /usr/bin/python3 "$W/direct.py" "$W/direct" "$W/numbers"
	wait_alive "$PID" 30 has out '^ready'
	migrate_from alpha "tls://$BETA:$PORT" --key key
	[[ $RC == 0 ]] || fail "exit status $RC"
	says 'stopped for all of it, since'
	: >direct.stop
	wait_for 30 has over '^ok$'
}
try what_cannot_be_tracked_is_stopped_and_says_why cannot_track

source_dies() { # POINT WHERE
	can_track
	become user
	serve_on beta --timeout 3
	count_on alpha 4 2
	GODWIT_FAULT=$1 migrate_from alpha "tls://$BETA:$PORT" --key key --timeout 3
	wait_for 30 _count_is 1
	[[ -z $(ls state-alpha 2>/dev/null) ]] || fail "not settled"
	if [[ $2 == here ]]; then
		alive "$PID" || fail "it should go on here"
		nothing_left
		finish_counter out
	else
		finish_counter over
	fi
}
for point in "runs on" "round sent" "model sent" "ready heard" held; do
	try "precopy_source_killed_at_${point// /_}" source_dies "$point" here
done
try precopy_source_killed_at_commit_sent source_dies "commit sent" over

target_dies() { # POINT WHERE
	can_track
	become user
	GODWIT_FAULT=$1 serve_on beta --timeout 3
	count_on alpha 4 2
	migrate_from alpha "tls://$BETA:$PORT" --key key --timeout 3
	wait_for 30 _count_is 1
	if [[ $2 == here ]]; then
		alive "$PID" || fail "it should go on here"
		nothing_left
		finish_counter out
	else
		finish_counter over
	fi
}
for point in "mapped early" "pages taken" "round taken" mapped built "commit heard" going; do
	try "precopy_destination_killed_at_${point// /_}" target_dies "$point" here
done
try precopy_destination_killed_at_let_go target_dies "let go" over

redis_moves() {
	can_track
	need redis-server redis-cli
	become user
	two_hosts
	serve_on beta
	ip -n "$NS_ALPHA" addr add 10.214.8.1/32 dev lo
	ip -n "$NS_BETA" addr add 10.214.8.1/32 dev lo
	mkdir -p redis && chmod 777 redis
	pipe_on alpha redis-server --bind 10.214.8.1 --port 7777 --save '' --dir "$W/redis" --protected-mode no --enable-debug-command yes --daemonize no
	wait_alive "$PID" 30 has out 'Ready to accept connections'
	(on alpha redis-cli -h 10.214.8.1 -p 7777 debug populate 200000 key 100) >/dev/null || fail "cannot fill redis"
	(on alpha redis-cli -h 10.214.8.1 -p 7777 eval 'for i = 1, 1000 do redis.call("set", "n:" .. i, i * i) end return 1' 0) >/dev/null
	local digest
	digest=$(on alpha redis-cli -h 10.214.8.1 -p 7777 debug digest)
	[[ $digest =~ ^[0-9a-f]{40}$ ]] || fail "no digest: $digest"
	# Connections cannot be moved: until nobody is connected (7777 is 1E61; 0A: it listens).
	_nobody_is_connected() { ! ip netns exec "$NS_ALPHA" awk '$2 ~ /:1E61$/ && $4 != "0A" && $4 != "06"' /proc/net/tcp | grep -q .; }
	wait_for 20 _nobody_is_connected
	migrate_from alpha "tls://$BETA:$PORT" --key key
	[[ $RC == 0 ]] || fail "exit status $RC"
	[[ $(on beta redis-cli -h 10.214.8.1 -p 7777 debug digest) == "$digest" ]] || fail "other data"
	[[ $(on beta redis-cli -h 10.214.8.1 -p 7777 get n:777) == 603729 ]] || fail "other data"
	[[ $(on beta redis-cli -h 10.214.8.1 -p 7777 incr n:777) == 603730 ]] || fail "it does not go on"
	(on beta redis-cli -h 10.214.8.1 -p 7777 shutdown nosave) 2>/dev/null
	true
}
LIMIT=120 try redis_with_its_data_moves redis_moves

finish
