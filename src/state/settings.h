/* What a program has told the kernel about itself and its threads: see settings.c. */
#ifndef GODWIT_STATE_SETTINGS_H
#define GODWIT_STATE_SETTINGS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct capture;
struct process;
struct program;
struct call;
struct wire_call;

/* What each thread is asked; out: an offset in its data area for 4 bytes. */
#define SETTINGS_CALLS 4
void settings_calls(struct call *calls, uint64_t out);
/* Room for the answers, and what thread i answered. */
int settings_alloc(struct process *p, size_t nthreads, struct err *err) __must_check;
void settings_take(struct capture *c, struct process *p, size_t i, const struct wire_call *calls,
		   uint32_t out);

/* The calls by which a thread says the same again. */
void settings_restore_thread(struct program *g, const struct process *p, size_t thread);
/* Files of /proc/PID, by whoever may trace the new process; a failure is no error. */
void settings_write(int procfd, const struct process *p);

#endif
