# shellcheck shell=bash
# Real programs: interrupted in the middle of real work, they end with the result of
# an uncut run.  WORK is where the work loads are.  MADE is a pattern for the files
# that the program makes: they must be the same, too.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
export WORK=$TOP/tests/e2e/work

# The expected output of CMD..., in `want`; computed once per test.
uncut() {
	(as "$@") </dev/null >want 2>want.err || fail "the uncut run fails: $(tail -3 want.err)"
	grep -q '^result' want || fail "the uncut run has no result"
	[[ -n ${MADE-} ]] || return 0
	_sums >want.sums || fail "the uncut run made no $MADE"
	# shellcheck disable=SC2086  # a pattern
	rm $MADE
}

# shellcheck disable=SC2086  # a pattern
_sums() { md5sum $MADE; }

_lines() { (($(wc -l <"$1") >= $2)); }
_is_done() { has out '^result'; }

# until_in_time USER WAY CMD...: how fast the machine is nobody knows.  A word @N of the
# command is N, or more where WAY was too late (false) and the program already done.
until_in_time() {
	local way=$2 scale word cmd
	become "$1"
	shift 2
	for scale in 1 3 9; do
		cmd=()
		for word; do
			[[ $word != @* ]] || word=$((${word#@} * scale))
			cmd+=("$word")
		done
		uncut "${cmd[@]}"
		rm -f out err
		"$way" "${cmd[@]}" && return
		note "done before it was stopped, with $scale times the work"
		kill -9 "$PID" 2>/dev/null
		wait "$PID" 2>/dev/null
	done
	fail "the work is too small"
}

# In the middle: some lines were printed, the result was not.
middle() {
	wait_alive "$PID" 60 _lines out "${1:-4}"
	! _is_done
}

# checkpoint ARGS...: false where it came too late.
checkpoint() {
	run "$GODWIT" checkpoint "$PID" "$@"
	[[ $RC == 0 ]] || _is_done || fail "checkpoint: $RC"
	! _is_done
}

# The restarted program printed into the same file: nothing missing, nothing twice.
same_result() {
	wait "$PID"
	local rc=$?
	[[ $rc == 0 ]] || fail "the restarted program ends with status $rc"
	cmp -s out want || fail "the output differs: $(diff out want | head -n 5)"
	[[ -z ${MADE-} ]] || cmp -s <(_sums) want.sums || fail "what it made differs: $(_sums | diff - want.sums)"
}

_by_attach() {
	launch "$@"
	middle && checkpoint --kill || return
	wait "$PID" 2>/dev/null
	wait_for 10 gone "$PID"
	OUT=out2 ERR=err2 launch "$GODWIT" restart myckpt
	same_result
}

# The checkpoint is not seen: the program goes on to the same result.
_goes_on() {
	launch "$@"
	middle && checkpoint && checkpoint || return
	same_result
}

_rung() { _is_new_image_or_error myckpt "" || _is_done; }

_by_preload() {
	rm -f myckpt
	launch env GODWIT_SIGNAL="${SIGNAL:-12}" LD_PRELOAD="$LIBCKPT" "$@"
	middle || return
	kill -"${SIGNAL:-12}" "$PID"
	wait_for 30 _rung
	_is_done && return 1
	_is_new_image myckpt "" || fail "the doorbell was refused"
	finish_off
	_is_done && return 1
	OUT=out2 ERR=err2 launch "$MYRESTART" myckpt
	same_result
}

# Again and again: five generations, each cut in the middle of the one before.
_generations() {
	local n=4
	launch "$@"
	for _ in 1 2 3 4 5; do
		middle $n && checkpoint --kill || return
		wait "$PID" 2>/dev/null
		wait_for 10 gone "$PID"
		n=$(($(wc -l <out) + 3))
		OUT=out2 ERR=err2 launch "$GODWIT" restart myckpt
	done
	same_result
}

for _way in by_attach goes_on by_preload generations; do
	eval "$_way() { until_in_time \"\$1\" _$_way \"\${@:2}\"; }" # USER CMD...
done
