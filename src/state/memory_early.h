/*
 * Anonymous memory that is made, and filled, before the state is known of which it will
 * be part: for a program that comes while it runs on elsewhere (pre-copy).
 */
#ifndef GODWIT_STATE_MEMORY_EARLY_H
#define GODWIT_STATE_MEMORY_EARLY_H

#include "state/state.h"

/* What is mapped so far: sorted, disjoint.  Zero-initialised is empty. */
struct memory_early {
	struct early_range {
		uint64_t start, end; /* page-aligned */
		bool grows;          /* MAP_GROWSDOWN */
	} * v;
	size_t n, cap;
	/* What memory_early_survey() has found: runs of pages that exist, ascending. */
	struct page_run {
		uint64_t start, end;
	} * there;
	size_t nthere, there_cap;
	bool is_surveyed; /* and nothing has been written or mapped since */
};

void memory_early_done(struct memory_early *e);
/* Notes a range that overlaps none. */
int memory_early_add(struct memory_early *e, uint64_t start, uint64_t end, bool grows,
		     struct err *err) __must_check;
/* The first part of [at, end) that is mapped: true, and its bounds, cut to [at, end). */
bool memory_early_next(const struct memory_early *e, uint64_t at, uint64_t end, uint64_t *ret_start,
		       uint64_t *ret_end);
/* Maps in the process what of [start, end) is not there yet. */
int memory_early_extend(const struct restore *r, struct remote *remote, uint64_t start,
			uint64_t end, struct err *err) __must_check;

/* Looks which pages exist, where there is time for it: else memory_early_trim() does. */
int memory_early_survey(const struct restore *r, const struct remote *remote,
			struct err *err) __must_check;
/* Pages were written: what was surveyed is old. */
void memory_early_touch(const struct restore *r);

/* The state is there: can what is mapped become it?  -EAGAIN if it cannot. */
int memory_early_check(struct restore *r, const struct process *p, struct err *err) __must_check;
/* The calls that take away what the state does not have: mappings, and pages. */
int memory_early_trim(struct restore *r, const struct process *p, const struct remote *remote,
		      struct err *err) __must_check;
/* The calls that map the parts of an anonymous mapping that did not come early. */
void memory_early_map_rest(struct restore *r, const struct mapping *m);
/*
 * After the mappings of the state have been made: those that consist of several areas
 * here, since their parts came apart, become one area each, as they are in the state.
 */
int memory_early_join(struct restore *r, const struct process *p, struct remote *remote,
		      struct err *err) __must_check;

#endif
