#!/bin/bash
# What a person sees of a migration: the status line, the report.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"

at_terminal() { # SCENARIO WHERE-IT-IS-THEN [MIB]
	need /usr/bin/python3
	become user
	serve_on beta
	count_on alpha "${3:-1}"
	_seconds 20
	export GODWIT_STATE=$W/state-alpha
	LIMIT=$SECONDS_NOW run /usr/bin/python3 "$TOP/tests/migrate/terminal.py" "$1" "$PID" "tls://$BETA:$PORT" key
	[[ $RC == 0 ]] || fail "at the terminal: $RC"
	[[ $2 == over ]] || nothing_left
	finish_counter "$2"
}
try a_terminal_shows_how_far_it_is at_terminal shows over
try a_narrow_terminal_is_not_overrun at_terminal narrow over
try the_line_has_amount_and_rate at_terminal rates over 64
try ctrl_c_leaves_the_program_here at_terminal ctrl_c out 64
try a_quiet_one_shows_nothing at_terminal quiet over

no_terminal() {
	become user
	serve_on beta
	count_on alpha
	migrate_from alpha "tls://$BETA:$PORT" --key key
	[[ $RC == 0 ]] || fail "exit status $RC"
	if grep -q $'\r' cmd.err || grep -q '^godwit: round' cmd.err; then fail "a status line in a file"; fi
	finish_counter over
}
try no_status_line_without_a_terminal no_terminal

# What the report says of the downtime holds for the program's own clock: what was measured
# for sure is no longer than the longest gap that it saw.
downtime() { # MODE
	become user
	two_hosts
	serve_on beta
	pipe_on alpha "$B/migrate/gaps" "$W/gaps"
	wait_alive "$PID" 30 has out '^ready'
	migrate_from alpha "tls://$BETA:$PORT" --key key --json --mode "$1"
	[[ $RC == 0 ]] || fail "exit status $RC"
	: >gaps.stop
	wait_for 30 has over '^gap'
	/usr/bin/python3 - <<-'P' || fail "$(cat over cmd.out)"
		import json
		p = json.load(open("cmd.out"))["phases"]
		gap = int(open("over").read().split()[1])
		down, least, most = (p[f"downtime_{k}ns"] for k in ("", "min_", "max_"))
		assert 0 < least <= down <= most, "the downtime is unknown"
		assert gap >= least, "longer than it was"
		# What keeps the program from its processor when it may run again is not ours.
		assert gap < 20 * most + 2e9, "much too short"
	P
}
try downtime_is_what_the_program_saw downtime pre-copy
try downtime_of_total_copy_is_what_the_program_saw downtime total

json() { # MODE
	become user
	two_hosts
	serve_on beta
	count_on alpha 16 3
	migrate_from alpha "tls://$BETA:$PORT" --key key --json --mode "$1"
	[[ $RC == 0 ]] || fail "exit status $RC"
	[[ ! -s cmd.err ]] || fail "talk on stderr"
	MODE=$1 TO="tls://$BETA:$PORT" /usr/bin/python3 - "$TOP/man/godwit.1" <<-'P' || fail "$(cat cmd.out)"
		import json, os, re, sys
		d = json.load(open("cmd.out"))
		mode = os.environ["MODE"]
		assert d["mode_asked"] == mode and d["outcome"] == "moved" and d["threads"] == 4
		assert d["mode"] == mode or d["stopped_because"]
		assert d["destination"]["address"] == os.environ["TO"] and d["destination"]["host"] == "beta"
		r = d["rounds"]
		assert (len(r) > 0) == (d["mode"] == "pre-copy")
		for v, following in zip(r, r[1:] + [d["stop"]]):
		    assert v["bytes"] == v["pages"] * 4096
		    assert v["begun_ns"] + v["ns"] <= following["begun_ns"]
		if r:
		    assert r[0]["bytes"] > 16 << 20 and r[0]["dirty_bytes_per_second"] == 0
		for a, b in zip(r, r[1:]):
		    assert b["dirty_bytes_per_second"] == b["bytes"] * 10**9 // (b["begun_ns"] - a["begun_ns"]) or \
		        abs(b["dirty_bytes_per_second"] * (b["begun_ns"] - a["begun_ns"]) / (b["bytes"] * 1e9) - 1) < 1e-3
		p = d["phases"]
		assert p["downtime_ns"] == d["stop"]["ns"] and d["stop"]["begun_ns"] + d["stop"]["ns"] <= p["total_ns"]
		sent = sum(v["sent"] for v in r) + d["stop"]["sent"]
		assert sent == d["memory"]["sent"], (sent, d["memory"]["sent"])
		assert d["compression"]["to"] <= d["compression"]["from"]
		# Every key is in the manual.
		page = open(sys.argv[1]).read()
		page = page[page.index(".Ss godwit migrate"):]
		def keys(v):
		    if isinstance(v, dict):
		        for k, w in v.items():
		            yield k
		            yield from keys(w)
		    if isinstance(v, list):
		        for w in v:
		            yield from keys(w)
		words = set(re.findall(r"[a-z_]+", " ".join(l for l in page.split("\n") if l.startswith((".It", ".Li")))))
		missing = set(keys(d)) - words
		assert not missing, f"not in the manual: {missing}"
	P
	finish_counter over
}
try json_is_complete json pre-copy
try json_of_total_copy_is_complete json total
plot() { # MODE
	become user
	two_hosts
	serve_on beta
	pipe_on alpha "$B/migrate/churner" "$W/numbers" 32
	wait_alive "$PID" 30 has out '^ready'
	migrate_from alpha "tls://$BETA:$PORT" --key key --json --plot picture.svg --mode "$1"
	[[ $RC == 0 ]] || fail "exit status $RC"
	: >numbers.stop
	MODE=$1 PID=$PID /usr/bin/python3 - <<-'P' || fail "$(cat cmd.out)"
		import json, os, re
		import xml.etree.ElementTree as tree
		d = json.load(open("cmd.out"))
		svg = tree.parse("picture.svg").getroot()
		space = "{http://www.w3.org/2000/svg}"
		assert svg.tag == space + "svg"
		width, height = (float(svg.get(k)) for k in ("width", "height"))
		# It needs nothing else, and is for both kinds of background.
		text = open("picture.svg").read()
		assert not re.search(r"href|url\(|<script|<image", text) and "prefers-color-scheme:dark" in text
		title = svg.find(space + "title").text
		assert title == f"churner (process {os.environ['PID']}): alpha to beta, {os.environ['MODE']}", title
		def rects(name):
		    return svg.find(f"{space}g[@id='{name}']").findall(space + "rect")
		n = len(d["rounds"])
		assert len(rects("rounds-over-time")) == max(n, 1) and len(rects("sent-by-round")) == n + 1
		# Bars over time are where their rounds were; their heights go by the rate.
		bars = rects("rounds-over-time")
		pause, = rects("pause")
		def box(r):
		    return [float(r.get(k)) for k in ("x", "y", "width", "height")]
		if n:
		    scale = (box(pause)[0] - box(bars[0])[0]) / (d["stop"]["begun_ns"] - d["rounds"][0]["begun_ns"])
		    for bar, v in zip(bars, d["rounds"]):
		        x = box(bars[0])[0] + (v["begun_ns"] - d["rounds"][0]["begun_ns"]) * scale
		        assert abs(box(bar)[0] - x) < 0.5, (box(bar), x)
		        assert abs(box(bar)[2] - v["ns"] * scale) < 0.5 or box(bar)[2] < 2
		        first = d["rounds"][0]
		        ratio = (v["bytes"] / v["ns"]) / (first["bytes"] / first["ns"])
		        assert abs(box(bar)[3] - box(bars[0])[3] * ratio) < 0.02 * box(bar)[3] + 0.5
		sent = [v["sent"] for v in d["rounds"]] + [d["stop"]["sent"]]
		heights = [box(r)[3] for r in rects("sent-by-round")]
		for a, b in zip(sorted(zip(sent, heights)), sorted(zip(sent, heights))[1:]):
		    assert a[1] <= b[1]
		for r in svg.iter(space + "rect"):
		    x, y, w, h = box(r)
		    assert 0 <= x and 0 <= y and x + w <= width and y + h <= height, box(r)
		assert len(svg.findall(space + "polyline")) == (n > 1)
	P
	wait_for 30 has over '^ok$'
}
try the_picture_shows_the_rounds plot pre-copy
try the_picture_of_a_total_copy plot total

no_plot() {
	become user
	serve_on beta
	count_on alpha
	migrate_from alpha "tls://$BETA:$PORT" --key key --plot nowhere/picture.svg
	[[ $RC == 1 ]] || fail "exit status $RC"
	says "cannot write to 'nowhere/picture.svg': No such file"
	migrate_from alpha "tls://$BETA:$PORT" --key key --plot picture.svg --dry-run
	[[ $RC == 2 ]] || fail "exit status $RC of a dry run"
	echo other >old.svg
	chmod 666 old.svg
	migrate_from alpha tls://127.0.0.1:9 --key key --plot old.svg
	migrate_from alpha tls://127.0.0.1:9 --key key --plot picture.svg
	[[ $RC == 1 ]] || fail "exit status $RC to a closed port"
	[[ ! -e picture.svg ]] || fail "an empty picture is left"
	[[ $(cat old.svg) == other ]] || fail "the old file was changed"
	finish_counter out
}
try a_picture_that_cannot_be_written_moves_nothing no_plot

full_plot() {
	become user
	serve_on beta
	count_on alpha
	migrate_from alpha "tls://$BETA:$PORT" --key key --plot /dev/full
	[[ $RC == 0 ]] || fail "exit status $RC"
	says "cannot write to '/dev/full'" 'goes on on'
	finish_counter over
}
try a_full_disk_under_the_picture_is_told full_plot
log() {
	become user
	two_hosts
	serve_on beta
	count_on alpha 4
	local pid=$PID
	migrate_from alpha "tls://$BETA:$PORT" --key key --dry-run
	wait_for 10 has serve.err "^godwit: serve: alpha asks about counter, process $pid: it could come\$"
	(as "$GODWIT" key other)
	migrate_from alpha "tls://$BETA:$PORT" --key other
	wait_for 10 has serve.err '^godwit: serve: 10\.214\.7\.1:[0-9]+: .*key'
	migrate_from alpha "tls://$BETA:$PORT" --key key
	[[ $RC == 0 ]] || fail "exit status $RC"
	wait_for 10 has serve.err "^godwit: serve: counter, process $pid of alpha, goes on here as process $(counters): [0-9.]+ MiB of memory in [0-9.]+ s, [0-9]+ rounds? and a stop\$"
	says "process $pid goes on on beta, as process $(counters) "
	finish_counter over
	wait_for 10 has serve.err '^godwit: serve: counter ended with status 0$'
	[[ $(wc -l <serve.err) == 5 ]] || fail "more lines than there were programs: $(cat serve.err)"
}
try serve_has_a_line_for_each log

# A host whose system log is a file of ours.
system_log() {
	become root
	need /usr/bin/python3
	own_mounts
	mkdir dev
	mount -t tmpfs none dev
	cp -a /dev/{null,zero,full,random,urandom,tty} dev/ || fail "cannot make devices"
	ln -s /proc/self/fd dev/fd
	mount --move dev /dev || skip "cannot put another /dev here"
	cat >logger.py <<-'P'
		import socket
		s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		s.bind("/dev/log")
		print("ready", flush=True)
		while True:
		    print(s.recv(65536).decode(), flush=True)
	P
	/usr/bin/python3 logger.py >syslog &
	note_pid "$!"
	wait_for 20 has syslog '^ready'
	printf '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift 2\nexec sh -c "$1"\n' >ssh
	chmod 755 ssh
	count_on alpha
	migrate_from alpha somewhere --ssh "$W/ssh" --remote-godwit "env GODWIT_STATE=$W/state-beta $GODWIT" \
		--stdio file:/dev/full/x
	wait_for 10 has syslog 'godwit-receive\[[0-9]+\]: .*cannot go to'
	migrate_from alpha somewhere --ssh "$W/ssh" --remote-godwit "env GODWIT_STATE=$W/state-beta $GODWIT" \
		--stdio "file:$W/over"
	[[ $RC == 0 ]] || fail "exit status $RC"
	wait_for 10 has syslog "godwit-receive\[[0-9]+\]: counter, process $PID of .* goes on here as process $(counters): "
	if grep -q receive cmd.err; then fail "receive talks on the terminal: $(cat cmd.err)"; fi
	finish_counter over
}
try receive_writes_to_the_system_log system_log
# The demonstration: as root and as an ordinary user between two hosts, and without
# namespaces on one, which it says.
demo() { # USER WORDS
	need /usr/bin/python3
	become "$1"
	mkdir bin
	local c
	for c in bash env mktemp rm grep sed cat tee wc tail cmp sleep diff head unshare nsenter sh hostname setpriv; do
		ln -s "$(type -P $c)" bin/
	done
	[[ $3 == without ]] || ln -s "$(type -P ip)" bin/
	run env PATH="$W/bin" B="$B" bash "$TOP/scripts/demo-migrate.sh"
	[[ $RC == 0 ]] || fail "the demonstration ends with $RC"
	prints "$2" '^[a-z]+: +2097152 numbers' 'goes on on' 'downtime' ': 2063689 primes below 33554432' \
		'lines here, [0-9]+ there, none missing'
	[[ ! -s cmd.err ]] || fail "talk on stderr: $(cat cmd.err)"
}
_namespaces() { unshare -nu true 2>/dev/null; }
demo_of_root() {
	_namespaces || skip "no namespaces here"
	demo root 'two hosts: alpha and beta' with
	prints '^alpha: ' '^beta: .*primes below'
}
demo_of_user() {
	become user
	(as unshare -Ur -- unshare -nu true) 2>/dev/null || skip "no user namespaces here"
	demo user 'two hosts: alpha and beta' with
	prints '^alpha: ' '^beta: .*primes below'
}
try demonstration_as_root demo_of_root
try demonstration_as_user demo_of_user
try demonstration_without_namespaces demo user 'on one machine \(ip is not installed\)' without
# --explain: the steps, with the numbers of this program; nothing is moved.
explain() { # MODE
	become user
	two_hosts
	serve_on beta
	count_on alpha 8 2
	migrate_from alpha "tls://$BETA:$PORT" --key key --explain --mode "$1"
	[[ $RC == 0 ]] || fail "exit status $RC"
	[[ ! -s cmd.err ]] || fail "talk on stderr"
	prints '^beta .*can take process' '^ +1  runs +look ' '^ +2  stands +stop ' 'threads: 3' \
		' MiB, of which beta has all but ' 'runs there +hand over'
	[[ $1 == total ]] || prints '^ +[0-9]+  runs +rounds ' 'would take 20 ms'
	nothing_left
	migrate_from alpha "tls://$BETA:$PORT" --key key --explain --json --mode "$1"
	MODE=$1 /usr/bin/python3 - <<-'P' || fail "$(cat cmd.out)"
		import json, os
		d = json.load(open("cmd.out"))
		assert d["outcome"] == "possible" and d["mode"] is None
		steps = d["steps"]
		assert all(s["what"] for s in steps), "a step that nobody has explained"
		states = [s["program"] for s in steps]
		assert states[0] == "runs" and states[-1] == "runs there"
		assert [s["step"] for s in steps if s["step"] in ("stop", "verdict", "pages", "ready")] == \
		    (["stop", "verdict", "pages", "ready"])
		# Once stopped it stands in a total copy until it runs there.
		if os.environ["MODE"] == "total" or d["stopped_because"]:
		    assert set(states[1:-1]) == {"stands"}
		else:
		    assert states.count("runs") > 4
	P
	finish_counter out
}
try explain_tells_the_steps explain pre-copy
try explain_tells_the_steps_of_a_total_copy explain total
finish
