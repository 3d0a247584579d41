#!/bin/bash
# Programs that keep data: sqlite3 in the middle of an import, redis with 100 MiB,
# PostgreSQL's single-user mode, with its shared memory of three kinds.
. "$(dirname "$0")/real.sh"

make_rows() { # COUNT
	awk -v n="$1" 'BEGIN { srand(7); for (i = 1; i <= n; i++) printf "%d,name %d,%.6f\n", i, i * 7919 % 10007, rand() }' >rows.csv
}

sqlite_import() { # DOOR JOURNAL
	need sqlite3
	become user
	cat >import.sql <<-END
		PRAGMA journal_mode=$2;
		CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, x REAL);
		CREATE INDEX by_name ON t(name);
		.mode csv
		.import rows.csv t
		SELECT 'imported', count(*) FROM t;
		UPDATE t SET x = x * 2 WHERE id % 3 = 0;
		SELECT 'result', count(*), sum(length(name)), round(sum(x), 3) FROM t;
		PRAGMA integrity_check;
	END
	local rows
	for rows in 250000 750000 2000000; do
		make_rows $rows
		rm -f out ./*.db*
		(as sqlite3 want.db) <import.sql >want 2>&1 || fail "the uncut run fails: $(cat want)"
		cut_import "$1" && break
		note "imported before it was stopped, with $rows rows"
		finish_off
		((rows < 2000000)) || fail "the work is too small"
	done
	OUT=out2 ERR=err2 launch "$MYRESTART" myckpt
	wait "$PID" || fail "status $?"
	cmp -s out want || fail "the results differ: $(diff out want)"
	[[ $(sqlite3 got.db .dump | md5sum) == $(sqlite3 want.db .dump | md5sum) ]] || fail "the data differ"
}

# In the middle of the import, or false.
cut_import() { # DOOR
	local pre=()
	[[ $1 != preload ]] || pre=(env LD_PRELOAD="$LIBCKPT")
	IN=import.sql launch "${pre[@]}" sqlite3 got.db
	_grown() { (($(stat -c %s got.db "got.db-wal" 2>/dev/null | awk '{s += $1} END {print s + 0}') > 1500000)); }
	wait_alive "$PID" 30 _grown
	if [[ $1 == preload ]]; then
		ring
		finish_off
	else
		run "$GODWIT" checkpoint "$PID" --kill
		[[ $RC == 0 ]] || has out result || fail "checkpoint: $RC"
		wait "$PID" 2>/dev/null
	fi
	! has out imported
}

redis() { # DOOR USER
	need redis-server redis-cli
	become "$2"
	local port=$((20000 + RANDOM % 20000)) before pre=() sizes
	[[ $1 != preload ]] || pre=(env LD_PRELOAD="$LIBCKPT")
	launch "${pre[@]}" redis-server --port $port --bind 127.0.0.1 --save '' --appendonly no \
		--enable-debug-command yes --dir "$W"
	_up() { redis-cli -p $port ping 2>/dev/null | grep -q PONG; }
	wait_alive "$PID" 20 _up
	redis-cli -p $port debug populate 100000 key 1000 >/dev/null
	redis-cli -p $port eval 'for i=1,5000 do redis.call("rpush", "list" .. i % 50, i); redis.call("zadd", "z", i * 7 % 1009, i); redis.call("hset", "h" .. i % 9, i, i) end' 0 >/dev/null
	redis-cli -p $port set later value px 600000 >/dev/null
	before=$(redis-cli -p $port debug digest)
	sizes=$(redis-cli -p $port dbsize)
	[[ $sizes -gt 100000 ]] || fail "only $sizes keys"
	# The client's connection is closed by now; the server may still be closing it.
	_idle() { [[ -z $(ss -Htnp state established "sport = :$port" 2>/dev/null) ]]; }
	wait_for 10 _idle
	if [[ $1 == preload ]]; then
		ring
		_up || fail "it does not answer after the checkpoint"
		finish_off
	else
		expect 0 "$GODWIT" checkpoint "$PID" --kill
		wait "$PID" 2>/dev/null
	fi
	OUT=out2 ERR=err2 launch "$GODWIT" restart myckpt
	wait_alive "$PID" 20 _up
	[[ $(redis-cli -p $port debug digest) == "$before" ]] || fail "the digest differs"
	[[ $(redis-cli -p $port dbsize) == "$sizes" ]] || fail "the number of keys differs"
	[[ $(redis-cli -p $port incr counter) == 1 ]] || fail "it cannot be written"
	local ttl
	ttl=$(redis-cli -p $port pttl later)
	((ttl > 0 && ttl <= 600000)) || fail "the time to live is $ttl"
	# Its background threads and timers run: lazy freeing, the clock, a background save.
	redis-cli -p $port unlink list1 >/dev/null
	redis-cli -p $port bgsave >/dev/null
	_saved() { redis-cli -p $port info persistence | grep -q 'rdb_bgsave_in_progress:0' && [[ -s dump.rdb ]]; }
	wait_for 30 _saved
	redis-cli -p $port shutdown nosave 2>/dev/null
	wait "$PID"
	[[ $? == 0 ]] || fail "it ended with status $?"
}

# A connected client: refused, by name; the server is unharmed.
redis_with_client() {
	need redis-server redis-cli
	become user
	local port=$((20000 + RANDOM % 20000)) server
	launch redis-server --port $port --bind 127.0.0.1 --save '' --dir "$W"
	server=$PID
	_up() { redis-cli -p $port ping 2>/dev/null | grep -q PONG; }
	wait_alive "$PID" 20 _up
	mkfifo feed
	exec 8<>feed
	redis-cli -p $port <feed >answers 8>&- &
	note_pid "$!"
	echo "set a b" >&8
	wait_for 10 has answers OK
	expect 3 "$GODWIT" checkpoint "$server"
	says '(tcp|connect)' '^hint: ' 'fd [0-9]+'
	echo "get a" >&8
	wait_for 10 has answers b
	exec 8>&-
}

PG=/usr/lib/postgresql/15/bin

# Inserts, updates and answers, a query a line.
make_queries() { # STEPS
	local n
	echo "create table t(id int primary key, name text, x float)"
	echo "create index by_name on t(name)"
	for ((n = 1; n <= $1; n++)); do
		echo "insert into t select $n * 10000 + i, 'name ' || (i * 7919 % 10007), i * 0.5 from generate_series(1, 2000) i"
		echo "update t set x = x * 2 + $n where id % 7 = $n % 7 and id > $n * 10000 - 20000"
		echo "select count(*) as step, sum(x) from t where name < 'name 5'"
	done
	echo "select count(*) as result, sum(length(name)), sum(x) from t"
}

postgres() { # DOOR
	need "$PG/postgres"
	become user
	local steps
	(as "$PG/initdb" -D "$W/empty" -A trust --locale=C -N -U postgres) >initdb.log 2>&1 ||
		fail "initdb: $(tail -n 3 initdb.log)"
	for steps in 20 60 180; do
		make_queries $steps >queries
		rm -rf want.db got.db out
		cp -a empty want.db
		cp -a empty got.db
		(as "$PG/postgres" --single -F -D "$W/want.db" postgres) <queries >want 2>want.err ||
			fail "the uncut run fails: $(tail -n 3 want.err)"
		has want ': result = ' || fail "the uncut run has no result"
		cut_queries "$1" && break
		note "done before it was stopped, with $steps steps"
		finish_off
		((steps < 180)) || fail "the work is too small"
	done
	# It asks getpid() whether it is a child of itself.
	OUT=out2 ERR=err2 launch "$GODWIT" restart --same-ids myckpt
	wait "$PID" || fail "status $?"
	cmp -s out want || fail "the answers differ: $(diff out want | head -n 5)"
	local db
	for db in want.db got.db; do
		echo "select id, name, x from t order by id" |
			(as "$PG/postgres" --single -D "$W/$db" postgres) >"$db.rows" 2>/dev/null
	done
	[[ $(grep -c ': id = ' want.db.rows) == $((steps * 2000)) ]] || fail "there are no rows"
	cmp -s want.db.rows got.db.rows || fail "the data differ"
}

# In the middle of the queries, or false.  (It works in its folder, and has signal 12.)
cut_queries() { # DOOR
	local pre=()
	[[ $1 != preload ]] || pre=(env GODWIT_SIGNAL=40 GODWIT_IMAGE="$W/myckpt" LD_PRELOAD="$LIBCKPT")
	IN=queries launch "${pre[@]}" "$PG/postgres" --single -F -D "$W/got.db" postgres
	_answered() { has out ': result = '; }
	_answers() { (($(grep -c ': step = ' out) >= 4)); }
	wait_alive "$PID" 30 _answers
	if [[ $1 == preload ]]; then
		kill -40 "$PID"
		_rung() { _is_new_image_or_error myckpt "" || _answered; }
		wait_for 30 _rung
		_answered || _is_new_image myckpt "" || fail "the doorbell was refused"
		finish_off
	else
		run "$GODWIT" checkpoint "$PID" --kill
		[[ $RC == 0 ]] || _answered || fail "checkpoint: $RC"
		wait "$PID" 2>/dev/null
	fi
	! _answered
}

try sqlite3_import_by_attach sqlite_import attach DELETE
try sqlite3_import_by_preload sqlite_import preload DELETE
try sqlite3_import_with_a_log sqlite_import attach WAL
LIMIT=120 try redis_with_100_mib_by_attach redis attach user
LIMIT=120 try redis_with_100_mib_by_preload redis preload user
LIMIT=120 try redis_with_100_mib_as_root redis attach root
try postgres_single_user_by_attach postgres attach
try postgres_single_user_by_preload postgres preload
try redis_with_a_client_is_refused redis_with_client
finish
