/*
 * Signals of descriptors: O_ASYNC, F_SETSIG, and every owner that F_SETOWN_EX knows (the
 * process, a thread, the group, a thread that has ended), of pipes, sockets and inotify.
 */
#include <netinet/in.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "subject.h"

/* Ignored by default: the shell that tests is in the group, too. */
#define TO_GROUP SIGURG
#define FIRST (SIGRTMIN + 3)

static volatile struct {
	int count, fd;
	pid_t tid;
} seen[65];
static volatile pid_t other;
static volatile bool over;

static void note(int sig, siginfo_t *si, void *context)
{
	(void)context;
	seen[sig].fd = si->si_fd;
	seen[sig].tid = gettid();
	seen[sig].count++;
}

static void *wait_for_signals(void *arg)
{
	other = gettid();
	while (!over)
		nap(3);
	return arg;
}

static void *end_at_once(void *arg)
{
	*(pid_t *)arg = gettid();
	return NULL;
}

static void tell(int fd, int type, pid_t pid, int sig, bool async)
{
	struct f_owner_ex o = {type, pid};
	int on = 1;

	must(fcntl(fd, F_SETOWN_EX, &o));
	must(fcntl(fd, F_SETSIG, sig));
	if (async)
		must(ioctl(fd, FIOASYNC, &on));
}

static void is_as_it_was(const char *what, int fd, int type, pid_t pid, int sig, bool async)
{
	struct f_owner_ex o = {-1, -1};

	/* In a pid namespace of its own the group has no number: the process stands for it. */
	if (type == F_OWNER_PGRP && !pid) {
		type = F_OWNER_PID;
		pid = getpid();
	}
	must(fcntl(fd, F_GETOWN_EX, &o));
	check(o.pid == pid && (!pid || (int)o.type == type),
	      "%s: owner %d of type %d, not %d of %d", what, o.pid, o.type, pid, type);
	check(fcntl(fd, F_GETSIG) == sig, "%s: signal %d, not %d", what, fcntl(fd, F_GETSIG), sig);
	check(!(fcntl(fd, F_GETFL) & O_ASYNC) == !async, "%s: O_ASYNC", what);
	check(!seen[sig].count, "%s: signal %d came %d times out of nothing", what, sig,
	      seen[sig].count);
}

static void comes(const char *what, int sig, int fd, pid_t tid)
{
	for (int i = 0; i < 10000 && !seen[sig].count; i++)
		nap(1);
	check(seen[sig].count == 1, "%s: signal %d came %d times", what, sig, seen[sig].count);
	check(seen[sig].fd == fd, "%s: si_fd is %d, not %d", what, seen[sig].fd, fd);
	check(!tid || seen[sig].tid == tid, "%s: it met thread %d, not %d", what, seen[sig].tid,
	      tid);
}

static int udp(struct sockaddr_in *a)
{
	int fd = must(socket(AF_INET, SOCK_DGRAM, 0));
	socklen_t len = sizeof(*a);

	*a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	must(bind(fd, (void *)a, len));
	must(getsockname(fd, (void *)a, &len));
	return fd;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};
	struct sockaddr_in addr;
	int pipes[2], pair[2], gone[2];
	pthread_t t, short_lived;
	pid_t ended;

	subject_init(argc, argv);
	sigaction(TO_GROUP, &sa, NULL);
	for (int i = 0; i < 8; i++)
		sigaction(FIRST + i, &sa, NULL);
	must(-pthread_create(&t, NULL, wait_for_signals, NULL));
	must(-pthread_create(&short_lived, NULL, end_at_once, &ended));
	pthread_join(short_lived, NULL);
	while (!other)
		nap(1);

	must(pipe(pipes));
	must(write(pipes[1], "unread", 6));
	tell(pipes[0], F_OWNER_PID, getpid(), FIRST, true);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
	must(write(pair[1], "unread", 6));
	tell(pair[0], F_OWNER_TID, other, FIRST + 1, true);
	int to_all = udp(&addr);
	tell(to_all, F_OWNER_PGRP, getpgrp(), TO_GROUP, true);
	must(mkfifo("fifo", 0600));
	int fifo = must(open("fifo", O_RDWR));
	tell(fifo, F_OWNER_TID, gettid(), FIRST + 2, true);
	int watch = must(inotify_init1(0));
	must(mkdir("watched", 0700));
	must(inotify_add_watch(watch, "watched", IN_CREATE));
	tell(watch, F_OWNER_PID, getpid(), FIRST + 3, true);
	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, gone));
	tell(gone[0], F_OWNER_TID, other, FIRST + 4, true);
	tell(gone[1], F_OWNER_TID, other, FIRST + 5, false);
	int file = must(open("file", O_CREAT | O_RDWR, 0600));
	tell(file, F_OWNER_PID, getpid(), FIRST + 6, false);
	int counter = must(eventfd(0, 0));
	tell(counter, F_OWNER_TID, other, FIRST + 7, false);
	/* The owner ends: then nobody is told. */
	struct f_owner_ex nobody = {F_OWNER_TID, ended};
	if (fcntl(gone[0], F_SETOWN_EX, &nobody)) {
		nobody.pid = 0;
		must(fcntl(gone[0], F_SETOWN_EX, &nobody));
	}
	/* What is there already was told of when it came. */
	for (int i = 0; i < 65; i++)
		seen[i].count = 0;
	subject_wait();

	is_as_it_was("pipe", pipes[0], F_OWNER_PID, getpid(), FIRST, true);
	is_as_it_was("pair", pair[0], F_OWNER_TID, other, FIRST + 1, true);
	is_as_it_was("UDP socket", to_all, F_OWNER_PGRP, getpgrp(), TO_GROUP, true);
	is_as_it_was("named pipe", fifo, F_OWNER_TID, gettid(), FIRST + 2, true);
	is_as_it_was("inotify", watch, F_OWNER_PID, getpid(), FIRST + 3, true);
	is_as_it_was("of nobody", gone[0], F_OWNER_TID, 0, FIRST + 4, true);
	is_as_it_was("without O_ASYNC", gone[1], F_OWNER_TID, other, FIRST + 5, false);
	is_as_it_was("file", file, F_OWNER_PID, getpid(), FIRST + 6, false);
	is_as_it_was("eventfd", counter, F_OWNER_TID, other, FIRST + 7, false);

	must(write(pipes[1], "x", 1));
	comes("pipe", FIRST, pipes[0], 0);
	must(write(pair[1], "x", 1));
	comes("pair", FIRST + 1, pair[0], other);
	must(sendto(to_all, "x", 1, 0, (void *)&addr, sizeof(addr)));
	comes("UDP socket", TO_GROUP, to_all, 0);
	must(write(fifo, "x", 1));
	for (int i = 0; i < 10000 && !seen[FIRST + 2].count; i++)
		nap(1);
	check(seen[FIRST + 2].tid == gettid(), "the named pipe tells %d", seen[FIRST + 2].tid);
	must(mkdir("watched/new", 0700));
	comes("inotify", FIRST + 3, watch, 0);
	must(write(gone[1], "x", 1));
	must(write(gone[0], "x", 1));
	nap(5);
	check(!seen[FIRST + 4].count && !seen[FIRST + 5].count, "nobody is told, and yet");
	over = true;
	pthread_join(t, NULL);
	return subject_done();
}
