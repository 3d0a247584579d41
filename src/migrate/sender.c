/* PAGES frames on their way: see sender.h. */
#include "migrate/sender.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "migrate/carry.h"

#define PROBE_EVERY 64u /* frames between two looks at the other way */
#define LEVEL 1

int sender_init(struct sender *s, struct wire *w, int timeout_ms, struct err *err)
{
	*s = (struct sender){.w = w, .timeout_ms = timeout_ms};
	s->data = io_alloc(1, PROTO_PAGES_DATA, err);
	s->pages = io_alloc(1, sizeof(*s->pages), err);
	s->packer.out_cap = ZSTD_compressBound(PROTO_PAGES_DATA);
	s->packer.out = io_alloc(1, s->packer.out_cap, err);
	s->packer.context = ZSTD_createCCtx();
	if (!s->data || !s->pages || !s->packer.out || !s->packer.context)
		return err->error ? err->error : err_set(err, -ENOMEM, "out of memory");
	return 0;
}

void sender_done(struct sender *s)
{
	free(s->data);
	free(s->pages);
	free(s->packer.out);
	ZSTD_freeCCtx(s->packer.context);
	*s = (struct sender){0};
}

static void learn(double *average, double value)
{
	*average = *average > 0 ? *average * 0.9 + value * 0.1 : value;
}

/* On only where the wire is slower than packing: time for a byte, either way. */
static bool pays(const struct packer *p)
{
	bool better =
		p->pack_ns > 0 && p->wire_ns > 0 && p->pack_ns + p->ratio * p->wire_ns < p->wire_ns;

	/* Now and then a look at the other way; and not before the wire is known. */
	return p->frames % PROBE_EVERY == 2 ? !better : better;
}

/* Bytes in p->out, or 0: to be sent as they are. */
static size_t pack(struct packer *p, const uint8_t *data, size_t len)
{
	int64_t begun = wire_now();
	size_t n;

	if (len < 4096 || !pays(p))
		return 0;
	n = ZSTD_compressCCtx(p->context, p->out, p->out_cap, data, len, LEVEL);
	if (ZSTD_isError(n))
		return 0;
	learn(&p->pack_ns, (double)(wire_now() - begun) / (double)len);
	learn(&p->ratio, (double)n / (double)len);
	return n < len - len / 16 ? n : 0;
}

int sender_file(struct sender *s, uint32_t index, uint64_t at, const uint8_t *data, size_t len,
		struct err *err)
{
	__cleanup_buf struct buf head = {0};
	size_t packed = pack(&s->packer, data, len);
	struct carry_piece piece = {
		.index = index,
		.packing = packed ? PACKING_ZSTD : PACKING_NONE,
		.at = at,
		.len = len,
	};
	int64_t begun;
	int ret;

	carry_piece_encode(&piece, &head);
	if (head.failed)
		return err_set(err, -ENOMEM, "out of memory");
	struct iovec v[2] = {
		{head.p, head.len},
		{packed ? s->packer.out : (void *)(uintptr_t)data, packed ? packed : len}};

	begun = wire_now();
	wire_deadline(s->w, s->timeout_ms);
	if ((ret = wire_send(s->w, FRAME_FILE, v, 2, err)))
		return ret;
	learn(&s->packer.wire_ns,
	      (double)(wire_now() - begun) / (double)(v[0].iov_len + v[1].iov_len));
	s->packer.frames++;
	s->packer.from_bytes += packed ? len : 0;
	s->packer.to_bytes += packed;
	s->sent_bytes += v[0].iov_len + v[1].iov_len;
	return 0;
}

int sender_flush(struct sender *s, struct err *err)
{
	__cleanup_buf struct buf head = {0};
	size_t packed;
	int64_t begun;
	int ret;

	if (!s->pages->n)
		return 0;
	s->pages->len = s->len;
	packed = pack(&s->packer, s->data, s->len);
	proto_pages_encode(s->pages, packed ? PACKING_ZSTD : PACKING_NONE, &head);
	if (head.failed)
		return err_set(err, -ENOMEM, "out of memory");
	struct iovec v[2] = {{head.p, head.len},
			     {packed ? s->packer.out : s->data, packed ? packed : s->len}};

	begun = wire_now();
	wire_deadline(s->w, s->timeout_ms);
	if ((ret = wire_send(s->w, FRAME_PAGES, v, 2, err)))
		return ret;
	if (v[1].iov_len)
		learn(&s->packer.wire_ns,
		      (double)(wire_now() - begun) / (double)(v[0].iov_len + v[1].iov_len));
	s->packer.frames++;
	s->packer.from_bytes += packed ? s->len : 0;
	s->packer.to_bytes += packed;
	s->sent_bytes += v[0].iov_len + v[1].iov_len;
	s->pages->n = s->len = s->all = 0;
	return 0;
}

static bool is_zero(const uint8_t *page)
{
	uint64_t first;

	memcpy(&first, page, sizeof(first));
	return !first && !memcmp(page, page + 8, PAGE_SIZE_4K - 8);
}

static void add_page(struct sender *s, uint64_t addr, bool zero)
{
	struct proto_range *last = s->pages->n ? &s->pages->range[s->pages->n - 1] : NULL;

	s->npages++;
	s->nzero += zero;
	if (last && last->is_zero == zero && last->addr + last->len == addr)
		last->len += PAGE_SIZE_4K;
	else
		s->pages->range[s->pages->n++] = (struct proto_range){addr, PAGE_SIZE_4K, zero};
}

size_t sender_room(const struct sender *s)
{
	return PROTO_PAGES_DATA - s->all;
}

int sender_add(struct sender *s, uint64_t addr, size_t len, struct err *err)
{
	const uint8_t *from = s->data + s->len;

	for (size_t at = 0; at < len; at += PAGE_SIZE_4K) {
		bool zero = is_zero(from + at);

		add_page(s, addr + at, zero);
		if (zero)
			continue;
		/* What follows zeros moves up. */
		if (s->data + s->len != from + at)
			memmove(s->data + s->len, from + at, PAGE_SIZE_4K);
		s->len += PAGE_SIZE_4K;
	}
	s->all += len;
	return s->all == PROTO_PAGES_DATA ? sender_flush(s, err) : 0;
}
