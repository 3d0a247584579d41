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

#include "arch/x86_64/hash.h"

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

uint64_t psu_sum(uint64_t seed, const void *data, size_t len)
{
	const uint64_t odd = 0x9e3779b97f4a7c15ULL; /* 2^64 / golden ratio: spreads the bits */

	return (seed ^ arch_hash(data, len)) * odd + len;
}
