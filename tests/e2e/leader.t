#!/bin/bash
# A process whose first thread has ended, while others run on: checkpoint and restart in every way.
. "$(dirname "$0")/../lib.sh"

begin() { # USER SUBJECT
	become "$1"
	launch "$SUBJECTS/$2" "$CTL"
	wait_ready
}

# The process of a thin parent, or itself.
program() {
	local p=$PID next
	while
		next=
		read -r next _ <"/proc/$p/task/$p/children"
		[[ -n $next ]]
	do p=$next; done 2>/dev/null
	echo "$p"
}

_is_gone_leader() { grep -q '^State:.Z' "/proc/$1/status" && alive "$1"; }

# As nothing_left, of each thread.
nothing_in_threads() {
	local p t
	p=$(program)
	_is_gone_leader "$p" || fail "the first thread of $p is no zombie: $(grep State "/proc/$p/status")"
	nothing_left "$p"
	for t in "/proc/$p"/task/*; do
		grep -q '^TracerPid:[[:space:]]*0$' "$t/status" || fail "$t is traced"
	done
}

restarts() { # IDS IMAGE
	OUT=out2 ERR=err2 launch "$GODWIT" restart "$1" "$2"
	ping
	wait_for 10 _untraced "$(program)"
	nothing_in_threads
}

ways() { # USER IDS OPTIONS OF THE CHECKPOINT...
	begin "$1" threads_leader_gone
	expect 0 "$GODWIT" checkpoint "$PID" "${@:3}"
	nothing_in_threads
	ping
	expect 0 "$GODWIT" checkpoint "$PID" --kill "${@:3}" -o second
	wait "$PID"
	expect 0 "$GODWIT" verify second
	expect 0 "$GODWIT" show second
	prints 'has ended, with status 0' 'Threads \(4\)'
	restarts "$2" second
	verdict
}
try as_root_with_its_ids ways root --same-ids
try as_user_with_its_ids ways user --same-ids
try as_user_with_new_ids ways user --new-ids
try live ways user --new-ids --pause=live
try short ways user --new-ids --pause=short
try incremental ways user --new-ids --incremental
try compressed ways user --new-ids --compress

ten() { # USER RESTART...
	become "$1"
	local i
	shift
	launch env LD_PRELOAD="$LIBCKPT" "$SUBJECTS/threads_leader_gone" "$CTL"
	wait_ready
	for i in {1..10}; do
		ring
		ping
		finish_off
		OUT=out$i ERR=err$i launch "$@" myckpt
		ping
	done
	nothing_in_threads
	verdict
}
LIMIT=120 try ten_generations_by_kill_12_as_user ten user "$MYRESTART"
LIMIT=120 try ten_generations_by_kill_12_as_root ten root "$MYRESTART"
LIMIT=120 try ten_generations_by_kill_12_with_new_ids ten user "$GODWIT" restart --new-ids

# Whoever speaks for the process ends all the time.
relay() { # OPTIONS...
	begin user threads_relay
	local i
	for i in 1 2 3 4; do
		expect 0 "$GODWIT" checkpoint "$PID" "$@" -o "img$i"
		ping
	done
	verdict
	for i in 2 4; do
		OUT=out$i ERR=err2 launch "$GODWIT" restart --new-ids "img$i"
		ping
		verdict
	done
}
try relay_of_threads relay
try relay_of_threads_live relay --pause=live
try relay_of_threads_incremental relay --incremental

END_C='
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
static char *how, path[500];
static void *run(void *arg)
{
	char c, *state = arg;
	FILE *f;
	do {
		f = fopen("/proc/self/stat", "r");
		fscanf(f, "%*d %*s %c", &c);
		fclose(f);
		usleep(500);
	} while (c != *state);
	puts("ready"), fflush(stdout);
	while (access(path, F_OK))
		usleep(3000);
	if (*how == 0)
		syscall(SYS_exit, 3);
	exit(atoi(how));
}
int main(int argc, char **argv)
{
	pthread_t t;
	how = argc > 2 ? argv[2] : "";
	snprintf(path, sizeof(path), "%s/release", argv[1]);
	pthread_create(&t, NULL, run, "Z");
	syscall(SYS_exit, 7);
}'

end_prog() {
	printf '%s' "$END_C" >end.c
	gcc -O1 -pthread -w -o end end.c || fail gcc
}

# Each thread ends alone: which status counts depends on the kernel.  Or all end, by exit().
ends_with() { # IDS [ARG]
	become user
	end_prog
	: >"$CTL/release"
	(as ./end "$CTL" "${@:2}") >uncut
	local rc want=$?
	rm "$CTL/release"
	launch ./end "$CTL" "${@:2}"
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID" --kill
	wait "$PID"
	expect 0 "$GODWIT" restart --explain myckpt
	prints 'the first thread ends'
	restarts_end "$1"
	: >"$CTL/release"
	wait "$PID"
	rc=$?
	[[ $rc == "$want" ]] || fail "it ended with $rc, not $want"
}
restarts_end() {
	OUT=out2 ERR=err2 launch "$GODWIT" restart "$1" myckpt
	_up() { _is_gone_leader "$(program)"; }
	wait_alive "$PID" 20 _up
}
try status_of_the_threads ends_with --same-ids
try status_of_the_threads_with_new_ids ends_with --new-ids
try status_of_exit ends_with --same-ids 5

# A signal from the terminal; and the thin parent's end is the program's.
signal_ends() { # SIGNAL STATUS USER IDS
	become "$3"
	end_prog
	launch ./end "$CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID" --kill
	wait "$PID"
	restarts_end "$4"
	local p rc
	p=$(program)
	kill "-$1" "$PID"
	wait "$PID"
	rc=$?
	[[ $rc == "$2" ]] || fail "it ended with $rc, not $2"
	wait_for 10 gone "$p"
}
try interrupt_ends_it signal_ends INT 130 user --same-ids
try interrupt_ends_it_with_new_ids signal_ends INT 130 user --new-ids
try kill_of_the_thin_parent_as_root signal_ends KILL 137 root --same-ids
try kill_of_the_thin_parent_as_user signal_ends KILL 137 user --same-ids

# The first thread ends while the checkpoint is made.
ends_meanwhile() {
	become user
	cat >late.c <<-'END'
		#include <pthread.h>
		#include <stdio.h>
		#include <stdlib.h>
		#include <unistd.h>
		static char path[500];
		static void *run(void *arg)
		{
			while (access(path, F_OK))
				usleep(1000);
			puts("ok"), exit(0);
			return arg;
		}
		int main(int argc, char **argv)
		{
			pthread_t t;
			snprintf(path, sizeof(path), "%s/release", argv[1]);
			for (int i = 0; i < 3; i++)
				pthread_create(&t, NULL, run, NULL);
			puts("ready"), fflush(stdout);
			usleep(argc > 2 ? atoi(argv[2]) : 0);
			pthread_exit(NULL);
		}
	END
	gcc -O1 -pthread -w -o late late.c || fail gcc
	local i gone=0
	for ((i = 0; i < ${RACES:-24}; i++)); do
		: >out
		launch ./late "$CTL" $((i * 300))
		wait_ready
		expect 0 "$GODWIT" checkpoint "$PID" --kill
		wait "$PID"
		run "$GODWIT" show myckpt
		! has cmd.out 'First thread' || gone=$((gone + 1))
		OUT=out2 ERR=err2 launch "$GODWIT" restart --new-ids myckpt
		verdict out
	done
	note "in $gone of $i images the first thread had ended"
}
try it_ends_during_the_checkpoint ends_meanwhile

# All of them end: that is no such process.
all_end() {
	become user
	local i
	for ((i = 0; i < ${RACES:-12}; i++)); do
		: >out
		launch "$SUBJECTS/threads_leader_gone" "$CTL"
		wait_ready
		kill -9 "$PID"
		run "$GODWIT" checkpoint "$PID"
		[[ $RC == 1 ]] && says "process $PID has ended|is no process" || fail "status $RC: $(cat cmd.err)"
		wait_for 10 gone "$PID"
	done
}
try a_process_that_is_ending_has_ended all_end

two_at_once() {
	begin user threads_leader_gone
	local i rc first
	for ((i = 0; i < 4; i++)); do
		(as "$GODWIT" checkpoint "$PID" -o img.1) </dev/null >first 2>&1 &
		first=$!
		run "$GODWIT" checkpoint "$PID" -o img.2
		wait $first
		rc=$?
		[[ $RC == 0 || $RC == 1 ]] || fail "status $RC: $(cat cmd.err)"
		[[ $rc == 0 || $rc == 1 ]] || fail "status $rc: $(cat first)"
		((rc + RC < 2)) || fail "neither: $(cat first cmd.err)"
		wait_for 20 _untraced "$PID"
	done
	nothing_in_threads
	verdict
}
try two_checkpoints_at_once two_at_once

# A tracer is named, of whichever thread.
traced() {
	need strace
	begin user threads_leader_gone
	(as strace -f -o /dev/null -p "$(ls "/proc/$PID/task" | tail -n 1)") </dev/null >/dev/null 2>&1 &
	local strace=$!
	note_pid $strace
	_traced() { grep -q '^TracerPid:.[1-9]' "/proc/$PID"/task/*/status; }
	wait_alive "$PID" 10 _traced
	expect 3 "$GODWIT" checkpoint "$PID"
	says 'traced already, by process'
	kill $strace
	verdict
}
try a_tracer_is_named traced

# A debugger shows the threads that live.
debugger() {
	need gdb
	begin user threads_leader_gone
	expect 0 "$GODWIT" checkpoint "$PID"
	run gdb -q -batch -ex 'info threads' -ex 'thread apply all bt' "$SUBJECTS/threads_leader_gone" myckpt
	prints 'nap|nanosleep'
	[[ $(grep -c 'LWP [0-9]*' cmd.out) -ge 4 ]] || fail "gdb shows: $(cat cmd.out)"
	verdict
}
try gdb_shows_the_threads debugger

# The guardian dies at each step of a restart, with `both` the command, too: it runs whole, or not.
restart_steps() { # IDS [both]
	begin user threads_leader_gone
	expect 0 "$GODWIT" checkpoint "$PID" --kill
	wait "$PID"
	cp out before
	: >"$CTL/release"
	local i n
	_none() { ! grep -Ezqsx "$CTL" /proc/[0-9]*/cmdline; }
	expect 0 env GODWIT_FAULT=list "$GODWIT" restart "$1" myckpt
	[[ $(tail -n 1 out) == ok ]] || fail "it is not right"
	has cmd.err 'leader ends' || fail "the first thread does not end: $(cat cmd.err)"
	n=$(grep -c '^fault point [0-9]*: ' cmd.err)
	for ((i = 1; i <= n; i++)); do
		cp before out
		run env GODWIT_FAULT=$i ${2:+GODWIT_FAULT_BOTH=1} "$GODWIT" restart "$1" myckpt
		wait_for 10 _none
		[[ $RC != 0 || $(tail -n 1 out) == ok ]] || fail "status 0 at point $i, and it is not right"
	done
	cp before out
	expect 0 "$GODWIT" restart "$1" myckpt
	[[ $(tail -n 1 out) == ok ]] || fail "it is not right any more"
	note "$n points"
}
try restart_dies_at_each_step restart_steps --same-ids
try restart_with_new_ids_dies_at_each_step restart_steps --new-ids both

# While the program goes on, a file of its is in use.
in_use() {
	become user
	end_prog
	launch ./end "$CTL" 0
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID"
	echo more >>out
	expect 1 "$GODWIT" restart --new-ids myckpt
	says "process $PID still writes it"
	: >"$CTL/release"
	wait "$PID"
}
try its_files_are_in_use in_use
finish
