#!/bin/bash
# Editors and the like: cut in one terminal, restarted in another of another size.
. "$(dirname "$0")/../lib.sh"

on_screen() { # SCENARIO PROGRAM
	need /usr/bin/python3 "$2"
	become user
	_seconds 20
	LIMIT=$SECONDS_NOW run /usr/bin/python3 "$TOP/tests/cli/screens.py" "$1" "$2"
	[[ $RC == 0 ]] || fail "on the screen: $RC"
}

try vim_draws_the_new_screen_and_writes on_screen editor vim.tiny
[[ ! -x /usr/bin/vim ]] || try vim_with_everything_draws_the_new_screen on_screen editor vim
try top_draws_the_new_screen on_screen monitor top
finish
