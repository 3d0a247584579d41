/*
 * Restart: read, plan, build, let go.
 *
 * The process that calls restart() becomes the program, like exec: a guardian
 * seizes it, it executes the original program file, is stopped before its first
 * instruction, emptied, refilled and let go.  Or, where the same ids are wanted,
 * the caller stays as a thin parent of the program (ids.c).
 */
#ifndef GODWIT_RESTART_RESTART_H
#define GODWIT_RESTART_RESTART_H

#include <stdbool.h>

#include "base/err.h"
#include "state/state.h"

struct restart_options {
	const char *image;
	enum ids_policy ids;
	enum files_policy files;
	bool explain; /* print the calls on stdout and return 0 */
};

/*
 * Becomes the program and does not return; or, as its thin parent, returns its
 * exit status in *ret_status (as waitpid(2) gives it) with result 1; or fails
 * with a negative errno.  Until the program file is executed nothing has been
 * touched.  Later failures are printed by the guardian, and the process exits
 * with 6.
 */
int restart(const struct restart_options *o, void (*notice)(void *, const char *), void *arg,
	    int *ret_status, struct err *err) __must_check;

#endif
