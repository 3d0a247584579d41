/*
 * Making a snapshot: see snapshot.h, and arch/x86_64/snapshot.S for what runs.
 *
 * Why two clones: a child of the program, even without exit signal, would be a zombie
 * in it until somebody waits, and a sibling (CLONE_PARENT) would send SIGCHLD to its
 * parent.  The go-between shares the memory, so the second clone alone copies page tables; it
 * is waited for by the leader at once, and the snapshot is an orphan then, for whom
 * process 1 (or a subreaper above) is responsible.  If the program itself is that
 * reaper, there is no way to make one that it does not meet.
 *
 * When we are killed, at any point:
 *   1. the leader goes on in its code: it waits for the go-between, and heals;
 *   2. the go-between is killed with us (PTRACE_O_EXITKILL, which it and what it starts
 *      have, and the program never), or, before it has that, starts a snapshot and exits;
 *   3. the snapshot is killed with us, or runs to its exit: there is nothing else in its
 *      code.  Signals are blocked, so that no handler of the program can run in it.
 */
#include "remote/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"
#include "remote/internal.h"

enum happened { ENDED, CLONED, EXITING, RANG, STOPPED };

/*
 * Waits until the thread ends or reports: *ret is the new process of CLONED, or the exit
 * status of ENDED.  Signals, which are all blocked but the bell, and stops of the
 * group are passed over: a stop signal is noted for the release.
 */
static enum happened wait_event(struct remote *r, pid_t tid, int *ret)
{
	for (;;) {
		unsigned long message = 0;
		int status;

		if (remote_wait_thread(r, tid, &status))
			return ENDED;
		if (!WIFSTOPPED(status)) {
			*ret = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
			return ENDED;
		}
		switch (status >> 16) {
		case PTRACE_EVENT_CLONE:
			ptrace(PTRACE_GETEVENTMSG, tid, 0, &message);
			*ret = (int)message;
			return CLONED;
		case PTRACE_EVENT_EXIT:
			return EXITING;
		case PTRACE_EVENT_STOP:
			if (WSTOPSIG(status) == SIGTRAP)
				return STOPPED;
			break;
		case 0:
			if (WSTOPSIG(status) == r->bell && tid == r->threads[0].tid)
				return RANG;
			if (WSTOPSIG(status) == SIGSTOP && tid == r->threads[0].tid)
				r->stop_held = true;
			break;
		}
		if (ptrace(PTRACE_CONT, tid, 0, 0))
			return ENDED;
	}
}

static int not_here(const struct remote *r, int error, struct err *err)
{
	err_set(err, -ENOTSUP, "no snapshot of process %d can be made: %s", r->pid,
		strerror(error));
	if (error == EAGAIN)
		return err_hint(err, "a limit on processes is reached: ulimit -u, or that of a "
				     "cgroup (pids.max)");
	if (error == ENOMEM)
		return err_hint(err, "free memory, or raise what may be promised: "
				     "vm.overcommit_memory");
	return err_hint(err, "it must be allowed to fork()");
}

/* Until that has its process 1, the kernel does not name it.  (Process 1 of it, the go-between
 * could not end before the snapshot has.) */
static bool has_own_children_namespace(const struct remote *r)
{
	char own[64], next[64];

	return !io_readlink(r->procfd, "ns/pid", own, sizeof(own)) &&
	       (io_readlink(r->procfd, "ns/pid_for_children", next, sizeof(next)) ||
		strcmp(own, next));
}

/* Would the program notice? */
static int check(const struct remote *r, struct err *err)
{
	if (r->ns_pid == 1)
		err_set(err, -ENOTSUP, "process %d is process 1, which would meet the snapshot",
			r->pid);
	else if (has_own_children_namespace(r))
		err_set(err, -ENOTSUP,
			"process %d has called unshare(CLONE_NEWPID): a snapshot would be process "
			"1 there",
			r->pid);
	else if (r->guarded) {
		/* It would make calls that we might not live to see: guarded.c. */
		err_set(err, -ENOTSUP, "process %d has a seccomp filter", r->pid);
		return err_hint(err, "use --pause=copy with it");
	} else
		return 0;
	return err_hint(err, "--pause=live needs no snapshot");
}

/* From the birth of the snapshot (stopped before its first instruction): it stops again at
 * its end, where it still has its memory, and is kept there. */
static int let_run_to_exit(struct remote *r, pid_t snapshot)
{
	int what;

	if (wait_event(r, snapshot, &what) != STOPPED)
		return 0;
	return !ptrace(PTRACE_SETOPTIONS, snapshot, 0, PTRACE_O_EXITKILL | PTRACE_O_TRACEEXIT) &&
	       !ptrace(PTRACE_CONT, snapshot, 0, 0);
}

/*
 * From the birth of the go-between until it has ended, whatever happens: the leader waits
 * for that.  Returns the snapshot, on its way, or a negative errno.
 */
static int run_between(struct remote *r, pid_t between)
{
	enum happened now = wait_event(r, between, &(int){0});
	int snapshot = 0, status = 0;

	if (now == STOPPED &&
	    !ptrace(PTRACE_SETOPTIONS, between, 0, PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL) &&
	    !ptrace(PTRACE_CONT, between, 0, 0)) {
		fault_point("snapshot: between");
		now = wait_event(r, between, &status);
		if (now == CLONED) {
			snapshot = let_run_to_exit(r, status) ? status : 0;
			fault_point("snapshot: copied");
		}
	}
	while (now != ENDED) {
		if (!snapshot || ptrace(PTRACE_CONT, between, 0, 0))
			kill(between, SIGKILL);
		now = wait_event(r, between, &status);
	}
	fault_point("snapshot: orphan");
	return snapshot ? snapshot : status > 0 ? -status : -EIO;
}

/* The leader has run its code to the end. */
static int come_back(struct remote *r, struct err *err)
{
	struct tracee *t = &r->threads[0];
	struct user_regs_struct regs;
	int ret;

	if (ptrace(PTRACE_CONT, t->tid, 0, 0))
		return remote_died(r, err);
	if ((ret = remote_wait_bell(r, t, remote_unit(r, 0), &regs, err)))
		return ret;
	return ptrace(PTRACE_SETOPTIONS, t->tid, 0, 0) ? remote_died(r, err) : 0;
}

/* Lets the leader run until it has cloned.  *ret: the go-between, or a negative errno. */
static int start(struct remote *r, int *ret, struct err *err)
{
	struct tracee *t = &r->threads[0];
	struct user_regs_struct regs = t->regs;
	uint64_t code = r->scratch + remote_units_end(r->max_threads);
	enum happened what;
	int e = remote_write_force(r, code, arch_snapshot_code, ARCH_SNAPSHOT_LEN);

	if (e)
		return err_sys(err, e, "cannot write to the scratch mapping");
	arch_enter_snapshot(&regs, code, remote_unit(r, 0));
	if (ptrace(PTRACE_SETOPTIONS, t->tid, 0, PTRACE_O_TRACECLONE))
		return remote_died(r, err);
	if ((e = remote_enter(r, t, &regs, err)))
		return e;
	while ((what = wait_event(r, t->tid, ret)) != CLONED) {
		if (what == ENDED || ptrace(PTRACE_GETREGS, t->tid, 0, &regs))
			return remote_died(r, err);
		if (what == RANG && remote_has_rung(t, remote_unit(r, 0))) {
			*ret = (int)arch_call_result(&regs);
			return ptrace(PTRACE_SETOPTIONS, t->tid, 0, 0) ? remote_died(r, err) : 0;
		}
		/* A signal like the bell from elsewhere, or a stop of its group. */
		if (ptrace(PTRACE_CONT, t->tid, 0, 0))
			return remote_died(r, err);
	}
	return 0;
}

/* Opens the snapshot, which has run to its end, and takes what is ours out of it. */
static int open_it(struct remote *r, struct remote *s, struct err *err)
{
	static const uint8_t zeros[ARCH_UNIT_STRIDE];
	char path[64];
	int what, ret;

	if (wait_event(r, s->pid, &what) != EXITING)
		return err_set(err, -EIO, "the snapshot of process %d was killed", r->pid);
	snprintf(path, sizeof(path), "/proc/%d/mem", s->pid);
	s->memfd = open(path, O_RDWR | O_CLOEXEC);
	if (s->memfd < 0)
		return err_sys(err, -errno, "cannot open '%s'", path);
	ret = remote_write_force(s, r->vdso_unit, zeros, sizeof(zeros));
	return ret ? err_sys(err, ret, "cannot write to the snapshot of process %d", r->pid) : 0;
}

int remote_snapshot(struct remote *r, struct remote *ret, struct err *err)
{
	int between = 0, snapshot, e;

	if ((e = check(r, err)) || (e = start(r, &between, err)))
		return e;
	if (between <= 0)
		return not_here(r, -between, err);
	fault_point("snapshot: begun");
	snapshot = run_between(r, between);
	e = come_back(r, err);
	if (snapshot < 0)
		return e ? e : not_here(r, -snapshot, err);
	*ret = REMOTE_NONE;
	ret->pid = ret->speaker = snapshot;
	if (!e)
		e = open_it(r, ret, err);
	if (e)
		remote_snapshot_end(ret);
	fault_point("snapshot: made");
	return e;
}

void remote_snapshot_end(struct remote *s)
{
	if (s->pid <= 0)
		return;
	io_close_fd(&s->memfd);
	/* It goes on with its exit, which frees its memory: nobody needs to wait. */
	if (ptrace(PTRACE_DETACH, s->pid, 0, 0))
		kill(s->pid, SIGKILL);
	*s = REMOTE_NONE;
}
