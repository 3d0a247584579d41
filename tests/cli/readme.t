#!/bin/bash
# Every command that README.md shows is typed here.
. "$(dirname "$0")/../lib.sh"

# The commands of all ```sh blocks, without their comments.
commands() {
	awk '/^```sh$/ { on = 1; next } /^```$/ { on = 0 } on' "$TOP/README.md" |
		sed -E 's/[[:space:]]+#.*$//; /^[[:space:]]*$/d'
}

# make WORDS: the targets are there.  They are not made: this runs inside of
# `make check`; but the demonstration itself runs below.
by_make() {
	local line n=0
	while read -r line; do
		[[ $line == make* ]] || continue
		# shellcheck disable=SC2086  # words of a command
		make -n -C "$TOP" B="$B" ${line#make} >make.out 2>&1 || fail "$line: $(tail -n 3 make.out)"
		n=$((n + 1))
	done < <(commands)
	((n >= 3)) || fail "only $n lines of README.md begin with make"
}

demonstration() {
	need python3 gdb
	become user
	# As in a terminal, a file of the test's is no file of the program's.
	(as env B="$B" "$TOP/scripts/demo.sh" 2>&1) </dev/null | cat >cmd.out
	((PIPESTATUS[0] == 0)) || fail "the demonstration failed"
	prints 'lines are there, once each' '^#0 '
}

# Commands on standard input, such that this machine is also the other host of those that
# need one: what is moved is a program that counts, and nothing of it is missing.
for_two_hosts() {
	local line port=$((20000 + RANDOM % 20000))
	printf '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift 2\nexec sh -c "$1"\n' >ssh
	chmod 755 ssh
	echo 'serve=; trap "[ -z \"\$serve\" ] || kill \$serve" EXIT'
	while read -r line; do
		case $line in
		*--cert\ *) ;; # tests/migrate/certs.t: this machine has no such name
		*godwit\ migrate*)
			echo "$B/count 30 50 >moved &"
			echo 'until grep -q "^3$" moved; do sleep 0.05; done'
			line=${line/ PID / \$! }
			line=${line/ 4242 / \$! }
			echo "${line/host:7000/127.0.0.1:$port}"
			echo 'until grep -q "^30$" moved; do sleep 0.05; done'
			echo 'seq 1 30 | diff - moved' ;;
		*godwit\ serve*)
			echo '[ -e key ] || godwit key key'
			echo "${line/ :7000/ 127.0.0.1:$port} 2>serve.err &"
			echo 'serve=$!; until grep -q listening serve.err; do sleep 0.05; done' ;;
		*)	printf '%s\n' "$line" ;;
		esac
	done
}

# All others, in their order, in one shell, as they stand.
by_hand() {
	need gdb readelf
	become user
	ln -s "$B" build
	ln -s "$TOP/include" include
	cp "$TOP/examples/app1.c" prog.c
	[[ -x build/count ]] || fail "$B/count is not built"
	commands | grep -v '^make' | while read -r line; do
		# Built where OpenSSL is.
		[[ $line != *libpsu_thread.a* || -e $B/libpsu_thread.a ]] || continue
		printf '%s\n' "$line"
		case $line in
		"cat numbers") echo 'seq 1 30 | diff - numbers' ;;
		"cat numbers.after-checkpoint") echo 'test -s numbers.after-checkpoint' ;;
		esac
	done | for_two_hosts >script
	(($(grep -c . script) >= 18)) || fail "only $(grep -c . script) commands in README.md"
	(PATH=$B:$PATH GODWIT_SSH=$W/ssh as bash -ex script 2>&1) </dev/null | cat >cmd.out
	((PIPESTATUS[0] == 0)) || fail "a command failed"
	prints '^30$' 'clock_nanosleep|rest' 'LOAD' 'threads|Threads' 'munmap' 'ptrace' 'after-checkpoint'
}

# The EXAMPLES of a manual page, typed where godwit is on the PATH; 4242 is a
# program that counts.
examples_of() { # PAGE HOW-MANY
	need gdb
	become user
	ln -s "$B" build
	cp "$B/count" prog
	awk '/^\.Sh EXAMPLES/ { on = 1; next } /^\.Sh/ { on = 0 } on && /^\$ /' "$TOP/man/$1" |
		cut -c3- | sed -E 's/[[:space:]]+#.*$//' | for_two_hosts >script
	(($(wc -l <script) >= $2)) || fail "only $(wc -l <script) commands in $1"
	if grep -q 4242 script; then
		OUT=numbers launch ./prog 40 100
		wait_alive "$PID" 30 has numbers '^3$'
		sed -i "s/4242/$PID/" script
	fi
	(PATH=$B:$PATH GODWIT_SSH=$W/ssh as bash -ex script 2>&1) </dev/null | cat >cmd.out
	((PIPESTATUS[0] == 0)) || fail "a command failed"
	[[ $1 == libckpt.7 ]] && return 0 # no restart in there
	[[ $(tail -n 1 numbers) == @(30|40) ]] || fail "it did not count to the end"
	diff <(seq "$(tail -n 1 numbers)") numbers || fail "numbers are missing, or there twice"
}

# Links to files of ours, and their names in the text, lead somewhere.
links() {
	local f page bad=0
	for page in "$TOP"/*.md "$TOP"/docs/*.md; do
		while read -r f; do
			[[ $f == *NAME* || -e $TOP/$f ]] || { note "$page: no $f"; bad=1; }
		done < <(grep -oE '`(src|tests|bench|docs|man|include|examples)/[^` *]+`' "$page" | tr -d '`')
		while read -r f; do
			[[ $f == http* || -e $(dirname "$page")/$f ]] || { note "$page: no $f"; bad=1; }
		done < <(grep -oE '\]\([^)#]+' "$page" | cut -c3-)
	done
	return $bad
}

LIMIT=60 try readme_targets_of_make by_make
LIMIT=120 try readme_demonstration demonstration
LIMIT=120 try readme_by_hand by_hand
try examples_of_godwit_1 examples_of godwit.1 5
try examples_of_myrestart_1 examples_of myrestart.1 6
try examples_of_libckpt_7 examples_of libckpt.7 6
try links_of_pages_lead_somewhere links
finish
