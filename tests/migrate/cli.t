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
finish
