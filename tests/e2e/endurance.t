#!/bin/bash
# Checkpoints without end, of all kinds in turn: no reply is lost or wrong, and what /proc shows
# of the program is what it was.  CHECKPOINTS=1000: how many.
. "$(dirname "$0")/../lib.sh"

CHECKPOINTS=${CHECKPOINTS:-24}

# One of each kind in turn, to a name of its own; now and then the images go, and with them the
# parents of the next.  Sets RC.
save() { # NUMBER
	local modes=(--pause=copy --pause=live --pause=short --incremental --compress "--incremental --pause=short")
	(($1 % 24)) || rm -f img.*
	# shellcheck disable=SC2086  # words
	run "$GODWIT" checkpoint "$PID" ${modes[$1 % ${#modes[@]}]} -o "img.$1"
}

# What must be the same afterwards: descriptors with flags and positions, mappings, what status
# tells of identity, signals and threads, the timers.
shown() {
	local fd
	for fd in "/proc/$PID/fd"/*; do
		echo "fd ${fd##*/} $(readlink "$fd")"
		# Positions, and how far a timer has come, are the program's own doing.
		grep -E '^(flags|mnt_id|sigmask|inotify|tfd|clockid|settime flags)' "/proc/$PID/fdinfo/${fd##*/}"
	done
	grep -vE "${1:-^\$}" "/proc/$PID/maps"
	grep -E '^(Name|Umask|Tgid|Ngid|Pid|PPid|TracerPid|Uid|Gid|Groups|FDSize|VmLck|VmPin|CoreDumping|THP_enabled|untag_mask|Threads|SigPnd|ShdPnd|SigBlk|SigIgn|SigCgt|Cap|NoNewPrivs|Seccomp|Cpus_allowed|Mems_allowed)' "/proc/$PID/status" |
		{ [[ -n ${1-} ]] && grep -v '^Threads' || cat; }
	cat "/proc/$PID/timers" "/proc/$PID/limits" "/proc/$PID/personality" 2>/dev/null
	cat "/proc/$PID/oom_score_adj" "/proc/$PID/coredump_filter" "/proc/$PID/timerslack_ns" 2>/dev/null
}
_same() {
	shown "${1-}" >now
	cmp -s before now
}
same() { # [PATTERN of mappings that the program changes]
	_same "${1-}" || fail "/proc shows another: $(diff before now | head -20)"
}

subject() { # NAME
	become user
	launch "$SUBJECTS/$1" "$CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID" -o img.first
	wait_for 20 _untraced "$PID"
	shown >before
	local i
	for ((i = 1; i <= CHECKPOINTS; i++)); do
		save $i
		[[ $RC == 0 ]] || fail "checkpoint $i: exit status $RC"
		((i % 10)) || { ping; same; }
	done
	wait_for 20 _untraced "$PID"
	same
	nothing_left
	expect 0 "$GODWIT" verify "img.$CHECKPOINTS"
	verdict
}

# A client that counts: each INCR is answered once, with the next number, and what was written is
# read again.  It connects anew for each few, since a server with a client is refused.
redis() {
	need redis-server redis-cli /usr/bin/python3
	become user
	local port=$((20000 + RANDOM % 20000)) i saved=0 refused=0
	launch redis-server --port $port --bind 127.0.0.1 --save '' --appendonly yes --appendfsync everysec \
		--auto-aof-rewrite-percentage 0 --enable-debug-command yes --dir "$W"
	_up() { redis-cli -p $port ping 2>/dev/null | grep -q PONG; }
	wait_alive "$PID" 20 _up
	redis-cli -p $port debug populate 20000 key 500 >/dev/null
	cat >client.py <<-'P'
		import os, socket, sys, time
		port, stop, pause = int(sys.argv[1]), sys.argv[2], sys.argv[3]
		n = rounds = 0
		def ask(f, s, *words):
		    s.sendall(b'*%d\r\n' % len(words) + b''.join(b'$%d\r\n%s\r\n' % (len(w), w) for w in words))
		    line = f.readline()
		    if line[:1] != b'$': return line.strip()
		    return f.read(int(line[1:]) + 2)[:-2]
		while not os.path.exists(stop):
		    if os.path.exists(pause):
		        open(pause + 'd', 'w').close(); time.sleep(0.005); continue
		    if os.path.exists(pause + 'd'): os.unlink(pause + 'd')
		    s = socket.create_connection(('127.0.0.1', port)); f = s.makefile('rb')
		    for _ in range(40):
		        n += 1
		        got = ask(f, s, b'INCR', b'counter')
		        assert got == b':%d' % n, (got, n)
		        v = b'%d' % n * 50
		        assert ask(f, s, b'SET', b'k%d' % (n % 997), v) == b'+OK'
		        assert ask(f, s, b'GET', b'k%d' % (n % 997)) == v, n
		    f.close(); s.close(); rounds += 1
		    if rounds % 50 == 1: print('answered', n, flush=True)
		    time.sleep(0.002)
		print('good', n, flush=True)
	P
	/usr/bin/python3 client.py $port "$W/stop" "$W/pause" >client.out 2>&1 &
	local client=$!
	note_pid "$client"
	wait_alive "$client" 20 has client.out answered
	_idle() { [[ -e paused && -z $(ss -Htnp state established "sport = :$port" 2>/dev/null) ]]; }
	: >pause
	wait_for 20 _idle
	_settled() { # the server closes what has ended, and shrinks its tables: at its next ticks
		shown "$own" >before
		sleep 0.2
		_same "$own"
	}
	# The heap grows and shrinks as it serves, and its allocator begins threads when it has use for them.
	local own=' 00:00 0 '
	wait_for 20 _settled
	rm pause
	for ((i = 1; i <= CHECKPOINTS; i++)); do
		# Now and then without a client: such a one succeeds.
		if ((i % 4 == 0)); then
			: >pause
			wait_for 20 _idle
		fi
		save $i
		[[ $RC == [03] ]] || fail "checkpoint $i: exit status $RC"
		((RC)) && refused=$((refused + 1)) || saved=$((saved + 1))
		rm -f pause
		alive "$client" || fail "the client: $(tail -n 3 client.out)"
	done
	note "$saved saved, $refused refused for a client"
	((saved * 5 >= CHECKPOINTS)) || fail "only $saved of $CHECKPOINTS were saved"
	: >pause
	wait_for 20 _idle
	wait_for 20 _untraced "$PID"
	for i in {1..100}; do # until it has closed what it has, as above
		_same "$own" && break
		sleep 0.1
	done
	same "$own"
	nothing_left
	: >stop
	wait "$client" || fail "the client: $(tail -n 3 client.out)"
	local n
	n=$(sed -n 's/^good //p' client.out)
	[[ $(redis-cli -p $port get counter) == "$n" ]] || fail "another counter than $n"
	# And what it has written to its file is all of it.
	redis-cli -p $port shutdown nosave 2>/dev/null
	wait "$PID" || fail "it ended with status $?"
	[[ $(grep -ac '^INCR' appendonlydir/*.incr.aof) == "$n" ]] || fail "the file has another number of INCRs than $n"
	note "$n requests of each kind were answered"
}

LIMIT=$((60 + CHECKPOINTS)) try of_threads_of_all_kinds subject faulty
LIMIT=$((60 + CHECKPOINTS)) try of_a_thousand_threads subject threads_1000
LIMIT=$((60 + CHECKPOINTS)) try of_redis_under_load redis
finish
