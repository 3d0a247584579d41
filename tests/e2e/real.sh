# shellcheck shell=bash
# Real programs: interrupted in the middle of real work, they end with the result of
# an uncut run.  WORK is where the work loads are.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
export WORK=$TOP/tests/e2e/work

# The expected output of CMD..., in `want`; computed once per test.
uncut() {
	(as "$@") </dev/null >want 2>want.err || fail "the uncut run fails: $(tail -3 want.err)"
	grep -q '^result' want || fail "the uncut run has no result"
}

_lines() { (($(wc -l <"$1") >= $2)); }

# In the middle: some lines were printed, the result was not.
middle() {
	wait_alive "$PID" 60 _lines "${OUT:-out}" "${1:-4}"
	has "${OUT:-out}" '^result' && fail "it is already done: the work is too small"
	return 0
}

# The restarted program printed into the same file: nothing missing, nothing twice.
same_result() {
	wait "$PID"
	local rc=$?
	[[ $rc == 0 ]] || fail "the restarted program ends with status $rc"
	cmp -s out want || fail "the output differs: $(diff out want | head -n 5)"
}

by_attach() { # USER CMD...
	become "$1"
	shift
	uncut "$@"
	launch "$@"
	middle
	expect 0 "$GODWIT" checkpoint "$PID" --kill
	wait "$PID" 2>/dev/null
	wait_for 10 gone "$PID"
	OUT=out2 ERR=err2 launch "$GODWIT" restart myckpt
	same_result
}

# The checkpoint is not seen: the program goes on to the same result.
goes_on() { # USER CMD...
	become "$1"
	shift
	uncut "$@"
	launch "$@"
	middle
	local n=0
	until has out '^result' || ((n == 3)); do
		run "$GODWIT" checkpoint "$PID"
		[[ $RC == 0 ]] || has out '^result' || fail "checkpoint: $RC"
		n=$((n + 1))
	done
	((n > 1)) || fail "it was done before the second checkpoint: the work is too small"
	same_result
}

by_preload() { # USER CMD...
	become "$1"
	shift
	uncut "$@"
	launch env GODWIT_SIGNAL="${SIGNAL:-12}" LD_PRELOAD="$LIBCKPT" "$@"
	middle
	ring
	finish_off
	has out '^result' && fail "it was already done"
	OUT=out2 ERR=err2 launch "$MYRESTART" myckpt
	same_result
}

# Again and again: five generations, each cut in the middle of the one before.
generations() { # USER CMD...
	become "$1"
	shift
	local n=4
	uncut "$@"
	launch "$@"
	for _ in 1 2 3 4 5; do
		middle $n
		expect 0 "$GODWIT" checkpoint "$PID" --kill
		wait "$PID" 2>/dev/null
		wait_for 10 gone "$PID"
		n=$(($(wc -l <out) + 3))
		OUT=out2 ERR=err2
		as "$GODWIT" restart myckpt </dev/null >out2 2>err2 &
		PID=$!
		echo "$PID" >>"$TRY_DIR/pids"
		OUT=out
	done
	same_result
}
