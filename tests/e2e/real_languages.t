#!/bin/bash
# More interpreters and their virtual machines, in the middle of a computation.
. "$(dirname "$0")/real.sh"

tried() { # PROGRAM ARGS...
	need "$1"
	by_attach user "$@"
}

# Erlang's machine has a child for the ports, from its first moment on: refused by name,
# and it goes on to the same result.
erlang_is_refused() {
	become user
	local work='F = fun F(0, A) -> A; F(N, A) -> (N rem 10000 == 0) andalso io:format("~p ~p~n", [N, A]), F(N - 1, (A * 31 + N) rem 1000003) end, io:format("result ~p~n", [F(800000, 7)]), halt().'
	uncut erl -noshell -eval "$work"
	launch erl -noshell -eval "$work"
	middle 2 || fail "the work is too small"
	expect 3 "$GODWIT" checkpoint "$PID"
	says 'has a child, process [0-9]+' '^hint: '
	[[ ! -e myckpt ]] || fail "there is an image"
	same_result
}

LIMIT=120
try lua_computes tried lua5.4 "$WORK/words.lua" @300000
try ruby_with_a_thread tried ruby "$WORK/words.rb" @40000
try sbcl_computes tried sbcl --script "$WORK/words.lisp" @60000
try gawk_computes tried gawk -f "$WORK/words.awk" @400000
# Large packages: where they are.
[[ ! -x /usr/bin/Rscript ]] || try r_computes tried Rscript "$WORK/words.R" @6000
[[ ! -x /usr/bin/octave-cli ]] || try octave_computes tried octave-cli --no-gui -q "$WORK/words.m" @3000
[[ ! -x /usr/bin/erl ]] || try erlang_with_its_child_is_refused erlang_is_refused
finish
