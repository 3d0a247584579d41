/*
 * Starting the program, and resuming it.
 *
 * A fresh one is stopped after its exec, before its first instruction, for the first
 * image.  So from its first output on there is an image to go back to, which knows how
 * long its files were: what a killed run has written is not written twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"
#include "restart/restart.h"
#include "run/internal.h"

bool run_is_leave(int sig)
{
	return sig == SIGTERM || sig == SIGUSR1 || sig == SIGXCPU;
}

/* A pipe whose ends are out of the way of 0-2. */
static int make_pipe(int ret[2], struct err *err)
{
	int low[2];

	if (pipe2(low, O_CLOEXEC))
		return err_sys(err, -errno, "cannot make a pipe");
	for (int i = 0; i < 2; i++) {
		ret[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 3);
		close(low[i]);
	}
	return ret[0] < 0 || ret[1] < 0 ? err_sys(err, -EMFILE, "cannot make a pipe") : 0;
}

static void reap(struct jobrun *r, int *status)
{
	while (waitpid(r->child.pid, status, 0) < 0 && errno == EINTR)
		;
}

/* Ends a child that was not let go, and the lifeline with it. */
static void give_up(struct jobrun *r, int *status)
{
	/* By its descriptor: it may have been reaped. */
	if (r->child.pidfd >= 0)
		syscall(SYS_pidfd_send_signal, r->child.pidfd, SIGKILL, NULL, 0);
	else
		kill(r->child.pid, SIGKILL);
	reap(r, status);
	io_close_fd(&r->child.pidfd);
	group_take(&r->group);
}

/* The child, waiting for `go`: in its group, with a lifeline.  Returns 0 in it. */
static pid_t fork_child(struct jobrun *r, int go[2], struct err *err)
{
	pid_t pid = fork(), parent = getppid();
	char c;

	if (pid < 0)
		return err_sys(err, -errno, "cannot start a process");
	if (pid == 0) {
		close(go[1]);
		if (io_read_all(go[0], &c, 1))
			_exit(EXIT_FAILED); /* the run was killed */
		group_join(&r->group, getpid());
		/* Where Yama is on: those that come from us may trace it. */
		prctl(PR_SET_PTRACER, parent, 0, 0, 0);
		sigprocmask(SIG_SETMASK, &r->mask, NULL);
		return 0;
	}
	r->child = (struct run_child){.pid = pid, .pidfd = -1, .lifeline = -1};
	r->group.pid = pid;
	group_join(&r->group, pid);
	r->child.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (r->child.pidfd < 0)
		err_sys(err, -errno, "cannot watch a process");
	else
		r->child.lifeline = lifeline_start(pid, r->images.lock, err);
	if (r->child.lifeline < 0) {
		int status;

		give_up(r, &status);
		return err->error;
	}
	group_give(&r->group);
	return pid;
}

/* --- fresh --- */

static void execute(const struct jobrun *r, int told)
{
	int error;

	if (r->o->tunables)
		setenv("GLIBC_TUNABLES", r->o->tunables, 1);
	execvp(r->o->argv[0], r->o->argv);
	error = errno;
	if (io_write_all(told, &error, sizeof(error)))
		_exit(EXIT_FAILED);
	_exit(RUN_EXIT_NO_EXEC);
}

/* Until the child stands right behind its exec.  -ECHILD: it has ended. */
static int wait_exec(pid_t pid)
{
	for (;;) {
		int status, event;

		if (waitpid(pid, &status, __WALL) != pid) {
			if (errno == EINTR)
				continue;
			return -ECHILD;
		}
		if (!WIFSTOPPED(status))
			return -ECHILD;
		event = status >> 16;
		if (event == PTRACE_EVENT_EXEC)
			return 0;
		if (ptrace(PTRACE_CONT, pid, 0, event ? 0 : WSTOPSIG(status)))
			return -errno;
	}
}

/* As by SIGSTOP: no more traced, so that the checkpoint can. */
static int stop_at_exec(struct jobrun *r, struct err *err)
{
	int status, ret;

	if ((ret = wait_exec(r->child.pid)))
		return err_sys(err, ret, "the program has ended before it began");
	kill(r->child.pid, SIGSTOP);
	if (ptrace(PTRACE_DETACH, r->child.pid, 0, 0))
		return err_sys(err, -errno, "cannot stop the program at its beginning");
	while (waitpid(r->child.pid, &status, WUNTRACED) < 0)
		if (errno != EINTR)
			return err_sys(err, -errno, "cannot stop the program at its beginning");
	return WIFSTOPPED(status) ? 0 : err_set(err, -ECHILD, "the program was killed");
}

static int fail_to_execute(const struct jobrun *r, int error, int *ret_status, struct err *err)
{
	*ret_status = error == ENOENT ? RUN_EXIT_NOT_FOUND : RUN_EXIT_NO_EXEC;
	err_sys(err, -error, "cannot execute '%s'", r->o->argv[0]);
	return err->error;
}

int start_fresh(struct jobrun *r, int *ret_status, struct err *err)
{
	int go[2], told[2], ret, error, status;
	bool is_followed;
	pid_t pid;

	if ((ret = make_pipe(go, err)) || (ret = make_pipe(told, err)))
		return ret;
	pid = fork_child(r, go, err);
	if (pid == 0)
		execute(r, told[1]);
	close(told[1]);
	close(go[0]);
	/* One that is traced already (strace -f godwit run ...) begins without an image. */
	is_followed = pid > 0 && !ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACEEXEC);
	if (pid > 0 && io_write_all(go[1], "", 1))
		err_set(err, -EPIPE, "the new process has ended");
	close(go[1]);
	ret = err->error ? err->error : is_followed ? stop_at_exec(r, err) : 0;
	/* At the exec the other end closes. */
	if (pid > 0 && !io_read_all(told[0], &error, sizeof(error))) {
		*err = ERR_INIT;
		ret = fail_to_execute(r, error, ret_status, err);
	}
	if (ret && pid > 0)
		give_up(r, &status);
	close(told[0]);
	return ret;
}

void start_go(const struct jobrun *r)
{
	kill(r->child.pid, SIGCONT);
}

/* --- from an image --- */

static void notice(void *arg, const char *text)
{
	const struct run_listener *l = arg;

	if (l->notice)
		l->notice(l->arg, text);
}

static void become(struct jobrun *r, const char *image, int let_go_fd)
{
	struct restart_options o = {
		.image = image,
		.ids = r->o->ids,
		.files = r->o->files,
		.let_go_fd = let_go_fd,
		.tracer = getppid(),
	};
	struct err err = ERR_INIT;
	int status = 0;

	if (restart(&o, notice, (void *)(uintptr_t)r->l, &status, &err) < 0) {
		r->l->complain(r->l->arg, &err);
		_exit(err.exit);
	}
	/* A thin parent, which has outlived its program. */
	_exit(r->l->leave(status));
}

/* A signal that means to leave: which, or 0.  Others wait for the program, which is
 * not there yet. */
static int asked_to_leave(const struct jobrun *r)
{
	struct signalfd_siginfo s;

	while (read(r->signals, &s, sizeof(s)) == sizeof(s))
		if (run_is_leave((int)s.ssi_signo))
			return (int)s.ssi_signo;
		else if (group_wants(&r->group, &s) && s.ssi_signo != SIGCHLD)
			group_signal(&r->group, (int)s.ssi_signo);
	return 0;
}

/* Until the program was let go (0), the child has ended (1), or we are to leave (2). */
static int wait_let_go(struct jobrun *r, int told, int *ret_status)
{
	for (;;) {
		struct pollfd v[] = {{.fd = told, .events = POLLIN},
				     {.fd = r->child.pidfd, .events = POLLIN},
				     {.fd = r->signals, .events = POLLIN}};

		poll(v, 3, -1);
		if (v[0].revents & POLLIN)
			return 0;
		if (v[1].revents) {
			struct pollfd again = v[0];

			/* It was let go and has ended at once. */
			if (poll(&again, 1, 0) == 1 && again.revents & POLLIN)
				return 0;
			reap(r, ret_status);
			io_close_fd(&r->child.pidfd);
			group_take(&r->group);
			*ret_status = WIFEXITED(*ret_status) ? WEXITSTATUS(*ret_status)
							     : EXIT_AFTER_COMMIT;
			return 1;
		}
		/* Its state is in the image: nothing is lost. */
		if (v[2].revents && (*ret_status = asked_to_leave(r))) {
			int status;

			give_up(r, &status);
			return 2;
		}
	}
}

int start_resume(struct jobrun *r, const char *image, int *ret_status, struct err *err)
{
	int go[2], told[2], ret;
	pid_t pid;

	if ((ret = make_pipe(go, err)) || (ret = make_pipe(told, err)))
		return ret;
	pid = fork_child(r, go, err);
	if (pid == 0) {
		close(told[0]);
		become(r, image, told[1]);
	}
	close(told[1]);
	close(go[0]);
	ret = pid < 0 ? pid : io_write_all(go[1], "", 1);
	close(go[1]);
	if (pid > 0)
		ret = wait_let_go(r, told[0], ret_status);
	close(told[0]);
	return ret;
}
