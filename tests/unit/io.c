/* base/io.h: whole files. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/io.h"
#include "tap.h"

/* /proc hands out small pieces: the buffer must grow with the text, not with
 * the number of pieces. */
static void reads_a_long_proc_file_in_little_memory(void)
{
	struct rlimit few = {256 << 20, 256 << 20};
	__cleanup_buf struct buf b = {0};

	for (int i = 0; i < 4000; i++) /* neighbours differ, so that they stay apart */
		CHECK(mmap(NULL, PAGE_SIZE_4K, i % 2 ? PROT_READ : PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	CHECK_INT(setrlimit(RLIMIT_AS, &few), 0);
	CHECK_INT(io_read_file(AT_FDCWD, "/proc/self/maps", &b), 0);
	CHECK(b.len > 4000 * 25);
	CHECK(b.cap < 8 * b.len);
	CHECK_INT(b.p[b.len], 0);
}

static void reads_an_empty_file(void)
{
	__cleanup_buf struct buf b = {0};

	CHECK_INT(io_read_file(AT_FDCWD, "/dev/null", &b), 0);
	CHECK_INT(b.len, 0);
	CHECK_STR(b.p, "");
}

static void empties_the_buffer_first(void)
{
	__cleanup_buf struct buf b = {0};

	buf_printf(&b, "%s", "something");
	CHECK_INT(io_read_file(AT_FDCWD, "/dev/null", &b), 0);
	CHECK_INT(b.len, 0);
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(reads_a_long_proc_file_in_little_memory),
		TEST(reads_an_empty_file),
		TEST(empties_the_buffer_first),
	};
	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
