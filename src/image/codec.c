/* Records as bytes, both ways: see codec.h. */
#include "image/codec.h"

#include <stdlib.h>
#include <string.h>

#define NO_STRING UINT32_MAX

struct codec codec_writer(struct buf *out)
{
	return (struct codec){.writing = true, .out = out};
}

struct codec codec_reader(const void *data, size_t len)
{
	return (struct codec){.in = data, .left = len};
}

bool codec_ended(const struct codec *c)
{
	return !c->bad && c->left == 0;
}

static void put(struct codec *c, const void *p, size_t n)
{
	if (c->bad)
		return;
	buf_add(c->out, p, n);
	if (c->out->failed)
		c->bad = true;
}

static void get(struct codec *c, void *p, size_t n)
{
	if (c->bad || n > c->left) {
		c->bad = true;
		if (n)
			memset(p, 0, n);
		return;
	}
	if (n == 0)
		return; /* c->in may be NULL */
	memcpy(p, c->in, n);
	c->in += n;
	c->left -= n;
}

void codec_bytes(struct codec *c, void *p, size_t n)
{
	if (c->writing)
		put(c, p, n);
	else
		get(c, p, n);
}

/* The host is little endian (image/format.h asserts it). */
void codec_u8(struct codec *c, uint8_t *v)
{
	codec_bytes(c, v, sizeof(*v));
}

void codec_u32(struct codec *c, uint32_t *v)
{
	codec_bytes(c, v, sizeof(*v));
}

void codec_u64(struct codec *c, uint64_t *v)
{
	codec_bytes(c, v, sizeof(*v));
}

void codec_i32(struct codec *c, int32_t *v)
{
	codec_bytes(c, v, sizeof(*v));
}

void codec_i64(struct codec *c, int64_t *v)
{
	codec_bytes(c, v, sizeof(*v));
}

void codec_bool(struct codec *c, bool *v)
{
	uint8_t byte = c->writing && *v;

	codec_u8(c, &byte);
	if (c->writing)
		return;
	if (byte > 1)
		c->bad = true;
	*v = byte == 1;
}

static void put_sized(struct codec *c, const void *p, size_t len, size_t max)
{
	uint32_t n = p ? (uint32_t)len : NO_STRING;

	if (p && len > max) {
		c->bad = true;
		return;
	}
	codec_u32(c, &n);
	if (p)
		put(c, p, len);
}

/* Heap copy with a NUL behind it, or NULL. */
static void *get_sized(struct codec *c, size_t *len, size_t max)
{
	uint32_t n = 0;
	char *p;

	*len = 0;
	codec_u32(c, &n);
	if (c->bad || n == NO_STRING)
		return NULL;
	if (n > max || n > c->left) {
		c->bad = true;
		return NULL;
	}
	p = malloc((size_t)n + 1);
	if (!p) {
		c->bad = true;
		return NULL;
	}
	get(c, p, n);
	p[n] = '\0';
	*len = n;
	return p;
}

void codec_str(struct codec *c, char **s)
{
	size_t len;

	if (c->writing) {
		put_sized(c, *s, *s ? strlen(*s) : 0, CODEC_STR_MAX);
		return;
	}
	*s = get_sized(c, &len, CODEC_STR_MAX);
	if (*s && memchr(*s, '\0', len)) {
		free(*s);
		*s = NULL;
		c->bad = true;
	}
}

void codec_blob(struct codec *c, void **p, size_t *len)
{
	if (c->writing)
		put_sized(c, *p, *len, CODEC_BLOB_MAX);
	else
		*p = get_sized(c, len, CODEC_BLOB_MAX);
}

void codec_array(struct codec *c, void *array_ptr, size_t *n, size_t elem_size, size_t min_size,
		 size_t max)
{
	void **array = array_ptr;
	uint32_t count;

	if (max >= UINT32_MAX)
		max = UINT32_MAX - 1;
	if (c->writing) {
		/* What could not be read again is not written either. */
		if (*n > max) {
			c->bad = true;
			return;
		}
		count = (uint32_t)*n;
		codec_u32(c, &count);
		return;
	}
	*array = NULL;
	*n = 0;
	codec_u32(c, &count);
	if (c->bad || count == 0)
		return;
	if (count > max || count > c->left / (min_size ? min_size : 1)) {
		c->bad = true;
		return;
	}
	*array = calloc(count, elem_size);
	if (!*array) {
		c->bad = true;
		return;
	}
	*n = count;
}
