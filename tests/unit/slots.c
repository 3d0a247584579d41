/* Places of pages in a growing data area, against a table of one place a page. */
#include <stdint.h>
#include <string.h>

#include "base/io.h"
#include "checkpoint/slots.h"
#include "tap.h"

#define PAGES 512u

static uint64_t x = 88172645463325252ULL;

static uint64_t rnd(void)
{
	x ^= x << 13, x ^= x >> 7, x ^= x << 17;
	return x;
}

/* Ascending ranges that do not overlap, and may touch. */
static size_t some_ranges(struct slot_range *v)
{
	uint64_t at = rnd() % 20;
	size_t n = 0;

	while (at + 1 < PAGES) {
		uint64_t len = rnd() % 12 + 1;

		if (at + len > PAGES)
			len = PAGES - at;
		v[n++] = (struct slot_range){at * PAGE_SIZE_4K, (at + len) * PAGE_SIZE_4K};
		at += len + rnd() % 3 * (rnd() % 40);
	}
	return n;
}

static void check_order(const struct slots *s)
{
	uint64_t last = 0;

	for (size_t i = 0; i < s->n; i++) {
		CHECK(s->v[i].len && s->v[i].start >= last);
		CHECK(s->v[i].off + s->v[i].len <= s->end);
		last = s->v[i].start + s->v[i].len;
	}
}

/* Every page asked for is told once, at the place it had, or at a new one. */
static void check_pieces(const struct slot_range *v, size_t n, const struct slot_list *pieces,
			 uint64_t *place, uint64_t *used)
{
	size_t k = 0;
	uint64_t done = 0;

	for (size_t i = 0; i < n; i++)
		for (uint64_t a = v[i].start; a < v[i].end; a += PAGE_SIZE_4K) {
			uint64_t page = a / PAGE_SIZE_4K, off;

			CHECK(k < pieces->n && pieces->v[k].start + done == a);
			off = pieces->v[k].off + done;
			if (place[page] == UINT64_MAX) {
				CHECK(off == *used); /* behind all others */
				*used += PAGE_SIZE_4K;
				place[page] = off;
			}
			CHECK_INT(off, place[page]);
			done += PAGE_SIZE_4K;
			if (done == pieces->v[k].len) {
				k++;
				done = 0;
			}
		}
	CHECK_INT(k, pieces->n);
}

static void pages_keep_their_places(void)
{
	struct slot_range v[PAGES];
	struct err err = ERR_INIT;

	for (int life = 0; life < 200; life++) {
		struct slot_list pieces = {0};
		struct slots s = {0};
		uint64_t place[PAGES], used = 0;

		memset(place, 0xff, sizeof(place));
		for (int round = 0; round < 12; round++) {
			size_t n = some_ranges(v);

			pieces.n = 0;
			CHECK(slots_place(&s, v, n, &pieces, &err) == 0);
			check_pieces(v, n, &pieces, place, &used);
			check_order(&s);
			CHECK_INT(s.end, used);
		}
		for (uint64_t page = 0; page < PAGES; page++) {
			size_t i = slots_find(&s, page * PAGE_SIZE_4K);
			bool has = i < s.n && s.v[i].start <= page * PAGE_SIZE_4K;

			CHECK(has == (place[page] != UINT64_MAX));
			if (has)
				CHECK_INT(s.v[i].off + page * PAGE_SIZE_4K - s.v[i].start,
					  place[page]);
		}
		slot_list_done(&pieces);
		slots_done(&s);
	}
}

static void one_range_is_one_slot(void)
{
	struct slot_range v[] = {{0, 8 * PAGE_SIZE_4K}, {8 * PAGE_SIZE_4K, 20 * PAGE_SIZE_4K}};
	struct slot_list pieces = {0};
	struct err err = ERR_INIT;
	struct slots s = {0};

	CHECK(slots_place(&s, v, 2, &pieces, &err) == 0);
	CHECK_INT(s.n, 1);
	CHECK_INT(pieces.n, 1);
	slot_list_done(&pieces);
	slots_done(&s);
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {TEST(pages_keep_their_places),
						TEST(one_range_is_one_slot)};

	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
