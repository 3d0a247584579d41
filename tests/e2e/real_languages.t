#!/bin/bash
# More interpreters and their virtual machines, in the middle of a computation.
. "$(dirname "$0")/real.sh"

tried() { # PROGRAM ARGS...
	need "$1"
	by_attach user "$@"
}

LIMIT=120
try lua_computes tried lua5.4 "$WORK/words.lua" @300000
try ruby_with_a_thread tried ruby "$WORK/words.rb" @40000
try sbcl_computes tried sbcl --script "$WORK/words.lisp" @60000
try gawk_computes tried gawk -f "$WORK/words.awk" @400000
# Large packages: where they are.
[[ ! -x /usr/bin/Rscript ]] || try r_computes tried Rscript "$WORK/words.R" @6000
[[ ! -x /usr/bin/octave-cli ]] || try octave_computes tried octave-cli --no-gui -q "$WORK/words.m" @3000
finish
