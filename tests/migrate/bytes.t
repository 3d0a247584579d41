#!/bin/bash
# What is not sent: zeros, what is in files over there, and, on a slow wire, what packing
# saves.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"

MAPPER=$B/migrate/mapper

maps_on() { # ARGS OF THE PROGRAM
	pipe_on alpha "$MAPPER" "$W/mapper" "$@"
	wait_alive "$PID" 60 has out '^ready'
}

# It has moved; and what it finds over there is right.
moved() { # CONDITION, of d: the report
	[[ $RC == 0 ]] || fail "exit status $RC"
	python3 -c '
import json, sys
d = json.load(open("cmd.out"))
m, c, M = d["memory"], d["compression"], 1 << 20
assert '"$1"', (m, c)' || fail "not so: $1"
	: >mapper.stop
	wait_for 60 has over '^(ok|wrong)'
	has over '^ok$' || fail "its memory is wrong over there"
}

zeros() {
	become user
	serve_on beta
	maps_on 200 1
	migrate_from alpha "tls://$BETA:$PORT" --key key --json "--mode=$1"
	moved 'm["zero"] >= 200 * M and m["sent"] < 4 * M'
}
try zeros_are_not_sent_pre-copy zeros pre-copy
try zeros_are_not_sent_total zeros total

# A file of 16 MiB that cannot be packed, mapped and looked at: it is, or is not, over there.
mapped() { # COMMAND THAT MAKES IT THERE, CONDITION
	become user
	apart size=128m
	serve_there
	head -c 16777216 /dev/urandom >data/blob
	[[ -z ${EXE-} ]] || { cp "$MAPPER" data/mapper; MAPPER=$W/data/mapper; }
	chmod 755 data/*
	maps_on 0 1 "$W/data/blob"
	there sh -c "$1" <data/blob
	[[ -z ${EXE-} ]] || there cp "$EXE" data/mapper
	for mode in --dry-run --json; do
		migrate_from alpha "tls://127.0.0.1:$PORT" --key key --json "$mode" "--mode=${MODE:-pre-copy}"
		[[ $RC == 0 ]] || fail "exit status $RC"
	done
	moved "$2"
}
try a_file_with_the_same_content_is_not_sent mapped 'cat >data/blob' 'm["known"] >= 16 * M and m["sent"] < 4 * M'
MODE=total try a_file_with_the_same_content_is_not_sent_total mapped 'cat >data/blob' 'm["known"] >= 16 * M and m["sent"] < 4 * M'
try a_file_that_is_missing_is_sent mapped true 'm["sent"] >= 16 * M'
try a_file_of_another_size_is_sent mapped 'head -c 9999999 >data/blob' 'm["sent"] >= 16 * M'
try a_file_with_one_other_byte_is_sent mapped \
	'cat >data/blob; printf xyz | dd of=data/blob bs=1 seek=9000000 conv=notrunc status=none' 'm["sent"] >= 16 * M'

# The program itself: by its build id.
program() { # FILE THAT IS IT OVER THERE, TEXT OF STDERR
	EXE=$1 mapped 'cat >data/blob' 'm["known"] >= 16 * M'
	if [[ $2 == none ]]; then
		! grep -q 'data/mapper' cmd.err || fail "it is known, and not taken for that: $(cat cmd.err)"
	else
		says "$2"
	fi
}
try a_program_with_the_same_build_id_is_known program "$MAPPER" none
try a_program_with_another_build_id_is_sent program "$COUNTER" "data/mapper' is missing or another file.*: its memory comes by the wire"

# Nothing of 48 MiB that can be packed to half goes faster by packing, where the wire is fast.
fast() {
	become user
	serve_on beta
	maps_on 0 48
	migrate_from alpha "tls://$BETA:$PORT" --key key --json
	moved 'c["from"] < 24 * M and m["sent"] > 30 * M'
}
try a_fast_wire_is_not_packed fast

# A wire of 5 MB a second.
slow() {
	become user
	serve_on beta
	cat >slow.py <<-'P'
		import socket, sys, threading, time
		port, rate = int(sys.argv[1]), 5e6
		l = socket.socket()
		l.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
		l.bind(('127.0.0.1', 0)); l.listen(); print(l.getsockname()[1], flush=True)
		def carry(a, b, slow):
		    try:
		        while (x := a.recv(32768)):
		            b.sendall(x)
		            if slow: time.sleep(len(x) / rate)
		    except OSError: pass
		    for s in (a, b):
		        try: s.shutdown(socket.SHUT_RDWR)
		        except OSError: pass
		while True:
		    c, _ = l.accept(); d = socket.create_connection(('127.0.0.1', port))
		    threading.Thread(target=carry, args=(c, d, True), daemon=True).start()
		    threading.Thread(target=carry, args=(d, c, False), daemon=True).start()
	P
	/usr/bin/python3 slow.py "$PORT" >slow.port 7>&- &
	note_pid "$!"
	wait_for 10 test -s slow.port
	maps_on 0 48
	migrate_from alpha "tls://127.0.0.1:$(cat slow.port)" --key key --json "--mode=$1"
	moved 'c["from"] > 24 * M and c["to"] < 0.7 * c["from"] and m["sent"] < 38 * M'
}
try a_slow_wire_is_packed slow pre-copy
try a_slow_wire_is_packed_total slow total

finish
