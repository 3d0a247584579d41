/*
 * A compressed image: the bytes of a plain one as frames of zstd, one for each MiB, and a
 * table of them at the end, in a frame that zstd skips.  docs/IMAGE-FORMAT.md, section 11.
 * `zstd -d` makes the plain image of it; a reader (packed.h) goes to any place.
 */
#ifndef GODWIT_IMAGE_PACK_H
#define GODWIT_IMAGE_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define IMAGE_PACK_LEVEL_MAX 19

struct image_packing {
	/* image_pack(); by way of a pointer, so that a program that does not compress need not
	 * carry the compressor. */
	int (*pack)(const struct image_packing *p, int in, uint64_t size, int out, uint64_t *ret,
		    struct err *err);
	int level;        /* 1 to IMAGE_PACK_LEVEL_MAX */
	unsigned threads; /* at least 1; more than PACK_THREADS_MAX are not used */
	/* Now and then, by one thread at a time: so many bytes are done.  False: call it off
	 * (-ECANCELED).  May be NULL. */
	bool (*tick)(void *arg, uint64_t done, uint64_t all);
	void *arg;
};

/* Compresses the first `size` bytes of in (read by pread) to out, from its beginning; *ret:
 * bytes written.  Memory: some 5 MiB a thread at level 1.  Failures to read or write are
 * errnos for the caller to explain, without *err; others fill it. */
int image_pack(const struct image_packing *p, int in, uint64_t size, int out, uint64_t *ret,
	       struct err *err) __must_check;

#endif
