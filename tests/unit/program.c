/* The builder of syscall programs: batches, data, descriptors, failures. */
#include "remote/program.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/io.h"
#include "tap.h"

#define BASE 0x7000000000ULL

static struct err err;
static struct program prog;

static void start(size_t data_cap, size_t call_cap)
{
	err = ERR_INIT;
	program_init(&prog, BASE, data_cap, call_cap, &err);
	CHECK(!prog.failed);
}

static void call_no(int i)
{
	program_call(&prog, "test", SYS_umask, (uint64_t)i, 0, 0, 0, 0, 0);
}

static void a_batch_is_closed_when_its_calls_are_full(void)
{
	start(4096, 3);
	for (int i = 0; i < 7; i++)
		call_no(i);
	CHECK_INT(prog.n, 3);
	CHECK_INT(prog.batches[0].n, 3);
	CHECK_INT(prog.batches[1].n, 3);
	CHECK_INT(prog.batches[2].n, 1);
	CHECK_INT(prog.batches[2].calls[0].arg[0], 6);
	CHECK_INT(program_calls(&prog), 7);
	program_done(&prog);
}

static void a_batch_is_closed_when_its_data_are_full(void)
{
	start(64, 100);
	for (int i = 0; i < 3; i++) {
		uint64_t a = program_data(&prog, "0123456789012345678901234567890", 32);

		CHECK_INT(a, BASE + (i % 2 ? 32 : 0));
		call_no((int)a);
	}
	CHECK_INT(prog.n, 2);
	CHECK_INT(prog.batches[0].n, 2);
	CHECK_INT(prog.batches[0].data_len, 64);
	CHECK_INT(prog.batches[1].data_len, 32);
}

/* Full of calls already when the data come: they must not end up in the old batch. */
static void data_and_their_call_share_a_batch(void)
{
	uint64_t a;

	start(4096, 2);
	call_no(0);
	call_no(1);
	a = program_str(&prog, "/tmp");
	program_call(&prog, "test", SYS_chdir, a, 0, 0, 0, 0, 0);
	CHECK_INT(prog.n, 2);
	CHECK_INT(prog.batches[0].data_len, 0);
	CHECK_STR((char *)prog.batches[1].data, "/tmp");
	CHECK_INT(prog.batches[1].calls[0].arg[0], BASE);
	CHECK_INT(prog.batches[1].calls[0].pointers, 1);
	CHECK_INT(prog.batches[0].calls[0].pointers, 0);
}

static void reserved_pieces_share_a_batch(void)
{
	uint64_t a, b;

	start(128, 10);
	program_data(&prog, NULL, 96);
	call_no(0);
	program_reserve(&prog, PROGRAM_PIECE(16) + PROGRAM_PIECE(30));
	a = program_data(&prog, "0123456789abcdef", 16);
	b = program_data(&prog, NULL, 30);
	program_call(&prog, "test", SYS_writev, 1, a, b, 0, 0, 0);
	CHECK(!prog.failed);
	CHECK_INT(prog.n, 2);
	CHECK_INT(a, BASE);
	CHECK_INT(b, BASE + 16);
	CHECK_INT(prog.batches[1].data[20], 0);
	CHECK_INT(prog.batches[1].calls[0].pointers, 6);
}

static void pieces_that_need_two_batches_fail(void)
{
	start(64, 10);
	program_data(&prog, NULL, 48);
	program_data(&prog, NULL, 48);
	CHECK(prog.failed);
	CHECK_INT(err.error, -E2BIG);
	program_call(&prog, "test", SYS_umask, 0, 0, 0, 0, 0, 0)->expect = EXPECT_ANY;
	CHECK_INT(program_calls(&prog), 0);
	program_done(&prog);
}

static void a_piece_larger_than_the_area_fails(void)
{
	start(64, 10);
	CHECK_INT(program_data(&prog, NULL, 65), 0);
	CHECK(prog.failed);
	CHECK_INT(err.error, -E2BIG);
}

static void threads_have_batches_of_their_own(void)
{
	start(4096, 10);
	call_no(0);
	program_thread(&prog, 2);
	call_no(1);
	call_no(2);
	program_thread(&prog, 0);
	call_no(3);
	CHECK_INT(prog.n, 3);
	CHECK_INT(prog.batches[0].thread, 0);
	CHECK_INT(prog.batches[1].thread, 2);
	CHECK_INT(prog.batches[1].n, 2);
	CHECK_INT(prog.batches[2].thread, 0);
}

static void flush_ends_the_batch_and_makes_no_empty_one(void)
{
	start(4096, 10);
	program_flush(&prog);
	program_flush(&prog);
	call_no(0);
	program_flush(&prog);
	program_flush(&prog);
	call_no(1);
	CHECK_INT(prog.n, 2);
	program_data(&prog, NULL, 8);
	program_flush(&prog);
	CHECK(prog.failed);
}

static void descriptors_are_predicted(void)
{
	start(4096, 100);
	program_fd_mark(&prog, 0, true);
	program_fd_mark(&prog, 2, true);
	CHECK_INT(program_openat(&prog, "test", "/a", O_RDWR, 0), 1);
	CHECK_INT(program_openat(&prog, "test", "/b", O_RDWR | O_CREAT, 0644), 3);
	program_close(&prog, "test", 2);
	CHECK_INT(program_fd_lowest(&prog, 0), 2);
	program_dup(&prog, "test", 3, 200, true);
	CHECK(program_fd_is_used(&prog, 200));
	program_dup(&prog, "test", 200, 200, false);
	CHECK_INT(program_dup_above(&prog, "test", 1, 200), 201);
	for (int fd = 0; fd < 64; fd++)
		program_fd_mark(&prog, fd, true);
	CHECK_INT(program_fd_lowest(&prog, 0), 64);
	CHECK_INT(program_fd_lowest(&prog, 127), 127);

	struct call *c = prog.batches[0].calls;

	CHECK_INT(prog.batches[0].n, 6);
	CHECK_INT(c[0].want, 1);
	CHECK_INT(c[0].expect, EXPECT_VALUE);
	CHECK_INT(c[1].arg[3], 0644);
	CHECK_INT(c[2].nr, SYS_close);
	CHECK_INT(c[3].nr, SYS_dup3);
	CHECK_INT(c[3].arg[2], O_CLOEXEC);
	CHECK_INT(c[4].nr, SYS_fcntl);
	CHECK_INT(c[4].arg[1], F_SETFD);
	CHECK_INT(c[4].arg[2], 0);
	CHECK_INT(c[5].want, 201);
}

static void descriptors_end_at_the_maximum(void)
{
	start(4096, 100);
	program_fd_mark(&prog, -1, true);
	program_fd_mark(&prog, (int)PROGRAM_FD_MAX, true);
	CHECK(!program_fd_is_used(&prog, -1));
	CHECK(!program_fd_is_used(&prog, (int)PROGRAM_FD_MAX));
	program_fd_mark(&prog, (int)PROGRAM_FD_MAX - 1, true);
	CHECK(!prog.failed);
	CHECK_INT(program_dup_above(&prog, "test", 0, (int)PROGRAM_FD_MAX - 1), -1);
	CHECK(prog.failed);
	CHECK_INT(err.error, -EMFILE);
}

static void reasons_are_kept(void)
{
	const char *first;

	start(4096, 100);
	first = program_why(&prog, "number %d", 0);
	for (int i = 1; i < 1000; i++)
		program_why(&prog, "number %d", i);
	CHECK_STR(first, "number 0");
	CHECK_STR(prog.whys[999], "number 999");
	program_done(&prog);
	program_done(&prog);
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(a_batch_is_closed_when_its_calls_are_full),
		TEST(a_batch_is_closed_when_its_data_are_full),
		TEST(data_and_their_call_share_a_batch),
		TEST(reserved_pieces_share_a_batch),
		TEST(pieces_that_need_two_batches_fail),
		TEST(a_piece_larger_than_the_area_fails),
		TEST(threads_have_batches_of_their_own),
		TEST(flush_ends_the_batch_and_makes_no_empty_one),
		TEST(descriptors_are_predicted),
		TEST(descriptors_end_at_the_maximum),
		TEST(reasons_are_kept),
	};

	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
