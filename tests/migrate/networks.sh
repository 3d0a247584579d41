# shellcheck shell=bash
# Sourced by networks_ssh.t and networks_tls.t.
#
# Between two hosts of their own network and name, with a cable of 1 Gbit/s and one without
# a limit: real programs.  Each goes on over there and ends with the
# result of an uncut run; and before it is handed over, when both its copies stand
# still, their memory is compared page by page.
#
# MIGRATE_FULL=1: redis with 1 GiB.
WORK=$TOP/tests/migrate/work
FULL=${MIGRATE_FULL-}

# hosts ssh|tls RATE: sets TO, the words of `godwit migrate` that follow the pid
hosts() {
	local rate=$2
	need tc
	if [[ $1 == ssh ]]; then become root; else become user; fi
	two_hosts
	[[ $rate == unshaped ]] || shaped "$rate"
	if [[ $1 == ssh ]]; then
		sshd_on_beta
		TO=("root@$BETA" --ssh "$SSH" --remote-godwit "$REMOTE" --stdio "file:$W/over")
	else
		serve_on beta --timeout 60
		TO=("tls://$BETA:$PORT" --key key)
	fi
}

# The one that is being built of the program $PID over there; sets COPY.
_copy_of() {
	local p words
	words=$(tr '\0' ' ' <"/proc/$PID/cmdline")
	for p in /proc/[0-9]*; do
		p=${p#/proc/}
		[[ $p != "$PID" && $(tr '\0' ' ' <"/proc/$p/cmdline") == "$words" ]] || continue
		[[ $(readlink "/proc/$p/cwd") == "$W"* ]] || continue
		_tracer "$p"
		[[ -n $TRACER && $TRACER != 0 ]] && COPY=$p && return 0
	done 2>/dev/null
	return 1
}

_guardian_stands() {
	_tracer "$PID"
	GUARDIAN=$TRACER
	[[ -n $GUARDIAN && $GUARDIAN != 0 ]] &&
		grep -q '^State:.T (stopped' "/proc/$GUARDIAN/status" 2>/dev/null
}
_stands_or_ended() { _guardian_stands || gone "$1"; }

# Moves $PID; on the way, right before the handover, memory is compared.  1: it was
# refused before that, in words that match $1.
compare_and_move() {
	local again=${1:-.^} cmd rc
	(GODWIT_FAULT="ready heard" GODWIT_FAULT_STOP=1 on alpha timeout 300 \
		"$GODWIT" migrate "$PID" "${TO[@]}" --timeout 60) </dev/null >cmd.out 2>cmd.err &
	cmd=$!
	note_pid "$cmd"
	wait_for 120 _stands_or_ended "$cmd"
	if ! _guardian_stands; then
		wait "$cmd"
		rc=$?
		has cmd.err "$again" || fail "exit status $rc"
		return 1
	fi
	wait_for 10 _copy_of
	/usr/bin/python3 "$TOP/tests/migrate/same_memory.py" "$PID" "$COPY" >same 2>&1 ||
		fail "not the same memory: $(tail -n 3 same)"
	kill -CONT "$GUARDIAN"
	wait "$cmd" || fail "exit status $?"
	note "$(cat same)"
	grep -E 'Rounds|ms$|sent|program' cmd.err
	wait_for 20 gone "$PID"
	return 0
}

is_shaped() {
	[[ $1 == unshaped ]] || tc -s -n "$NS_ALPHA" qdisc show |
		awk '/tbf/ { t = 1 } t && /Sent/ { ok = $2 > 1000000; exit } END { exit !ok }' ||
		fail "it did not go by the shaped cable"
}

_lines_after() { (($(wc -l <over) > $1 + 1)); }

# goes_on_the_same WAY RATE PROGRAM...: its last word is 0, rounds without end; told `stop`
# it says its result.  The uncut run is told as many rounds.
goes_on_the_same() {
	local way=$1 rate=$2 n words
	shift 2
	words=("${@:1:$#-1}")
	hosts "$way" "$rate"
	pipe_on alpha "$@"
	wait_alive "$PID" 60 has out '[1-9]00$'
	compare_and_move
	is_shaped "$rate"
	wait_for 30 test -s over
	n=$(wc -l <over)
	wait_for 60 _lines_after "$n"
	: >stop
	wait_for 60 has over '^result'
	n=$(awk '$1 == "result" { print $2 }' over)
	mkdir uncut && chmod 777 uncut && cd uncut || fail "no folder"
	(as "${words[@]}" "$n") </dev/null 2>&1 | tail -n 1 >../want
	cd ..
	[[ $(tail -n 1 over) == "$(cat want)" ]] || fail "another result than uncut: $(cat want)"
}

cpu_bound() { goes_on_the_same "$1" "$2" "$B/migrate/cpu" 0; }
python() {
	need python3
	goes_on_the_same "$1" "$2" /usr/bin/python3 "$WORK/table.py" 0
}
jvm() {
	java_classes "$WORK/Pool.java"
	goes_on_the_same "$1" "$2" java -Xmx128m -XX:-UsePerfData -cp "$BUILT" Pool 0
}
clr() {
	need mono mcs
	mcs -out:Files.exe "$WORK/Files.cs" || skip "mcs does not work here"
	chmod a+r Files.exe
	# Else it has a mapped file in /dev/shm, which other hosts do not have.
	export MONO_DISABLE_SHARED_AREA=1
	goes_on_the_same "$1" "$2" mono "$W/Files.exe" 0
}

# Over there is another /dev/shm, as on any other host.
clr_with_its_counters() {
	need mono mcs
	become root
	two_hosts
	mcs -out:Files.exe "$WORK/Files.cs" || skip "mcs does not work here"
	printf '#!/bin/sh\nexec unshare -m sh -c '"'"'mount -t tmpfs none /dev/shm && exec "$0" "$@"'"'"' "%s" "$@"\n' "$GODWIT" >there
	chmod 755 there
	GODWIT=$W/there serve_on beta
	pipe_on alpha mono "$W/Files.exe" 0
	wait_alive "$PID" 60 has out '[1-9]00$'
	migrate_from alpha "tls://$BETA:$PORT" --key key
	[[ $RC == 3 ]] || fail "exit status $RC"
	says '/dev/shm/mono\.[0-9]+' '^hint: .*--copy-files'
	alive "$PID" || fail "it should go on here"
	nothing_left
	: >stop
	wait_for 30 has out '^result'
	rm -f "/dev/shm/mono.$PID"
}

# --- redis, under writes ---

ADDRESS=10.214.8.1

cli() { # HOST WORD...
	local host=$1
	shift
	(on "$host" redis-cli -h "$ADDRESS" -p 7777 "$@")
}

_written_after() { local n; read -r n <writes && ((n > $1 + 2)); } 2>/dev/null

redis() { # WAY RATE
	need redis-server redis-cli python3
	local keys=400000 size=150 try writes writer digest
	[[ -z $FULL ]] || keys=1000000 size=1000
	hosts "$1" "$2"
	# The service's address moves with it.
	ip -n "$NS_ALPHA" addr add "$ADDRESS/32" dev lo
	ip -n "$NS_BETA" addr add "$ADDRESS/32" dev lo
	mkdir redis && chmod 777 redis
	local words=(redis-server --bind "$ADDRESS" --port 7777 --save '' --dir "$W/redis" --protected-mode no
		--enable-debug-command yes)
	pipe_on alpha "${words[@]}"
	wait_alive "$PID" 30 has out 'Ready to accept connections'
	cli alpha debug populate "$keys" key "$size" >/dev/null || fail "cannot fill redis"
	(on alpha /usr/bin/python3 "$WORK/writer.py" "$ADDRESS" 7777) </dev/null >writer.out 2>&1 &
	writer=$!
	note_pid "$writer"
	wait_alive "$writer" 30 test -s writes
	for ((try = 0; try < 30; try++)); do
		compare_and_move 'TCP connection to' && break
	done
	((try < 30)) || fail "there was a connection each time"
	is_shaped "$2"
	ip -n "$NS_ALPHA" addr del "$ADDRESS/32" dev lo
	ip -n "$NS_ALPHA" route add "$ADDRESS" via "$BETA"
	writes=$(cat writes)
	wait_alive "$writer" 60 _written_after "$writes"
	: >written
	wait "$writer" || fail "the writer: $(tail -n 2 writer.out)"
	note "$(cat writer.out), $try times refused for a connection"
	digest=$(cli beta debug digest)
	cli beta shutdown nosave
	# The same from the beginning, uncut.
	mkdir uncut && chmod 777 uncut
	(on beta redis-server --bind "$ADDRESS" --port 7777 --save '' --dir "$W/uncut" --protected-mode no \
		--enable-debug-command yes) </dev/null >uncut.out 2>&1 &
	note_pid "$!"
	wait_for 30 has uncut.out 'Ready to accept connections'
	cli beta debug populate "$keys" key "$size" >/dev/null
	cli beta <last >/dev/null
	[[ ${#digest} == 40 && $(cli beta debug digest) == "$digest" ]] || fail "other data: $digest"
	cli beta shutdown nosave
	return 0
}

all_by() { # WAY
	local rate program limit=180
	[[ -z $FULL ]] || limit=600
	for rate in 1gbit unshaped; do
		for program in cpu_bound python jvm clr; do
			LIMIT=120 try "${program}_by_$1_$rate" "$program" "$1" "$rate"
		done
		LIMIT=$limit try "redis_under_writes_by_$1_$rate" redis "$1" "$rate"
	done
}
