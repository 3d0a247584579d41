#!/bin/bash
# Programs with seccomp filters (src/remote/guarded.c, src/state/seccomp.c).
. "$(dirname "$0")/../lib.sh"

start() { # [SUBJECT]
	become root
	launch "$SUBJECTS/${1:-seccomp_filters}" "$CTL"
	wait_ready
}

# Their filters kill for most of the calls that godwit makes: none is made when it is dead.
killed_at_points() { # MODULUS REST [BOTH]
	local n i died=0 tried=0
	start
	(as env GODWIT_FAULT=list "$GODWIT" checkpoint "$PID") </dev/null >cmd.out 2>points || fail "$(cat points)"
	n=$(grep -c '^fault point [0-9]*: ' points)
	((n > 200)) || fail "only $n fault points"
	for ((i = $2; i <= n; i += $1, tried++)); do
		run env GODWIT_FAULT=$i ${3:+GODWIT_FAULT_BOTH=1} "$GODWIT" checkpoint "$PID"
		[[ $RC == 0 ]] || died=$((died + 1))
		wait_for 20 _untraced "$PID"
		alive "$PID" || fail "killed at point $i of $n: $(sed -n "${i}p" points)"
	done
	ping
	((died * 2 >= tried)) || fail "only $died of $tried points were reached"
	expect 0 "$GODWIT" checkpoint "$PID"
	nothing_left
	verdict
}

# By root, where another user made it, and that one restarts it: his filters let pass what it takes.
by_its_user() { # SUBJECT STATUS [WORDS...]
	[[ -n $IS_ROOT ]] || skip "needs root, who alone may read filters"
	become user
	launch "$SUBJECTS/$1" "$CTL"
	wait_ready
	AS=root
	expect 0 "$GODWIT" checkpoint "$PID" --kill
	wait "$PID"
	wait_for 10 gone "$PID"
	chown "$TEST_UID" myckpt
	AS=user
	if [[ $2 != 0 ]]; then
		expect "$2" "$GODWIT" restart myckpt
		says "${@:3}"
		expect 3 "$GODWIT" restart --explain myckpt
		return
	fi
	OUT=out2 ERR=err2 launch "$GODWIT" restart myckpt
	ping
	wait_for 10 _untraced "$PID"
	nothing_left
	verdict
}

# Whatever the pause should be, it is made, and says what came of it.
pauses() { # OPTION
	start
	expect 0 "$GODWIT" checkpoint "$PID" "$1"
	says 'has a seccomp filter'
	nothing_left
	ping
	revive_all myckpt
}

is_shown() {
	start
	expect 0 "$GODWIT" checkpoint "$PID"
	expect 0 "$GODWIT" show --json myckpt
	python3 -c '
import json
s = json.load(open("cmd.out"))["seccomp"]
assert s["filters"] == 3, s
assert [t["filters"] for t in s["threads"]] == [2, 2, 3], s
assert all(t["no_new_privs"] for t in s["threads"]), s' || fail "$(cat cmd.out)"
	expect 0 "$GODWIT" restart --explain myckpt
	[[ $(grep -c 'seccomp.*filter of all threads' cmd.out) == 2 ]] || fail "$(grep -i seccomp cmd.out)"
	verdict
}

try root_saves_and_its_user_restarts by_its_user seccomp_filters 0
try who_forbids_munmap_is_refused_to_its_user by_its_user seccomp_no_munmap 3 'forbids munmap' 'only root'
for how in --pause=live --pause=short --incremental; do
	try "saved_with_$how" pauses $how
done
try filters_are_shown_and_explained is_shown
LIMIT=120 try guardian_killed_at_some_points killed_at_points 37 5
LIMIT=120 try guardian_and_command_killed_at_some_points killed_at_points 41 11 both
finish
