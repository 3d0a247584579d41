/* The frames of a migration: whatever a peer sends, a message and no more. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "migrate/late.h"
#include "migrate/carry.h"
#include "migrate/model_in.h"
#include "migrate/postcopy.h"
#include "migrate/proto.h"

static void pages(const uint8_t *data, size_t size)
{
	static uint8_t unpacked[PROTO_PAGES_DATA];
	static struct proto_pages p;
	struct err err = ERR_INIT;
	uint64_t all = 0, sum = 0;

	if (proto_pages_decode(data, size, unpacked, &p, &err))
		return;
	/* What was accepted keeps its limits, and its data can be read. */
	for (size_t i = 0; i < p.n; i++)
		all += p.range[i].is_zero ? 0 : p.range[i].len;
	ALWAYS(p.n <= PROTO_RANGES_MAX && all == p.len && all <= PROTO_PAGES_DATA);
	/* All of it is there: the sanitizers see a read beyond. */
	for (size_t i = 0; i < p.len; i += PAGE_SIZE_4K)
		sum += p.data[i] + p.data[i + PAGE_SIZE_4K - 1];
	ALWAYS(sum <= 2 * 255 * (PROTO_PAGES_DATA / PAGE_SIZE_4K));
}

static void greetings(const uint8_t *data, size_t size)
{
	struct codec c = codec_reader(data, size);
	struct proto_hello h = {0};
	struct proto_welcome w = {0};

	proto_hello_codec(&c, &h);
	proto_hello_done(&h);
	c = codec_reader(data, size);
	proto_welcome_codec(&c, &w);
	proto_welcome_done(&w);
}

static void model(const uint8_t *data, size_t size)
{
	struct err err = ERR_INIT;
	struct model_in m;

	if (model_in_open(&m, &err))
		return;
	if (!model_in_frame(&m, FRAME_MODEL, data, size, &err) &&
	    model_in_frame(&m, FRAME_FILES, data, size, &err) < 0)
		err = ERR_INIT;
	model_in_done(&m);
}

static void signals(const uint8_t *data, size_t size)
{
	struct codec c = codec_reader(data, size);
	struct late_signal *v = NULL;
	size_t n = 0;

	late_codec(&c, &v, &n);
	if (codec_ended(&c) && late_is_possible(v, n, 3))
		for (size_t i = 0; i < n; i++)
			ALWAYS(v[i].thread <= 3 && n <= LATE_MAX);
	free(v);
}

/* Lists and pieces of files that come along: what is accepted names plain absolute paths. */
static void files(const uint8_t *data, size_t size)
{
	static uint8_t unpacked[CARRY_DATA];
	struct codec c = codec_reader(data, size);
	struct carry_list l = {0};
	struct carry_piece p;
	struct err err = ERR_INIT;
	uint64_t sum = 0;

	carry_codec(&c, &l);
	for (size_t i = 0; !c.bad && i < l.n; i++)
		ALWAYS(l.v[i].path[0] == '/' && !strstr(l.v[i].path, "/../") &&
		       !strstr(l.v[i].path, "//") && carry_find(&l, l.v[i].path));
	carry_list_done(&l);
	if (carry_piece_decode(data, size, unpacked, &p, &err))
		return;
	ALWAYS(p.len && p.len <= CARRY_DATA && p.at + p.len <= INT64_MAX);
	for (size_t i = 0; i < p.len; i++)
		sum += p.data[i];
	ALWAYS(sum <= UINT64_C(255) * CARRY_DATA);
}

/* LATER and WANT: the frames of one list stand one after the other, each as long as it says.
 * What was taken of them is in whole pages, ascending and disjoint, even if a later one is not. */
static void ranges(const uint8_t *data, size_t size)
{
	struct lazy_ranges r = {0};
	struct err err = ERR_INIT;
	int ret = 0;

	while (!ret && size) {
		uint32_t n = 0;
		size_t len = size;

		if (size >= 8)
			memcpy(&n, data + 4, sizeof(n));
		if (size >= 8 && n < (size - 8) / 16)
			len = 8 + 16 * (size_t)n;
		ret = proto_take_ranges(data, len, &r, &err);
		ALWAYS(ret < 0 ? err.error == ret : ret <= 1 && len == 8 + 16 * (size_t)n);
		data += len;
		size -= len;
	}
	for (size_t i = 0; i < r.n; i++) {
		ALWAYS(r.v[i].start < r.v[i].end && r.v[i].end <= 0x7ffffffff000);
		ALWAYS((r.v[i].start | r.v[i].end) % PAGE_SIZE_4K == 0);
		ALWAYS(!i || r.v[i - 1].end <= r.v[i].start);
	}
	ALWAYS(r.n <= PROTO_LATER_MAX);
	lazy_ranges_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	pages(data, size);
	greetings(data, size);
	model(data, size);
	signals(data, size);
	files(data, size);
	ranges(data, size);
	return 0;
}
