/* One complete image from an incremental one and those below it. */
#ifndef GODWIT_CHECKPOINT_FLATTEN_H
#define GODWIT_CHECKPOINT_FLATTEN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct flatten_result {
	size_t images;        /* that went into it */
	uint64_t image_bytes; /* size of the new file */
};

/*
 * Writes what `image` stands for to `out`, complete, and in the order that an image has
 * which was written at one go.  Every block is checked before it is copied; `out` is
 * replaced in one step, and may be one of the images.  meter (or NULL) tells how far it is.
 */
struct meter;
int flatten(const char *image, const char *out, struct meter *meter, struct flatten_result *ret,
	    struct err *err) __must_check;

#endif
