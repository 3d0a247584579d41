/*
 * How far long work is: bytes done of all, told to whoever wants to know.
 */
#ifndef GODWIT_BASE_METER_H
#define GODWIT_BASE_METER_H

#include <stdint.h>

struct meter {
	/* At most ten times a second; with done 0 when work begins, and with all when it has
	 * ended, well or not. */
	void (*tell)(void *arg, uint64_t done, uint64_t all);
	void *arg;
	uint64_t done, all, told_ns; /* its own */
};

/* Each for one thread, and for NULL, a meter that nobody reads. */
void meter_begin(struct meter *m, uint64_t all);
void meter_set(struct meter *m, uint64_t done);
void meter_add(struct meter *m, uint64_t bytes);
void meter_end(struct meter *m);

#endif
