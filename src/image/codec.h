/*
 * One description of a record serves for writing and for reading it: each
 * codec_*() call appends the field when the codec writes and fills it in when
 * it reads.  Little endian, no padding, no alignment.
 *
 * Errors are sticky: after a short or wrong field every later one reads as
 * zero and c->bad is true; the caller looks once, at the end.
 */
#ifndef GODWIT_IMAGE_CODEC_H
#define GODWIT_IMAGE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/io.h"

struct codec {
	bool writing;
	bool bad;          /* field missing, too large, or out of memory */
	struct buf *out;   /* writing */
	const uint8_t *in; /* reading: next byte */
	size_t left;       /* reading: bytes not read yet */
};

/* The same limits hold for writing: a record that could not be read again makes
 * the codec bad when it is written. */
#define CODEC_STR_MAX ((size_t)1 << 20)   /* bytes */
#define CODEC_BLOB_MAX ((size_t)64 << 20) /* bytes */

struct codec codec_writer(struct buf *out);
struct codec codec_reader(const void *data, size_t len);
/* All went well and, when reading, nothing is left over. */
bool codec_ended(const struct codec *c);

void codec_u8(struct codec *c, uint8_t *v);
void codec_u32(struct codec *c, uint32_t *v);
void codec_u64(struct codec *c, uint64_t *v);
void codec_i32(struct codec *c, int32_t *v);
void codec_i64(struct codec *c, int64_t *v);
void codec_bool(struct codec *c, bool *v); /* one byte; any but 0 and 1 is bad */
/* Exactly n bytes, without a length. */
void codec_bytes(struct codec *c, void *p, size_t n);
/* NUL-free string as u32 length and bytes, at most 1 MiB; NULL is stored as
 * length 0xffffffff.  Reading allocates; the caller frees. */
void codec_str(struct codec *c, char **s);
/* Like codec_str for bytes that may hold NULs, at most 64 MiB.  A NULL comes
 * back as NULL with *len 0, an empty one as a pointer with *len 0. */
void codec_blob(struct codec *c, void **p, size_t *len);
/*
 * An array on the heap: the count (u32), then room for it; the caller then
 * codes the elements.  *array is allocated, zeroed, when reading (NULL for
 * none).  A count above max, or one that cannot fit in what is left at min_size
 * bytes (stored size, at least 1) an element, makes the codec bad and *n 0.
 */
void codec_array(struct codec *c, void *array_ptr, size_t *n, size_t elem_size, size_t min_size,
		 size_t max);

#endif
