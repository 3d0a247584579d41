#!/bin/bash
# Usage, help, and bad command lines: exit 2, the talk on stderr, nothing done.
. "$(dirname "$0")/../lib.sh"

bare() {
	run "$GODWIT"
	[[ $RC == 2 ]] || fail "exit status $RC"
	cat cmd.out >>cmd.err
	says '^usage: godwit' checkpoint restart show verify doctor
}

bare_myrestart() {
	expect 2 "$MYRESTART"
	says '^usage: myrestart'
}

help_of() { # COMMAND WORDS...
	expect 0 "$GODWIT" "$1" --help
	[[ ! -s cmd.err ]] || fail "help talks on stderr"
	prints "^usage: godwit $1"
	shift
	prints "$@"
}

version() {
	expect 0 "$GODWIT" --version
	prints '^godwit [0-9]+\.[0-9]+'
}

general_help() {
	expect 0 "$GODWIT" --help
	prints checkpoint restart show verify doctor
}

bad() { # WORDS ARGS...
	local words=$1
	shift
	expect 2 "$GODWIT" "$@"
	says '^(godwit|usage): ' "$words"
	[[ ! -s cmd.out ]] || fail "something is on stdout"
}

to_a_full_pipe() { # --help | head must not end in a signal or hang
	(as "$GODWIT" doctor --json) 2>err | head -c 1 >out
	[[ $(cat out) == '{' ]] || fail "no JSON"
}

# What a command prints is checked: a full disk under stdout is an error.
to_a_full_device() {
	(as "$GODWIT" doctor) >/dev/full 2>cmd.err
	RC=$?
	[[ $RC == 1 ]] || fail "exit status $RC with stdout on /dev/full"
}

try bare_command_prints_usage bare
try bare_myrestart_prints_usage bare_myrestart
try help_is_there general_help
try version_is_there version
try help_of_checkpoint help_of checkpoint --kill 'myckpt'
try help_of_restart help_of restart --new-ids --same-ids --explain --files
try help_of_show help_of show --json
try help_of_verify help_of verify IMAGE
try help_of_doctor help_of doctor --json
try unknown_command_is_named bad frobnicate frobnicate
try help_of_run help_of run --every --keep 85
try run_without_an_image bad '-o IMAGE' run true
try run_without_a_program bad 'which program' run -o x
try run_every_nonsense bad '30s, 10m, 2h' run -o x --every 10parsec true
try run_every_zero bad '30s, 10m, 2h' run -o x --every 0 true
try run_every_for_ever bad '30s, 10m, 2h' run -o x --every inf true
try run_keep_nonsense bad 'keep -1' run -o x --keep -1 true
try run_portable_nonsense bad 'v2 or v3' run -o x --portable=v9 true
try unknown_option_is_named bad '--frobnicate' checkpoint --frobnicate 1
try unknown_general_option_is_named bad '--frobnicate' --frobnicate
try missing_pid bad 'PID' checkpoint
try missing_image bad 'IMAGE|image' restart
try missing_image_to_show bad 'IMAGE|image' show
try missing_image_to_verify bad 'IMAGE|image' verify
try missing_argument_of_o bad '-o' checkpoint 1 -o
try two_pids bad '2|too many|unexpected|extra' checkpoint 1 2
try two_kinds_of_ids bad 'ids' restart --same-ids --new-ids x
try bad_value_of_files bad 'files' restart --files=maybe x
try pid_not_a_number bad "'abc'" checkpoint abc
try pid_with_a_tail bad "'12x'" checkpoint 12x
try pid_negative bad "'-5'" checkpoint -- -5
try pid_zero bad "'?0'?" checkpoint 0
try pid_too_large bad 99999999999999999999 checkpoint 99999999999999999999
try pid_empty bad "" checkpoint ""
try doctor_into_a_closed_pipe to_a_full_pipe
try doctor_into_a_full_device to_a_full_device
finish
