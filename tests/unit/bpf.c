/* The interpreter of seccomp filters, against the kernel's; and hostile ones. */
#include "remote/bpf.h"

#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/err.h"
#include "tap.h"

#define COUNT(v) (sizeof(v) / sizeof((v)[0]))
#define STMT(code, k) BPF_STMT(code, k)
#define ABS(field) STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ALLOW STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
/* The call asked about is getppid with these; its answer is an errno: A, without its high bits. */
#define FIRST 0x1234567890abcdefULL
#define SECOND 41
#define ASKED ABS(nr), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 1, 0), ALLOW
#define ANSWER                                                                                     \
	STMT(BPF_ALU | BPF_AND | BPF_K, 0x7ff), STMT(BPF_ALU | BPF_OR | BPF_K, SECCOMP_RET_ERRNO), \
		STMT(BPF_RET | BPF_A, 0)

/* What the kernel makes of it: the errno, 0 where it lets pass. */
static int ask_kernel(struct sock_filter *f, size_t n)
{
	struct sock_fprog prog = {.len = (unsigned short)n, .filter = f};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog)) {
		printf("# the kernel does not take the filter\n");
		return -1;
	}
	errno = 0;
	return syscall(SYS_getppid, FIRST, SECOND, 0, 0, 0, 0) < 0 ? errno : 0;
}

static void compare(struct sock_filter *f, size_t n)
{
	const struct seccomp_filter filter = {.insns = f, .n = n};
	const uint64_t arg[6] = {FIRST, SECOND};
	struct seccomp_data call = bpf_call(SYS_getppid, arg, 0);
	uint32_t said = bpf_run(&filter, &call);
	int ours = said == SECCOMP_RET_ALLOW ? 0 : (int)(said & 0xffff);

	CHECK((said & 0xffff0000) == SECCOMP_RET_ERRNO || said == SECCOMP_RET_ALLOW);
	CHECK_INT(ours, ask_kernel(f, n));
}

#define SAME_AS_THE_KERNEL(name, ...)                                                              \
	static void name(void)                                                                     \
	{                                                                                          \
		struct sock_filter f[] = {ASKED, __VA_ARGS__, ANSWER};                             \
		compare(f, COUNT(f));                                                              \
	}

SAME_AS_THE_KERNEL(loads_low_words, ABS(args[0]))
SAME_AS_THE_KERNEL(loads_high_words,
		   STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]) + 4))
SAME_AS_THE_KERNEL(knows_its_architecture, ABS(arch), STMT(BPF_ALU | BPF_RSH | BPF_K, 24))
SAME_AS_THE_KERNEL(keeps_words, ABS(args[1]), STMT(BPF_ST, 15), STMT(BPF_LD | BPF_IMM, 7),
		   STMT(BPF_LDX | BPF_W | BPF_MEM, 15), STMT(BPF_ALU | BPF_ADD | BPF_X, 0))
SAME_AS_THE_KERNEL(stores_x, STMT(BPF_LDX | BPF_IMM, 99), STMT(BPF_STX, 3),
		   STMT(BPF_LD | BPF_MEM, 3))
SAME_AS_THE_KERNEL(moves, ABS(args[1]), STMT(BPF_MISC | BPF_TAX, 0), STMT(BPF_LD | BPF_IMM, 3),
		   STMT(BPF_ALU | BPF_MUL | BPF_X, 0), STMT(BPF_MISC | BPF_TAX, 0),
		   STMT(BPF_LD | BPF_IMM, 0), STMT(BPF_MISC | BPF_TXA, 0))
SAME_AS_THE_KERNEL(computes, ABS(args[1]), STMT(BPF_ALU | BPF_SUB | BPF_K, 5),
		   STMT(BPF_ALU | BPF_DIV | BPF_K, 3), STMT(BPF_ALU | BPF_XOR | BPF_K, 0x55),
		   STMT(BPF_ALU | BPF_LSH | BPF_K, 2), STMT(BPF_ALU | BPF_NEG, 0))
SAME_AS_THE_KERNEL(divides_by_zero, STMT(BPF_LDX | BPF_IMM, 1), ABS(args[1]),
		   STMT(BPF_ALU | BPF_DIV | BPF_X, 0))
SAME_AS_THE_KERNEL(has_a_length, STMT(BPF_LD | BPF_W | BPF_LEN, 0))
SAME_AS_THE_KERNEL(jumps, ABS(args[1]), BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 40, 0, 1),
		   STMT(BPF_JMP | BPF_JA, 1), STMT(BPF_LD | BPF_IMM, 1),
		   BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 8, 1, 0), STMT(BPF_LD | BPF_IMM, 2),
		   BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 42, 0, 1), STMT(BPF_LD | BPF_IMM, 4))
SAME_AS_THE_KERNEL(compares_with_x, STMT(BPF_LDX | BPF_IMM, SECOND), ABS(args[1]),
		   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, 0, 1), STMT(BPF_LD | BPF_IMM, 4))

static void lets_pass_what_all_let_pass(void)
{
	struct sock_filter yes[] = {ALLOW}, log[] = {STMT(BPF_RET | BPF_K, SECCOMP_RET_LOG)};
	struct sock_filter no[] = {STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO)};
	const struct seccomp_filter v[] = {
		{.insns = yes, .n = 1}, {.insns = log, .n = 1}, {.insns = no, .n = 1}};
	const uint64_t arg[6] = {0};
	struct seccomp_data call = bpf_call(SYS_munmap, arg, 0);

	CHECK(bpf_lets_pass(v, 0, &call));
	CHECK(bpf_lets_pass(v, 2, &call));
	CHECK(!bpf_lets_pass(v, 3, &call));
}

/* Of an image that nobody made: they end, and let nothing pass. */
static void hostile_filters_kill(void)
{
	static struct sock_filter f[][2] = {
		{STMT(BPF_LD | BPF_W | BPF_ABS, 64), ALLOW},
		{STMT(BPF_LD | BPF_W | BPF_ABS, 0xfffffffd), ALLOW},
		{STMT(BPF_LD | BPF_W | BPF_ABS, 2), ALLOW},
		{STMT(BPF_LD | BPF_B | BPF_IND, 0), ALLOW},
		{STMT(BPF_LD | BPF_MEM, 16), ALLOW},
		{STMT(BPF_ST, 0x80000000), ALLOW},
		{STMT(BPF_STX, 16), ALLOW},
		{STMT(BPF_JMP | BPF_JA, 0xffffffff), ALLOW},
		{STMT(BPF_JMP | BPF_JA, 1), ALLOW},
		{BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 255, 255), ALLOW},
		{STMT(BPF_JMP | 0xf0, 0), ALLOW},
		{STMT(BPF_ALU | BPF_MOD | BPF_K, 0), ALLOW},
		{STMT(BPF_LD | BPF_IMM, 0), STMT(BPF_LD | BPF_IMM, 0)},
	};
	const uint64_t arg[6] = {0};
	struct seccomp_data call = bpf_call(SYS_munmap, arg, 0);

	for (size_t i = 0; i < COUNT(f); i++) {
		const struct seccomp_filter filter = {.insns = f[i], .n = 2};

		printf("# filter %zu\n", i);
		CHECK(!bpf_lets_pass(&filter, 1, &call));
	}
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(loads_low_words),
		TEST(loads_high_words),
		TEST(knows_its_architecture),
		TEST(keeps_words),
		TEST(stores_x),
		TEST(moves),
		TEST(computes),
		TEST(divides_by_zero),
		TEST(has_a_length),
		TEST(jumps),
		TEST(compares_with_x),
		TEST(lets_pass_what_all_let_pass),
		TEST(hostile_filters_kill),
	};

	return tap_main(tests, COUNT(tests), argc, argv);
}
