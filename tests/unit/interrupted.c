/* Which call is behind restart_syscall: by code, by arguments, or not to be told. */
#include "arch/x86_64/interrupted.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/io.h"
#include "tap.h"

/* The program's memory: code, then data, then nothing. */
#define CODE 0x401000ULL
#define DATA 0x7f0000001000ULL

static unsigned char code[128], data[1024];

static int read_memory(void *arg, uint64_t addr, void *buf, size_t len, bool is_code)
{
	(void)arg;
	if (is_code && addr >= CODE && addr + len <= CODE + sizeof(code)) {
		memcpy(buf, code + (addr - CODE), len);
		return 0;
	}
	if (addr >= DATA && addr + len <= DATA + sizeof(data)) {
		memcpy(buf, data + (addr - DATA), len);
		return 0;
	}
	return -EFAULT;
}

static const struct arch_memory mem = {.read = read_memory};

/* The syscall instruction stands at `at` in the code, the call that was restarted
 * is in the kernel. */
static struct user_regs_struct in_restart(size_t at)
{
	memcpy(code + at, "\x0f\x05", 2);
	return (struct user_regs_struct){
		.rip = CODE + at + 2, .rax = (uint64_t)-516, .orig_rax = SYS_restart_syscall};
}

static uint64_t put(size_t at, const void *p, size_t len)
{
	memcpy(data + at, p, len);
	return DATA + at;
}

static uint64_t span_at(size_t at, int64_t sec, int64_t nsec)
{
	int64_t t[2] = {sec, nsec};

	return put(at, t, sizeof(t));
}

static void is_put_back_as(struct user_regs_struct r, long nr)
{
	uint64_t rip = r.rip;

	CHECK(arch_call_is_lost(&r, &mem));
	CHECK_INT(arch_find_lost_call(&r, &mem), nr);
	if (nr < 0)
		return;
	arch_put_lost_call(&r, nr);
	CHECK_INT(r.orig_rax, nr);
	CHECK_INT((int64_t)r.rax, -516);
	CHECK_INT(r.rip, rip);
}

static void first_stop_of_a_call_is_not_lost(void)
{
	struct user_regs_struct r = in_restart(20);

	r.orig_rax = SYS_nanosleep;
	CHECK(!arch_call_is_lost(&r, &mem));
	r.orig_rax = (uint64_t)-1;
	r.rax = 7;
	CHECK(!arch_call_is_lost(&r, &mem));
}

static void arguments_tell_nanosleep(void)
{
	struct user_regs_struct r = in_restart(20);

	r.rdi = span_at(0, 4, 0);
	is_put_back_as(r, SYS_nanosleep);
	r.rsi = span_at(64, -1, -1); /* whatever is there: it is written only */
	is_put_back_as(r, SYS_nanosleep);
	r.rsi = 12;
	is_put_back_as(r, -ENOENT);
	r.rsi = 0;
	r.rdi = span_at(0, 4, 1000000000);
	is_put_back_as(r, -ENOENT);
	r.rdi = DATA + sizeof(data) - 8;
	is_put_back_as(r, -ENOENT);
}

static void arguments_tell_clock_nanosleep(void)
{
	struct user_regs_struct r = in_restart(20);

	for (int clock = 0; clock < 12; clock++) {
		r.rdi = (uint64_t)clock;
		r.rdx = span_at(16, 0, 5000000);
		is_put_back_as(r, SYS_clock_nanosleep);
	}
	r.rdi = (uint32_t)-42; /* the CPU time of a process */
	is_put_back_as(r, SYS_clock_nanosleep);
	r.rdi = (uint64_t)-42;
	is_put_back_as(r, SYS_clock_nanosleep);
	r.rdi = 1;
	r.rsi = 1; /* TIMER_ABSTIME */
	is_put_back_as(r, -ENOENT);
}

static void arguments_tell_poll(void)
{
	struct user_regs_struct r = in_restart(20);
	struct pollfd p[12] = {{.fd = 5, .events = POLLIN}, {.fd = -1}};

	r.rdx = 3000;
	is_put_back_as(r, SYS_poll); /* poll(NULL, 0, 3000) */
	r.rdi = put(0, p, sizeof(p));
	for (r.rsi = 1; r.rsi <= 12; r.rsi++)
		is_put_back_as(r, SYS_poll);
	r.rsi = 2;
	r.rdx = (uint32_t)-1;
	is_put_back_as(r, SYS_poll);
	p[1].events = (short)0xff00;
	put(0, p, sizeof(p));
	is_put_back_as(r, -ENOENT);
}

static void arguments_tell_futex(void)
{
	static const uint32_t ops[] = {FUTEX_WAIT, FUTEX_WAIT_PRIVATE, FUTEX_WAIT_BITSET,
				       FUTEX_WAIT_BITSET_PRIVATE,
				       FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME};
	struct user_regs_struct r = in_restart(20);

	/* Zeros behind the futex look like descriptors that nothing is asked of. */
	memset(data, 0, sizeof(data));
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		r.rdi = DATA + 512;
		r.rsi = ops[i];
		r.r10 = span_at(32, 1, 1);
		is_put_back_as(r, SYS_futex);
	}
	r.rdi += 2;
	is_put_back_as(r, -ENOENT);
	r.rdi -= 2;
	r.rsi = FUTEX_LOCK_PI_PRIVATE;
	is_put_back_as(r, -ENOENT);
}

/* nanosleep(&t, NULL) with a time in r10 by chance, or futex(&t, FUTEX_WAIT, ..., &t). */
static void what_could_be_two_calls_is_not_guessed(void)
{
	struct user_regs_struct r = in_restart(60);

	r.rdi = r.r10 = span_at(0, 600, 0);
	is_put_back_as(r, -EMLINK);
	memcpy(code + 60 - 5, "\xb8\x23\0\0\0", 5); /* mov $nanosleep, %eax */
	is_put_back_as(r, SYS_nanosleep);
	memcpy(code + 60 - 5, "\xb8\xca\0\0\0", 5);
	is_put_back_as(r, SYS_futex);
}

static void code_is_believed_where_the_arguments_fit(void)
{
	struct user_regs_struct r = in_restart(90);

	r.rdi = r.r10 = span_at(0, 600, 0);
	memcpy(code + 40, "\x48\xc7\xc0\xca\0\0\0", 7); /* mov $futex, %rax */
	memcpy(code + 70, "\xb8\x07\0\0\0", 5);         /* nearer, but no poll */
	is_put_back_as(r, SYS_futex);
	memcpy(code + 80, "\x6a\x23\x58", 3); /* push $nanosleep; pop %rax */
	is_put_back_as(r, SYS_nanosleep);
}

/* The first byte of what can be read is not far before the instruction. */
static void code_at_the_beginning_of_its_page_is_read(void)
{
	struct user_regs_struct r = in_restart(5);

	r.rdi = r.r10 = span_at(0, 600, 0);
	memcpy(code, "\xb8\x23\0\0\0", 5);
	is_put_back_as(r, SYS_nanosleep);
}

/* int $0x80: another table of calls. */
static void call_by_another_instruction_is_not_found(void)
{
	struct user_regs_struct r = in_restart(20);

	memcpy(code + 20, "\xcd\x80", 2);
	r.rdi = span_at(0, 4, 0);
	is_put_back_as(r, -ENOENT);
}

/* Stopped again after the kernel wound the call back, before user mode. */
static void call_about_to_be_restarted_is_put_back(void)
{
	struct user_regs_struct r = in_restart(20);

	r.rip -= 2;
	r.rax = SYS_restart_syscall;
	r.rdi = r.r10 = span_at(0, 600, 0);
	r.orig_rax = SYS_futex; /* the first time the number is still there */
	CHECK(arch_call_is_lost(&r, &mem));
	CHECK_INT(arch_find_lost_call(&r, &mem), SYS_futex);
	r.orig_rax = SYS_restart_syscall;
	r.r10 = 0;
	CHECK_INT(arch_find_lost_call(&r, &mem), SYS_nanosleep);
	r.orig_rax = (uint64_t)-1;
	CHECK_INT(arch_find_lost_call(&r, &mem), SYS_nanosleep);
	arch_put_lost_call(&r, SYS_nanosleep);
	CHECK_INT(r.rax, SYS_nanosleep);
	CHECK_INT((int64_t)r.orig_rax, -1);
	CHECK_INT(r.rip, CODE + 20);
}

/* 219 in rax is a number like any other elsewhere. */
static void number_before_another_instruction_is_no_call(void)
{
	struct user_regs_struct r = in_restart(20);

	r.rax = SYS_restart_syscall;
	r.orig_rax = (uint64_t)-1;
	CHECK(!arch_call_is_lost(&r, &mem));
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(first_stop_of_a_call_is_not_lost),
		TEST(arguments_tell_nanosleep),
		TEST(arguments_tell_clock_nanosleep),
		TEST(arguments_tell_poll),
		TEST(arguments_tell_futex),
		TEST(what_could_be_two_calls_is_not_guessed),
		TEST(code_is_believed_where_the_arguments_fit),
		TEST(code_at_the_beginning_of_its_page_is_read),
		TEST(call_by_another_instruction_is_not_found),
		TEST(call_about_to_be_restarted_is_put_back),
		TEST(number_before_another_instruction_is_no_call),
	};

	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
