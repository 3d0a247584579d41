/* The engine's edges: memory and descriptors of the target, its threads, letting it go. */
#include "remote/internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"

static int transfer(const struct remote *r, bool write, uint64_t addr, void *buf, size_t len)
{
	while (len) {
		struct iovec local = {buf, len < (1u << 30) ? len : 1u << 30};
		struct iovec remote = {(void *)(uintptr_t)addr, local.iov_len};
		ssize_t n = write ? process_vm_writev(r->speaker, &local, 1, &remote, 1, 0)
				  : process_vm_readv(r->speaker, &local, 1, &remote, 1, 0);

		if (n <= 0)
			return n < 0 ? -errno : -EFAULT;
		buf = (char *)buf + n;
		addr += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int remote_read(const struct remote *r, uint64_t addr, void *buf, size_t len)
{
	return transfer(r, false, addr, buf, len);
}

int remote_write(const struct remote *r, uint64_t addr, const void *buf, size_t len)
{
	return transfer(r, true, addr, (void *)(uintptr_t)buf, len);
}

int remote_read_force(const struct remote *r, uint64_t addr, void *buf, size_t len)
{
	return io_pread_all(r->memfd, buf, len, addr);
}

int remote_write_force(const struct remote *r, uint64_t addr, const void *buf, size_t len)
{
	return io_pwrite_all(r->memfd, buf, len, addr);
}

int remote_stat(const struct remote *r, struct proc_stat *ret, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	char name[40];
	int e;

	snprintf(name, sizeof(name), "task/%d/stat", r->speaker ? r->speaker : r->pid);
	if ((e = io_read_file(r->procfd, name, &b)))
		return err_sys(err, e, "cannot read /proc/%d/%s", r->pid, name);
	return proc_parse_stat(b.p, ret, err);
}

int remote_getfd(const struct remote *r, int fd)
{
	int whose = remote_leader_has_ended(r) ? r->threadfd : r->pidfd;
	int got = (int)syscall(SYS_pidfd_getfd, whose, fd, 0);

	return got < 0 ? -errno : got;
}

int remote_add_thread(struct remote *r, pid_t tid, pid_t ns_tid, struct err *err)
{
	void *v = io_grow(r->threads, &r->cap, r->n + 1, sizeof(*r->threads), err);
	struct tracee *t;

	if (!v)
		return err->error;
	r->threads = v;
	t = &r->threads[r->n++];
	*t = (struct tracee){.tid = tid, .ns_tid = ns_tid, .seized = true, .stopped = true};
	if (ptrace(PTRACE_GETREGS, tid, 0, &t->regs) ||
	    ptrace(PTRACE_GETSIGMASK, tid, sizeof(t->sigmask), &t->sigmask))
		return err_sys(err, -errno, "cannot read the registers of the new process");
	return r->scratch ? remote_write_units(r, r->n - 1, err) : 0;
}

void remote_set_thread(struct remote *r, size_t thread, const struct user_regs_struct *regs,
		       uint64_t sigmask)
{
	r->threads[thread].regs = *regs;
	r->threads[thread].sigmask = sigmask;
	r->threads[thread].borrowed = true; /* it must be given these */
}

void remote_vdso_moved(struct remote *r, uint64_t from, uint64_t to)
{
	r->vdso_unit = r->vdso_unit - from + to;
	r->vdso_room = r->vdso_unit;
}

static void forget(struct remote *r)
{
	io_close_fd(&r->pidfd);
	io_close_fd(&r->procfd);
	io_close_fd(&r->memfd);
	io_close_fd(&r->threadfd);
	free(r->threads);
	free(r->kept);
	remote_drop_ballast(r);
	r->threads = NULL;
	r->kept = NULL;
	r->n = r->cap = 0;
}

void remote_finish(struct remote *r)
{
	if (r->parked)
		return;
	for (size_t i = 1; i < r->n; i++)
		remote_give_back(&r->threads[i]);
	if (r->n && r->vdso_unit)
		remote_unmap_scratch(r);
}

/*
 * A thread must have stopped before it can be let go.  One in an uninterruptible wait
 * (a device, vfork) may never stop: our own end lets it go.  If a signal was just being
 * delivered to it, it is given back.
 */
static void let_go_running(struct tracee *t)
{
	struct timespec step = {.tv_nsec = 1000 * 1000};

	if (ptrace(PTRACE_INTERRUPT, t->tid, 0, 0))
		return;
	for (int i = 0; i < 200; i++) {
		int status;
		pid_t got = waitpid(t->tid, &status, __WALL | WNOHANG);

		if (got == t->tid && WIFSTOPPED(status) &&
		    !ptrace(PTRACE_GETREGS, t->tid, 0, &t->regs) && remote_spare_restart(t))
			return;
		if (got == t->tid && WIFSTOPPED(status))
			ptrace(PTRACE_DETACH, t->tid, 0, status >> 16 ? 0 : (long)WSTOPSIG(status));
		if (got)
			return;
		nanosleep(&step, NULL);
	}
}

void remote_release(struct remote *r)
{
	remote_finish(r);
	for (int asleep = 0; asleep < 2; asleep++)
		for (size_t i = 0; i < r->n; i++) {
			struct tracee *t = &r->threads[i];

			if (t->asleep != asleep)
				continue;
			if (!r->parked)
				remote_give_back(t);
			if (t->stopped)
				ptrace(PTRACE_DETACH, t->tid, 0, 0);
			else if (t->seized)
				let_go_running(t);
		}
	if (r->stop_held)
		syscall(SYS_pidfd_send_signal, r->pidfd, SIGSTOP, NULL, 0);
	forget(r);
}

/* Of a leader that was killed and stops once more, for us.  False: it has ended. */
static bool wait_exit_stop(pid_t tid)
{
	struct timespec step = {.tv_nsec = 1000 * 1000};

	for (int i = 0; i < 500; i++) {
		int status;
		pid_t got = waitpid(tid, &status, __WALL | WNOHANG);

		if (got == tid && WIFSTOPPED(status) &&
		    status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8))
			return true;
		if (got && (got != tid || !WIFSTOPPED(status)))
			return false;
		if (i < 100)
			syscall(SYS_sched_yield);
		else
			nanosleep(&step, NULL);
	}
	return false;
}

/*
 * From SIGKILL on no signal is queued for the process any more (kernel/signal.c,
 * prepare_signal), and what was queued before is still there at its exit stop.
 */
void remote_kill_watched(struct remote *r, void (*dying)(void *arg, pid_t tid), void *arg)
{
	pid_t tid = r->n ? r->threads[0].tid : 0;
	bool stops = dying && r->n && !ptrace(PTRACE_SETOPTIONS, tid, 0, PTRACE_O_TRACEEXIT);

	if (r->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, r->pidfd, SIGKILL, NULL, 0);
	if (stops && wait_exit_stop(tid)) {
		dying(arg, tid);
		ptrace(PTRACE_CONT, tid, 0, 0);
	}
	remote_wait_end(r);
	forget(r);
}

void remote_kill(struct remote *r)
{
	remote_kill_watched(r, NULL, NULL);
}

void remote_exit(struct remote *r, int status)
{
	struct tracee *t = &r->threads[0];

	if (r->n && r->guarded && (r->scratch || r->vdso_unit)) {
		if (!remote_guarded_exit(r, r->scratch ? remote_unit(r, 0) : r->vdso_unit,
					 status)) {
			remote_wait_end(r);
			forget(r);
			return;
		}
	} else if (r->n && (r->scratch || r->vdso_unit)) {
		struct user_regs_struct regs = t->regs;
		uint64_t arg[6] = {(uint64_t)status};

		arch_enter_call(&regs, r->scratch ? remote_unit(r, 0) : r->vdso_unit,
				SYS_exit_group, arg);
		/* Were we to end first, PTRACE_O_EXITKILL would kill it by the other
		 * threads, and the status would be another. */
		if (!ptrace(PTRACE_SETREGS, t->tid, 0, &regs) &&
		    !ptrace(PTRACE_CONT, t->tid, 0, 0)) {
			remote_wait_end(r);
			forget(r);
			return;
		}
	}
	remote_kill(r);
}
