#!/bin/bash
# Another kernel and another CPU: there and back.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"

WORKER=$B/migrate/worker

has_avx512() {
	grep -qw avx512f /proc/cpuinfo || skip_hardware "the CPU here has no AVX-512 that could be missing there"
}

work_on_host() { # ARGS...
	pipe_on alpha "$WORKER" "$@"
	wait_alive "$PID" 30 has out '^[0-9]+$'
}

# Its time of work grows, there.
_worked() {
	guest cat "/proc/$THERE/stat"
	[[ $GUEST == 0 ]] || fail "it has ended: $(guest cat /log; cat guest.out)"
	(($(sed -n 's/.*) //p' guest.out | cut -d' ' -f12) > $1))
}
works_there() {
	guest cat /log
	THERE=$(sed -n 's/.*process worker runs: pid \([0-9]*\).*/\1/p' guest.out)
	wait_alive "$QEMU" 60 _worked 0
	wait_alive "$QEMU" 60 _worked "$(sed -n 's/.*) //p' guest.out | cut -d' ' -f12)"
}

_back() { PID=$(sed -n 's/.*process worker runs: pid \([0-9]*\).*/\1/p' serve.err) && [[ -n $PID ]]; }

there_and_back() { # CPU ARGS OF GODWIT MIGRATE -- ARGS OF THE WORKER
	local cpu=$1 args=()
	shift
	while [[ $1 != -- ]]; do args+=("$1"); shift; done
	shift
	become root
	serve_on beta --stdio null
	work_on_host "$@"
	start_guest "$cpu" "$WORKER"
	guest_serve
	migrate_from alpha "tls://127.0.0.1:$GUEST_PORT" --key key "${args[@]}"
	[[ $RC == 0 ]] || fail "exit status $RC"
	says 'goes on on guest'
	works_there
	guest "/godwit migrate $THERE tls://10.0.2.2:$PORT --key /key"
	[[ $GUEST == 0 ]] || fail "the way back: $(cat guest.out)"
	has guest.out 'cannot be tracked' || fail "it does not say how it comes back: $(cat guest.out)"
	wait_for 30 _back
	# It verifies itself: its exit status tells.
	kill -USR1 "$PID"
	wait_for 30 has serve.err 'worker ended with status 0'
	end_guest
}
LIMIT=200 try there_and_back_total there_and_back max --mode=total --
LIMIT=200 try there_and_back there_and_back max --
LIMIT=200 GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ try limited_from_the_beginning there_and_back max --mode=total --

finish
