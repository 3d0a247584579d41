/*
 * Waiting for a thread of a program that may be killed meanwhile.
 *
 * QUIRK: a first thread that has ended is reported only when all other threads have been
 * reaped (wait(2), kernel/exit.c: delay_group_leader), and those that are traced are reaped by
 * nobody but us.  So who waits for it alone, while all of them are killed, waits for
 * ever; /proc tells that it has ended.  (That some child of ours was killed tells nothing:
 * it need not be of this program.)  tests/e2e/run.t: fifty_kills_with_threads;
 * tests/migrate/postcopy_target.t: destination_killed_at_keeper_waits.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include "base/io.h"
#include "proc/status.h"
#include "remote/internal.h"

bool remote_has_ended(pid_t tid)
{
	__cleanup_buf struct buf b = {0};
	struct err ignored = ERR_INIT;
	struct proc_stat st;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	return io_read_file(AT_FDCWD, path, &b) || proc_parse_stat(b.p, &st, &ignored) ||
	       st.state == 'Z' || st.state == 'X';
}

/* Of the first thread: its end may be known before it is reported. */
static int wait_leader(pid_t tid, int *status)
{
	struct timespec moment = {.tv_nsec = 10 * 1000};

	for (;;) {
		siginfo_t any = {0};
		pid_t got = waitpid(tid, status, __WALL | WNOHANG);

		if (got == tid)
			return 0;
		if (got < 0 && errno != EINTR)
			return -ECHILD;
		if (got < 0 || waitid(P_ALL, 0, &any, WEXITED | WSTOPPED | WNOWAIT | __WALL) ||
		    any.si_pid == tid)
			continue;
		/* Something else that nobody has asked for yet: perhaps all end together. */
		if (remote_has_ended(tid))
			return waitpid(tid, status, __WALL | WNOHANG) == tid ? 0 : -ECHILD;
		nanosleep(&moment, NULL);
		if (moment.tv_nsec < 1000 * 1000)
			moment.tv_nsec *= 2;
	}
}

int remote_wait_thread(const struct remote *r, pid_t tid, int *status)
{
	if (tid == r->pid)
		return wait_leader(tid, status);
	while (waitpid(tid, status, __WALL) != tid)
		if (errno != EINTR)
			return -ECHILD;
	return 0;
}

static void wait_end(pid_t tid)
{
	int status;

	while (waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status))
		;
}

/*
 * Threads that are made are ours before they are in the list (PTRACE_O_TRACECLONE).  A program that
 * was killed at that moment makes no more.  (tests/e2e/killed.t:
 * killed_when_its_threads_have_just_been_made)
 */
static void wait_others(const struct remote *r)
{
	int fd = openat(r->procfd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *d;

	if (!dir) {
		io_close_fd(&fd);
		return;
	}
	while ((d = readdir(dir))) {
		pid_t tid = (pid_t)atoi(d->d_name);

		if (tid > 0 && tid != r->pid)
			wait_end(tid);
	}
	closedir(dir);
}

void remote_wait_end(const struct remote *r)
{
	for (size_t i = r->n; i-- > 1;)
		wait_end(r->threads[i].tid);
	if (!r->n)
		return;
	wait_others(r);
	wait_end(r->threads[0].tid);
}
