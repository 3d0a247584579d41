/*
 * A descriptor that is made in the target, taken out of it, and never left there.
 *
 * The list has two calls: the one that makes it, and close() of the number it
 * will get, which is known beforehand: the lowest free one, while every thread
 * is stopped.  The leader is stopped in between, on its way out of the first
 * call, and there the descriptor is copied to us.  Whenever we are killed the
 * thread runs the list to its end, and so closes it by itself.
 */
#include "remote/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"

/* The kernel lists descriptors in ascending order. */
static int lowest_free(const struct remote *r)
{
	int fd = openat(r->procfd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC), free_fd = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (!dir) {
		io_close_fd(&fd);
		return -ESRCH;
	}
	while ((d = readdir(dir))) {
		if (*d->d_name < '0' || *d->d_name > '9')
			continue;
		if (atoi(d->d_name) != free_fd)
			break;
		free_fd++;
	}
	closedir(dir);
	return free_fd;
}

/* Lets the leader run until it leaves the first call; *ret is its result. */
static int run_to_exit(struct remote *r, struct tracee *t, int64_t *ret, struct err *err)
{
	for (;;) {
		struct __ptrace_syscall_info info = {0};
		int status, sig;

		if (ptrace(PTRACE_SYSCALL, t->tid, 0, 0))
			return remote_died(r, err);
		if (remote_wait_thread(r, t->tid, &status))
			return remote_died(r, err);
		if (!WIFSTOPPED(status))
			return remote_died(r, err);
		sig = WSTOPSIG(status);
		if (sig == r->bell)
			return err_set(err, -EPROTO, "process %d left a call unseen", r->pid);
		if (sig == SIGSTOP && !(status >> 16))
			r->stop_held = true;
		if (sig != (SIGTRAP | 0x80))
			continue; /* a group stop, or a SIGSTOP: all other signals are blocked */
		if (ptrace(PTRACE_GET_SYSCALL_INFO, t->tid, sizeof(info), &info) < 0)
			return err_sys(err, -errno, "PTRACE_GET_SYSCALL_INFO");
		if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
			*ret = info.exit.rval;
			return 0;
		}
	}
}

static int finish_list(struct remote *r, struct tracee *t, struct err *err)
{
	struct user_regs_struct regs;

	if (ptrace(PTRACE_CONT, t->tid, 0, 0))
		return remote_died(r, err);
	return remote_wait_bell(r, t, remote_unit(r, 0), &regs, err);
}

int remote_take_new_fd(struct remote *r, long nr, const uint64_t arg[6], struct err *err)
{
	struct tracee *t = &r->threads[0];
	struct user_regs_struct regs = t->regs;
	int n = lowest_free(r), fd, ret;
	struct wire_call calls[2] = {
		{.nr = nr, .expect = EXPECT_VALUE, .want = n},
		{.nr = SYS_close, .arg = {(uint64_t)n}, .expect = EXPECT_ANY},
	};
	int64_t got = 0;

	if (n < 0)
		return remote_died(r, err);
	/* Its list would be made up of calls that its filter may forbid: guarded.c. */
	if (r->guarded)
		return -EPERM;
	if (!r->scratch)
		return err_set(err, -EINVAL, "remote_take_new_fd: the target is not prepared");
	memcpy(calls[0].arg, arg, sizeof(calls[0].arg));
	if ((ret = remote_write(r, r->calls, calls, sizeof(calls))))
		return err_sys(err, ret, "cannot write to the scratch mapping");
	arch_enter_list(&regs, remote_unit(r, 0), r->calls, ARRAY_SIZE(calls));
	if ((ret = remote_lend(r, t, &regs, err)))
		return ret;
	if (ptrace(PTRACE_SETOPTIONS, t->tid, 0, r->options | PTRACE_O_TRACESYSGOOD))
		return remote_died(r, err);
	if ((ret = run_to_exit(r, t, &got, err)))
		return ret;
	if (ptrace(PTRACE_SETOPTIONS, t->tid, 0, r->options))
		return remote_died(r, err);
	fault_point("descriptor made");
	fd = got < 0 ? (int)got : remote_getfd(r, (int)got);
	fault_point("descriptor taken");
	ret = finish_list(r, t, err);
	if (!ret && got >= 0 && got != n) {
		/* Somebody who is not stopped shares its descriptors (vfork). */
		uint64_t a[6] = {(uint64_t)got};
		int64_t ignored;

		ret = remote_call_one(r, remote_unit(r, 0), SYS_close, a, &ignored, err);
	}
	if (ret && fd >= 0)
		close(fd);
	return ret ? ret : fd;
}
