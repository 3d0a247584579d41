#!/bin/bash
# A restarted program takes kill -12 again; ten generations, by either door.
. "$(dirname "$0")/../lib.sh"

ten() { # USER SUBJECT RESTART...
	become "$1"
	local subject=$2 i
	shift 2
	launch env LD_PRELOAD="$LIBCKPT" "$SUBJECTS/$subject" "$CTL"
	wait_ready
	for i in {1..10}; do
		ring
		ping
		finish_off
		expect 0 "$GODWIT" verify myckpt
		OUT=out$i ERR=err$i launch "$@" myckpt
		ping
	done
	nothing_left
	verdict
}

ten_attached() { # USER SUBJECT
	become "$1"
	local i sizes
	launch "$SUBJECTS/$2" "$CTL"
	wait_ready
	for i in {1..10}; do
		expect 0 "$GODWIT" checkpoint "$PID" --kill
		wait "$PID"
		sizes+=" $(stat -c %s myckpt)"
		OUT=out$i ERR=err$i launch "$GODWIT" restart myckpt
		ping
	done
	verdict
	# Images do not grow from one generation to the next.
	# shellcheck disable=SC2086
	set -- $sizes
	((${10} < $2 + 200000)) || fail "the images grow: $sizes"
}

# The second and the hundredth kill -12 as good as the first.
many_rings() {
	become user
	launch env LD_PRELOAD="$LIBCKPT" "$SUBJECTS/threads" "$CTL"
	wait_ready
	local i fds
	fds=$(find "/proc/$PID/fd" | wc -l)
	for i in {1..50}; do ring; done
	ping
	[[ $(find "/proc/$PID/fd" | wc -l) == "$fds" ]] || fail "descriptors are left open"
	[[ -z $(pgrep -P "$PID") ]] || fail "a child is left"
	nothing_left
	verdict
}

# Many at once: each image is whole, none kills the program.
burst() {
	become user
	launch env LD_PRELOAD="$LIBCKPT" "$SUBJECTS/threads" "$CTL"
	wait_ready
	local i
	for i in {1..40}; do kill -12 "$PID"; done
	ping
	_written() { [[ -f myckpt ]]; }
	wait_alive "$PID" 20 _written
	ping
	expect 0 "$GODWIT" verify myckpt
	verdict
}

names() {
	become user
	launch env GODWIT_IMAGE=other.image GODWIT_SIGNAL=40 LD_PRELOAD="$LIBCKPT" "$SUBJECTS/mem_brk" "$CTL"
	wait_ready
	kill -40 "$PID"
	_written() { [[ -f other.image ]]; }
	wait_alive "$PID" 20 _written
	[[ ! -e myckpt ]] || fail "myckpt was written too"
	ping
	verdict
}

# A program that takes SIGUSR2 itself keeps it; attach still works.
keeps_its_signal() {
	need /usr/bin/python3
	become user
	cat >takes.py <<-'END'
		import os, signal, sys, time
		n = 0
		def took(s, f):
		    global n
		    n += 1
		    print("took", n, flush=True)
		signal.signal(signal.SIGUSR2, took)
		print("ready", flush=True)
		while not os.path.exists(sys.argv[1] + "/release"):
		    time.sleep(0.003)
		print("ok")
	END
	launch env LD_PRELOAD="$LIBCKPT" /usr/bin/python3 takes.py "$CTL"
	wait_ready
	kill -12 "$PID"
	wait_alive "$PID" 20 has out 'took 1'
	[[ ! -e myckpt ]] || fail "the doorbell rang as well"
	expect 0 "$GODWIT" checkpoint "$PID" --kill
	wait "$PID"
	OUT=out2 ERR=err2 launch "$MYRESTART" myckpt
	_same() { [[ $(readlink "/proc/$PID/exe") == *python3* ]] && _untraced "$PID"; }
	wait_for 10 _same
	kill -12 "$PID"
	wait_alive "$PID" 20 has out 'took 2'
	verdict
}

# In a held lock of malloc and stdio: the doorbell uses neither.
in_malloc() {
	become user
	cat >busy.c <<-'END'
		#include <stdio.h>
		#include <stdlib.h>
		#include <unistd.h>
		int main(int argc, char **argv)
		{
			char path[500], *p[100] = {0};
			unsigned long n = 0;
			(void)argc;
			snprintf(path, sizeof(path), "%s/release", argv[1]);
			puts("ready"), fflush(stdout);
			FILE *f = fopen("/dev/null", "w");
			do {
				for (int i = 0; i < 20000; i++) {
					free(p[n % 100]);
					p[n % 100] = malloc(n % 5000 + 1);
					n++;
					fprintf(f, "%lu %p\n", n, (void *)p[n % 100]);
				}
			} while (access(path, F_OK));
			puts("ok");
			return 0;
		}
	END
	gcc -O1 -o busy busy.c || fail gcc
	launch env LD_PRELOAD="$LIBCKPT" ./busy "$CTL"
	wait_ready
	local i
	for i in {1..40}; do ring; done
	finish_off
	OUT=out2 ERR=err2 launch "$MYRESTART" myckpt
	_same() { [[ $(readlink "/proc/$PID/exe") == */busy ]] && _untraced "$PID"; }
	wait_for 10 _same
	for i in 1 2 3; do ring; done
	verdict
}

# signal(7)'s rule by preload: the doorbell restarts what SA_RESTART restarts.
no_wrapper() { # it exports nothing that could stand before a libc function
	local names
	names=$(nm -D --defined-only "$LIBCKPT" | awk '{print $3}' | grep -v '^godwit_' | tr '\n' ' ')
	[[ -z $names ]] || fail "libckpt.so defines: $names"
	names=$(nm -D --undefined-only "$LIBCKPT" | awk '$1 == "U" {print $2}' | tr '\n' ' ')
	[[ -z $names ]] || fail "libckpt.so needs: $names"
}

# The image is written in the program's own directory, wherever it is by then.
follows_cwd() {
	become user
	launch env LD_PRELOAD="$LIBCKPT" "$SUBJECTS/surroundings" "$CTL"
	wait_ready
	IMAGE="work(dir)/myckpt" ring
	verdict
}

not_in_children() { # a child of a preloaded program rings for itself
	become user
	launch env LD_PRELOAD="$LIBCKPT" /bin/bash -c \
		'mkdir sub; (cd sub; exec '"$SUBJECTS"'/mem_brk '"$CTL"') & echo child $!; wait $!; echo status $?'
	wait_alive "$PID" 20 has out '^ready'
	local child
	child=$(sed -n 's/^child //p' out)
	kill -12 "$child"
	_written() { [[ -f sub/myckpt ]]; }
	wait_alive "$PID" 20 _written
	[[ ! -e myckpt ]] || fail "the parent wrote an image too"
	: >"$CTL/release"
	wait_alive "$PID" 20 has out 'status 0' || true
	wait "$PID"
}

# With the old ids the thin parent's end ends the program (a parent-death signal): that is
# no state of the program's, and not in its next image.
no_setting_of_ours() {
	become root
	launch "$SUBJECTS/mem_brk" "$CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint --kill "$PID" -o first
	wait "$PID"
	OUT=out2 ERR=err2 launch "$GODWIT" restart --same-ids first
	ping
	expect 0 "$GODWIT" checkpoint "$PID" -o second
	expect 0 "$GODWIT" show second
	if has cmd.out '^Settings'; then fail "it has settings: $(cat cmd.out)"; fi
	verdict
}

for u in user root; do
	try "ten_generations_by_kill_12_as_$u" ten $u mem_brk "$MYRESTART"
	try "ten_generations_with_threads_as_$u" ten $u threads "$MYRESTART"
	try "ten_generations_by_attach_as_$u" ten_attached $u threads
done
try ten_generations_by_godwit_restart ten user files "$GODWIT" restart
try ten_generations_with_new_ids ten user threads "$GODWIT" restart --new-ids
try ten_generations_of_a_static_program ten_attached user mem_stack+static
try thin_parents_setting_is_not_the_programs no_setting_of_ours
try fifty_rings_leave_nothing many_rings
try a_burst_of_rings_harms_nothing burst
try image_and_signal_can_be_chosen names
try program_keeps_sigusr2_if_it_takes_it keeps_its_signal
try doorbell_rings_inside_malloc_and_stdio in_malloc
try libckpt_wraps_nothing no_wrapper
try image_is_written_in_the_working_directory follows_cwd
try child_of_a_preloaded_program_rings_for_itself not_in_children
finish
