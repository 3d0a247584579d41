#!/bin/bash
# Interpreters in the middle of a computation.
. "$(dirname "$0")/real.sh"

tried() { # DOOR USER PROGRAM ARGS...
	local door=$1 user=$2
	shift 2
	need "$1"
	"$door" "$user" "$@"
}

py=/usr/bin/python3
for door in by_attach by_preload goes_on; do
	LIMIT=120
	try "python3_computes_${door}" tried $door user $py "$WORK/sieve.py" @400000
	try "python3_with_threads_${door}" tried $door user $py "$WORK/threads.py" @40000
	try "python3_with_a_terminal_${door}" tried $door user $py "$WORK/terminal.py" @20000
	try "perl_${door}" tried $door user /usr/bin/perl "$WORK/words.pl" @50000
	try "bash_${door}" tried $door user /bin/bash "$WORK/sums.sh" @400000
done
try python3_computes_by_attach_as_root tried by_attach root $py "$WORK/sieve.py" @400000
try python3_with_threads_by_attach_as_root tried by_attach root $py "$WORK/threads.py" @40000
sandboxed() {
	[[ -e $(/sbin/ldconfig -p | sed -n 's/.*libseccomp.so.2 .*=> //p' | head -n 1) ]] || skip "libseccomp2 is not installed"
	tried "$@"
}
try python3_in_a_sandbox_of_libseccomp_by_attach_as_root sandboxed by_attach root $py "$WORK/sandboxed.py" @400000
try python3_lives_through_five_generations tried generations user $py "$WORK/sieve.py" @600000
finish
