# shellcheck shell=bash disable=SC2034
# Sourced by the tests of migrations, after ../lib.sh.
#
#   two_hosts                     network namespaces alpha and beta, joined by a cable
#   on alpha CMD...               runs it there, as the test's user
#   serve_on HOST ARG...          a destination; sets SERVE (pid) and PORT; CREDS: its options
#                                 in place of --key ${KEY:-key}
#   count_on HOST ARG...          the counter (prog/counter.c); sets PID
#   migrate_from HOST ARG...      godwit migrate $PID ..., output in cmd.out, cmd.err; sets RC
#   sshd_on_beta                  sets SSH (the command of the client) and REMOTE (godwit over there)
#   shaped RATE                   the cable carries no more, either way
# Without two_hosts both are this machine, at 127.0.0.1.

COUNTER=$B/migrate/counter
NS_ALPHA='' NS_BETA=''
BETA=127.0.0.1

_drop_hosts() {
	local ns
	for ns in "$NS_ALPHA" "$NS_BETA"; do
		[[ -z $ns ]] || ip netns del "$ns" 2>/dev/null
	done
}

two_hosts() {
	[[ -n $IS_ROOT ]] || skip "needs root for network namespaces"
	need ip
	NS_ALPHA=gwA$$ NS_BETA=gwB$$
	trap '[[ $BASHPID != "$$" ]] || { _sweep "$TRY_DIR"; _drop_hosts; }' EXIT
	{ ip netns add "$NS_ALPHA" && ip netns add "$NS_BETA" &&
		ip link add "gw$$a" netns "$NS_ALPHA" type veth peer name "gw$$b" netns "$NS_BETA"; } ||
		skip "cannot make network namespaces joined by veth here"
	ip -n "$NS_ALPHA" addr add 10.214.7.1/24 dev "gw$$a"
	ip -n "$NS_BETA" addr add 10.214.7.2/24 dev "gw$$b"
	ip -n "$NS_ALPHA" link set lo up
	ip -n "$NS_BETA" link set lo up
	ip -n "$NS_ALPHA" link set "gw$$a" up
	ip -n "$NS_BETA" link set "gw$$b" up
	BETA=10.214.7.2
}

shaped() { # RATE
	local side
	for side in "$NS_ALPHA gw$$a" "$NS_BETA gw$$b"; do
		tc -n "${side% *}" qdisc add dev "${side#* }" root tbf rate "$1" burst 256kb latency 50ms ||
			skip "cannot shape the cable here"
	done
}

# A real sshd, with its own configuration and keys.
sshd_on_beta() {
	need ssh ssh-keygen /usr/sbin/sshd
	become root
	[[ -n $NS_BETA ]] || two_hosts
	mkdir -p /run/sshd
	ssh-keygen -q -t ed25519 -N '' -f host_key && ssh-keygen -q -t ed25519 -N '' -f id ||
		fail "cannot make keys"
	cp id.pub authorized
	cat >sshd.conf <<-C
		Port 2022
		ListenAddress $BETA
		HostKey $W/host_key
		AuthorizedKeysFile $W/authorized
		PasswordAuthentication no
		KbdInteractiveAuthentication no
		UsePAM no
		PidFile none
		StrictModes no
		PermitRootLogin yes
	C
	(on beta /usr/sbin/sshd -D -e -f "$W/sshd.conf") </dev/null 2>sshd.err &
	SSHD=$!
	note_pid "$SSHD"
	wait_alive "$SSHD" 20 has sshd.err 'Server listening'
	SSH="ssh -F /dev/null -p 2022 -i $W/id -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null -oLogLevel=ERROR"
	REMOTE="env GODWIT_STATE=$W/state-beta $GODWIT"
}

# Replaces this shell, as `as` does.
on() {
	local host=$1 ns=$NS_ALPHA
	shift
	[[ $host == alpha ]] || ns=$NS_BETA
	export GODWIT_STATE=$W/state-$host
	[[ -n $ns ]] || as "$@"
	# shellcheck disable=SC2016
	as_words "$@"
	exec ip netns exec "$ns" unshare -u sh -c 'hostname "$0" && exec "$@"' "$host" "${WORDS[@]}"
}

as_words() {
	WORDS=("$@")
	[[ $AS != user || -z $IS_ROOT ]] ||
		WORDS=(setpriv "--reuid=$TEST_UID" "--regid=$TEST_UID" --clear-groups -- "$@")
}

# The key that both share, made once a test.
make_key() {
	[[ -e key ]] || (as "$GODWIT" key key) || fail "cannot make a key"
}

serve_on() {
	local host=$1 creds=(--key "${KEY:-key}")
	shift
	[[ -z ${CREDS-} ]] || read -ra creds <<<"$CREDS"
	[[ ${creds[0]} != --key ]] || make_key
	: >>over
	chmod 666 over
	(on "$host" "$GODWIT" serve --listen "$BETA:${LISTEN:-0}" "${creds[@]}" \
		--stdio "file:$W/over" "$@") </dev/null >/dev/null 2>serve.err &
	SERVE=$!
	note_pid "$SERVE"
	wait_alive "$SERVE" 20 has serve.err 'listening on'
	PORT=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' serve.err)
}

# In the background, standard output a pipe (to the file out), which over there becomes
# what the destination says; sets PID.
pipe_on() {
	: >out
	# The reader is a child of this shell, not of the program.
	exec 7> >(exec cat >out)
	(on "$@") </dev/null >&7 2>&1 7>&- &
	PID=$!
	exec 7>&-
	note_pid "$PID"
}

count_on() {
	local host=$1
	shift
	pipe_on "$host" "$COUNTER" "$W/numbers" "$@"
	wait_alive "$PID" 30 has out '^ready'
	wait_alive "$PID" 30 test -s numbers
}

# A subject moves from alpha to beta, and says there that all is as it was.
goes_over() { # MODE SUBJECT ARGS...
	serve_on beta
	pipe_on alpha "$SUBJECTS/$2" "$CTL" "${@:3}"
	wait_ready
	migrate_from alpha "tls://$BETA:$PORT" --key key "--mode=$1"
	[[ $RC == 0 ]] || fail "exit status $RC"
	gone "$PID" || fail "the copy here was not ended"
	: >"$CTL/release"
	wait_for 30 has over '^ok'
	[[ $(cat over) == ok ]] || fail "over there: $(cat over)"
}

migrate_from() {
	local host=$1
	shift
	(on "$host" timeout 100 "$GODWIT" migrate "$PID" "$@") </dev/null >cmd.out 2>cmd.err
	RC=$?
	return 0
}

# The file goes on growing, from what it is now.
_longer() { (($(stat -c %s numbers) > $1)); }
goes_on() { wait_for 30 _longer "$(stat -c %s numbers)"; }

# Every number once, in order: no number twice (two copies), none left out.
one_copy_ran() {
	local bad
	bad=$(awk '$1 != NR { print NR ": " $1; exit }' numbers)
	[[ -z $bad ]] || fail "the numbers are not 1, 2, 3, ...: line $bad"
}

# The pids of this test's counters that run or stand, in COUNTERS.  Forks nothing, and asks
# for nothing that is in their memory: it may not have come yet.
_find_counters() {
	local p
	COUNTERS=()
	for p in /proc/[0-9]*; do
		[[ $p/exe -ef $COUNTER && $p/cwd -ef $W ]] && alive "${p#/proc/}" && COUNTERS+=("${p#/proc/}")
	done
} 2>/dev/null
counters() { _find_counters; ((${#COUNTERS[@]} == 0)) || printf '%s\n' "${COUNTERS[@]}"; }
_count_is() { _find_counters; ((${#COUNTERS[@]} == $1)); }

# Exactly one copy lives, goes on, and finds its memory right; where: out or over.
finish_counter() {
	local where=$1
	wait_for 30 _count_is 1
	goes_on
	: >numbers.stop
	wait_for 30 _count_is 0
	one_copy_ran
	wait_for 10 has "$where" '^ok$'
	rm -f numbers.stop
}

# --- one machine, of which a folder is another one over there ---

# Another host as far as the folder data is concerned; sets THERE, the process that holds it.
apart() { # [OPTIONS OF MOUNT | disk]
	[[ -n $IS_ROOT ]] || skip "needs root for a mount of its own"
	local mount=(-t tmpfs -o "${1:-size=64m},mode=777" none)
	own_mounts
	mkdir -p data
	chmod 777 data
	if [[ ${1-} == disk ]]; then
		mkdir disk && chmod 777 disk
		mount=(--bind "$W/disk")
	fi
	unshare -m sh -c "mount ${mount[*]@Q} '$W/data' && echo there && exec sleep 1000" >holder 2>&1 &
	THERE=$!
	note_pid "$THERE"
	wait_alive "$THERE" 20 grep -q there holder
}
# (A folder that is entered before the mounts are would be this host's.)
# shellcheck disable=SC2016
there() { nsenter -m -t "$THERE" -- sh -c 'cd "$0" && exec "$@"' "$W" "$@"; }

serve_there() {
	make_key
	: >>over
	chmod 666 over
	as_words "$GODWIT" serve --listen 127.0.0.1:0 --key key --stdio "file:$W/over" "$@"
	# shellcheck disable=SC2016
	GODWIT_STATE=$W/state-beta nsenter -m -t "$THERE" -- sh -c 'cd "$0" && exec "$@"' "$W" "${WORDS[@]}" </dev/null >/dev/null 2>serve.err &
	SERVE=$!
	note_pid "$SERVE"
	wait_alive "$SERVE" 20 has serve.err 'listening on'
	PORT=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' serve.err)
}

# A process of the destination stands at its fault point (GODWIT_FAULT_STOP); sets STANDS.
_target_stands() {
	local p
	for p in $(pgrep -f "$GODWIT serve"; pgrep -x godwit-guardian); do
		[[ $p != "$SERVE" && $(readlink "/proc/$p/cwd") == "$W" ]] || continue
		grep -q '^State:.T (stopped' "/proc/$p/status" 2>/dev/null && STANDS=$p && return 0
	done
	return 1
}

# Where the program goes on: here, over, or either.  One that is dying has no memory and is counted
# no more, while it still is there for a moment.
on_side() {
	case $1 in
	here) alive "$PID" || fail "it should go on here" ;;
	over) wait_for 10 gone "$PID" ;;
	esac
}

# What must be true in the end.  here, over, or either: where the program goes on.
settled() { # WHERE
	local where=$1
	# Asks in the background, too; by hand it is done at once.
	for _ in 1 2 3 4 5 6 7 8; do
		(on alpha timeout 60 "$GODWIT" settle) >>settle.out 2>&1 && break
		sleep 1
	done
	wait_for 30 _count_is 1
	[[ -z $(ls state-alpha 2>/dev/null) ]] || fail "not settled: $(cat settle.out)"
	on_side "$where"
	if alive "$PID"; then the_next_one_clears; finish_counter out; else finish_counter over; fi
}
