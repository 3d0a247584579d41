/* What the probes share: see doctor.h. */
#include "cli/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "proc/status.h"

static void fill(struct finding *f, bool works, const char *fmt, va_list ap)
{
	f->works = works;
	vsnprintf(f->detail, sizeof(f->detail), fmt, ap);
}

void finding_yes(struct finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fill(f, true, fmt, ap);
	va_end(ap);
}

void finding_no(struct finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fill(f, false, fmt, ap);
	va_end(ap);
}

void finding_remedy(struct finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->remedy, sizeof(f->remedy), fmt, ap);
	va_end(ap);
}

bool probe_is_filtered(void)
{
	__cleanup_buf struct buf b = {0};
	struct proc_status st;
	struct err ignored = ERR_INIT;

	return !io_read_file(AT_FDCWD, "/proc/self/status", &b) &&
	       !proc_parse_status(b.p, &st, &ignored) && st.seccomp == 2;
}

void finding_refused(struct finding *f, const char *call, int error, const char *since)
{
	finding_no(f, "%s: %s", call, strerror(error));
	if (error == ENOSYS)
		finding_remedy(f, "Linux %s or later%s", since,
			       probe_is_filtered()
				       ? "; or the container's seccomp filter forbids it"
				       : "");
	else if (probe_is_filtered())
		finding_remedy(f, "a seccomp filter is on this process: docker/podman run "
				  "--cap-add=SYS_PTRACE --security-opt seccomp=unconfined");
	else if (error == EPERM || error == EACCES)
		finding_remedy(f,
			       "a security module or missing capability forbids it: try as root, "
			       "or docker/podman run --cap-add=SYS_PTRACE");
	else
		finding_remedy(f, "Linux %s or later, x86-64", since);
}

long probe_read_number(const char *path, long missing)
{
	__cleanup_buf struct buf b = {0};

	return io_read_file(AT_FDCWD, path, &b) || !b.len ? missing : strtol(b.p, NULL, 10);
}

pid_t probe_fork(struct finding *f)
{
	pid_t pid = fork();

	if (pid < 0) {
		finding_no(f, "fork: %s", strerror(errno));
		finding_remedy(f, "raise the limit of processes (ulimit -u, pids cgroup)");
		_exit(0);
	}
	return pid;
}

pid_t probe_idle_child(struct finding *f)
{
	pid_t parent = getpid(), pid = probe_fork(f);

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (getppid() == parent)
			pause();
		_exit(0);
	}
	return pid;
}

void probe_end_child(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	/* A tracer sees stops first. */
	while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
		;
}
