/* What the program may do beyond its user's rights: capabilities(7).  See capabilities.c. */
#ifndef GODWIT_STATE_CAPABILITIES_H
#define GODWIT_STATE_CAPABILITIES_H

#include <stdbool.h>

#include "base/err.h"

struct proc_status;
struct process;
struct restore;
struct tracee;

/* Those of the process, as its first thread has them. */
void capabilities_take(struct process *p, const struct proc_status *st);
/* Refuses a thread that has others. */
int capabilities_compare(const struct process *p, const struct tracee *t,
			 struct err *err) __must_check;
/* Has the new process other ones, for now? */
bool capabilities_differ(const struct process *p);
/* The calls of all threads, when nothing else is left to be done. */
void capabilities_restore(struct restore *r, const struct process *p);

#endif
