/* Who stands for a process whose leader has ended: see remote_leader_has_ended() in remote.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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
#include "base/io.h"
#include "proc/status.h"
#include "remote/internal.h"

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL /* Linux 6.9 */
#endif

int remote_take_speaker(struct remote *r, struct err *err)
{
	char path[64];

	r->speaker = r->threads[0].tid;
	io_close_fd(&r->procfd);
	io_close_fd(&r->memfd);
	io_close_fd(&r->threadfd);
	snprintf(path, sizeof(path), "/proc/%d", r->speaker);
	r->procfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->procfd < 0)
		return err_sys(err, -errno, "cannot open '%s'", path);
	r->memfd = openat(r->procfd, "mem", O_RDWR | O_CLOEXEC);
	/* Whose descriptors they are was compared with a leader's that has none any more. */
	for (size_t i = 0; i < r->n; i++)
		r->threads[i].knows_files = r->threads[i].knows_directory = false;
	/* A kernel that knows no such pidfd: remote_getfd() fails, and who needs that says so. */
	r->threadfd = (int)syscall(SYS_pidfd_open, r->speaker, PIDFD_THREAD);
	return 0;
}

static bool read_stat(pid_t tid, struct proc_stat *ret)
{
	__cleanup_buf struct buf b = {0};
	struct err ignored = ERR_INIT;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	return !io_read_file(AT_FDCWD, path, &b) && !proc_parse_stat(b.p, ret, &ignored);
}

/* It lets go of memory and files before it is a zombie (kernel/exit.c, do_exit). */
static bool is_leaving(const struct proc_stat *st)
{
	return st->state == 'Z' || st->state == 'X' || st->flags & PROC_FLAG_EXITING;
}

static bool has_left(pid_t tid)
{
	struct proc_stat st;

	return !read_stat(tid, &st) || is_leaving(&st);
}

/* A thread that is not about to end, or 0: none is, or the list was out of date already. */
static pid_t find_living(pid_t pid)
{
	char path[64];
	struct dirent *d;
	pid_t found = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && !found && (d = readdir(dir))) {
		pid_t tid = (pid_t)atoi(d->d_name);

		if (tid > 0 && tid != pid && !has_left(tid))
			found = tid;
	}
	if (dir)
		closedir(dir);
	return found;
}

static bool has_kill(const char *status)
{
	struct proc_status st;
	struct err ignored = ERR_INIT;

	return !proc_parse_status(status, &st, &ignored) && st.sig_pending >> (SIGKILL - 1) & 1;
}

/* Each of them has its SIGKILL pending (kernel/signal.c, zap_other_threads()) or is on its way. */
static bool all_listed_are_ending(const struct remote *r)
{
	int fd = openat(r->procfd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	bool all = true;

	if (!dir)
		io_close_fd(&fd);
	while (dir && all && (d = readdir(dir))) {
		__cleanup_buf struct buf b = {0};
		char name[40];

		snprintf(name, sizeof(name), "%.20s/status", d->d_name);
		all = *d->d_name == '.' || has_left((pid_t)atoi(d->d_name)) ||
		      io_read_file(fd, name, &b) || has_kill(b.p);
	}
	if (dir)
		closedir(dir);
	return all;
}

/* Or the list was out of date: see below. */
bool remote_all_are_ending(const struct remote *r)
{
	struct timespec step = {.tv_nsec = 1000 * 1000};

	for (int i = 0; i < 5; i++) {
		if (!all_listed_are_ending(r))
			return false;
		nanosleep(&step, NULL);
	}
	return true;
}

/*
 * Threads may follow one another: 1. the list is read; 2. one of it starts another, which is
 * not in it; 3. and ends.  So the list is read again where somebody is left by the kernel's count.
 * Test: relay_of_threads.
 */
pid_t remote_find_speaker(pid_t pid)
{
	for (int i = 0; i < 50; i++) {
		struct proc_stat st;
		pid_t found;

		if (!read_stat(pid, &st) || !is_leaving(&st) || st.num_threads < 2)
			return pid;
		if ((found = find_living(pid)))
			return found;
		syscall(SYS_sched_yield);
	}
	return pid;
}

int remote_open_proc(pid_t pid, const char *name, int flags)
{
	int fd = -ESRCH;

	for (int i = 0; i < 100; i++) {
		pid_t speaker = remote_find_speaker(pid);
		char path[64];

		snprintf(path, sizeof(path), "/proc/%d/%s", speaker, name);
		fd = open(path, flags | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
		/* Of one that has ended it may be open, and empty. */
		if (!has_left(speaker) || remote_find_speaker(pid) == speaker)
			return fd;
		io_close_fd(&fd);
	}
	return -ESRCH;
}

/* Until it stands in its exit, where it runs no code any more.  Signals are blocked. */
static int wait_exit(struct remote *r, pid_t tid, struct err *err)
{
	for (;;) {
		int status;

		if (remote_wait_thread(r, tid, &status) || !WIFSTOPPED(status))
			return remote_died(r, err);
		if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8))
			return 0;
		if (WSTOPSIG(status) == SIGSTOP && !(status >> 16))
			r->stop_held = true;
		if (ptrace(PTRACE_CONT, tid, 0, 0))
			return remote_died(r, err);
	}
}

/*
 * Not traced: as a zombie it would be reported to nobody before its tracer has ended, and the
 * process's parent would wait that long for the end of the program.
 */
int remote_end_leader(struct remote *r, int status, struct err *err)
{
	struct tracee *t = &r->threads[0];
	struct timespec moment = {.tv_nsec = 20 * 1000};
	struct user_regs_struct regs = t->regs;
	const uint64_t arg[6] = {(uint64_t)status};
	int ret;

	arch_enter_call(&regs, remote_unit(r, 0), SYS_exit, arg);
	if (ptrace(PTRACE_SETOPTIONS, t->tid, 0, r->options | PTRACE_O_TRACEEXIT))
		return remote_died(r, err);
	if ((ret = remote_enter(r, t, &regs, err)) || (ret = wait_exit(r, t->tid, err)))
		return ret;
	fault_point("leader ends");
	if (ptrace(PTRACE_DETACH, t->tid, 0, 0))
		return remote_died(r, err);
	while (!remote_has_ended(r->pid))
		nanosleep(&moment, NULL);
	memmove(t, t + 1, --r->n * sizeof(*t));
	ret = remote_take_speaker(r, err);
	return ret ? ret : remote_rewrite_units(r, err);
}
