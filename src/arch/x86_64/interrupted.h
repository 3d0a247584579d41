/*
 * x86-64: which call a thread waits in, where the kernel has forgotten its number.
 *
 * A stop interrupts a relative wait with -ERESTART_RESTARTBLOCK; the kernel then
 * goes on with it by restart_syscall(2), whose number takes the place of the
 * call's own.  At the next stop of the same wait (a second checkpoint, or a first
 * one after SIGSTOP, strace or gdb) the registers say restart_syscall, and what
 * it would restart is known to the thread's kernel memory alone, which a restarted
 * thread does not have.  The call's arguments are still in the registers.
 */
#ifndef GODWIT_ARCH_INTERRUPTED_H
#define GODWIT_ARCH_INTERRUPTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/user.h>

/* Where the thread's memory is read: all of len bytes (code, if `code`), or a
 * negative errno. */
struct arch_memory {
	int (*read)(void *arg, uint64_t addr, void *buf, size_t len, bool code);
	void *arg;
};

/* Is the thread, stopped with these registers, in a call that goes on by
 * restart_syscall, or about to make that call? */
bool arch_call_is_lost(const struct user_regs_struct *regs, const struct arch_memory *mem);

/*
 * The number of that call, by the instruction that loaded it and by its arguments:
 * four calls only are restarted so, nanosleep, clock_nanosleep, poll and futex.
 * -ENOENT: the arguments are of none of them; -EMLINK: of more than one.
 */
long arch_find_lost_call(const struct user_regs_struct *regs, const struct arch_memory *mem);

/* Registers that stand as if the stop were the call's first. */
void arch_put_lost_call(struct user_regs_struct *regs, long nr);

#endif
