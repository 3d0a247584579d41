#!/bin/bash
# At a terminal: Ctrl-C, Ctrl-Z, fg, bg, input, pipelines.
. "$(dirname "$0")/../lib.sh"

at_terminal() { # SCENARIO USER
	need /usr/bin/python3
	become "$2"
	_seconds 20
	LIMIT=$SECONDS_NOW run /usr/bin/python3 "$TOP/tests/cli/terminal.py" "$1"
	[[ $RC == 0 ]] || fail "at the terminal: $RC"
}

try ctrl_c_ends_a_restarted_program at_terminal ctrl_c user
try ctrl_z_stops_it_and_fg_goes_on at_terminal ctrl_z user
try ctrl_z_in_the_middle_of_a_restart at_terminal early_ctrl_z user
try it_reads_from_the_new_terminal at_terminal reads_terminal user
try an_editor_finds_its_terminal_again at_terminal editor user
try it_works_in_a_pipeline at_terminal pipeline user
try it_can_be_redirected at_terminal redirected user
try thin_parent_behaves_at_a_terminal at_terminal thin_parent user
try thin_parent_behaves_at_roots_terminal at_terminal thin_parent root
try own_terminal_in_a_namespace at_terminal own_terminal user
try run_at_a_terminal at_terminal run_job user
try run_in_the_background at_terminal run_in_the_background user
try run_in_a_pipeline at_terminal run_in_a_pipeline user
try run_in_a_script at_terminal run_in_a_script user
try checkpoint_survives_a_lost_terminal at_terminal terminal_lost user
finish
