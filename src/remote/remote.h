/*
 * The engine: a stopped process that is made to run single system calls.
 *
 * Invariant, at every instant: each stopped thread either has its own
 * registers and signal mask, or stands in a unit of ours that ends by putting
 * both back (arch/<cpu>/unit.S).  So when all of our processes are killed, the
 * kernel resumes the threads, the units finish, and the program goes on.
 *
 * Nothing is ever written to the target's stack.  See remote.c for the order
 * of the steps.
 */
#ifndef GODWIT_REMOTE_REMOTE_H
#define GODWIT_REMOTE_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "base/err.h"
#include "remote/program.h"

/* An address in another process: not to be dereferenced here. */
struct raddr {
	uint64_t v;
};

/* One thread of the target, attached by PTRACE_SEIZE. */
struct tracee {
	pid_t tid;     /* in our pid namespace */
	pid_t ns_tid;  /* in the target's innermost pid namespace */
	bool stopped;
	bool borrowed; /* its registers are ours at the moment */
	bool eintr;    /* regs.rax was -EINTR and made restartable */
	struct user_regs_struct regs; /* as the program goes on with them */
	uint64_t sigmask;             /* the program's */
	int held_signal;              /* stop signal met meanwhile, given back on release */
};

/* One stopped process. */
struct remote {
	pid_t pid;    /* thread group id, in our namespace */
	pid_t ns_pid; /* in the target's */
	int pidfd, procfd, memfd; /* pidfd_open, /proc/PID, /proc/PID/mem */
	struct tracee *threads;   /* [0] is the leader */
	size_t n, cap;
	int bell; /* signal by which a unit reports that its list is done */
	uint64_t vdso, vdso_len; /* current [vdso] range; the tail holds the first unit */
	uint64_t gadget;         /* unit address in the vdso's tail */
	uint64_t scratch;        /* 0 while not mapped */
	size_t scratch_len, unit_off, call_off, data_off, data_len, call_cap;
};

/* Attach to and stop every thread of a process.  On failure everything is
 * released.  Errors: -ESRCH gone, -EPERM (exit 4), refusals (exit 3). */
int remote_seize(struct remote *r, pid_t pid, struct err *err) __must_check;
/* Put everything back (scratch unmapped, registers, masks) and detach. */
void remote_release(struct remote *r);
/* SIGKILL the stopped process, then forget it. */
void remote_kill(struct remote *r);

/* Map the scratch area: from here on programs can be run. */
int remote_prepare(struct remote *r, struct err *err) __must_check;

/*
 * Run every batch of a program, in order.  Fails with the call's reason when a
 * result is not what it must be; -ESRCH when the target died.
 */
int remote_run(struct remote *r, struct program *p, struct err *err) __must_check;
/* Runs the same batch in every thread at once; rets (n threads x batch->n) gets the results;
 * the data areas are not per thread: only for calls whose data may be... see remote_run_each. */

/* Read or write the target's memory.  Whole length or a negative errno. */
int remote_read(const struct remote *r, uint64_t addr, void *buf, size_t len) __must_check;
int remote_write(const struct remote *r, uint64_t addr, const void *buf, size_t len) __must_check;

/* A descriptor of the target as one of ours (pidfd_getfd, close-on-exec), or a negative errno. */
int remote_getfd(const struct remote *r, int fd) __must_check;

#endif
