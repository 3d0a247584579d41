/*
 * Finds the call behind restart_syscall: see interrupted.h.
 *
 * Evidence, in this order:
 *   1. orig_rax, when the thread was stopped again before it reached user mode: the
 *      kernel has set rax and rip to restart the call, but not yet entered it;
 *   2. the instruction that loads the number, before the syscall instruction, if
 *      the arguments could be that call's;
 *   3. the arguments alone, if they could be one call's only.  So for callers that
 *      get the number in a variable: syscall(3), the cancellation points of musl and of
 *      glibc from 2.41 on.
 */
#include "arch/x86_64/interrupted.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>

#define ERESTART_RESTARTBLOCK 516 /* include/linux/errno.h */
#define SYSCALL_LEN 2u
#define CODE_LEN 64u /* bytes before the syscall instruction that are looked at */
#define PAGE_LEN 4096u
#define CLOCKS 12u     /* clock ids 0 ... 11 */
#define MAX_FDS 65536u /* of one poll */
#define FDS_READ 64u   /* of them looked at */
#define NO_EVENTS 0xc000u
#define NSEC 1000000000u

struct span {
	int64_t sec, nsec;
};

struct pollee {
	int32_t fd;
	uint16_t events, revents;
};

static bool is_lost_number(int64_t nr)
{
	return nr == SYS_nanosleep || nr == SYS_clock_nanosleep || nr == SYS_poll ||
	       nr == SYS_futex;
}

static bool reads(const struct arch_memory *mem, uint64_t addr, void *buf, size_t len)
{
	return addr && mem->read(mem->arg, addr, buf, len, false) == 0;
}

static bool is_syscall(const struct arch_memory *mem, uint64_t rip)
{
	unsigned char b[SYSCALL_LEN];

	return mem->read(mem->arg, rip, b, sizeof(b), true) == 0 && b[0] == 0x0f && b[1] == 0x05;
}

static bool is_in_restart(const struct user_regs_struct *r)
{
	return (int64_t)r->orig_rax == SYS_restart_syscall &&
	       (int64_t)r->rax == -ERESTART_RESTARTBLOCK;
}

bool arch_call_is_lost(const struct user_regs_struct *regs, const struct arch_memory *mem)
{
	return is_in_restart(regs) ||
	       ((int64_t)regs->rax == SYS_restart_syscall && is_syscall(mem, regs->rip));
}

/* --- could the arguments be this call's? --- */

static bool is_span(const struct arch_memory *mem, uint64_t addr)
{
	struct span t;

	return reads(mem, addr, &t, sizeof(t)) && t.sec >= 0 && t.nsec >= 0 && t.nsec < NSEC;
}

/* Where the time that is left goes, if anywhere. */
static bool is_span_or_null(const struct arch_memory *mem, uint64_t addr)
{
	struct span t;

	return !addr || reads(mem, addr, &t, sizeof(t));
}

static bool could_be_nanosleep(const struct user_regs_struct *r, const struct arch_memory *mem)
{
	struct span t;

	/* Nobody is found asleep in a sleep of no length: zeros are something else. */
	return reads(mem, r->rdi, &t, sizeof(t)) && is_span(mem, r->rdi) && (t.sec || t.nsec) &&
	       is_span_or_null(mem, r->rsi);
}

static bool could_be_clock_nanosleep(const struct user_regs_struct *r,
				     const struct arch_memory *mem)
{
	int32_t clock = (int32_t)r->rdi; /* of another process or thread: negative */

	/* TIMER_ABSTIME is restarted with its own number. */
	return clock < (int32_t)CLOCKS && (int32_t)r->rsi == 0 &&
	       (r->rdi >> 32 == 0 || (int64_t)r->rdi == clock) && is_span(mem, r->rdx) &&
	       is_span_or_null(mem, r->r10);
}

static bool is_int(uint64_t reg)
{
	return reg >> 32 == 0 || (int64_t)reg == (int32_t)reg;
}

static bool could_be_poll(const struct user_regs_struct *r, const struct arch_memory *mem)
{
	struct pollee p[FDS_READ];
	size_t n = r->rsi < FDS_READ ? (size_t)r->rsi : FDS_READ;
	uint16_t events = 0;

	if (r->rsi > MAX_FDS || !is_int(r->rdx) || (int32_t)r->rdx < -1)
		return false;
	if (n == 0) /* a mere sleep: an address would point to nothing */
		return r->rdi == 0 && (int32_t)r->rdx > 0;
	if (!reads(mem, r->rdi, p, n * sizeof(*p)))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (p[i].fd > 1 << 20 || (p[i].events | p[i].revents) & NO_EVENTS)
			return false;
		events |= p[i].events;
	}
	/* FUTEX_WAIT_BITSET is 9: so many zeros may be what follows a futex. */
	return n < FUTEX_WAIT_BITSET || events;
}

static bool could_be_futex(const struct user_regs_struct *r, const struct arch_memory *mem)
{
	uint32_t op = (uint32_t)r->rsi & ~(uint32_t)(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
	uint32_t word;

	/* Without a timeout it is restarted with its own number. */
	return is_int(r->rsi) && (op == FUTEX_WAIT || op == FUTEX_WAIT_BITSET) && r->rdi % 4 == 0 &&
	       reads(mem, r->rdi, &word, sizeof(word)) && is_span(mem, r->r10);
}

static bool could_be(long nr, const struct user_regs_struct *r, const struct arch_memory *mem)
{
	switch (nr) {
	case SYS_nanosleep:
		return could_be_nanosleep(r, mem);
	case SYS_clock_nanosleep:
		return could_be_clock_nanosleep(r, mem);
	case SYS_poll:
		return could_be_poll(r, mem);
	case SYS_futex:
		return could_be_futex(r, mem);
	default:
		return false;
	}
}

/* --- the code --- */

/* The number that an instruction at p loads into rax, or -1. */
static int64_t loads(const unsigned char *p, size_t len)
{
	uint32_t v;

	if (len >= 5 && p[0] == 0xb8) { /* mov $imm32, %eax */
		memcpy(&v, p + 1, 4);
		return v;
	}
	if (len >= 7 && p[0] == 0x48 && p[1] == 0xc7 && p[2] == 0xc0) { /* mov $imm32, %rax */
		memcpy(&v, p + 3, 4);
		return v;
	}
	if (len >= 3 && p[0] == 0x6a && p[2] == 0x58) /* push $imm8; pop %rax */
		return p[1];
	return -1;
}

/*
 * Instructions are of any length: a number may seem to be loaded where none is.  So
 * the one next to the syscall instruction whose arguments these could be.
 */
static long by_code(uint64_t at, const struct user_regs_struct *r, const struct arch_memory *mem)
{
	unsigned char code[CODE_LEN];
	size_t len = sizeof(code);

	if (mem->read(mem->arg, at - len, code, len, true)) {
		/* What is before the page is not mapped, or not readable. */
		len = at % PAGE_LEN;
		if (len > sizeof(code) || mem->read(mem->arg, at - len, code, len, true))
			return -ENOENT;
	}
	for (size_t i = len; i-- > 0;) {
		int64_t nr = loads(code + i, len - i);

		if (is_lost_number(nr) && could_be((long)nr, r, mem))
			return (long)nr;
	}
	return -ENOENT;
}

static long by_arguments(const struct user_regs_struct *r, const struct arch_memory *mem)
{
	static const long numbers[] = {SYS_nanosleep, SYS_clock_nanosleep, SYS_poll, SYS_futex};
	long found = -ENOENT;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (could_be(numbers[i], r, mem))
			found = found == -ENOENT ? numbers[i] : -EMLINK;
	return found;
}

long arch_find_lost_call(const struct user_regs_struct *regs, const struct arch_memory *mem)
{
	uint64_t at = is_in_restart(regs) ? regs->rip - SYSCALL_LEN : regs->rip;
	long nr;

	if (!is_in_restart(regs) && is_lost_number((int64_t)regs->orig_rax))
		return (long)regs->orig_rax;
	/* int $0x80 has other numbers and other registers. */
	if (!is_syscall(mem, at))
		return -ENOENT;
	nr = by_code(at, regs, mem);
	return nr >= 0 ? nr : by_arguments(regs, mem);
}

void arch_put_lost_call(struct user_regs_struct *regs, long nr)
{
	if (is_in_restart(regs)) {
		regs->orig_rax = (uint64_t)nr;
		return;
	}
	regs->rax = (uint64_t)nr;
	regs->orig_rax = (uint64_t)-1;
}
