/*
 * The lifeline: a small process that ends the program when the run is killed.
 *
 * An unwatched program would go on without checkpoints, and beside the second copy
 * that the same line in a job script starts next.  (PR_SET_PDEATHSIG would do the same,
 * but is the program's to see, to change and to take along into its image.)
 *
 * It keeps the lock of the images until the program is gone: a run that comes
 * after must not cut files back that somebody still writes to.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "proc/status.h"
#include "run/internal.h"

/* The child; and, where that is a thin parent, process 1 of its namespace and the program. */
#define CHAIN 3
#define PATIENCE_MS 10000

static int open_process(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static pid_t child_of(pid_t pid)
{
	__cleanup_buf struct buf b = {0};
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	return io_read_file(AT_FDCWD, path, &b) ? 0 : (pid_t)atoi(b.p);
}

/* The program's own children are its own affair: only below a thin parent there is
 * somebody of ours to be found. */
static bool is_ours(pid_t pid)
{
	return proc_has_comm(pid, STATE_PARENT_COMM) || proc_has_comm(pid, STATE_INIT_COMM);
}

static void end_all(pid_t child, int child_fd)
{
	int fd[CHAIN] = {child_fd, -1, -1};
	pid_t pid = child;
	size_t n = 1;

	for (; n < CHAIN && is_ours(pid) && (pid = child_of(pid)); n++)
		fd[n] = open_process(pid);
	/* From below, so that none is left to the mercy of who reaps orphans. */
	for (size_t i = n; i-- > 0;)
		if (fd[i] >= 0)
			syscall(SYS_pidfd_send_signal, fd[i], SIGKILL, NULL, 0);
	for (size_t i = 0; i < n; i++) {
		struct pollfd p = {.fd = fd[i], .events = POLLIN};

		if (fd[i] >= 0)
			poll(&p, 1, PATIENCE_MS);
	}
}

/* Whoever waits for the end of our standard output must not wait for this process. */
static void close_all_but(int a, int b, int c)
{
	long max = sysconf(_SC_OPEN_MAX);
	int last = a > b ? a : b;

	last = c > last ? c : last;
	for (int fd = 0; fd <= last; fd++)
		if (fd != a && fd != b && fd != c)
			close(fd);
	if (syscall(SYS_close_range, last + 1, ~0U, 0))
		for (int fd = last + 1; fd < max && fd < 4096; fd++)
			close(fd);
}

static void be_lifeline(pid_t child, int child_fd, int run_fd, int lock)
{
	struct pollfd v[2] = {{.fd = run_fd, .events = POLLIN}, {.fd = child_fd, .events = POLLIN}};

	setsid();
	prctl(PR_SET_NAME, "godwit-lifeline");
	close_all_but(child_fd, run_fd, lock);
	while (!v[0].revents && !v[1].revents)
		poll(v, 2, -1);
	if (!v[1].revents)
		end_all(child, child_fd);
	_exit(0);
}

pid_t lifeline_start(pid_t child, int lock, struct err *err)
{
	__cleanup_fd int run_fd = open_process(getpid());
	__cleanup_fd int child_fd = open_process(child);
	pid_t pid;

	if (run_fd < 0 || child_fd < 0)
		return err_sys(err, -errno, "cannot watch a process");
	pid = fork();
	if (pid < 0)
		return err_sys(err, -errno, "cannot start a process");
	if (pid == 0)
		be_lifeline(child, child_fd, run_fd, lock);
	return pid;
}
