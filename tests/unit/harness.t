#!/bin/bash
# The harness itself: a test that fails, hangs, skips or leaks is reported as such.
. "$(dirname "$0")/../lib.sh"

# Runs a script of tests with the text given, result in `tap`.
inner() {
	mkdir -p tests/x
	cp "$TOP/tests/lib.sh" tests/
	printf '#!/bin/bash\n. "$(dirname "$0")/../lib.sh"\n%s\nfinish\n' "$1" >tests/x/x.t
	env -u TRY_ONE -u TRY_DIR GODWIT_TEST_DIR="$W" SLOW=1 "${@:2}" bash tests/x/x.t >tap
	RC=$?
}

shows() { grep -Eq -- "$1" tap || fail "the report lacks '$1': $(cat tap)"; }

failing() {
	inner 'a() { false; }; b() { fail "the reason"; }; c() { :; }; try one a; try two b; try three c'
	[[ $RC == 1 ]] || fail "exit status $RC"
	shows '^not ok 1 - one'
	shows '^not ok 2 - two'
	shows '^# .*FAILED: the reason'
	shows '^# rerun: .*x.t two'
	shows '^ok 3 - three'
	shows '^1..3'
	local dir
	dir=$(sed -n 's/^# work directory: //p' tap | tail -n 1)
	[[ -d $dir ]] || fail "the work directory was not kept"
}

hanging() {
	inner 'a() { as sleep 1000 & echo $! >../../grandchild; sleep 1000; }; LIMIT=1 try one a'
	shows '^not ok 1 - one'
	shows 'no end within [0-9]+ s'
	wait_for 10 gone "$(cat grandchild)"
}

# Whatever its name is: that may hold a newline, and then so does its line in /proc.
oddly_named() {
	inner "a() { cp /bin/sleep $'odd) S\n'; launch ./$'odd) S\n' 1000; echo \$PID >../../odd; }; try one a"
	[[ $RC == 0 ]] || fail "$(cat tap)"
	wait_for 10 gone "$(cat odd)"
}

# The id of a program that a test noted, and that ended, may be another's by now.
others() {
	(cd / && exec sleep 100) &
	local other=$!
	note_pid "$other"
	inner "a() { echo '$other 1' >>\"\$TRY_DIR/pids\"; }; try one a"
	[[ $RC == 0 ]] || fail "$(cat tap)"
	alive "$other" || fail "a process that is not the test's was ended"
}

# Each waits for the other one, so both must run at once; each is told by its own name.
beside() {
	inner 'a() { : >../../a; wait_for 20 test -e ../../b; }; b() { : >../../b; wait_for 20 test -e ../../a; fail "of b"; }
		BESIDE=1 try one a; BESIDE=1 try two b; try three wait_for 20 test -e ../../b'
	[[ $RC == 1 ]] || fail "exit status $RC"
	shows '^ok [1-3] - one'
	shows '^not ok [1-3] - two'
	shows '^# .*FAILED: of b'
	shows '^ok [1-3] - three'
	shows '^1..3'
	inner 'a() { sleep 1000; }; LIMIT=1 BESIDE=1 try one a'
	shows '^not ok 1 - one'
	shows 'no end within [0-9]+ s'
}

skipping() {
	inner 'a() { skip "no reason"; }; b() { skip_hardware "no CPU"; }; try one a; try two b' GODWIT_MUST_RUN=
	[[ $RC == 0 ]] || fail "exit status $RC"
	shows '^ok 1 - one # SKIP no reason'
	inner 'a() { skip "no reason"; }; b() { skip_hardware "no CPU"; }; try one a; try two b' GODWIT_MUST_RUN=1
	[[ $RC == 1 ]] || fail "exit status $RC with GODWIT_MUST_RUN"
	shows '^not ok 1 - one'
	shows '^ok 2 - two # SKIP no CPU'
}

wrong_subject() { # a subject that says something else than ok is found out
	inner 'a() { become user; launch bash -c "echo ready; echo differs"; verdict; }; try one a
		b() { launch bash -c "echo ready; echo ok; exit 3"; verdict; }; try two b
		c() { launch bash -c "echo ready"; sleep 0.2; ping; }; try three c'
	shows '^not ok 1'
	shows '^not ok 2'
	shows '^not ok 3'
}

# Nothing but 0, 1 and 2 reaches a subject, even where the caller left more open.
no_descriptors() {
	# shellcheck disable=SC2016
	exec 7</dev/null 21</dev/null
	inner 'a() { launch bash -c "ls /proc/self/fd"; wait "$PID"; [[ $(wc -l <out) == 4 ]] || fail "$(cat out)"; }; try one a'
	exec 7<&- 21<&-
	[[ $RC == 0 ]] || fail "$(cat tap)"
}

try failed_tests_are_reported failing
try hanging_tests_are_ended hanging
try oddly_named_programs_are_ended oddly_named
try processes_of_others_are_left_alone others
try tests_run_beside_others beside
try skipped_tests_give_their_reason skipping
try subjects_that_differ_are_found_out wrong_subject
try no_descriptor_leaks_into_a_subject no_descriptors
finish
