#!/bin/bash
# Options: what --help prints, what the manual says, and what bash completes, are the same.
. "$(dirname "$0")/../lib.sh"

# complete WORD...: what bash offers for the last one, a line each.
complete_words() {
	bash -c '
		. "$0"
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		_godwit "$1" "${@: -1}" "${@: -2:1}"
		printf "%s\n" "${COMPREPLY[@]}"' "$TOP/completions/godwit" "$GODWIT" "$@" | sort -u
}
commands_of_help() { "$GODWIT" --help | sed -n 's/^  \([a-z]\{1,\}\) .*/\1/p' | sort; }
options_of_help() { # COMMAND
	{ "$GODWIT" "$1" --help; echo --help; } | tr -c 'a-z-' '\n' | grep -E '^--[a-z][a-z-]*$' | sort -u
}

all_commands() {
	diff <({ commands_of_help; printf '%s\n' --help --version; } | sort) <(complete_words '') ||
		fail "other commands than --help has"
	(($(commands_of_help | wc -l) >= 10)) || fail "--help lists too few"
	[[ $(complete_words mig) == migrate ]] || fail "mig is not completed"
}
try commands_are_those_of_help all_commands

all_options() {
	local c n=0
	while read -r c; do
		diff <(options_of_help "$c") <(complete_words "$c" --) || fail "other options of $c"
		n=$((n + $(options_of_help "$c" | wc -l)))
	done < <(commands_of_help)
	((n > 30)) || fail "only $n options"
	[[ $(complete_words migrate 1 host --max) == --max-pause ]] || fail "--max is not completed"
}
try options_are_those_of_help all_options

# What the manual calls an option is one of some command, and each is in the manual.
in_the_manual() {
	local c
	while read -r c; do options_of_help "$c"; done < <(commands_of_help) | sort -u >help
	grep -oE '(Fl|,|\|) -[a-z][a-z-]+' "$TOP/man/godwit.1" | grep -oE -- '-[a-z-]+' | sed 's/^/-/' | sort -u >manual
	[[ -z $(comm -23 help manual) ]] || fail "not in the manual: $(comm -23 help manual)"
	[[ -z $(comm -13 help manual) ]] || fail "only in the manual: $(comm -13 help manual)"
	while read -r c; do
		grep -Eq "Cm $c( |\$)" "$TOP/man/godwit.1" || fail "the command $c is not in the manual"
	done < <(commands_of_help)
}
try options_are_those_of_the_manual in_the_manual

values() {
	local dir
	[[ $(complete_words migrate 1 host --mode pre) == pre-copy ]] || fail "--mode pre"
	[[ $(complete_words migrate 1 host --mode = t) == total ]] || fail "--mode=t"
	[[ $(complete_words migrate 1 host --stdio '' | tr '\n' ' ') == 'file: null ssh ' ]] || fail "--stdio"
	: >some.image
	[[ $(complete_words restart so) == some.image ]] || fail "an image is not offered"
	[[ $(complete_words migrate 1 host --key so) == some.image ]] || fail "a key file is not offered"
	sleep 1000 &
	note_pid "$!"
	complete_words migrate '' | grep -qx "$!" || fail "a process is not offered"
	complete_words migrate '' >offered
	for dir in /proc/[0-9]*; do
		[[ -O $dir || ! -d $dir ]] || { grep -qx "${dir#/proc/}" offered && fail "another user's process is offered"; }
	done
	# Every mode that --help names is offered, and taken.
	[[ -z $(complete_words migrate 1 host --mode '' | while read -r m; do
		"$GODWIT" migrate 999999999 host --mode "$m" 2>&1 | grep 'no mode'
	done) ]] || fail "a mode is offered that there is not"
}
try values_are_completed values
finish
