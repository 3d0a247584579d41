/* Syscall programs as people read them. */
#include "remote/explain.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/io.h"
#include "tap.h"

#define BASE 0x10000000ULL

static struct err err;
static struct program prog;

static void start(void)
{
	err = ERR_INIT;
	program_init(&prog, BASE, 4096, 100, &err);
}

/* The text of the whole program; the caller need not free it. */
static const char *text(void)
{
	char *p = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&p, &n);

	program_explain(&prog, f);
	fclose(f);
	return p;
}

static void a_file_is_opened(void)
{
	start();
	program_openat(&prog, "the log", "/tmp/a \"b\"\n\033[31m", O_WRONLY | O_APPEND | O_CLOEXEC,
		       0);
	program_openat(&prog, NULL, "/", O_RDONLY | O_DIRECTORY, 0);
	program_dup(&prog, "its place", 0, 7, true);
	program_dup(&prog, "no close-on-exec", 7, 7, false);
	program_close(&prog, "done", 0);
	CHECK_STR(text(), "openat(AT_FDCWD, \"/tmp/a \\\"b\\\"\\n\\033[31m\", "
			  "O_WRONLY|O_APPEND|O_CLOEXEC, 0) "
			  "= 0  /* the log */\n"
			  "openat(AT_FDCWD, \"/\", O_RDONLY|O_DIRECTORY, 0) = 1\n"
			  "dup3(0, 7, O_CLOEXEC) = 7  /* its place */\n"
			  "fcntl(7, F_SETFD, 0) = 0  /* no close-on-exec */\n"
			  "close(0) = 0  /* done */\n");
}

static void memory_is_mapped(void)
{
	start();
	program_call_want(&prog, 0x7f0000000000, "heap", SYS_mmap, 0x7f0000000000, 8192,
			  PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS,
			  (uint64_t)-1, 0);
	program_call(&prog, "rest", SYS_munmap, 0x1000, 4096, 0, 0, 0, 0)->expect = EXPECT_ANY;
	program_call(&prog, "guard", SYS_mprotect, 0x2000, 4096, PROT_NONE, 0, 0, 0);
	CHECK_STR(text(),
		  "mmap(0x7f0000000000, 8192, PROT_READ|PROT_WRITE, "
		  "MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000  /* heap */\n"
		  "munmap(0x1000, 4096)  /* rest */\n"
		  "mprotect(0x2000, 4096, PROT_NONE)  /* guard */\n");
}

static void structs_are_decoded(void)
{
	struct iovec v[5] = {{(void *)0x4000, 100}, {(void *)0x5000, 7}};
	struct epoll_event ev = {EPOLLIN | EPOLLET, {.u64 = 255}};
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons(80),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct rlimit l = {1024, RLIM_INFINITY};
	uint64_t sa[4] = {0x401000, SA_RESTART | SA_SIGINFO, 0, 1ull << (SIGUSR1 - 1)};
	uint64_t a;

	start();
	a = program_data(&prog, v, sizeof(v));
	program_call_want(&prog, 107, "pages", SYS_preadv, 5, a, 5, 4096, 0, 0);
	a = program_data(&prog, &ev, sizeof(ev));
	program_call(&prog, "watch", SYS_epoll_ctl, 3, EPOLL_CTL_ADD, 4, a, 0, 0);
	a = program_data(&prog, &in, sizeof(in));
	program_call(&prog, "port", SYS_bind, 3, a, sizeof(in), 0, 0, 0);
	a = program_data(&prog, &l, sizeof(l));
	program_call(&prog, "limit", SYS_prlimit64, 0, RLIMIT_NOFILE, a, 0, 0, 0);
	a = program_data(&prog, sa, sizeof(sa));
	program_call(&prog, "handler", SYS_rt_sigaction, SIGINT, a, 0, 8, 0, 0);
	CHECK_STR(
		text(),
		"preadv(5, [{0x4000, 100}, {0x5000, 7}, {0, 0}, ...], 5, 4096, 0) = 107  /* pages "
		"*/\n"
		"epoll_ctl(3, EPOLL_CTL_ADD, 4, {EPOLLIN|EPOLLET, data=0xff})  /* watch */\n"
		"bind(3, {AF_INET, 127.0.0.1, port 80}, 16)  /* port */\n"
		"prlimit64(0, RLIMIT_NOFILE, {rlim_cur=1024, rlim_max=RLIM_INFINITY}, 0)  /* limit "
		"*/\n"
		"rt_sigaction(SIGINT, {0x401000, SA_SIGINFO|SA_RESTART, mask [USR1]}, 0, 8)  /* "
		"handler */\n");
}

static void threads_are_told_apart(void)
{
	struct clone_args args = {.flags = CLONE_VM | CLONE_THREAD, .set_tid_size = 1};
	int32_t tid = 4243;
	uint64_t a;

	start();
	program_reserve(&prog, PROGRAM_PIECE(sizeof(tid)) + PROGRAM_PIECE(sizeof(args)));
	args.set_tid = program_data(&prog, &tid, sizeof(tid));
	a = program_data(&prog, &args, sizeof(args));
	program_call_want(&prog, tid, "a thread", SYS_clone3, a, sizeof(args), 0, 0, 0, 0);
	program_thread(&prog, 1);
	program_call(&prog, "its name", SYS_prctl, 15, program_str(&prog, "worker"), 0, 0, 0, 0);
	CHECK_STR(text(), "[thread 0] clone3({flags=CLONE_VM|CLONE_THREAD, exit_signal=0, "
			  "set_tid=[4243]}, 88) = 4243  /* a thread */\n"
			  "[thread 1] prctl(PR_SET_NAME, \"worker\", 0, 0, 0)  /* its name */\n");
}

static void unknown_calls_and_wild_pointers_are_printed(void)
{
	start();
	program_call(&prog, "who knows", 999, 1, 2, 0, 0, 0, 0xff);
	program_call(&prog, NULL, SYS_chdir, 0xdeadbeef, 0, 0, 0, 0, 0);
	program_call(&prog, NULL, SYS_preadv, 3, BASE, 1u << 30, 0, 0, 0);
	program_call(&prog, NULL, SYS_write, 1, BASE + 8, UINT64_MAX, 0, 0, 0);
	CHECK_STR(text(), "syscall_999(0x1, 0x2, 0, 0, 0, 0xff)  /* who knows */\n"
			  "chdir(0xdeadbeef)\n"
			  "preadv(3, 0x10000000, 1073741824, 0, 0)\n"
			  "write(1, 0x10000008, 18446744073709551615)\n");
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(a_file_is_opened),
		TEST(memory_is_mapped),
		TEST(structs_are_decoded),
		TEST(threads_are_told_apart),
		TEST(unknown_calls_and_wild_pointers_are_printed),
	};

	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
