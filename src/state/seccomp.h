/* Seccomp filters: see seccomp.c. */
#ifndef GODWIT_STATE_SECCOMP_H
#define GODWIT_STATE_SECCOMP_H

#include <stdbool.h>

struct process;
struct restore;

/* Has any thread a filter? */
bool seccomp_is_set(const struct process *p);
/* The calls by which the threads set their filters: nothing may follow them but what the engine
 * does of its own.  remote_guard_new() comes before they are made. */
void seccomp_restore(struct restore *r, const struct process *p);

#endif
