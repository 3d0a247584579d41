/* Is it a program that could be moved at all?  Asked before anybody else is bothered. */
#ifndef GODWIT_MIGRATE_CANDIDATE_H
#define GODWIT_MIGRATE_CANDIDATE_H

#include <sys/types.h>

#include "base/err.h"

/* Looks from outside, and stops nothing.  Says what is wrong with the id in the words of
 * who typed it: no process, a thread, the kernel's, init, another user's, or one that this
 * command hangs on. */
int candidate_check(pid_t pid, struct err *err) __must_check;

#endif
