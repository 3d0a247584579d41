# shellcheck shell=bash
# Tests of godwit run: a job in the background, what it leaves, and how it is killed.
# Sourced after lib.sh.

# job ARG...: the line of a job script, in the background; sets PID.
job() {
	: >>out
	: >>err
	[[ -z $IS_ROOT ]] || chmod 666 out err
	as "$GODWIT" run -o job.ckpt "$@" </dev/null >>out 2>>err &
	PID=$!
	note_pid "$PID"
}

ended() { # sets RC
	wait "$PID"
	RC=$?
}

# The process of the program, under run and perhaps under a thin parent.
program() {
	local p=$PID next c
	for _ in 1 2 3 4; do
		for next in $(cat "/proc/$p/task/$p/children" 2>/dev/null); do
			read -r c <"/proc/$next/comm" || continue
			case $c in
			godwit-lifeline | godwit-guardian | godwit) ;;
			godwit-*) p=$next; continue 2 ;;
			*) PROGRAM=$next; return 0 ;;
			esac
		done 2>/dev/null
		return 1
	done
	return 1
}

# Everything that works in this folder but our own shells: run, program, guardians.
ours() {
	local p
	for p in /proc/[0-9]*; do
		[[ $p/cwd -ef $W ]] || continue
		p=${p#/proc/}
		[[ $p == "$$" || $p == "$BASHPID" || $p == "$PPID" ]] || gone "$p" || echo "$p"
	done 2>/dev/null
}
images() { compgen -G 'job.ckpt*'; }
none_left() { [[ -z $(ours) ]]; }

# The numbers in the output are 1, 2, 3, ..., each once; at least so many.
each_once() {
	awk -v least="$1" '/^[0-9]+$/ && $1 != ++n { print "line " NR ": " $1 " instead of " n; exit 1 }
		END { if (n < least) { print "only " n; exit 1 } }' out || fail "the output is not 1, 2, 3, ..."
}

has_lines() { (($(wc -l <out) >= $1)); }
new_image() { [[ -e job.ckpt && $(stat -c %i job.ckpt) != "$1" ]]; }
inode() { stat -c %i job.ckpt 2>/dev/null; }

damage() { printf '\377\000\377' | dd of="$1" bs=1 seek="$2" conv=notrunc 2>dd.err; }

# Kills in random order: everything at once, godwit run alone, the program alone; SIGTERM
# and SIGUSR1 as the batch system sends them.
kills() { # USER COUNT THREADS OPTION...
	become "$1"
	local count=$2 threads=$3 i p t want early now how saved=0
	shift 3
	set -- "$@" -- "$SUBJECTS/lines" "$CTL" "$threads"
	RANDOM=$$
	echo "seed $$"
	for ((i = 0; i < count; i++)); do
		job --every 0.03 "$@"
		# Not by the clock: some lines further, now and then at once.
		p=$(wc -l <out)
		now=$((RANDOM % 4 == 0)) how=$((RANDOM % 5))
		# One of them at least is to be a SIGTERM.
		((saved || i + 1 < count)) || now=0 how=3
		if ((!now)); then
			wait_alive "$PID" 30 has_lines $((p + 1 + RANDOM % 60))
			early=
		else
			early='|143|138|1' # not godwit run yet; or its program is not
		fi
		case $how in
		0)	while p=$(ours); [[ -n $p ]]; do
				# shellcheck disable=SC2086  # a list
				kill -9 $p 2>/dev/null
			done
			want=137 ;;
		1)	kill -9 "$PID" 2>/dev/null
			want=137 ;;
		2)	program && kill -9 "$PROGRAM" 2>/dev/null || kill "$PID"
			want='137|85|6' ;; # 6: half-built
		3)	kill "$PID"
			want=85 ;;
		4)	kill -USR1 "$PID"
			want=85 ;;
		esac
		# Seen once in a hundred runs, cause unknown: the job goes on.  Then it is asked again.
		for ((t = 0; t < 300; t++)); do alive "$PID" || break; sleep 0.1; done
		((t < 300)) || { note "round $i: kind $how ended nothing"; kill "$PID"; want+='|85'; }
		ended
		[[ $RC =~ ^($want$early)$ ]] || { cat err; fail "round $i: exit status $RC instead of $want"; }
		((saved += RC == 85))
		wait_for 20 none_left
	done
	((saved)) || fail "no SIGTERM among them"
	p=$(wc -l <out)
	job "$@"
	wait_alive "$PID" 30 has_lines $((p + 1))
	: >"$CTL/release"
	ended
	[[ $RC == 0 ]] || fail "the last round: exit status $RC"
	[[ $(tail -n 1 out) == ok ]] || fail "not verified"
	each_once "$count"
	[[ -z $(images) ]] || fail "it left: $(images)"
}

# Guardian or run die at each of their steps, of which every round has some.
dies_at_each_step() { # OPTION...
	become user
	set -- "$@" --keep 1 --every 0.03 -- "$SUBJECTS/lines" "$CTL"
	local i n p
	for ((i = 0; i < 2; i++)); do
		export GODWIT_FAULT=list
		job "$@"
		unset GODWIT_FAULT
		p=$(wc -l <out)
		wait_alive "$PID" 30 has_lines $((p + 5))
		kill "$PID"
		ended
		[[ $RC == 85 ]] || fail "exit status $RC"
		wait_for 20 none_left
	done
	n=$(cat err err.after-checkpoint* 2>/dev/null | sed -n 's/^fault point \([0-9]*\): .*/\1/p' | sort -n | tail -n 1)
	((n >= 10)) || fail "only $n fault points"
	for ((i = 1; i <= n; i += ${FAULTS_FULL:-6})); do
		p=$(wc -l <out)
		export GODWIT_FAULT=$i
		job "$@"
		unset GODWIT_FAULT
		_done_or_on() { ! alive "$PID" || has_lines $((p + 4)); }
		wait_for 30 _done_or_on
		kill "$PID" 2>/dev/null
		ended
		[[ $RC != 0 ]] || fail "point $i: it says that the job is done"
		wait_for 20 none_left
		[[ -n $(images) ]] || fail "point $i: no image is left"
	done
	note "$n points"
	: >"$CTL/release"
	job "$@"
	ended
	[[ $RC == 0 && $(tail -n 1 out) == ok ]] || fail "the last round: exit status $RC"
	each_once 10
	[[ -z $(images) ]] || fail "it left: $(images)"
}
