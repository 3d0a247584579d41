/*
 * A syscall program in the manner of strace: names, decoded flags, quoted
 * strings, shortened structs, expected results, and the reason of each call.
 */
#ifndef GODWIT_REMOTE_EXPLAIN_H
#define GODWIT_REMOTE_EXPLAIN_H

#include <stdio.h>

#include "remote/program.h"

/* Every call of p, a line each, in order:
 *	openat(AT_FDCWD, "/tmp/log", O_WRONLY|O_APPEND, 0) = 3  / * fd 3: ... * /
 * The results are the ones that must come; calls of which any result will do,
 * or any that is no error, have none. */
void program_explain(const struct program *p, FILE *out);

/* One call, without newline. */
void program_explain_call(const struct program *p, const struct batch *b, const struct call *c,
			  FILE *out);

#endif
