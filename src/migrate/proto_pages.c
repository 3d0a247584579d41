/*
 * PAGES frames: u32 number of ranges, u32 packing, u64 length of the data when it is
 * unpacked; for each range u64 address and u64 length, whose lowest bit says that
 * the range is zeros; then the data.
 */
#include <errno.h>
#include <string.h>
#include <zstd.h>

#include "migrate/proto.h"

#define HEAD 16u
#define RANGE 16u

void proto_pages_encode(const struct proto_pages *p, uint32_t packing, struct buf *out)
{
	struct codec c = codec_writer(out);
	uint32_t n = (uint32_t)p->n;
	uint64_t len = p->len;

	codec_u32(&c, &n);
	codec_u32(&c, &packing);
	codec_u64(&c, &len);
	for (size_t i = 0; i < p->n; i++) {
		uint64_t addr = p->range[i].addr, size = p->range[i].len | p->range[i].is_zero;

		codec_u64(&c, &addr);
		codec_u64(&c, &size);
	}
}

static int malformed(struct err *err)
{
	err_set(err, -EBADMSG, "a frame of pages is malformed");
	err->exit = EXIT_BAD_IMAGE;
	return err->error;
}

static int unpack(uint32_t packing, const uint8_t *in, size_t len, uint8_t *unpacked,
		  struct proto_pages *p, struct err *err)
{
	if (packing == PACKING_NONE && len == p->len) {
		p->data = in;
		return 0;
	}
	if (packing != PACKING_ZSTD || ZSTD_decompress(unpacked, p->len, in, len) != p->len)
		return malformed(err);
	p->data = unpacked;
	return 0;
}

int proto_pages_decode(const void *frame, size_t len, uint8_t *unpacked, struct proto_pages *p,
		       struct err *err)
{
	struct codec c = codec_reader(frame, len);
	uint64_t size = 0, data = 0, all = 0;
	uint32_t n = 0, packing = 0;

	codec_u32(&c, &n);
	codec_u32(&c, &packing);
	codec_u64(&c, &size);
	if (c.bad || !n || n > PROTO_RANGES_MAX || size > PROTO_PAGES_DATA ||
	    len < HEAD + (size_t)n * RANGE)
		return malformed(err);
	p->n = n;
	p->len = size;
	for (size_t i = 0; i < n; i++) {
		struct proto_range *r = &p->range[i];

		codec_u64(&c, &r->addr);
		codec_u64(&c, &r->len);
		r->is_zero = r->len & 1;
		r->len &= ~UINT64_C(1);
		if (!r->len || r->len > PROTO_PAGES_DATA || r->len % PAGE_SIZE_4K ||
		    r->addr % PAGE_SIZE_4K || r->addr > UINT64_MAX - r->len)
			return malformed(err);
		all += r->len;
		data += r->is_zero ? 0 : r->len;
	}
	if (data != size || all > PROTO_PAGES_DATA)
		return malformed(err);
	return unpack(packing, (const uint8_t *)frame + HEAD + n * RANGE,
		      len - HEAD - (size_t)n * RANGE, unpacked, p, err);
}
