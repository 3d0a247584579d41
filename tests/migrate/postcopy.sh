# shellcheck shell=bash disable=SC2034
# Sourced by the tests of post-copy, after lib.sh.

may_come_later() {
	[[ -n $IS_ROOT ]] || skip "needs root: userfaultfd for system calls, too"
	python3 - <<-'P' || skip_hardware "no CAP_SYS_PTRACE, or a kernel without userfaultfd"
		import ctypes, sys
		sys.exit(ctypes.CDLL(None).syscall(323, 0o2000000) < 0)
	P
	become root
}

# throttle BYTES-A-SECOND: between the source and $PORT; sets VIA.  While the file `stall` is
# there nothing passes; when `cut` appears all connections end, and none begins while it is there.
throttle() {
	cat >throttle.py <<-'P'
		import os, select, socket, sys, threading, time
		to, port, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
		l = socket.socket(); l.bind((to, 0)); l.listen(); print(l.getsockname()[1], flush=True)
		def pump(a, b, rate):
		    # No timeouts of the sockets: each is used by two threads.
		    try:
		        while not os.path.exists('cut'):
		            if os.path.exists('stall'):
		                time.sleep(0.02); continue
		            if not select.select([a], [], [], 0.05)[0]: continue
		            d = a.recv(65536)
		            if not d: break
		            b.sendall(d)
		            if rate: time.sleep(len(d) / rate)
		    except OSError: pass
		    for s in (a, b):
		        try: s.shutdown(socket.SHUT_RDWR)
		        except OSError: pass
		while True:
		    c, _ = l.accept()
		    if os.path.exists('cut'): c.close(); continue
		    try: d = socket.create_connection((to, port))
		    except OSError: c.close(); continue
		    d.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1); c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
		    threading.Thread(target=pump, args=(c, d, rate), daemon=True).start()
		    threading.Thread(target=pump, args=(d, c, 0), daemon=True).start()
	P
	(on beta /usr/bin/python3 "$W/throttle.py" "$BETA" "$PORT" "$1") >throttle.port &
	note_pid "$!"
	wait_for 10 test -s throttle.port
	VIA=tls://$BETA:$(cat throttle.port)
}

# The migration in the background; returns when the program runs over there.
leaves() { # OPTION...
	(on alpha timeout 100 "$GODWIT" migrate "$PID" "$VIA" --key key --mode=post-copy --json "$@") \
		</dev/null >cmd.out 2>cmd.err &
	CMD=$!
	note_pid "$CMD"
	wait_for 30 _runs_over_there
}
_runs_over_there() { has serve.err 'goes on here as process' || ! alive "$CMD"; }
_lacks_pages() { ! has serve.err 'has all its memory'; }
arrives() {
	wait "$CMD"
	RC=$?
	[[ $RC == 0 ]] || fail "exit status $RC"
	wait_for 10 has serve.err 'has all its memory'
	gone "$PID" || fail "the copy here is still there"
	[[ -z $(ls state-alpha) ]] || fail "left: $(ls state-alpha)"
}
number() { sed -n "s/.*\"$1\": \([0-9]*\),*/\1/p" cmd.out; }
# The counter's number grows only when its page has come.
_some_have_come() { local n; n=$(stat -c %s numbers); sleep 0.2; (($(stat -c %s numbers) > n)); }
