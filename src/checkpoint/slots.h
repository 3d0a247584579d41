/*
 * Where in the data area of an image each page is, while the image grows under
 * a running program: a page is written to the same place again when it has
 * changed, and new pages are put behind all others.
 */
#ifndef GODWIT_CHECKPOINT_SLOTS_H
#define GODWIT_CHECKPOINT_SLOTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Addresses [start, start + len) are at off of the data area. */
struct slot {
	uint64_t start, len, off;
};

/* In the order of addresses, without overlap; neighbours that continue each
 * other in both are one. */
struct slots {
	struct slot *v;
	size_t n, cap;
	uint64_t end; /* of the data area so far, bytes */
};

struct slot_range {
	uint64_t start, end;
};

struct slot_list {
	struct slot *v;
	size_t n, cap;
};

void slots_done(struct slots *s);
void slot_list_done(struct slot_list *l);
int slot_list_add(struct slot_list *l, struct slot piece, struct err *err) __must_check;

/* Index of the first slot that ends behind addr; n if there is none. */
size_t slots_find(const struct slots *s, uint64_t addr);

/*
 * Gives every page of the ranges (ascending, not overlapping) a place: the one it
 * has, or a new one.  Adds to *pieces, in the order of addresses, where they are.
 */
int slots_place(struct slots *s, const struct slot_range *v, size_t n, struct slot_list *pieces,
		struct err *err) __must_check;

#endif
