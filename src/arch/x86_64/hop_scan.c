/* hop_find(): see hop.h. */
#include <immintrin.h>

#include "arch/x86_64/hop.h"

static int matches(uint64_t word, const struct hop_pattern *p)
{
	return (word & p[0].mask) == p[0].value || (word & p[1].mask) == p[1].value ||
	       (word & p[2].mask) == p[2].value;
}

/* Goes over eight words at a time as long as none of them matches. */
__attribute__((target("avx2"))) static const uint64_t *
skip_eights(const uint64_t *w, const uint64_t *end, const struct hop_pattern *p)
{
	__m256i mask[3], value[3];
	int i;

	for (i = 0; i < 3; i++) {
		mask[i] = _mm256_set1_epi64x((long long)p[i].mask);
		value[i] = _mm256_set1_epi64x((long long)p[i].value);
	}
	for (; end - w >= 8; w += 8) {
		__m256i a = _mm256_loadu_si256((const void *)w);
		__m256i b = _mm256_loadu_si256((const void *)(w + 4));
		__m256i hit = _mm256_setzero_si256();

		for (i = 0; i < 3; i++) {
			__m256i x = _mm256_cmpeq_epi64(_mm256_and_si256(a, mask[i]), value[i]);
			__m256i y = _mm256_cmpeq_epi64(_mm256_and_si256(b, mask[i]), value[i]);

			hit = _mm256_or_si256(hit, _mm256_or_si256(x, y));
		}
		if (!_mm256_testz_si256(hit, hit))
			break;
	}
	return w;
}

const uint64_t *hop_find(const uint64_t *w, const uint64_t *end, const struct hop_pattern p[3])
{
	int wide = __builtin_cpu_supports("avx2");

	while (w < end) {
		const uint64_t *stop;

		if (wide)
			w = skip_eights(w, end, p);
		stop = end - w > 8 ? w + 8 : end;
		for (; w < stop; w++)
			if (matches(*w, p))
				return w;
	}
	return end;
}
