/*
 * Attaching to a process: every thread seized and stopped.
 *
 * Threads that sleep in a system call are stopped first and those that run last; they
 * are let go the other way round.  So what the program sees of the pause is little
 * more than the time in which all must stand still.
 *
 * A race told as a story: 1. we list the threads; 2. one that we have not
 * stopped yet starts another; 3. we stop all we know.  So the list is read again
 * until a pass finds nobody new: then everybody is stopped and nobody can
 * start anybody.
 */
#include "remote/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/guardian.h"
#include "base/io.h"
#include "base/refusal.h"
#include "proc/status.h"

/* A thread in an uninterruptible wait does not stop; how long to wait for it. */
#define STOP_TIMEOUT_S 10

static int open_target(struct remote *r, pid_t pid, pid_t ns_pid, struct err *err)
{
	char path[64];

	*r = REMOTE_NONE;
	r->pid = r->speaker = pid;
	r->ns_pid = ns_pid;
	snprintf(path, sizeof(path), "/proc/%d", r->pid);
	r->procfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->procfd < 0 && errno != ENOENT && errno != ESRCH)
		return err_sys(err, -errno, "cannot open '%s'", path);
	if (r->procfd < 0) {
		err_set(err, -ESRCH, "there is no process %d", r->pid);
		return err_hint(err, "see the process ids with: ps -u $USER");
	}
	r->pidfd = (int)syscall(SYS_pidfd_open, r->pid, 0);
	if (r->pidfd < 0 && (errno == ENOENT || errno == EINVAL)) {
		/* Threads can be looked up in /proc, though they are not listed. */
		err_set(err, -EINVAL, "%d is a thread, not a process", r->pid);
		return err_hint(err, "name the process: grep Tgid /proc/%d/status", r->pid);
	}
	if (r->pidfd < 0)
		return err_sys(err, -errno, "cannot open process %d (pidfd_open)", r->pid);
	/* Opened again after the seize where this is too early for permission. */
	r->memfd = openat(r->procfd, "mem", O_RDWR | O_CLOEXEC);
	return 0;
}

/* The kernel lists threads by rising id, so that a new one is mostly beyond all
 * that we have: then there is no need to look for it. */
static struct tracee *find(struct remote *r, pid_t tid)
{
	if (r->n && tid > r->max_tid)
		return NULL;
	for (size_t i = r->n; i-- > 0;)
		if (r->threads[i].tid == tid)
			return &r->threads[i];
	return NULL;
}

/* Of thread tid, which the kernel does not let us have. */
static int explain_denied(struct remote *r, pid_t tid, int error, struct err *err)
{
	struct proc_status st;
	__cleanup_buf struct buf b = {0};
	struct err ignored = ERR_INIT;
	char name[40];
	int scope = 0;

	if (error == -ESRCH)
		return err_set(err, error, "process %d has ended", r->pid);
	if (error == -EALREADY)
		return err_set(err, error, "another godwit is at work on process %d", r->pid);
	snprintf(name, sizeof(name), "task/%d/status", tid);
	if (!io_read_file(r->procfd, name, &b) && !proc_parse_status(b.p, &st, &ignored)) {
		if (st.tracer && proc_has_comm(st.tracer, GUARDIAN_COMM))
			return err_set(err, -EALREADY, "another godwit is at work on process %d",
				       r->pid);
		if (st.tracer) {
			return err_refuse_as(err, REFUSED_TRACED,
					     "process %d is traced already, by process %d", r->pid,
					     st.tracer);
		}
		if (geteuid() != 0 && (st.uid[0] != geteuid() || st.uid[2] != geteuid())) {
			err_perm(err, "process %d belongs to user %u, you are user %u", r->pid,
				 st.uid[0], geteuid());
			return err_hint(err, "run godwit as that user");
		}
	}
	if (!io_read_file(AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope", &b))
		scope = atoi(b.p);
	err_perm(err, "may not attach to process %d: %s", r->pid, strerror(-error));
	if (scope)
		return err_hint(err,
				"kernel.yama.ptrace_scope is %d: set it to 0 (sysctl), or start "
				"the program with "
				"LD_PRELOAD=libckpt.so, which lets its own checkpointer in",
				scope);
	return err_hint(
		err, "the program may be set-uid, or have called prctl(PR_SET_DUMPABLE, 0), or a "
		     "security module forbids ptrace; see: godwit doctor");
}

/*
 * A thread may end while we look.  QUIRK: PTRACE_SEIZE of one that has ended and is
 * not reaped yet gives EPERM (kernel/ptrace.c, ptrace_attach: exit_state).
 * Test: forty_checkpoints_of_threads_churn.
 */
static bool is_ending(pid_t tid, int error)
{
	return error == -ESRCH || (error == -EPERM && remote_has_ended(tid));
}

/* Another one has it: for good, or it is just letting it go. */
static bool has_a_guardian(const struct remote *r, pid_t tid)
{
	__cleanup_buf struct buf b = {0};
	struct err ignored = ERR_INIT;
	struct proc_status st;
	char name[40];

	snprintf(name, sizeof(name), "task/%d/status", tid);
	return !io_read_file(r->procfd, name, &b) && !proc_parse_status(b.p, &st, &ignored) &&
	       st.tracer && proc_has_comm(st.tracer, GUARDIAN_COMM);
}

/* Is a thread ours?  The kernel lists the leader first, so mostly that one is. */
static bool has_any(const struct remote *r)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->threads[i].seized)
			return true;
	return false;
}

/*
 * EPERM may be momentary.  A program may run, and ring for a checkpoint, while the
 * restart before is still letting its last threads go: the first is free by then,
 * another is not yet.  And a tracer that has just been killed holds its threads until
 * it is gone.
 * QUIRK: at the instant when a thread is let go, TracerPid names its real parent
 * (kernel/ptrace.c, __ptrace_unlink: parent is set before ptrace).  So it is believed
 * only when it says the same for a while.
 * Two checkpoints at once: 1. the other one has the first thread, we get EPERM; 2. it lets go; 3.
 * we look, and nobody traces it.  So free is believed only after a while, too; and who had it is
 * told from here, since whoever looks later might find nobody. Test:
 * two_at_once_pause=copy_pause=live.
 */
static int seize_thread(const struct remote *r, pid_t tid)
{
	struct timespec step = {.tv_nsec = 5 * 1000 * 1000};
	bool is_first = !has_any(r);

	for (int i = 0; ptrace(PTRACE_SEIZE, tid, 0, 0); i++) {
		int error = -errno;

		if (error != -EPERM || i == 60 || is_ending(tid, error))
			return error;
		if (i >= 3 && is_first && has_a_guardian(r, tid))
			return -EALREADY;
		if (i >= (is_first ? 6 : 3) && !has_a_guardian(r, tid))
			return error;
		nanosleep(&step, NULL);
	}
	return 0;
}

/* Adds the threads that are not ours yet to the list; *ret_new counts them. */
static int list_pass(struct remote *r, size_t *ret_new, struct err *err)
{
	int fd = openat(r->procfd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	size_t at = 0;

	*ret_new = 0;
	if (!dir) {
		int error = errno;

		io_close_fd(&fd);
		if (error == ENOENT || error == ESRCH)
			return err_set(err, -ESRCH, "process %d has ended", r->pid);
		return err_sys(err, -error, "cannot list the threads of process %d", r->pid);
	}
	while ((d = readdir(dir))) {
		pid_t tid = (pid_t)atoi(d->d_name);
		void *v;

		/* Those that we have come in the order in which we took them. */
		if (at < r->n && r->threads[at].tid == tid) {
			at++;
			continue;
		}
		if (tid <= 0 || find(r, tid) || (tid == r->pid && remote_leader_has_ended(r)))
			continue;
		v = io_grow(r->threads, &r->cap, r->n + 1, sizeof(*r->threads), err);
		if (!v)
			break;
		r->threads = v;
		r->threads[r->n++] = (struct tracee){.tid = tid, .ns_tid = tid};
		at = r->n;
		if (tid > r->max_tid)
			r->max_tid = tid;
		(*ret_new)++;
	}
	closedir(dir);
	return err->error;
}

/* All of it has, or is about to. */
static int explain_end(const struct remote *r, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct err ignored = ERR_INIT;
	struct proc_stat st = {0};
	bool is_there = !io_read_file(r->procfd, "stat", &b) &&
			!proc_parse_stat(b.p, &st, &ignored) && st.state == 'Z';

	if (is_there && st.num_threads > 1)
		return err_set(err, -ESRCH, "process %d is ending", r->pid);
	return err_set(err, -ESRCH, "process %d has ended%s", r->pid,
		       is_there ? " (it is a zombie)" : "");
}

/*
 * Of the leader: others may run on, unless all of them are on their way out, which may take
 * long.  Who speaks for them is chosen when all are ours.
 */
static int note_end(struct remote *r, struct tracee *t, struct err *err)
{
	t->ended = true;
	if (t->tid != r->pid)
		return 0;
	r->speaker = 0;
	return remote_all_are_ending(r) ? explain_end(r, err) : 0;
}

static int seize_one(struct remote *r, struct tracee *t, struct err *err)
{
	int error = seize_thread(r, t->tid);

	if (error) {
		if (!is_ending(t->tid, error))
			return explain_denied(r, t->tid, error, err);
		return note_end(r, t, err);
	}
	t->seized = true;
	return 0;
}

void remote_look(const struct remote *r, struct tracee *t)
{
	__cleanup_buf struct buf b = {0};
	struct err ignored = ERR_INIT;
	struct proc_status st;
	char name[40];

	snprintf(name, sizeof(name), "task/%d/status", t->tid);
	if (io_read_file(r->procfd, name, &b) || proc_parse_status(b.p, &st, &ignored))
		return;
	t->asleep = !t->stopped && st.state == 'S';
	t->knows_seccomp = true;
	t->seccomp = st.seccomp;
	t->no_new_privs = st.no_new_privs;
}

/* The child by vfork() for which a thread waits, or 0: one that has its memory. */
static pid_t vfork_child(const struct remote *r, pid_t tid)
{
	__cleanup_buf struct buf b = {0};
	char name[40];
	char *at, *end;

	snprintf(name, sizeof(name), "task/%d/children", tid);
	if (io_read_file(r->procfd, name, &b))
		return 0;
	for (at = b.p;; at = end) {
		long pid = strtol(at, &end, 10);

		if (end == at)
			return 0;
		if (!syscall(SYS_kcmp, tid, pid, KCMP_VM, 0, 0))
			return (pid_t)pid;
	}
}

static int explain_no_stop(const struct remote *r, pid_t tid, struct err *err)
{
	pid_t child = vfork_child(r, tid);

	if (child) {
		return err_refuse_as(err, REFUSED_VFORK,
				     "thread %d waits for a child made by vfork(), process %d", tid,
				     child);
	}
	err_set(err, -EBUSY, "thread %d does not stop: it is in an uninterruptible wait", tid);
	return err_hint(err,
			"it waits for a device or a dead network file system; see "
			"/proc/%d/stack, and try again later",
			tid);
}

static int wait_bounded(pid_t tid, int *status)
{
	struct timespec step = {.tv_nsec = 2 * 1000 * 1000}, now, start;
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (int i = 0;; i++) {
		pid_t got = waitpid(tid, status, __WALL | WNOHANG);

		if (got == tid)
			return 0;
		if (got < 0)
			return -errno;
		if (i < 20) {
			/* Most threads stop at once: give them the core. */
			syscall(SYS_sched_yield);
			continue;
		}
		if (remote_has_ended(tid))
			return waitpid(tid, status, __WALL | WNOHANG) == tid ? 0 : -ECHILD;
		/* Blocked SIGCHLD wakes us when any thread stops. */
		sigtimedwait(&chld, NULL, &step);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - start.tv_sec >= STOP_TIMEOUT_S)
			return -ETIMEDOUT;
	}
}

/* Waits until a seized thread is in its PTRACE_EVENT_STOP.  1: stopped, 0: it ended. */
static int wait_stop(const struct remote *r, struct tracee *t, struct err *err)
{
	for (;;) {
		int status, ret = wait_bounded(t->tid, &status);

		if (ret == -ETIMEDOUT)
			return explain_no_stop(r, t->tid, err);
		if (ret == -ECHILD || (!ret && (WIFEXITED(status) || WIFSIGNALED(status))))
			return 0;
		if (ret)
			return err_sys(err, ret, "cannot wait for thread %d", t->tid);
		if (status >> 16 == PTRACE_EVENT_STOP)
			return 1;
		/* A signal was being delivered: let it be; the interrupt comes next. */
		if (ptrace(PTRACE_CONT, t->tid, 0, WSTOPSIG(status)) && errno != ESRCH)
			return err_sys(err, -errno, "cannot pass a signal on to thread %d", t->tid);
	}
}

static int read_thread(struct remote *r, struct tracee *t, struct err *err)
{
	if (ptrace(PTRACE_GETREGS, t->tid, 0, &t->regs) || remote_spare_restart(t) ||
	    ptrace(PTRACE_GETSIGMASK, t->tid, sizeof(t->sigmask), &t->sigmask))
		return err_sys(err, -errno, "cannot read the registers of thread %d of process %d",
			       t->tid, r->pid);
	if (t->regs.cs != 0x33) {
		return err_refuse_as(err, REFUSED_32_BIT, "process %d is a 32-bit program", r->pid);
	}
	/* Written back at once: it holds even if we are killed now. */
	if (arch_fix_eintr(&t->regs) && ptrace(PTRACE_SETREGS, t->tid, 0, &t->regs))
		return err_sys(err, -errno, "cannot write the registers of thread %d of process %d",
			       t->tid, r->pid);
	return 0;
}

static int stop_one(struct remote *r, struct tracee *t, struct err *err)
{
	int ret = t->ended ? 0 : wait_stop(r, t, err);

	if (ret < 0)
		return ret;
	if (ret == 0)
		return note_end(r, t, err);
	t->stopped = true;
	return read_thread(r, t, err);
}

/* Those that ended meanwhile, and those that were never seized, are forgotten. */
static void forget_ended(struct remote *r, size_t from)
{
	size_t n = from;

	for (size_t i = from; i < r->n; i++)
		if (r->threads[i].seized && !r->threads[i].ended)
			r->threads[n++] = r->threads[i];
	r->n = n;
}

static int interrupt(const struct tracee *t, struct err *err)
{
	if (t->seized && ptrace(PTRACE_INTERRUPT, t->tid, 0, 0) && errno != ESRCH)
		return err_sys(err, -errno, "cannot interrupt thread %d", t->tid);
	return 0;
}

/* One that has a filter may be killed for having been stopped (guarded.c): it stands so for as
 * short as can be, before its registers are looked at. */
static int stop_those(struct remote *r, size_t from, bool asleep, struct err *err)
{
	int ret = 0;

	for (size_t i = from; i < r->n && !ret; i++)
		if (r->threads[i].asleep == asleep && !r->threads[i].seccomp)
			ret = interrupt(&r->threads[i], err);
	for (size_t i = from; i < r->n && !ret; i++) {
		struct tracee *t = &r->threads[i];

		if (t->asleep != asleep)
			continue;
		if (t->seccomp)
			ret = interrupt(t, err);
		if (!ret)
			ret = stop_one(r, t, err);
		if (!ret && t->stopped)
			remote_read_early(r, t);
	}
	return ret;
}

/* Attaches to what list_pass found, which goes on running; then stops it. */
static int take_new(struct remote *r, size_t from, struct err *err)
{
	int ret = 0;

	for (size_t i = from; i < r->n && !ret; i++)
		ret = seize_one(r, &r->threads[i], err);
	for (size_t i = from; i < r->n && !ret; i++) {
		remote_look(r, &r->threads[i]);
		if (r->threads[i].seccomp)
			remote_take_ballast(r);
	}
	if (!r->stopped_ns)
		r->stopped_ns = io_now_ns();
	if (!ret && !(ret = stop_those(r, from, true, err)))
		ret = stop_those(r, from, false, err);
	forget_ended(r, from);
	return ret;
}

/* The kernel's own count saves another look at the list.  One that has just ended
 * may still be counted: then the list decides. */
static bool are_all(const struct remote *r)
{
	struct err ignored = ERR_INIT;
	struct proc_stat st;

	return !remote_stat(r, &st, &ignored) && st.num_threads > 0 &&
	       (size_t)st.num_threads == r->n + remote_leader_has_ended(r);
}

static int by_tid(const void *a, const void *b)
{
	const struct tracee *x = a, *y = b;

	return (x->tid > y->tid) - (x->tid < y->tid);
}

/* The leader first, the others by tid, whatever order the kernel listed them in. */
static void sort_threads(struct remote *r)
{
	size_t sorted = remote_leader_has_ended(r) ? 0 : 1;

	for (size_t i = 0; i < r->n; i++)
		if (r->threads[i].tid == r->pid) {
			struct tracee t = r->threads[0];

			r->threads[0] = r->threads[i];
			r->threads[i] = t;
		}
	if (r->n > sorted)
		qsort(r->threads + sorted, r->n - sorted, sizeof(*r->threads), by_tid);
}

static int choose_speaker(struct remote *r, struct err *err)
{
	int ret = remote_leader_has_ended(r) ? remote_take_speaker(r, err) : 0;

	if (ret || r->threadfd >= 0 || !remote_leader_has_ended(r))
		return ret;
	err_refuse(err,
		   "the first thread of process %d has ended, and this kernel gives no descriptors "
		   "of another one (pidfd_open with PIDFD_THREAD)",
		   r->pid);
	return err_hint(err, "it needs Linux 6.9; or let the first thread wait for the others "
			     "(pthread_join) instead of leaving by pthread_exit");
}

static int seize_all(struct remote *r, struct err *err)
{
	size_t fresh;

	do {
		size_t known = r->n;
		int ret = list_pass(r, &fresh, err);

		if (!ret)
			ret = take_new(r, known, err);
		if (ret)
			return ret;
		fault_point("threads stopped");
	} while (fresh && !are_all(r));
	if (!r->n)
		return explain_end(r, err);
	sort_threads(r);
	if (choose_speaker(r, err))
		return err->error;
	remote_read_again(r);
	if (r->memfd < 0)
		r->memfd = openat(r->procfd, "mem", O_RDWR | O_CLOEXEC);
	if (r->memfd < 0)
		return err_sys(err, -errno, "cannot open the memory of process %d", r->pid);
	return 0;
}

int remote_seize(struct remote *r, pid_t pid, struct err *err)
{
	int ret;

	ret = open_target(r, pid, pid, err);
	if (!ret)
		ret = seize_all(r, err);
	if (ret)
		remote_release(r);
	return ret;
}

int remote_adopt(struct remote *r, pid_t pid, pid_t ns_pid, struct err *err)
{
	int ret;

	ret = open_target(r, pid, ns_pid, err);
	if (ret)
		return ret;
	r->options = REMOTE_ADOPTED_OPTIONS;
	return remote_add_thread(r, pid, ns_pid, err);
}
