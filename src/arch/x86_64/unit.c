/* x86-64 registers and the unit: see unit.h. */
#include "arch/x86_64/unit.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

/* Kernel-internal results of an interrupted call (include/linux/errno.h). */
#define ERESTARTSYS 512
#define ERESTARTNOINTR 513
#define ERESTARTNOHAND 514
#define ERESTART_RESTARTBLOCK 516

bool arch_in_syscall(const struct user_regs_struct *regs)
{
	return (int64_t)regs->orig_rax >= 0;
}

static bool is_restart(int64_t rax)
{
	return rax == -ERESTARTSYS || rax == -ERESTARTNOINTR || rax == -ERESTARTNOHAND ||
	       rax == -ERESTART_RESTARTBLOCK;
}

/* The syscall instruction is two bytes long. */
static void wind_back(struct user_regs_struct *r, int64_t nr)
{
	r->rip -= 2;
	r->rax = (uint64_t)nr;
}

void arch_heal_regs(struct arch_unit_data *d, const struct user_regs_struct *regs)
{
	struct user_regs_struct r = *regs;

	if (arch_in_syscall(&r) && is_restart((int64_t)r.rax))
		wind_back(&r, (int64_t)r.rax == -ERESTART_RESTARTBLOCK ? SYS_restart_syscall
								       : (int64_t)r.orig_rax);
	d->flags = r.eflags;
	d->rsp = r.rsp;
	d->rip = r.rip;
	d->r15 = r.r15;
	d->r14 = r.r14;
	d->r13 = r.r13;
	d->r12 = r.r12;
	d->rbp = r.rbp;
	d->rbx = r.rbx;
	d->r11 = r.r11;
	d->r10 = r.r10;
	d->r9 = r.r9;
	d->r8 = r.r8;
	d->rax = r.rax;
	d->rcx = r.rcx;
	d->rdx = r.rdx;
	d->rsi = r.rsi;
	d->rdi = r.rdi;
}

static bool eintr_by_stop(int64_t nr)
{
	switch (nr) {
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
	case 441: /* epoll_pwait2 */
	case SYS_rt_sigtimedwait:
	case SYS_semop:
	case SYS_semtimedop:
	case SYS_io_getevents:
	case 333: /* io_pgetevents */
	case SYS_accept:
	case SYS_accept4:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_sendmmsg:
	case SYS_read:
	case SYS_readv:
	case SYS_write:
	case SYS_writev:
		return true;
	default:
		return false;
	}
}

bool arch_fix_eintr(struct user_regs_struct *regs)
{
	if (!arch_in_syscall(regs) || (int64_t)regs->rax != -EINTR ||
	    !eintr_by_stop((int64_t)regs->orig_rax))
		return false;
	regs->rax = (uint64_t)-ERESTARTNOHAND;
	return true;
}

bool arch_restarts_by_number(const struct user_regs_struct *regs)
{
	return arch_in_syscall(regs) && (int64_t)regs->rax == -ERESTART_RESTARTBLOCK;
}

void arch_enter_again(struct user_regs_struct *regs)
{
	regs->rax = (uint64_t)-ERESTARTNOHAND;
}

void arch_restart_regs(struct user_regs_struct *regs)
{
	/* A new thread has no restart block: the call is entered again as it
	 * was.  The relative timeout of a sleep is kept by the kernel in its
	 * clock call's remaining-time argument only for a handler, so it starts over. */
	if (arch_in_syscall(regs) && is_restart((int64_t)regs->rax))
		wind_back(regs, (int64_t)regs->orig_rax);
	regs->orig_rax = (uint64_t)-1;
}

void arch_enter_list(struct user_regs_struct *regs, uint64_t unit, uint64_t calls, uint64_t n)
{
	regs->rip = unit;
	regs->r12 = calls;
	regs->r13 = n;
	regs->orig_rax = (uint64_t)-1;
	regs->eflags &= ~0x50500ULL; /* no TF, DF, RF, AC in our code */
}

void arch_enter_call(struct user_regs_struct *regs, uint64_t unit, long nr, const uint64_t arg[6])
{
	arch_enter_list(regs, unit + (uint64_t)(arch_unit_one - arch_unit_code), 0, 0);
	regs->rax = (uint64_t)nr;
	regs->rdi = arg[0];
	regs->rsi = arg[1];
	regs->rdx = arg[2];
	regs->r10 = arg[3];
	regs->r8 = arg[4];
	regs->r9 = arg[5];
}

void arch_enter_guarded(struct user_regs_struct *regs, uint64_t unit, long nr,
			const uint64_t arg[6])
{
	arch_enter_call(regs, unit, nr, arg);
	regs->rip = unit;
	regs->r12 = 0;
	regs->r13 = (uint64_t)nr;
	regs->r14 = arg[2];
}

bool arch_guarded_has_rung(const struct user_regs_struct *regs, uint64_t unit)
{
	return regs->rip == unit + (uint64_t)(arch_guarded_rung - arch_guarded_code);
}

bool arch_guarded_result(const struct user_regs_struct *regs, int64_t *ret)
{
	*ret = (int64_t)regs->r15;
	return regs->r12;
}

uint64_t arch_guarded_own_call(uint64_t unit, int i, uint64_t arg[6])
{
	uint64_t data = unit + ARCH_GUARDED_CODE;
	const uint64_t args[2][6] = {
		{SIG_UNBLOCK, data + offsetof(struct arch_unit_data, signal), 0, 8},
		{SIG_SETMASK, data + offsetof(struct arch_unit_data, mask), 0, 8}};

	memcpy(arg, args[i], sizeof(args[i]));
	return unit +
	       (uint64_t)((i ? arch_guarded_healing : arch_guarded_rung) - arch_guarded_code);
}

const void *arch_unit_find_data(const void *p)
{
	if (!memcmp(p, arch_unit_code, ARCH_UNIT_CODE))
		return (const char *)p + ARCH_UNIT_CODE;
	if (!memcmp(p, arch_guarded_code, ARCH_GUARDED_CODE))
		return (const char *)p + ARCH_GUARDED_CODE;
	return NULL;
}

uint64_t arch_ticks(void)
{
	return __builtin_ia32_rdtsc();
}

void arch_enter_function(struct user_regs_struct *regs, uint64_t addr, uint64_t top,
			 uint64_t fs_base, uint64_t arg)
{
	arch_enter_list(regs, addr, 0, 0);
	regs->rsp = (top & ~UINT64_C(15)) - 8; /* as a call leaves it */
	regs->rbp = 0;
	regs->fs_base = fs_base;
	regs->rdi = arg;
	regs->rax = 0;
}

uint64_t arch_unit_take_result(uint64_t unit)
{
	/* Behind the syscall of unit_one, as if that had returned. */
	return unit + (uint64_t)(arch_unit_one - arch_unit_code) + 2;
}

int64_t arch_call_result(const struct user_regs_struct *regs)
{
	return (int64_t)regs->r15;
}

uint64_t arch_calls_left(const struct user_regs_struct *regs)
{
	return regs->r13;
}

void arch_enter_snapshot(struct user_regs_struct *regs, uint64_t code, uint64_t unit)
{
	arch_enter_list(regs, code, unit + (uint64_t)(arch_unit_bell - arch_unit_code), 0);
}

void arch_enter_tiles(struct user_regs_struct *regs, uint64_t unit, uint64_t zeros)
{
	arch_enter_list(regs, unit + (uint64_t)(arch_unit_tiles - arch_unit_code), 0, 0);
	regs->rdi = zeros;
}

bool arch_has_tiles(const void *xstate, size_t len)
{
	uint64_t xstate_bv;

	/* XSTATE_BV stands at 512 (Intel SDM vol. 1, 13.4.2). */
	if (len < 576)
		return false;
	memcpy(&xstate_bv, (const char *)xstate + 512, sizeof(xstate_bv));
	return xstate_bv >> ARCH_TILEDATA & 1;
}
