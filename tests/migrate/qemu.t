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
	wait_alive "$QEMU" 30 _guest_log 'goes on here'
	THERE=$(sed -n 's/.*worker.* goes on here as process \([0-9]*\):.*/\1/p' guest.out)
	wait_alive "$QEMU" 60 _worked 0
	wait_alive "$QEMU" 60 _worked "$(sed -n 's/.*) //p' guest.out | cut -d' ' -f12)"
}

_back() { PID=$(sed -n 's/.*worker.* goes on here as process \([0-9]*\):.*/\1/p' serve.err) && [[ -n $PID ]]; }

there_and_back() { # CPU ARGS OF GODWIT MIGRATE -- ARGS OF THE WORKER
	local cpu=$1 args=()
	shift
	while [[ $1 != -- ]]; do args+=("$1"); shift; done
	shift
	become root
	serve_on beta --stdio null --timeout 60
	work_on_host "$@"
	start_guest "$cpu" "$WORKER"
	guest_serve
	migrate_from alpha "tls://127.0.0.1:$GUEST_PORT" --key key --timeout 60 "${args[@]}"
	[[ $RC == 0 ]] || fail "exit status $RC"
	says 'goes on on guest'
	works_there
	guest "/godwit migrate $THERE tls://10.0.2.2:$PORT --key /key --timeout 60"
	[[ $GUEST == 0 ]] || fail "the way back: $(cat guest.out)"
	has guest.out 'cannot be tracked' || fail "it does not say how it comes back: $(cat guest.out)"
	wait_for 30 _back
	# It verifies itself: its exit status tells.
	kill -USR1 "$PID"
	wait_for 30 has serve.err 'worker.* ended with status 0'
	end_guest
}
LIMIT=200 try there_and_back_total there_and_back max --mode=total --
LIMIT=200 try there_and_back there_and_back max --
# A CPU without AVX2, BMI and FMA: more is chosen again.
LIMIT=200 try there_and_back_to_an_old_cpu there_and_back max,-avx2,-bmi1,-bmi2,-fma --mode=total --
LIMIT=200 GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ \
	try limited_from_the_beginning there_and_back max --mode=total --

# A job started as one of the oldest x86-64 CPUs goes where there is no AVX at all.
portable() {
	become root
	pipe_on alpha "$GODWIT" run -o "$W/job" --portable -- "$WORKER"
	wait_alive "$PID" 30 has out '^[0-9]+$'
	PID=$(pgrep -P "$PID" -x worker) || fail "no worker: $(ps --ppid "$PID")"
	start_guest max,-avx,-avx2,-bmi1,-bmi2,-fma "$WORKER"
	guest_serve
	migrate_from alpha "tls://127.0.0.1:$GUEST_PORT" --key key --timeout 60 --mode=total
	[[ $RC == 0 ]] || fail "exit status $RC"
	says 'goes on on guest'
	works_there
	end_guest
}
LIMIT=200 try a_portable_job_arrives_on_any_cpu portable

# Its own function needs AVX-512: refused there, with the name; and the question says so.
uses_avx512() { # ARGS OF THE WORKER
	become root
	has_avx512
	WORKER+=_avx512
	work_on_host "$@"
	start_guest max "$WORKER"
	guest_serve
	for mode in total pre-copy; do
		migrate_from alpha "tls://127.0.0.1:$GUEST_PORT" --key key --timeout 60 --mode=$mode
		[[ $RC == 3 ]] || fail "exit status $RC"
		says 'uses .*avx512f.* lacks: first at with_avx512' '^hint: '
	done
	migrate_from alpha "tls://127.0.0.1:$GUEST_PORT" --key key --timeout 60 --dry-run
	[[ $RC == 3 ]] || fail "exit status $RC of the question"
	says 'uses .*avx512f'
	nothing_left
	kill -USR1 "$PID"
	wait_for 30 has out '^ok$'
	end_guest
}
LIMIT=200 try one_that_uses_avx512_is_refused uses_avx512 always
LIMIT=200 try one_that_chose_avx512_by_itself_is_refused uses_avx512 dispatch

asks() {
	become root
	has_avx512
	work_on_host
	start_guest max "$WORKER"
	guest_serve
	migrate_from alpha "tls://127.0.0.1:$GUEST_PORT" --key key --timeout 60 --dry-run
	[[ $RC == 0 ]] || fail "exit status $RC"
	says 'can take process' 'its CPU lacks what the one here has, and nothing that the program uses'
	nothing_left
	end_guest
}
LIMIT=200 try the_question_is_answered asks

# A saved image: the same.
_saved() {
	expect 0 "$GODWIT" checkpoint "$PID" -o "$1"
	run "$GODWIT" show --code "$1"
	[[ $RC == 0 ]] || fail "show --code: $RC"
}
restarts() {
	become root
	has_avx512
	work_on_host
	# Not while a thread stands in a function that is to be chosen again: an image stays
	# as it is.
	for ((i = 0; i < 20; i++)); do _saved "image$i"; done
	prints 'chosen .*avx512f' 'used .*'
	kill -9 "$PID"
	WORKER+=_avx512
	work_on_host always
	_saved uses
	prints 'used .*avx512f' 'avx512f +used +with_avx512'
	kill -9 "$PID"
	start_guest max "$B/migrate/worker" "$WORKER" "$W"/image* "$W/uses" "$W/out"
	guest "/godwit restart --new-ids $W/uses"
	[[ $GUEST == 3 ]] || fail "status $GUEST: $(cat guest.out)"
	has guest.out 'uses avx512f.* lacks: first at with_avx512' || fail "$(cat guest.out)"
	for ((i = 0; i < 20; i++)); do
		guest "& /godwit restart --new-ids $W/image$i"
		guest_waits /proc/loadavg .
		[[ -n $(guest_worker) ]] && break
	done
	THERE=$(guest_worker)
	[[ -n $THERE ]] || fail "none of them runs: $(guest cat /log; cat guest.out)"
	wait_alive "$QEMU" 60 _worked 0
	wait_alive "$QEMU" 60 _worked "$(sed -n 's/.*) //p' guest.out | cut -d' ' -f12)"
	end_guest
}
LIMIT=200 try saved_images_restart_on_the_other_cpu restarts

finish
