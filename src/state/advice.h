/* Advice on mappings that is read before the program is stopped: see advice.c. */
#ifndef GODWIT_STATE_ADVICE_H
#define GODWIT_STATE_ADVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "state/process.h"

struct early_advice {
	struct early_mapping {
		uint64_t start, end;
		uint32_t flags;         /* as in struct advice */
		uint32_t mapping_flags; /* enum mapping_flag */
	} * v;
	size_t n;
};

/* procfd is the target's /proc/PID, which need not be stopped. */
int advice_read_early(int procfd, struct early_advice *ret, struct err *err) __must_check;
/* May pages of [start, end) come later than the program?  Not what is locked, or is to be
 * empty in a child. */
bool advice_may_be_missing(const struct process *p, uint64_t start, uint64_t end);
void advice_early_done(struct early_advice *e);

struct process;

/* Does a copy that the program makes by fork() lack any of [start, end)? */
bool advice_keeps_from_copy(const struct process *p, uint64_t start, uint64_t end);
/*
 * Does the copy, whose /proc/PID is procfd, lack just what the model knows of?  -EAGAIN: the
 * program has given advice after it was read early, and something is missing.
 */
int advice_check_copy(const struct process *p, int procfd, struct err *err) __must_check;

#endif
