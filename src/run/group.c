/* Process group and terminal of the program: see internal.h. */
#include <errno.h>
#include <fcntl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "run/internal.h"

/* A pipe among the three: others of the pipeline may need the terminal. */
static bool is_in_pipeline(void)
{
	struct stat st;

	for (int fd = 0; fd < 3; fd++)
		if (!fstat(fd, &st) && S_ISFIFO(st.st_mode))
			return true;
	return false;
}

void group_init(struct run_group *g)
{
	int low = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);

	*g = (struct run_group){.pid = -1, .tty = -1};
	if (low < 0)
		return;
	/* 0-2 may be closed, and must be so for the program. */
	g->tty = fcntl(low, F_DUPFD_CLOEXEC, 3);
	close(low);
	g->shared = is_in_pipeline();
}

void group_done(struct run_group *g)
{
	io_close_fd(&g->tty);
}

void group_join(const struct run_group *g, pid_t child)
{
	if (!g->shared)
		setpgid(child, child); /* in both; the second does nothing */
}

static bool is_ours(const struct run_group *g)
{
	return g->tty >= 0 && tcgetpgrp(g->tty) == getpgrp();
}

void group_give(const struct run_group *g)
{
	/* SIGTTOU is blocked. */
	if (!g->shared && is_ours(g))
		tcsetpgrp(g->tty, g->pid);
}

void group_take(const struct run_group *g)
{
	if (!g->shared && g->tty >= 0 && tcgetpgrp(g->tty) == g->pid)
		tcsetpgrp(g->tty, getpgrp());
}

bool group_must_look(const struct run_group *g)
{
	return !g->shared && g->tty >= 0 && tcgetpgrp(g->tty) != g->pid;
}

bool group_wants(const struct run_group *g, const struct signalfd_siginfo *s)
{
	if (s->ssi_pid == (uint32_t)getpid())
		return false;
	if (s->ssi_code <= 0)
		return true;
	switch (s->ssi_signo) {
	case SIGINT:
	case SIGQUIT:
	case SIGHUP:
	case SIGTSTP:
	case SIGWINCH:
		return !g->shared;
	default:
		return false;
	}
}

void group_signal(const struct run_group *g, int sig)
{
	kill(g->shared ? g->pid : -g->pid, sig);
}

bool group_stop(const struct run_group *g, int sig)
{
	struct sigaction usual = {.sa_handler = SIG_DFL}, old;
	sigset_t one, before;

	if (g->tty < 0)
		return false;
	if ((sig == SIGTTIN || sig == SIGTTOU) && !g->shared && is_ours(g)) {
		/* Brought to the foreground, and faster than our look. */
		group_give(g);
		group_signal(g, SIGCONT);
		return true;
	}
	group_take(g);
	/* As the terminal would have done: a script around us stops with its job.  In a
	 * group that no shell watches it does nothing. */
	sigaction(SIGTSTP, &usual, &old);
	sigemptyset(&one);
	sigaddset(&one, SIGTSTP);
	sigprocmask(SIG_UNBLOCK, &one, &before);
	if (g->shared)
		raise(SIGTSTP); /* the others have got it by themselves */
	else
		kill(0, SIGTSTP);
	sigprocmask(SIG_SETMASK, &before, NULL);
	sigaction(SIGTSTP, &old, NULL);
	group_give(g);
	if (!g->shared)
		group_signal(g, SIGCONT);
	return true;
}

void group_died(const struct run_group *g, int sig)
{
	bool was_handed = !g->shared && g->tty >= 0 && tcgetpgrp(g->tty) == g->pid;

	group_take(g);
	/* We block it, and die of it by ourselves. */
	if (was_handed && (sig == SIGINT || sig == SIGQUIT))
		kill(0, sig);
}
