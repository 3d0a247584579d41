/*
 * Switching stacks on x86-64: what the thread hop cannot say in C.
 *
 * A hopping thread has two stacks.  The *slot stack* holds its user frames and
 * lies at the same address on every host.  The *scratch stack* is private to
 * the process: the native thread waits there while its slot is empty, so that
 * arriving frames can be written over the slot.
 *
 *   slot stack, high to low        who owns it
 *   glibc's TCB and static TLS     this process
 *   start_thread, slot_entry       this process
 *   hop_base_enter's saves         this process
 *   --- base_sp -----------------  everything below travels
 *   return into hop_run
 *   the user's function, its callees, down to the caller of psu_thread_migrate
 */
#ifndef GODWIT_ARCH_HOP_H
#define GODWIT_ARCH_HOP_H

#include <setjmp.h>
#include <stdint.h>

/* What the ABI lets a function keep over a call, plus where to go on. */
struct hop_regs {
	uint64_t rbx, rbp, r12, r13, r14, r15;
	uint64_t rsp; /* as it is after psu_thread_migrate returned */
	uint64_t rip; /* the return address, by value: the slot below rsp is reused */
	uint32_t mxcsr;
	uint16_t fcw;
	uint16_t zero;
};

/* hop_switch.S knows these offsets. */
struct hop_stacks {
	uint64_t base_sp;    /* 0 */
	uint64_t loop_sp;    /* 8: the scratch stack, while user code runs */
	uint64_t scratch_sp; /* 16: top of the scratch stack, 16-byte aligned */
	uint64_t own_canary; /* 24: this thread's, while a foreign one is in place */
	uint64_t retval;     /* 32: what the user's function returned */
	uint32_t own_mxcsr;  /* 40 */
	uint16_t own_fcw;    /* 44 */
};

enum hop_outcome { HOP_ENDED = 0, HOP_LEFT = 1 };

/* Called on the slot stack: notes base_sp, goes to the scratch stack and runs
 * loop(st) there; comes back when loop returns. */
void hop_base_enter(struct hop_stacks *st, void (*loop)(struct hop_stacks *));

/* Called on the scratch stack: runs fn(arg) on the slot stack. */
int hop_run(struct hop_stacks *st, void *(*fn)(void *), void *arg);
/* The same, but goes on where regs were taken, with the canary that the frames
 * were built with.  Nothing of libc may run between these two and user code. */
int hop_resume(struct hop_stacks *st, const struct hop_regs *regs, uint64_t canary);
/* Leaves the slot stack for good: hop_run or hop_resume return HOP_LEFT. */
_Noreturn void hop_depart(struct hop_stacks *st);

uint64_t hop_canary(void);        /* the calling thread's stack protector value */
uint64_t hop_pointer_guard(void); /* the process's key for mangled pointers */
uint64_t hop_thread_pointer(void);
int hop_has_shadow_stack(void);

/* The first word of [w, end) that, masked, is one of three values; end if none. */
struct hop_pattern {
	uint64_t mask, value;
};
#define HOP_NO_PATTERN ((struct hop_pattern){.mask = 0, .value = 1})
const uint64_t *hop_find(const uint64_t *w, const uint64_t *end, const struct hop_pattern p[3]);

/* glibc keeps rbp, rsp and rip of a jmp_buf mangled: rotated and xored with the
 * pointer guard, which differs between processes. */
enum { HOP_JB_RBP = 1, HOP_JB_RSP = 6, HOP_JB_RIP = 7, HOP_JB_WORDS = 8 };
uint64_t hop_mangle(uint64_t value, uint64_t guard);
uint64_t hop_demangle(uint64_t word, uint64_t guard);
/* Whether a real setjmp() of this C library looks as we think. */
int hop_jmpbuf_known(void);

#endif
