/* XXH3-64 compiled for AVX2 (the Makefile says so): see hash.h. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "arch/x86_64/hash.h"

_Static_assert(XXH_VECTOR == XXH_AVX2, "this file is compiled with -mavx2");

uint64_t arch_hash_avx2(const void *data, size_t len)
{
	return XXH3_64bits(data, len);
}
