/*
 * x86-64: registers of a stopped thread and the unit of code that it runs for
 * us (unit.S).
 */
#ifndef GODWIT_ARCH_UNIT_H
#define GODWIT_ARCH_UNIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/user.h>

/* One call as the unit reads it. */
struct wire_call {
	int64_t nr;
	uint64_t arg[6];
	int64_t ret;
	uint64_t expect;
	int64_t want;
};
_Static_assert(sizeof(struct wire_call) == 80, "unit.S steps by 80 bytes");

/* Follows the code of each copy of the unit. */
struct arch_unit_data {
	/* Of the bell, in the target's pid namespace; in a guarded unit, the set of that signal. */
	uint64_t tgid, tid, signal;
	uint64_t mask; /* the program's signal mask */
	uint64_t flags, rsp, rip;
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	/* Not for the unit: where the scratch mapping is, or is about to be, for
	 * whoever has to clean up after us. */
	uint64_t scratch, scratch_len;
	uint64_t older, older_len; /* that of a killed godwit, until it is unmapped */
	/* Of the guarded unit, by the time-stamp counter: until then it may make its call, and
	 * from then on it does not wait for us any more. */
	uint64_t until, give_up;
};
_Static_assert(sizeof(struct arch_unit_data) == 224, "unit.S knows the offsets");

extern const char arch_unit_code[], arch_unit_one[], arch_unit_tiles[], arch_unit_bell[],
	arch_unit_rung[], arch_unit_heal[], arch_unit_end[];
/* The unit of a thread that has a seccomp filter; what is behind the call by which it rings, and
 * behind that by which it heals. */
extern const char arch_guarded_code[], arch_guarded_rung[], arch_guarded_healing[],
	arch_guarded_end[];
/* Makes a snapshot of the memory: snapshot.S. */
extern const char arch_snapshot_code[], arch_snapshot_end[];

#define ARCH_UNIT_CODE ((size_t)(arch_unit_end - arch_unit_code))
#define ARCH_GUARDED_CODE ((size_t)(arch_guarded_end - arch_guarded_code))
#define ARCH_UNIT_LEN (ARCH_UNIT_CODE + sizeof(struct arch_unit_data))
/* Room taken by one copy, so that copies can stand in a row. */
#define ARCH_UNIT_STRIDE 512u
#define ARCH_SNAPSHOT_LEN ((size_t)(arch_snapshot_end - arch_snapshot_code))

/*
 * Fills d's registers with what takes a thread stopped with `regs` on as if it
 * had never stopped, without a tracer: an interrupted call that the kernel
 * would have restarted is wound back (kernel/entry and arch_do_signal_or_restart).
 */
void arch_heal_regs(struct arch_unit_data *d, const struct user_regs_struct *regs);

/* Is the thread inside a system call that was interrupted (orig_rax >= 0)? */
bool arch_in_syscall(const struct user_regs_struct *regs);

/*
 * QUIRK: the stop makes some calls return -EINTR where others are restarted
 * (signal(7), "Interruption of system calls and library functions by stop
 * signals").  Turns that into -ERESTARTNOHAND: the kernel restarts the call,
 * or gives EINTR when a handler runs.  Returns whether it changed rax.
 */
bool arch_fix_eintr(struct user_regs_struct *regs);

/* Is it in a call that it would go on in by the number of restart_syscall(2)?  Makes it enter
 * that call again instead, as it was. */
bool arch_restarts_by_number(const struct user_regs_struct *regs);
void arch_enter_again(struct user_regs_struct *regs);

/* Registers with which a new thread of a restarted process goes on: as
 * saved, an interrupted call wound back so that it is entered again. */
void arch_restart_regs(struct user_regs_struct *regs);

/* What a thread needs in its registers to run n calls from address `calls` on, or one call. */
void arch_enter_list(struct user_regs_struct *regs, uint64_t unit, uint64_t calls, uint64_t n);
void arch_enter_tiles(struct user_regs_struct *regs, uint64_t unit, uint64_t zeros);
/* The snapshot's code at that address, to go on at the unit's bell. */
void arch_enter_snapshot(struct user_regs_struct *regs, uint64_t code, uint64_t unit);
void arch_enter_call(struct user_regs_struct *regs, uint64_t unit, long nr, const uint64_t arg[6]);
/* The same in a guarded unit. */
void arch_enter_guarded(struct user_regs_struct *regs, uint64_t unit, long nr,
			const uint64_t arg[6]);
/* Does it stand at its bell? */
bool arch_guarded_has_rung(const struct user_regs_struct *regs, uint64_t unit);
/* It does: was the call made?  *ret: its result. */
bool arch_guarded_result(const struct user_regs_struct *regs, int64_t *ret);
/* The calls that a guarded unit makes of its own, by which it rings and heals (i: 0, 1): the
 * instruction pointer, and the arguments of rt_sigprocmask(2). */
uint64_t arch_guarded_own_call(uint64_t unit, int i, uint64_t arg[6]);
/* Does it begin with a unit of either kind?  NULL, or the data of that. */
const void *arch_unit_find_data(const void *p);
/* The time-stamp counter. */
uint64_t arch_ticks(void);
/* The same for a function of the program's: the stack ends at `top`, and its first word is
 * to be arch_unit_take_result() of the unit, which takes the result and rings. */
void arch_enter_function(struct user_regs_struct *regs, uint64_t addr, uint64_t top,
			 uint64_t fs_base, uint64_t arg);
uint64_t arch_unit_take_result(uint64_t unit);
/* Results at the bell. */
int64_t
arch_call_result(const struct user_regs_struct *regs); /* after arch_enter_call, _snapshot */
uint64_t arch_calls_left(const struct user_regs_struct *regs); /* after arch_enter_list */

/* Does an xsave area (len bytes, standard format) hold live AMX tiles?  The kernel
 * takes such a state only for a thread that has used them
 * (arch/x86/kernel/fpu/xstate.c, fpstate_realloc). */
bool arch_has_tiles(const void *xstate, size_t len);
#define ARCH_TILEDATA 18 /* feature number, for ARCH_REQ_XCOMP_PERM */

#endif
