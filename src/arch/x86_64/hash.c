/* XXH3-64 with what the CPU has: see hash.h. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "arch/x86_64/hash.h"

uint64_t arch_hash(const void *data, size_t len)
{
	return __builtin_cpu_supports("avx2") ? arch_hash_avx2(data, len) : XXH3_64bits(data, len);
}
