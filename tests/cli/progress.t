#!/bin/bash
# Long work tells how far it is: one line, on a terminal, from the first second on.
. "$(dirname "$0")/../lib.sh"

at_terminal() { # SCENARIO
	need /usr/bin/python3
	become user
	_seconds 60
	LIMIT=$SECONDS_NOW run /usr/bin/python3 "$TOP/tests/cli/progress.py" "$1"
	[[ $RC == 0 ]] || fail "at the terminal: $RC"
}

LIMIT=150 BESIDE=1 try verify_tells_how_far_it_is at_terminal verify
LIMIT=150 BESIDE=1 try flatten_tells_how_far_it_is at_terminal flatten
LIMIT=150 BESIDE=1 try restart_tells_how_far_it_is at_terminal restart_new
LIMIT=150 BESIDE=1 try restart_with_the_same_ids_tells_how_far_it_is at_terminal restart_same
LIMIT=150 BESIDE=1 try decompression_tells_how_far_it_is at_terminal restart_compressed
LIMIT=150 BESIDE=1 try an_error_replaces_the_line at_terminal damaged
LIMIT=150 BESIDE=1 try nothing_with_quiet at_terminal quiet
LIMIT=150 BESIDE=1 try nothing_where_there_is_no_terminal at_terminal elsewhere
LIMIT=150 BESIDE=1 try nothing_in_the_background at_terminal in_the_background
finish
