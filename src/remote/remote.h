/*
 * The engine: a stopped process that is made to run system calls.
 *
 * Invariant, at every instant: each stopped thread either has its own
 * registers and signal mask, or stands in a unit of ours that ends by putting
 * both back (arch/x86_64/unit.S).  So when all of our processes are killed, the
 * kernel resumes the threads, the units finish, and the program goes on.
 *
 * Nothing is ever written to the target's stack.
 */
#ifndef GODWIT_REMOTE_REMOTE_H
#define GODWIT_REMOTE_REMOTE_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "arch/x86_64/unit.h"
#include "base/err.h"
#include "proc/maps.h"
#include "proc/status.h"
#include "remote/bpf.h"
#include "remote/program.h"

/* rseq(2) of a thread, as it was registered; addr == 0: it was not. */
struct remote_rseq {
	uint64_t addr;
	uint32_t len, sig, flags;
};

/* One thread of the target, attached by PTRACE_SEIZE. */
struct tracee {
	pid_t tid;    /* in our pid namespace */
	pid_t ns_tid; /* in the target's innermost pid namespace */
	bool seized;  /* it is ours */
	bool ended;   /* while attaching: it is gone */
	bool asleep;  /* before the stop, in a system call */
	bool stopped;
	bool borrowed;                /* it stands in a unit: its own registers are in regs */
	struct user_regs_struct regs; /* as the program goes on with them */
	uint64_t sigmask;             /* the program's */
	bool knows_rseq;              /* it is in rseq */
	struct remote_rseq rseq;
	bool knows_files;     /* it is in own_files */
	bool own_files;       /* not the speaker's descriptors: clone without CLONE_FILES */
	bool knows_directory; /* it is in own_directory */
	bool own_directory;   /* not the speaker's: clone without CLONE_FS, unshare */
	bool knows_told;      /* what follows */
	uint64_t robust_list, robust_len; /* set_robust_list(2) */
	struct proc_caps caps;            /* the first three of them */
	int ioprio;                       /* ioprio_get(2); negative: there are none */
	bool knows_seccomp;               /* it is in seccomp */
	uint32_t seccomp;                 /* as /proc/PID/status has it */
	bool no_new_privs;                /* where knows_seccomp */
	size_t kept_at; /* its vector registers stand at kept_at - 1 in remote.kept, if any do */
};

/* One stopped process.  The *leader* is its first thread, whose id is the process's. */
struct remote {
	pid_t pid;     /* thread group id, in our namespace */
	pid_t ns_pid;  /* in the target's */
	pid_t speaker; /* whose /proc, memory and descriptors are the process's: see below */
	int pidfd, procfd, memfd; /* pidfd_open() of the process; /proc/SPEAKER, its mem */
	int threadfd;             /* pidfd of a speaker that is not the leader, else -1 */
	struct tracee *threads;   /* [0] is the speaker: mostly the leader */
	size_t n, cap;
	int options;                   /* of ptrace, for the leader, outside of single calls */
	pid_t max_tid;                 /* the highest of those that were seized */
	pid_t read_first;              /* the first that was read while others ran, or 0 */
	int bell;                      /* signal by which a unit reports that its list is done */
	bool guarded;                  /* seccomp filters: every call as guarded.c has it */
	void *ballast;                 /* guarded.c; may be NULL */
	bool parked;                   /* what it stands in is for it to finish: remote_park */
	bool stop_held;                /* a SIGSTOP came meanwhile: given back on release */
	uint64_t vdso_unit;            /* address of the unit in the vdso's tail, 0: not there */
	uint64_t vdso_room;            /* where there is room for it */
	uint64_t scratch, scratch_len; /* scratch == 0: not mapped */
	uint64_t scratch_at;           /* where it is, or is about to be */
	uint64_t older, older_len;     /* what a killed godwit left; 0: nothing */
	uint64_t calls, data;          /* its parts: calls, and data for calls */
	size_t max_threads;
	uint8_t *kept; /* vector registers that were read early: kept_each bytes a thread */
	size_t kept_len, kept_cap, kept_each;
	uint64_t stopped_ns; /* CLOCK_MONOTONIC, when the first thread was asked to stop */
};

/* A remote of nothing. */
#define REMOTE_NONE ((struct remote){.pidfd = -1, .procfd = -1, .memfd = -1, .threadfd = -1})

/*
 * A leader that has ended (pthread_exit(3) in main()) stays as a zombie while others run on. It has
 * no memory and no descriptors any more, and what /proc/PID shows of them is empty; but the kernel
 * finds /proc/TID by the id of any thread, and shows the process there as it does for the
 * leader (fs/proc/base.c, proc_pid_lookup). So another thread, the speaker, stands for it.
 */
static inline bool remote_leader_has_ended(const struct remote *r)
{
	return r->speaker != r->pid;
}

/*
 * The same of a process that runs, from outside: the id by which /proc shows it. pid where its
 * leader lives or it has ended altogether. The one named may end the next moment.
 */
pid_t remote_find_speaker(pid_t pid);
/* Is there nothing of the thread that could run, whether that was reported or not? */
bool remote_has_ended(pid_t tid);
/* open(2) of that thread's /proc/TID/name, close-on-exec: another one's if it ends meanwhile. */
int remote_open_proc(pid_t pid, const char *name, int flags) __must_check;

#define REMOTE_CALL_CAP 1024u        /* calls in one batch */
#define REMOTE_DATA_LEN (256u << 10) /* bytes of data in one batch */

/*
 * Attaches to and stops every thread of process pid.  On failure everything is
 * released.  Errors: -ESRCH gone, -EPERM (exit 4), refusals (exit 3), -EALREADY
 * while another godwit is at work on it.
 */
int remote_seize(struct remote *r, pid_t pid, struct err *err) __must_check;

/*
 * Reads what must be known before anything is run: ids in the target's own pid
 * namespace, ignored signals.  Refuses what forbids remote calls (shadow stacks, seccomp
 * filters that cannot be suspended).  -EINPROGRESS: a thread is still being put right after a
 * godwit that was killed; release the target, and try again a little later.
 */
int remote_check(struct remote *r, const struct proc_maps *maps, struct err *err) __must_check;

/*
 * Maps the scratch area in a target that remote_check passed: from here on
 * programs can be run, and nobody else may change registers.  maps is the
 * target's; a scratch area that a killed godwit left is unmapped and taken out of it.
 */
int remote_prepare(struct remote *r, struct proc_maps *maps, struct err *err) __must_check;

/* Puts everything back as it was (scratch unmapped, registers, masks); the
 * threads stay stopped.  No program can be run any more.  Idempotent. */
void remote_finish(struct remote *r);
/* The same, then detaches and frees.  Works on a half-prepared or dead target. */
void remote_release(struct remote *r);
/* Signals that the leader took on its way into a group stop. */
#define REMOTE_TAKEN_MAX 64
struct remote_taken {
	siginfo_t v[REMOTE_TAKEN_MAX];
	size_t n;
};

/*
 * From now on the process stays stopped, as after SIGSTOP, even if all of ours are
 * killed: what goes on in its place may be somewhere else.  After remote_finish.
 * On failure it is as before, but the leader may have run for a moment: what was
 * read of it is out of date.  SIGCONT after the release undoes it.
 */
int remote_hold(struct remote *r, struct remote_taken *ret_taken, struct err *err) __must_check;
/*
 * Calls that a process in a group stop makes now (undo[n]), and those that it makes before it goes
 * on, whoever lets it, each of its threads all of them (again[n]): see park.c.  Arguments whose bit
 * is set in `pointers` are offsets into data.
 */
#define REMOTE_PARKING_MAX 500u /* n */
struct remote_parking {
	const struct call *undo, *again;
	size_t n;
	const void *data;
	size_t data_len; /* at most REMOTE_DATA_LEN */
};

/* After remote_hold.  On failure, too, remote_unpark is due.  From here on a release leaves it
 * as it stands: then it makes the calls of its own, when it is continued. */
int remote_park(struct remote *r, const struct remote_parking *p, struct proc_maps *maps,
		struct err *err) __must_check;
/* Has it make the calls `again`.  -EAGAIN: they take longer than ms; it is to be released as it
 * is.  Nothing where it is not parked. */
int remote_unpark(struct remote *r, int ms, struct err *err) __must_check;
/* While the memory of a parked process is read: the note in its vdso, by which the next godwit
 * finds what we leave, is put away. */
struct remote_covered {
	bool is_covered;
	uint8_t unit[ARCH_UNIT_STRIDE];
};
void remote_cover(struct remote *r, struct remote_covered *c);
int remote_uncover(struct remote *r, const struct remote_covered *c) __must_check;
/* Kills the stopped process with SIGKILL, then frees. */
void remote_kill(struct remote *r);
/* The same; dying(arg, tid) is called when no signal reaches it any more and its leader, tid,
 * can still be asked by ptrace(2); not where it was dead already. */
void remote_kill_watched(struct remote *r, void (*dying)(void *arg, pid_t tid), void *arg);

/*
 * Runs every batch of a program, in order.  A result that is not what it must
 * be stops it: the error names the call's reason and the kernel's answer.
 * -ESRCH when the target died.
 */
int remote_run(struct remote *r, struct program *p, struct err *err) __must_check;

/*
 * Runs the same few calls in every thread, all at once.  An argument whose bit
 * is set in `pointers` is an offset into the thread's own data area of
 * data_len bytes.  result() is called for each thread with its calls as they
 * returned and its data.
 */
typedef int (*remote_result_fn)(void *arg, size_t thread, const struct wire_call *calls,
				const void *data, struct err *err);
int remote_run_each(struct remote *r, const struct call *calls, size_t n, size_t data_len,
		    remote_result_fn result, void *arg, struct err *err) __must_check;

/* Vector registers of a stopped thread, as NT_X86_XSTATE has them: to buf, which has *len
 * bytes; *len becomes what there is.  0 or a negative errno. */
int remote_xstate(const struct tracee *t, void *buf, size_t *len) __must_check;
/* /proc/PID/stat of its speaker alone: that of the process adds up the times of all threads,
 * 0.2 us each (fs/proc/array.c, do_task_stat()). */
int remote_stat(const struct remote *r, struct proc_stat *ret, struct err *err) __must_check;
/* Has it a table of descriptors that is not the speaker's? */
bool remote_has_own_files(const struct remote *r, struct tracee *t);
/* Of a stopped thread: what the kernel tells others about it, robust_list to ioprio.
 * 0 or a negative errno. */
int remote_ask_told(struct tracee *t) __must_check;
/* And a working directory? */
bool remote_has_own_directory(const struct remote *r, struct tracee *t);
/* Its restartable sequences; none where the kernel knows none.  0 or a negative errno. */
int remote_rseq(struct tracee *t, struct remote_rseq *ret) __must_check;

/* Read or write the target's memory, wherever it may be read or written by its
 * own protection; the _force forms also where not.  Whole length or a negative errno. */
int remote_read(const struct remote *r, uint64_t addr, void *buf, size_t len) __must_check;
int remote_write(const struct remote *r, uint64_t addr, const void *buf, size_t len) __must_check;
int remote_read_force(const struct remote *r, uint64_t addr, void *buf, size_t len) __must_check;
int remote_write_force(const struct remote *r, uint64_t addr, const void *buf,
		       size_t len) __must_check;

/* tracee.seccomp: it has filters. */
#define REMOTE_FILTERED 2u
/* The seccomp filters of a thread, in the order in which they were set.  Only root may. */
int remote_filters(const struct tracee *t, struct seccomp_filter **ret, size_t *ret_n,
		   struct err *err) __must_check;
void remote_free_filters(struct seccomp_filter *v, size_t n);

/* A descriptor of the target as one of ours (pidfd_getfd(2), close-on-exec), or
 * a negative errno. */
int remote_getfd(const struct remote *r, int fd) __must_check;
/*
 * Makes the prepared target run a call that opens a descriptor, and takes that
 * out of it: ours (>= 0, close-on-exec), and closed in the target, whoever dies
 * when.  Else the call's own errno, or that of taking it, with err untouched; or
 * what failed on the way, with err filled.
 */
int remote_take_new_fd(struct remote *r, long nr, const uint64_t arg[6],
		       struct err *err) __must_check;

/* --- for a restart, whose process we make ourselves --- */

/* It dies with its tracer for as long as it is half built. */
#define REMOTE_ADOPTED_OPTIONS (PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC)

/* Opens pidfd, procfd and memfd, and takes the stopped thread pid as the leader, which was
 * seized with REMOTE_ADOPTED_OPTIONS (<sys/ptrace.h>). */
int remote_adopt(struct remote *r, pid_t pid, pid_t ns_pid, struct err *err) __must_check;
/* bell, if set before: a signal that the program to come does not have pending.
 * Places the scratch area of an adopted process at the address given, by its vdso's tail. */
int remote_prepare_at(struct remote *r, uint64_t scratch, size_t max_threads, uint64_t vdso,
		      uint64_t vdso_len, struct err *err) __must_check;
/* Bytes of the scratch area for so many threads. */
uint64_t remote_scratch_len(size_t max_threads);
/* Takes a new, stopped thread as the next one. */
int remote_add_thread(struct remote *r, pid_t tid, pid_t ns_tid, struct err *err) __must_check;
/* Makes a thread touch its AMX tiles; the process must have the permission. */
int remote_touch_tiles(struct remote *r, size_t thread, struct err *err) __must_check;
/*
 * Makes the leader call a function of the program's own, with one argument, on a stack of
 * ours, as if by its thread with that fs_base.  -EFAULT where it does not come back.  Only
 * in a process that is thrown away when something fails.
 */
int remote_call_function(struct remote *r, uint64_t addr, uint64_t fs_base, uint64_t arg,
			 uint64_t *ret, struct err *err) __must_check;
/* From here on filters may be set: each call is made as in a process that has some. */
int remote_guard_new(struct remote *r, struct err *err) __must_check;
/*
 * The leader ends alone, with this status, and threads[1] is the first one from then on: no thread
 * but the leader may have run anything yet.
 */
int remote_end_leader(struct remote *r, int status, struct err *err) __must_check;
/* Makes the process exit with this status (or kills it), then frees. */
void remote_exit(struct remote *r, int status);
/* The program that ran moved the vdso, and the first unit with it. */
void remote_vdso_moved(struct remote *r, uint64_t from, uint64_t to);
/* Says which registers and mask the thread goes on with; remote_release puts them in. */
void remote_set_thread(struct remote *r, size_t thread, const struct user_regs_struct *regs,
		       uint64_t sigmask);

#endif
