/* Shared by lazy.c and lazy_events.c: what the processes share that serve missing pages. */
#ifndef GODWIT_RESTART_LAZY_INTERNAL_H
#define GODWIT_RESTART_LAZY_INTERNAL_H

#include <linux/userfaultfd.h>
#include <stdatomic.h>

#include "restart/lazy.h"

#define AREAS_MAX 8192u

struct lazy_area {
	uint64_t start, end; /* now */
	uint64_t was;        /* in the beginning: of start */
};

/* Sorted by start. */
struct area_list {
	uint32_t n;
	struct lazy_area v[AREAS_MAX];
};

enum lazy_failure { LAZY_TOO_MANY_PARTS = 1, LAZY_TOO_MANY_CHILDREN };

enum space_state { SPACE_FREE = 0, SPACE_LIVES = 1 };

struct lazy_space {
	_Atomic int state;
	_Atomic unsigned current; /* which of the two lists holds */
	struct area_list list[2];
};

/* Pages that were missing in the beginning; those of a list have numbers without gaps. */
struct missing_range {
	uint64_t start, end;
	uint64_t first; /* number of its first page */
};

/* Behind it: for each space a bit for each page (it is here, or not wanted any more), then
 * the missing ranges. */
struct lazy_shared {
	size_t len;
	uint64_t pages, words; /* words: of 64 bits, in one space's bits */
	size_t nranges;
	_Atomic int phase;
	uint64_t forks;     /* so far */
	unsigned top;       /* no space from here on is, or was, in use */
	_Atomic int failed; /* why it cannot go on: enum lazy_failure */
	/* The message that is being worked on; event 0: none. */
	struct uffd_msg message;
	unsigned message_space;
	struct lazy_space space[LAZY_SPACES];
};

struct missing_range *lazy_missing_ranges(const struct lazy_shared *s);
/* The first range that ends after the address, or NULL. */
const struct missing_range *lazy_find_range(const struct lazy_shared *s, uint64_t was);
uint64_t *lazy_here(const struct lazy_shared *s, unsigned space);
bool lazy_is_here(const struct lazy_shared *s, unsigned space, uint64_t page);
void lazy_mark(struct lazy_shared *s, unsigned space, uint64_t page);
/* Where the page is now that was there; NULL: nowhere. */
const struct lazy_area *lazy_area_of(const struct area_list *a, uint64_t was);

int lazy_watch(struct lazy *l, unsigned space);
void lazy_wake(int uffd, uint64_t at, uint64_t len);
void lazy_end_space(struct lazy *l, unsigned space);

#endif
