/*
 * The guardian of a restart, and the exec under its eyes.
 *
 * 1. the process that will be the program forks twice: the guardian is nobody's
 *    child that the program could meet in wait();
 * 2. the guardian tells its pid, is allowed to trace (Yama), seizes, says go;
 * 3. the process executes the program file and stops there;
 * 4. the guardian builds, lets go, leaves.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/guardian.h"
#include "base/io.h"
#include "restart/internal.h"

/* Waits for the exec and goes one stop further: at PTRACE_EVENT_EXEC the
 * process is still inside execve. */
static int wait_exec(pid_t pid, struct err *err)
{
	bool execed = false;

	for (;;) {
		int status, sig, event;

		if (waitpid(pid, &status, __WALL) != pid || WIFEXITED(status) ||
		    WIFSIGNALED(status))
			return err_set(err, -ESRCH, "the new process ended before it was built");
		sig = WSTOPSIG(status);
		event = status >> 16;
		if (execed && event == PTRACE_EVENT_STOP)
			return 0;
		if (event == PTRACE_EVENT_EXEC) {
			execed = true;
			if (ptrace(PTRACE_INTERRUPT, pid, 0, 0))
				return err_sys(err, -errno, "cannot stop the new process");
		}
		/* A group stop (Ctrl-Z in the middle): left stopped, but ours. */
		if (event == PTRACE_EVENT_STOP &&
		    (sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU)) {
			if (ptrace(PTRACE_LISTEN, pid, 0, 0))
				return err_sys(err, -errno, "cannot keep the new process stopped");
			continue;
		}
		if (ptrace(PTRACE_CONT, pid, 0, event ? 0 : sig))
			return err_sys(err, -errno, "cannot continue the new process");
	}
}

void restart_complain(const struct rebuild *b, const struct err *err)
{
	if (b->o->feed)
		b->o->feed->failed(b->o->feed->arg, err);
	fprintf(stderr, "godwit: restart: %s: %s\n", b->o->image, err->what);
	if (err->hint[0])
		fprintf(stderr, "hint: %s\n", err->hint);
}

/* In the guardian.  Never returns. */
static void be_guardian(struct rebuild *b, pid_t pid, int sock)
{
	struct err err = ERR_INIT;
	pid_t self = getpid();
	char go = 1;

	setsid();
	prctl(PR_SET_NAME, GUARDIAN_COMM);
	fault_init();
	if (write(sock, &self, sizeof(self)) != sizeof(self) || read(sock, &go, 1) != 1)
		_exit(1);
	if (ptrace(PTRACE_SEIZE, pid, 0, REMOTE_ADOPTED_OPTIONS)) {
		if (errno == ESRCH)
			_exit(1); /* it was killed */
		err_sys(&err, -errno, "cannot attach to the new process");
		err_hint(&err, "see: godwit doctor");
		restart_complain(b, &err);
		_exit(1);
	}
	if (write(sock, &go, 1) != 1)
		_exit(1);
	close(sock);
	fault_point("new process seized");
	if (wait_exec(pid, &err) || rebuild_run(b, pid, &err)) {
		if (err.error != -ESRCH)
			restart_complain(b, &err);
		/* Only now: who waits for the process finds the message there. */
		rebuild_abort(b, &err);
		_exit(EXIT_AFTER_COMMIT);
	}
	_exit(0);
}

int guard_myself(struct rebuild *b, struct err *err)
{
	pid_t me = getpid(), child, guardian;
	int pair[2], status;
	char go = 1;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return err_sys(err, -errno, "cannot make a socket pair");
	child = fork();
	if (child < 0)
		return err_sys(err, -errno, "cannot start a process");
	if (child == 0) {
		close(pair[0]);
		guardian = fork();
		if (guardian == 0)
			be_guardian(b, me, pair[1]);
		_exit(guardian < 0);
	}
	close(pair[1]);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	/* Its SIGCHLD, blocked so far, would come to the program: this drops it. */
	signal(SIGCHLD, SIG_DFL);
	if (io_read_all(pair[0], &guardian, sizeof(guardian)))
		return err_set(err, -ECHILD, "cannot start the guardian process");
	/* Where Yama is on, only a named process may trace us; elsewhere EINVAL. */
	prctl(PR_SET_PTRACER, guardian, 0, 0, 0);
	if (io_write_all(pair[0], &go, 1) || io_read_all(pair[0], &go, 1))
		return err_set(err, -EPERM, "the guardian process cannot attach");
	close(pair[0]);
	return 0;
}

int exec_program(struct rebuild *b, struct err *err)
{
	static char *no_env[] = {NULL};
	size_t n = b->proc.argc;
	/* With the NULL that execve(2) asks for and an image does not hold. */
	char **argv = io_alloc(n + 2, sizeof(*argv), err);
	char self[PATH_MAX];

	if (!argv)
		return err->error;
	memcpy(argv, n ? b->proc.argv : &b->proc.exe, (n ? n : 1) * sizeof(*argv));
	/* One that is fed acts when the word has come that the program is ours. */
	int ret = b->o->feed ? 0 : restart_act(b, err);

	if (ret)
		return ret;
	/* The image's descriptor goes through the exec, the others do not matter. */
	if (fcntl(b->restore.image_fd, F_SETFD, 0))
		return err_sys(err, -errno, "cannot pass the image on");
	for (size_t i = 1; i < b->chain.n; i++)
		if (fcntl(b->chain_fd[i], F_SETFD, 0))
			return err_sys(err, -errno, "cannot pass an image on");
	execve(b->proc.exe, argv, no_env);
	/* The file is missing or will not start: any other will do, its memory
	 * is thrown away; only /proc/PID/exe differs. */
	restore_notice(&b->restore,
		       "cannot execute '%s' (%s): /proc/PID/exe will name another file",
		       b->proc.exe, strerror(errno));
	if (!io_readlink(AT_FDCWD, "/proc/self/exe", self, sizeof(self)))
		execve(self, argv, no_env);
	return err_sys(err, -errno, "cannot execute '%s'", b->proc.exe);
}
