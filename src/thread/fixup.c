/*
 * Words of an arrived thread that must change.
 *
 * Stack, TLS and arena lie where they lay.  What differs between two processes
 * is the key that setjmp mangles its pointers with, always (jmpbuf.c); and, in
 * delta mode, where the modules lie.
 *
 * Delta mode adds (destination - source) to every aligned word that points into
 * a moved module.  A number that happens to look like such an address would be
 * changed too: a random 64-bit number does with odds of some 2^-40, but a pair
 * of 32-bit integers whose upper one equals the upper half of an address (about
 * 32767 or 21845) can.  That is why strict layout comes first (layout.c), and
 * why PSU_LAYOUT=strict refuses instead.
 */
#include "thread/psu.h"

uint64_t fixup_word(const struct remaps *maps, uint64_t w)
{
	uint32_t i;

	if (w - maps->min >= maps->max - maps->min)
		return w;
	for (i = 0; i < maps->n; i++)
		if (w - maps->r[i].lo < maps->r[i].hi - maps->r[i].lo)
			return w + (uint64_t)maps->r[i].delta;
	return w;
}

void fixup_words(struct fixup *f, void *p, size_t len)
{
	char *start = (char *)ALIGN_UP((uintptr_t)p, 8);
	uint64_t *w = (uint64_t *)(void *)start;
	size_t i, n = start < (char *)p + len ? (size_t)((char *)p + len - start) / 8 : 0;

	if (!f->maps->moved)
		return;
	for (i = 0; i < n; i++) {
		uint64_t v = fixup_word(f->maps, w[i]);

		f->changed += v != w[i];
		w[i] = v;
	}
}

const struct remap *fixup_find_missing(const struct remaps *maps, const void *p, size_t len)
{
	const uint64_t *w = (const uint64_t *)ALIGN_UP((uintptr_t)p, 8);
	const uint64_t *end = (const uint64_t *)ALIGN_DOWN((uintptr_t)p + len, 8);
	uint32_t i;

	for (; w < end; w++) {
		if (*w - maps->min >= maps->max - maps->min)
			continue;
		for (i = 0; i < maps->n; i++)
			if (maps->r[i].missing &&
			    *w - maps->r[i].lo < maps->r[i].hi - maps->r[i].lo)
				return &maps->r[i];
	}
	return NULL;
}

/* Four independent lanes, so that the multiplications overlap. */
uint64_t psu_sum(uint64_t seed, const void *data, size_t len)
{
	const uint64_t k = 0x9e3779b97f4a7c15ULL;
	uint64_t lane[4] = {seed ^ len, seed + k, seed - k, ~seed}, tail = 0;
	const unsigned char *p = data;
	int i;

	for (; len >= 32; p += 32, len -= 32)
		for (i = 0; i < 4; i++) {
			uint64_t v;

			__builtin_memcpy(&v, p + 8 * i, 8);
			lane[i] = (lane[i] ^ v) * k;
			lane[i] ^= lane[i] >> 29;
		}
	while (len--)
		tail = (tail ^ *p++) * k + 1;
	for (i = 0; i < 4; i++) {
		tail = (tail ^ lane[i]) * k;
		tail ^= tail >> 32;
	}
	return tail;
}
