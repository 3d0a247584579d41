#!/bin/bash
# Exactly one copy goes on, whoever dies, and at whatever step.  The counter's file is
# the proof: two copies write a number twice, none does not end it.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"

# In doubt: the destination is away.  The copy here stands still and is saved; when the
# destination answers again, it is settled.
in_doubt() { # TARGET-POINT WHERE HOW
	become user
	LISTEN=$((20000 + $$ % 10000))
	# Stops as soon as it has heard COMMIT, or has let go: nobody answers.
	export GODWIT_FAULT=$1 GODWIT_FAULT_STOP=1
	serve_on beta --timeout 3
	unset GODWIT_FAULT GODWIT_FAULT_STOP
	count_on alpha 2
	(on alpha timeout 100 "$GODWIT" migrate "$PID" "tls://$BETA:$PORT" --key key --timeout 3) \
		</dev/null >cmd.out 2>cmd.err &
	local cmd=$!
	# No new connection is taken: the asking must fail.
	wait_for 30 _target_stands
	kill -STOP "$SERVE"
	wait "$cmd"
	RC=$?
	[[ $RC == 6 ]] || fail "exit status $RC"
	says 'nobody knows' 'godwit settle' 'saved in'
	alive "$PID" || fail "the copy here is gone"
	grep -q '^State:.[Tt]' "/proc/$PID/status" || fail "the copy here does not stand still"
	ls state-alpha/*.image >/dev/null || fail "it is not saved"
	(as "$GODWIT" verify state-alpha/*.image) || fail "the saved image is bad"
	(on alpha timeout 60 "$GODWIT" settle) >settle.out && fail "settled without an answer"
	grep -q 'does not answer' settle.out || fail "$(cat settle.out)"
	kill -CONT "$SERVE" "$STANDS"
	if [[ $3 == itself ]]; then wait_for 45 _no_records; fi
	settled "$2"
	[[ -z $(ls state-alpha) ]] || fail "left: $(ls state-alpha)"
}

_no_records() { [[ -z $(ls state-alpha) ]]; }
LIMIT=120 BESIDE=1 try in_doubt_is_settled_by_hand in_doubt "let go" over hand
LIMIT=150 BESIDE=1 try in_doubt_is_settled_by_itself in_doubt "commit heard" either itself

# The source's guardian (with `both` its command, too) dies at a point.
source_dies() { # POINT WHERE [both]
	become user
	serve_on beta --timeout 3
	count_on alpha 2 "${THREADS:-0}"
	export GODWIT_FAULT=$1
	[[ ${3-} != both ]] || export GODWIT_FAULT_BOTH=1
	migrate_from alpha "tls://$BETA:$PORT" --key key "--mode=${MODE:-total}" --timeout 3
	unset GODWIT_FAULT GODWIT_FAULT_BOTH
	[[ ${3-} == both || $RC != 0 || $2 == over ]] || fail "exit status $RC"
	settled "$2"
}
for point in "threads stopped" "the stored ranges" "model sent" "verdict heard" "pages sent" \
	"ready heard" asked held; do
	try "source_killed_at_${point// /_}" source_dies "$point" here
	try "source_and_command_killed_at_${point// /_}" source_dies "$point" here both
done
for point in "commit sent" "done heard" killed; do
	try "source_killed_at_${point// /_}" source_dies "$point" over
	try "source_and_command_killed_at_${point// /_}" source_dies "$point" over both
done

# The destination's guardian (with `both` the process of the connection, too) dies.
target_dies() { # POINT WHERE [both]
	become user
	export GODWIT_FAULT=$1
	[[ ${3-} != both ]] || export GODWIT_FAULT_BOTH=1
	serve_on beta --timeout 3
	unset GODWIT_FAULT GODWIT_FAULT_BOTH
	count_on alpha 2 "${THREADS:-0}"
	migrate_from alpha "tls://$BETA:$PORT" --key key "--mode=${MODE:-total}" --timeout 3
	[[ $2 != here || $RC == 1 ]] || fail "exit status $RC"
	[[ $2 != over || $RC == 0 ]] || fail "exit status $RC"
	settled "$2"
}
for point in "new process seized" mapped "pages taken" built "ready said" "commit heard" "files cut" going; do
	THREADS=2 try "destination_killed_at_${point// /_}" target_dies "$point" here
done
for point in "let go" taken "done said"; do
	THREADS=2 try "destination_killed_at_${point// /_}" target_dies "$point" over
done
for point in "ready said" "commit heard"; do
	try "destination_and_connection_killed_at_${point// /_}" target_dies "$point" here both
done
for point in "let go" taken; do
	LIMIT=90 try "destination_and_connection_killed_at_${point// /_}" target_dies "$point" over both
done

# Who makes the process and writes it down is slow: the guardian waits for that, and believes no record
# that is not written yet.
record_is_late() {
	become user
	GODWIT_FAULT="process made" GODWIT_FAULT_STOP=1 serve_on beta --timeout 20
	count_on alpha 2
	(on alpha timeout 100 "$GODWIT" migrate "$PID" "tls://$BETA:$PORT" --key key --mode=total --timeout 20) \
		</dev/null >cmd.out 2>cmd.err &
	local cmd=$! i
	note_pid "$cmd"
	wait_for 30 _target_stands
	for ((i = 0; i < 50; i++)); do # long enough for one that does not wait
		alive "$cmd" || fail "it did not wait: $(cat cmd.err serve.err)"
		_doze
	done
	(on beta "$GODWIT" settle) >settle.out 2>&1 || fail "$(cat settle.out)"
	kill -CONT "$STANDS"
	wait "$cmd" || fail "exit status $?: $(cat cmd.err)"
	settled over
}
try the_destinations_record_is_late record_is_late

# At each call that changes a file, the record's among them: it is whole, or not there.
dies_at_each_write() {
	become user
	local n i
	serve_on beta --timeout 3
	GODWIT=$B/faulty/godwit
	count_on alpha 2
	GODWIT_INJECT=write:0:EIO GODWIT_INJECT_LOG=$W/calls migrate_from alpha "tls://$BETA:$PORT" --key key --mode=total --timeout 3
	[[ $RC == 0 ]] || fail "exit status $RC"
	finish_counter over
	n=$(wc -l <calls)
	((n > 3)) || fail "only $n calls: $(cat calls)"
	for ((i = 1; i <= n; i++)); do
		rm -rf numbers calls
		: >over
		count_on alpha 2
		GODWIT_INJECT=write:$i:kill migrate_from alpha "tls://$BETA:$PORT" --key key --mode=total --timeout 3
		note "$i: exit status $RC"
		settled either
	done
}
LIMIT=120 try source_killed_at_each_call_on_files dies_at_each_write

# Both sides' guardians die, at the worst of times.
both_die() { # SOURCE-POINT TARGET-POINT WHERE
	become user
	GODWIT_FAULT=$2 serve_on beta --timeout 3
	count_on alpha 2
	GODWIT_FAULT=$1 GODWIT_FAULT_BOTH=1 migrate_from alpha "tls://$BETA:$PORT" --key key --timeout 3
	settled "$3"
}
LIMIT=90 try both_killed_commit_sent_commit_heard both_die "commit sent" "commit heard" here
LIMIT=90 try both_killed_commit_sent_let_go both_die "commit sent" "let go" over

# A side that stands still: the other one does not wait for ever.
source_stalls() { # POINT WHERE
	become user
	serve_on beta --timeout 2
	count_on alpha 2
	(
		export GODWIT_FAULT=$1 GODWIT_FAULT_STOP=1
		on alpha "$GODWIT" migrate "$PID" "tls://$BETA:$PORT" --key key --timeout 2
	) </dev/null >cmd.out 2>cmd.err &
	local cmd=$! guardian
	note_pid "$cmd"
	wait_for 20 _stands "$cmd"
	guardian=$STANDS
	wait_for 20 has serve.err 'did not come over'
	kill -CONT "$guardian"
	wait "$cmd" && [[ $2 == here ]] && fail "the migration did not fail"
	settled "$2"
}
_stands() { # the guardian below the command is in a stop
	local p
	for p in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
		grep -q '^State:.T (stopped' "/proc/$p/status" 2>/dev/null && STANDS=$p && return 0
	done
	return 1
}
BESIDE=1 try source_stalls_before_the_pages source_stalls "verdict heard" here
BESIDE=1 try source_stalls_before_commit source_stalls held here

target_stalls() { # POINT WHERE
	become user
	export GODWIT_FAULT=$1 GODWIT_FAULT_STOP=1
	serve_on beta --timeout 2
	unset GODWIT_FAULT GODWIT_FAULT_STOP
	count_on alpha 2
	migrate_from alpha "tls://$BETA:$PORT" --key key --timeout 2
	[[ $2 != here || $RC == 1 ]] || fail "exit status $RC"
	# It comes to again, and has lost.
	local p
	for p in $(pgrep -f "$GODWIT serve"); do
		grep -q '^State:.T (stopped' "/proc/$p/status" && [[ $(readlink "/proc/$p/cwd") == "$W" ]] &&
			kill -CONT "$p"
	done
	settled "$2"
}
BESIDE=1 try destination_stalls_before_ready target_stalls mapped here
LIMIT=90 BESIDE=1 try destination_stalls_after_commit target_stalls "commit heard" here

by_order() { # ORDER WHERE
	become user
	LISTEN=$((20000 + $$ % 10000))
	serve_on beta --timeout 3
	count_on alpha 2
	GODWIT_FAULT=held GODWIT_FAULT_BOTH=1 migrate_from alpha "tls://$BETA:$PORT" --key key --timeout 3
	kill -9 "$SERVE"
	local id
	id=$(ls state-alpha)
	grep -q '^State:.[Tt]' "/proc/$PID/status" || fail "the copy here does not stand still"
	(on alpha "$GODWIT" settle --resume "${id#s-}") >settle.out || fail "$(cat settle.out)"
	grep -q 'goes on here' settle.out || fail "$(cat settle.out)"
	settled here
}
try settle_resume_goes_on_here by_order

interrupted() { # SIGNAL
	become user
	serve_on beta --timeout 5
	count_on alpha 200
	(on alpha "$GODWIT" migrate "$PID" "tls://$BETA:$PORT" --key key) </dev/null >cmd.out 2>cmd.err &
	local cmd=$!
	wait_for 20 _is_traced
	kill -"$1" "$cmd"
	wait "$cmd"
	RC=$?
	[[ $RC == 1 || $RC == 0 || $RC == 137 ]] || fail "exit status $RC"
	settled either
}
_is_traced() { _tracer "$PID"; [[ -n $TRACER && $TRACER != 0 ]]; }
try ctrl_c_in_the_middle interrupted INT
try sigterm_in_the_middle interrupted TERM
try command_killed_in_the_middle interrupted KILL

connection_cut() { # BYTES of the source's that get through
	become user
	serve_on beta --timeout 3
	count_on alpha 20
	cat >proxy.py <<-'P'
		import socket, sys, threading
		port, limit = int(sys.argv[1]), int(sys.argv[2])
		l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen(); print(l.getsockname()[1], flush=True)
		def one(c, limit):
		    d = socket.create_connection(('127.0.0.1', port)); n = 0
		    def back():
		        try:
		            while (b := d.recv(65536)): c.sendall(b)
		        except OSError: pass
		    threading.Thread(target=back, daemon=True).start()
		    try:
		        while limit is None or n < limit:
		            b = c.recv(4096 if limit is None else min(4096, limit - n))
		            if not b: break
		            d.sendall(b); n += len(b)
		    except OSError: pass
		    for s in (c, d):
		        try: s.shutdown(socket.SHUT_RDWR)
		        except OSError: pass
		        s.close()
		c, _ = l.accept(); one(c, limit)
		while True:
		    c, _ = l.accept(); threading.Thread(target=one, args=(c, None), daemon=True).start()
	P
	/usr/bin/python3 proxy.py "$PORT" "$1" >proxy.port &
	note_pid "$!"
	wait_for 10 test -s proxy.port
	migrate_from alpha "tls://127.0.0.1:$(cat proxy.port)" --key key --timeout 3
	[[ $RC == 1 ]] || fail "exit status $RC"
	grep -q '^godwit: migrate: ' cmd.err || fail "it does not say why"
	settled here
}
for bytes in 0 100 700 5000 60000 1000000; do
	try "connection_cut_after_${bytes}_bytes" connection_cut "$bytes"
done

no_memory() {
	become user
	make_key
	(ulimit -v 300000 && exec bash -c "$(declare -f on as as_words); AS=$AS IS_ROOT=$IS_ROOT NS_BETA= W=$W TEST_UID=$TEST_UID
		on beta '$GODWIT' serve --listen 127.0.0.1:0 --key key --stdio 'file:$W/over'") </dev/null >/dev/null 2>serve.err &
	SERVE=$!
	note_pid "$SERVE"
	wait_for 20 has serve.err 'listening on'
	PORT=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' serve.err)
	count_on alpha 400
	migrate_from alpha "tls://127.0.0.1:$PORT" --key key
	[[ $RC == 1 ]] || fail "exit status $RC"
	says 'memory|ENOMEM'
	wait_for 20 has serve.err 'memory|did not come over'
	settled here
}
try memory_is_short_over_there no_memory

replayed() {
	become user
	make_key
	count_on alpha 2
	# By a pipe, where there is no TLS in the way: the stream is recorded, then played again.
	cat >ssh <<-S
		#!/bin/sh
		exec env GODWIT_STATE=$W/state-beta tee $W/stream | env GODWIT_STATE=$W/state-beta $GODWIT receive --stdio=file:$W/over | cat
	S
	chmod 755 ssh
	migrate_from alpha somewhere --ssh "$W/ssh"
	[[ $RC == 0 ]] || fail "exit status $RC"
	(GODWIT_STATE=$W/state-beta as "$GODWIT" receive <stream >answer 2>/dev/null)
	[[ $? == 4 ]] || fail "the stream is taken a second time"
	grep -aq 'replayed' answer || fail "it does not say why"
	# Cut anywhere: refused, and nothing runs.
	local n
	for n in 10 100 3000 50000; do
		head -c "$n" stream | (GODWIT_STATE=$W/state-none timeout 20 "$GODWIT" receive --timeout 1 >answer 2>/dev/null)
		[[ $? != 0 ]] || fail "a stream of $n bytes is taken"
	done
	finish_counter over
}
try replayed_and_truncated_streams_are_refused replayed

finish
