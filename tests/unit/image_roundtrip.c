/* What is written is read again, at all sizes that matter. */
#include <sys/stat.h>
#include <unistd.h>

#include "image_sample.h"
#include "tap.h"

static void check_blocks(struct image *img, struct err *err)
{
	uint8_t *block = malloc(IMAGE_BLOCK);
	uint64_t seen = 0, wrong = 0;

	for (uint64_t i = 0; i < image_blocks(img); i++) {
		int len = image_read_block(img, i, block, err);

		CHECK(len > 0);
		for (int k = 0; k < len; k++)
			wrong += block[k] != sample_byte(seen++);
	}
	free(block);
	CHECK_INT(wrong, 0);
	CHECK_INT(seen, image_data_size(img));
	CHECK(!image_verify_blocks(img, 0, image_blocks(img), NULL, err));
	CHECK(image_verify_blocks(img, 0, image_blocks(img) + 1, NULL, err) == -EINVAL);
}

static void check_notes(struct image *img, unsigned threads, struct err *err)
{
	static uint8_t xstate[SAMPLE_XSTATE];
	struct image_note n;
	size_t cursor = 0;

	CHECK(image_note_next(img, &cursor, &n) == 1);
	CHECK_STR(n.owner, "GODWIT");
	CHECK(n.type == NOTE_SYSTEM && n.len == 3 && !memcmp(n.desc, "abc", 3));
	for (unsigned i = 0; i < threads; i++) {
		CHECK(image_note_next(img, &cursor, &n) == 1);
		CHECK(n.type == NT_PRSTATUS && n.len == 336 && !memcmp(n.desc + 32, &i, sizeof(i)));
		CHECK((uintptr_t)n.desc % 16 == 0);
		CHECK(image_note_next(img, &cursor, &n) == 1);
		CHECK(n.type == NT_X86_XSTATE && n.len == SAMPLE_XSTATE && !n.desc);
		CHECK(!image_note_read(img, &n, xstate, err));
		CHECK(xstate[0] == (uint8_t)i && xstate[SAMPLE_XSTATE - 1] == (uint8_t)i);
	}
	CHECK(image_note_next(img, &cursor, &n) == 1);
	CHECK(n.type == SAMPLE_UNKNOWN && n.len == 0);
	CHECK(image_note_next(img, &cursor, &n) == 0);
	CHECK(image_note_find(img, "GODWIT", SAMPLE_UNKNOWN, &n) == 1);
	CHECK(image_note_find(img, "CORE", SAMPLE_UNKNOWN, &n) == 0);
}

static void check_segments(struct image *img, uint64_t data_size, uint64_t segments)
{
	struct image_segment s;

	CHECK_INT(image_segments(img), segments);
	CHECK(image_segment_get(img, segments, &s) == -EINVAL);
	for (uint64_t i = 0; i < segments; i++) {
		bool stored = i * 4096 < data_size;

		CHECK(!image_segment_get(img, i, &s));
		CHECK(s.vaddr == SAMPLE_BASE + i * 8192 && s.memsz == 4096);
		CHECK(s.filesz == (stored ? 4096 : 0));
		CHECK(s.file_off == (stored ? IMAGE_DATA_START + i * 4096 : 0));
	}
}

static void round_trip(uint64_t data_size, unsigned threads, uint64_t segments)
{
	char dir[] = "/tmp/image-roundtrip-XXXXXX", path[64];
	struct err err = ERR_INIT;
	struct image *img;
	struct stat st;

	CHECK(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/image", dir);
	CHECK(!sample_write(path, data_size, threads, segments, &err));
	CHECK(!stat(path, &st));
	CHECK_INT(st.st_mode & 07777, 0600);
	CHECK(!image_open(path, &img, &err));
	CHECK_INT(image_data_size(img), data_size);
	CHECK_INT(image_file_size(img), st.st_size);
	check_blocks(img, &err);
	check_notes(img, threads, &err);
	check_segments(img, data_size, segments);
	image_close(img);
	CHECK(!unlink(path));
	CHECK(!rmdir(dir)); /* nothing else is left */
}

static void an_image_without_memory(void)
{
	round_trip(0, 0, 0);
}

static void one_page(void)
{
	round_trip(4096, 1, 1);
}

static void exactly_one_block(void)
{
	round_trip(IMAGE_BLOCK, 1, 3);
}

static void one_page_more_than_a_block(void)
{
	round_trip(IMAGE_BLOCK + 4096, 47, 200);
}

static void notes_and_headers_of_many_blocks(void)
{
	round_trip(3 * IMAGE_BLOCK - 4096, 200, 65533);
}

static void the_first_count_that_needs_pn_xnum(void)
{
	round_trip(8192, 0, 65534);
}

static void a_hundred_thousand_segments(void)
{
	round_trip(8192, 1, 100000);
}

static unsigned long peak_kib(void)
{
	char line[128];
	unsigned long kib = 0;
	FILE *f = fopen("/proc/self/status", "re");

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "VmHWM: %lu", &kib);
	fclose(f);
	return kib;
}

/* 3000 threads have 33 MB of notes; hardly any of it may be in memory. */
static void memory_does_not_grow_with_the_threads(void)
{
	char path[] = "/tmp/image-roundtrip-XXXXXX";
	struct err err = ERR_INIT;
	unsigned long before;
	struct image *img;

#ifdef __SANITIZE_ADDRESS__
	SKIP("the sanitizer keeps what is freed");
#endif
	CHECK(mkstemp(path) >= 0);
	before = peak_kib();
	CHECK(!sample_write(path, 4096, 3000, 20000, &err));
	CHECK(peak_kib() - before < 3072);
	CHECK(!image_open(path, &img, &err));
	CHECK(image_file_size(img) > 33000000);
	CHECK(peak_kib() - before < 6144);
	image_close(img);
	CHECK(!unlink(path));
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(an_image_without_memory),
		TEST(one_page),
		TEST(exactly_one_block),
		TEST(one_page_more_than_a_block),
		TEST(notes_and_headers_of_many_blocks),
		TEST(the_first_count_that_needs_pn_xnum),
		TEST(a_hundred_thousand_segments),
		TEST(memory_does_not_grow_with_the_threads),
	};

	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
