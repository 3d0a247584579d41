/* Records come back as they went; what is too short, too long or wrong does not. */
#include "image/codec.h"
#include "tap.h"

#include <stdint.h>

struct pair {
	uint32_t a;
	char *s;
};

struct all {
	uint8_t u8;
	uint32_t u32;
	uint64_t u64;
	int32_t i32;
	int64_t i64;
	bool yes, no;
	char raw[5];
	char *s, *empty, *null;
	void *blob, *no_blob;
	size_t blob_len, no_blob_len;
	struct pair *pairs;
	size_t npairs;
	struct pair *none;
	size_t nnone;
};

static void code_all(struct codec *c, struct all *a)
{
	codec_u8(c, &a->u8);
	codec_u32(c, &a->u32);
	codec_u64(c, &a->u64);
	codec_i32(c, &a->i32);
	codec_i64(c, &a->i64);
	codec_bool(c, &a->yes);
	codec_bool(c, &a->no);
	codec_bytes(c, a->raw, sizeof(a->raw));
	codec_str(c, &a->s);
	codec_str(c, &a->empty);
	codec_str(c, &a->null);
	codec_blob(c, &a->blob, &a->blob_len);
	codec_blob(c, &a->no_blob, &a->no_blob_len);
	codec_array(c, &a->pairs, &a->npairs, sizeof(*a->pairs), 8, 100);
	for (size_t i = 0; i < a->npairs; i++) {
		codec_u32(c, &a->pairs[i].a);
		codec_str(c, &a->pairs[i].s);
	}
	codec_array(c, &a->none, &a->nnone, sizeof(*a->none), 8, 100);
}

static void free_all(struct all *a)
{
	for (size_t i = 0; i < a->npairs; i++)
		free(a->pairs[i].s);
	free(a->pairs);
	free(a->none);
	free(a->s);
	free(a->empty);
	free(a->null);
	free(a->blob);
	free(a->no_blob);
}

static void write_sample(struct buf *b)
{
	struct pair pairs[] = {{1, (char *)"one"}, {2, NULL}};
	struct all a = {.u8 = 200,
			.u32 = 0xdeadbeef,
			.u64 = 0x0123456789abcdef,
			.i32 = INT32_MIN,
			.i64 = INT64_MIN,
			.yes = true,
			.raw = {1, 0, 2, 0, 3},
			.s = (char *)"text",
			.empty = (char *)"",
			.blob = (char *)"a\0b",
			.blob_len = 3,
			.pairs = pairs,
			.npairs = 2};
	struct codec c = codec_writer(b);

	code_all(&c, &a);
	CHECK(!c.bad && codec_ended(&c));
}

static void a_record_comes_back(void)
{
	struct buf b = {0};
	struct codec c;
	struct all a;

	write_sample(&b);
	memset(&a, 0xee, sizeof(a)); /* what was there does not matter */
	c = codec_reader(b.p, b.len);
	code_all(&c, &a);
	CHECK(codec_ended(&c));
	CHECK(a.u8 == 200 && a.u32 == 0xdeadbeef && a.u64 == 0x0123456789abcdef);
	CHECK(a.i32 == INT32_MIN && a.i64 == INT64_MIN && a.yes && !a.no);
	CHECK(!memcmp(a.raw, "\1\0\2\0\3", 5));
	CHECK_STR(a.s, "text");
	CHECK_STR(a.empty, "");
	CHECK(!a.null);
	CHECK(a.blob_len == 3 && !memcmp(a.blob, "a\0b", 3) && !a.no_blob && !a.no_blob_len);
	CHECK(a.npairs == 2 && a.pairs[0].a == 1 && a.pairs[1].a == 2 && !a.pairs[1].s);
	CHECK_STR(a.pairs[0].s, "one");
	CHECK(!a.none && !a.nnone);
	free_all(&a);
	buf_done(&b);
}

/* The bytes are the format: this must never change. */
static void the_bytes_are_little_endian_without_padding(void)
{
	static const char want[] = "\xc8"
				   "\xef\xbe\xad\xde"
				   "\xef\xcd\xab\x89\x67\x45\x23\x01"
				   "\x00\x00\x00\x80"
				   "\x00\x00\x00\x00\x00\x00\x00\x80"
				   "\x01\x00"
				   "\x01\x00\x02\x00\x03"
				   "\x04\x00\x00\x00text"
				   "\x00\x00\x00\x00"
				   "\xff\xff\xff\xff"
				   "\x03\x00\x00\x00"
				   "a\0b"
				   "\xff\xff\xff\xff"
				   "\x02\x00\x00\x00"
				   "\x01\x00\x00\x00\x03\x00\x00\x00one"
				   "\x02\x00\x00\x00\xff\xff\xff\xff"
				   "\x00\x00\x00\x00";
	struct buf b = {0};

	write_sample(&b);
	CHECK_INT(b.len, sizeof(want) - 1);
	CHECK(!memcmp(b.p, want, b.len));
	buf_done(&b);
}

static void every_shorter_record_is_bad(void)
{
	struct buf b = {0};

	write_sample(&b);
	for (size_t n = 0; n < b.len; n++) {
		/* Exactly n bytes on the heap: a step beyond is seen by a sanitizer. */
		char *copy = malloc(n ? n : 1);
		struct codec c = codec_reader(memcpy(copy, b.p, n), n);
		struct all a;

		memset(&a, 0xee, sizeof(a));
		code_all(&c, &a);
		CHECK(c.bad && !codec_ended(&c));
		CHECK(!a.nnone && a.npairs <= 2); /* what follows reads as zero */
		free_all(&a);
		free(copy);
	}
	buf_done(&b);
}

static void a_longer_record_is_not_ended(void)
{
	struct buf b = {0};
	struct codec c;
	struct all a;

	write_sample(&b);
	buf_add(&b, "x", 1);
	c = codec_reader(b.p, b.len);
	code_all(&c, &a);
	CHECK(!c.bad && c.left == 1 && !codec_ended(&c));
	free_all(&a);
	buf_done(&b);
}

static void errors_stick(void)
{
	struct codec c = codec_reader("\1\2\3\4\5", 5);
	uint64_t wide = 7;
	uint8_t byte = 7;

	codec_u64(&c, &wide);
	codec_u8(&c, &byte); /* would be there */
	CHECK(c.bad && wide == 0 && byte == 0);
}

static bool bad_string(const char *bytes, size_t n)
{
	struct codec c = codec_reader(bytes, n);
	char *s = (char *)(uintptr_t)1;

	codec_str(&c, &s);
	CHECK(!c.bad || !s);
	free(s);
	return c.bad;
}

static void strings_that_cannot_be(void)
{
	static char big[CODEC_STR_MAX + 16];
	uint32_t n = CODEC_STR_MAX;

	CHECK(bad_string("\3\0\0\0a\0b", 7)); /* a NUL inside */
	CHECK(bad_string("\3\0\0\0ab", 6));
	CHECK(bad_string("\xfe\xff\xff\xff"
			 "ab",
			 6));
	CHECK(!bad_string("\xff\xff\xff\xff", 4));
	memset(big, 'x', sizeof(big));
	memcpy(big, &n, 4);
	CHECK(!bad_string(big, sizeof(big)));
	n++;
	memcpy(big, &n, 4);
	CHECK(bad_string(big, sizeof(big)));
}

static void a_bool_is_0_or_1(void)
{
	struct codec c = codec_reader("\2", 1);
	bool v = true;

	codec_bool(&c, &v);
	CHECK(c.bad && !v);
}

static bool bad_array(uint32_t count, size_t room, size_t min_size, size_t max)
{
	char *bytes = calloc(1, 4 + room);
	struct codec c = codec_reader(bytes, 4 + room);
	void *v = (void *)(uintptr_t)1;
	size_t n = 77;

	memcpy(bytes, &count, 4);
	codec_array(&c, &v, &n, 4096, min_size, max);
	CHECK(!c.bad ? n == count : (!v && !n));
	free(v);
	free(bytes);
	return c.bad;
}

static void arrays_that_cannot_be(void)
{
	CHECK(!bad_array(10, 80, 8, 10));
	CHECK(bad_array(11, 1000, 8, 10)); /* more than the limit */
	CHECK(bad_array(11, 87, 8, 100));  /* more than can be there */
	CHECK(!bad_array(11, 88, 8, 100));
	CHECK(bad_array(UINT32_MAX, 1000, 8, SIZE_MAX));
	CHECK(bad_array(UINT32_MAX, 1000, 0, SIZE_MAX));
	CHECK(!bad_array(0, 0, 8, 0));
}

static void what_could_not_be_read_again_is_not_written(void)
{
	struct buf b = {0};
	struct codec c = codec_writer(&b);
	char *big = malloc(CODEC_STR_MAX + 2);
	void *none = NULL;
	size_t n = 11;

	memset(big, 'x', CODEC_STR_MAX + 2);
	big[CODEC_STR_MAX + 1] = '\0';
	codec_str(&c, &big);
	CHECK(c.bad && b.len == 0);
	big[CODEC_STR_MAX] = '\0';
	c = codec_writer(&b);
	codec_str(&c, &big);
	CHECK(!c.bad && b.len == 4 + CODEC_STR_MAX);
	codec_array(&c, &none, &n, 1, 1, 10);
	CHECK(c.bad);
	free(big);
	buf_done(&b);
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(a_record_comes_back),
		TEST(the_bytes_are_little_endian_without_padding),
		TEST(every_shorter_record_is_bad),
		TEST(a_longer_record_is_not_ended),
		TEST(errors_stick),
		TEST(strings_that_cannot_be),
		TEST(a_bool_is_0_or_1),
		TEST(arrays_that_cannot_be),
		TEST(what_could_not_be_read_again_is_not_written),
	};

	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
