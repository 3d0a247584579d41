/* Lists of pages as frames: see postcopy.h. */
#include <errno.h>
#include <stdlib.h>

#include "migrate/postcopy.h"

int proto_send_ranges(struct wire *w, uint32_t type, const struct lazy_ranges *r, struct err *err)
{
	size_t at = 0;

	do {
		__cleanup_buf struct buf b = {0};
		struct codec c = codec_writer(&b);
		uint32_t more, n = r->n - at < PROTO_LATER_PIECE ? (uint32_t)(r->n - at)
								 : PROTO_LATER_PIECE;
		int ret;

		more = at + n < r->n;
		codec_u32(&c, &more);
		codec_u32(&c, &n);
		for (; n; n--, at++) {
			uint64_t start = r->v[at].start, end = r->v[at].end;

			codec_u64(&c, &start);
			codec_u64(&c, &end);
		}
		if ((ret = proto_send_buf(w, type, &b, err)))
			return ret;
	} while (at < r->n);
	return 0;
}

int proto_take_ranges(const void *frame, size_t len, struct lazy_ranges *r, struct err *err)
{
	struct codec c = codec_reader(frame, len);
	uint32_t more = 0, n = 0;

	codec_u32(&c, &more);
	codec_u32(&c, &n);
	/* Empty ones, with others to follow, would have no end. */
	if (c.bad || more > 1 || (more && !n) || n > PROTO_LATER_PIECE ||
	    len != 8 + 16 * (size_t)n || r->n + n > PROTO_LATER_MAX)
		return err_set(err, -EPROTO, "a malformed list of pages came");
	for (; n; n--) {
		uint64_t start = 0, end = 0, last = r->n ? r->v[r->n - 1].end : 0;
		int ret;

		codec_u64(&c, &start);
		codec_u64(&c, &end);
		if (start >= end || end > PROTO_USER_END || (start | end) % PAGE_SIZE_4K ||
		    start < last)
			return err_set(err, -EPROTO, "a malformed list of pages came");
		if ((ret = lazy_ranges_add(r, start, end, err)))
			return ret;
	}
	return !more;
}
