/* The guardian: see guardian.h. */
#include "base/guardian.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"

#define MESSAGE_MAX 4096

struct message {
	enum { MESSAGE_NOTICE = 1, MESSAGE_PROGRESS, MESSAGE_TOLD, MESSAGE_RESULT } kind;
	int ret;
	uint64_t done, all;
	struct err err;
	char bytes[MESSAGE_MAX];
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = sig;
}

void guardian_notice(int front, const char *text)
{
	struct message m = {.kind = MESSAGE_NOTICE};

	strncpy(m.bytes, text, sizeof(m.bytes) - 1);
	if (send(front, &m, sizeof(m), MSG_NOSIGNAL) < 0)
		return; /* nobody listens any more */
}

void guardian_progress(int front, uint64_t done, uint64_t all)
{
	static uint64_t last_ms;
	struct message m = {.kind = MESSAGE_PROGRESS, .done = done, .all = all};
	struct timespec t;
	uint64_t ms;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	ms = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
	if (ms - last_ms < 100)
		return;
	last_ms = ms;
	/* Never wait for a command that does not read. */
	if (send(front, &m, sizeof(m), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

void guardian_tell(int front, const void *p, size_t len)
{
	struct message m = {.kind = MESSAGE_TOLD, .all = len};

	if (len > sizeof(m.bytes))
		return;
	memcpy(m.bytes, p, len);
	if (send(front, &m, sizeof(m), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

static void be_guardian(guardian_fn fn, void *arg, int front)
{
	struct message m = {.kind = MESSAGE_RESULT, .err = ERR_INIT};
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	setsid();
	prctl(PR_SET_NAME, GUARDIAN_COMM);
	fault_init();
	fault_set_front(getppid());
	m.ret = fn(arg, front, m.bytes, &m.err);
	if (send(front, &m, sizeof(m), MSG_NOSIGNAL) < 0)
		_exit(EXIT_FAILED);
	_exit(0);
}

/* 1: the result came, 0: go on, negative: the guardian has died. */
static int receive(int fd, struct message *m, const struct guardian_listener *l)
{
	ssize_t n = recv(fd, m, sizeof(*m), 0);

	if (n < 0 && errno == EINTR)
		return 0;
	if (n != sizeof(*m))
		return -EPIPE;
	if (m->kind == MESSAGE_RESULT)
		return 1;
	if (m->kind == MESSAGE_TOLD && l->told && m->all <= MESSAGE_MAX)
		l->told(l->arg, m->bytes, (size_t)m->all);
	m->bytes[MESSAGE_MAX - 1] = '\0';
	if (m->kind == MESSAGE_NOTICE && l->notice)
		l->notice(l->arg, m->bytes);
	if (m->kind == MESSAGE_PROGRESS && l->progress)
		l->progress(l->arg, m->done, m->all);
	return 0;
}

static int wait_result(int fd, struct message *m, const struct guardian_listener *l)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction sa = {.sa_handler = on_signal}, old[ARRAY_SIZE(signals)];
	bool told = false;
	int ret;

	interrupted = 0;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &sa, &old[i]);
	do {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (interrupted && !told) {
			/* The guardian sees the end of our side and calls it off. */
			shutdown(fd, SHUT_WR);
			told = true;
		}
		ret = poll(&p, 1, told ? -1 : 1000) > 0 ? receive(fd, m, l) : 0;
	} while (ret == 0);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &old[i], NULL);
	return ret;
}

int guardian_run(guardian_fn fn, void *arg, void *result, size_t len,
		 const struct guardian_listener *listener, struct err *err)
{
	struct message m;
	int pair[2], ret;
	pid_t pid;

	if (len > MESSAGE_MAX)
		return err_set(err, -EINVAL, "guardian_run: result too large");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return err_sys(err, -errno, "cannot make a socket pair");
	pid = fork();
	if (pid < 0) {
		ret = err_sys(err, -errno, "cannot start a process");
		close(pair[0]);
		close(pair[1]);
		return ret;
	}
	if (pid == 0) {
		close(pair[0]);
		be_guardian(fn, arg, pair[1]);
	}
	close(pair[1]);
	ret = wait_result(pair[0], &m, listener);
	close(pair[0]);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (ret < 0) {
		err_set(err, -EPIPE, "the guardian process was killed; the program goes on");
		return err_hint(err, "take the checkpoint again");
	}
	*err = m.err;
	memcpy(result, m.bytes, len);
	return m.ret;
}
