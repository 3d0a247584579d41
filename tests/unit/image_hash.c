/* The checksum is XXH3-64 on every CPU: the values of the library, at all sizes
 * where its code takes another path. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "arch/x86_64/hash.h"
#include "base/io.h"
#include "image/image.h"
#include "tap.h"

static uint8_t bytes[600000];

static void fill(void)
{
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 151 + (i >> 8) * 13);
}

/* Known values, so that a library that changed would be seen. */
static void known_values(void)
{
	CHECK(image_hash("", 0) == UINT64_C(0x2d06800538d394c2));
	CHECK(image_hash("godwit", 6) == XXH3_64bits("godwit", 6));
}

static void every_length_up_to_2048_and_some_large(void)
{
	static const size_t large[] = {4088, 4096, 524287, 524288, 600000 - 7};

	fill();
	for (size_t n = 0; n <= 2048; n++)
		CHECK(image_hash(bytes + n % 7, n) == XXH3_64bits(bytes + n % 7, n));
	for (size_t i = 0; i < ARRAY_SIZE(large); i++)
		CHECK(image_hash(bytes + i, large[i]) == XXH3_64bits(bytes + i, large[i]));
}

static void avx2_gives_the_same(void)
{
	if (!__builtin_cpu_supports("avx2"))
		SKIP("this CPU has no AVX2");
	fill();
	for (size_t n = 0; n <= 2048; n++)
		CHECK(arch_hash_avx2(bytes, n) == XXH3_64bits(bytes, n));
	CHECK(arch_hash_avx2(bytes + 1, 524288) == XXH3_64bits(bytes + 1, 524288));
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(known_values),
		TEST(every_length_up_to_2048_and_some_large),
		TEST(avx2_gives_the_same),
	};

	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
