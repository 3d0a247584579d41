/* Pages on their way: found, without those that are zeros, packed where that pays. */
#ifndef GODWIT_MIGRATE_SENDER_H
#define GODWIT_MIGRATE_SENDER_H

#include "migrate/proto.h"

/* Is it worth packing?  Measured all the time, in ns for each byte. */
struct packer {
	void *context;
	uint8_t *out;
	size_t out_cap;
	double wire_ns;                /* to send a byte */
	double pack_ns;                /* to pack a byte */
	double ratio;                  /* packed bytes for each byte */
	uint64_t frames;               /* so far */
	uint64_t from_bytes, to_bytes; /* that were packed: before, after */
};

struct sender {
	struct wire *w;
	int timeout_ms;
	uint8_t *data; /* PROTO_PAGES_DATA bytes; sender_add puts what it takes there */
	size_t len;    /* of it, without zeros */
	struct proto_pages *pages;
	size_t all; /* bytes of the ranges, zeros included */
	struct packer packer;
	uint64_t npages, nzero, sent_bytes;
};

int sender_init(struct sender *s, struct wire *w, int timeout_ms, struct err *err) __must_check;
void sender_done(struct sender *s);
/*
 * Adds len bytes of memory at addr, which the caller has put to s->data + s->len, where
 * sender_room() bytes are free; sends the frame when it is full.
 */
int sender_add(struct sender *s, uint64_t addr, size_t len, struct err *err) __must_check;
size_t sender_room(const struct sender *s);
/* Sends a piece of a file that is taken along (carry.h), packed where that pays. */
int sender_file(struct sender *s, uint32_t index, uint64_t at, const uint8_t *data, size_t len,
		struct err *err) __must_check;
/* Sends what is there. */
int sender_flush(struct sender *s, struct err *err) __must_check;

#endif
