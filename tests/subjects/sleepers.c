/*
 * A thread in each kind of waiting system call.  The cut must not be seen: none
 * returns early, none returns EINTR.  (By preload the doorbell is a signal handler,
 * and signal(7)'s rule holds: only attach.)
 * test: doors=attach build=static
 */
#include <arpa/inet.h>
#include <linux/futex.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "subject.h"

#define WAIT_S 2 /* of those that end by themselves */

static int pipe_fd[2], pair[2], event_fd, epoll_fd, listen_fd;
static uint32_t word;
static sem_t sem;
static volatile int released, inside;

struct sleeper {
	const char *name;
	int (*call)(void);    /* result of the system call, or -1 and errno */
	int want, want_errno; /* what must come out */
	bool by_time;         /* ends after WAIT_S; else when released */
	int result, error;
	double took;
	pthread_t t;
};

static struct timespec span = {.tv_sec = WAIT_S};

static int do_nanosleep(void)
{
	return nanosleep(&span, NULL);
}
static int do_clock_nanosleep(void)
{
	int r = clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL);

	errno = r;
	return r ? -1 : 0;
}
static int do_clock_nanosleep_abs(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += WAIT_S;
	int r = clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL);
	errno = r;
	return r ? -1 : 0;
}
static int do_poll(void)
{
	return poll(NULL, 0, WAIT_S * 1000);
}
static int do_ppoll(void)
{
	struct timespec t = span;

	return ppoll(NULL, 0, &t, NULL);
}
static int do_poll_fd(void)
{
	struct pollfd p = {.fd = pipe_fd[0], .events = POLLIN};

	return poll(&p, 1, -1);
}
static int do_select(void)
{
	struct timeval t = {.tv_sec = WAIT_S};

	return select(0, NULL, NULL, NULL, &t);
}
static int do_pselect(void)
{
	fd_set f;

	FD_ZERO(&f);
	FD_SET(pipe_fd[0], &f);
	return pselect(pipe_fd[0] + 1, &f, NULL, NULL, NULL, NULL);
}
static int do_epoll(void)
{
	struct epoll_event e;

	return epoll_wait(epoll_fd, &e, 1, -1);
}
static int do_epoll_time(void)
{
	struct epoll_event e;
	int fd = epoll_create1(0), r = epoll_wait(fd, &e, 1, WAIT_S * 1000);

	close(fd);
	return r;
}
static int do_futex(void)
{
	return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}
static int do_futex_time(void)
{
	static uint32_t other;

	return syscall(SYS_futex, &other, FUTEX_WAIT_PRIVATE, 0, &span, NULL, 0);
}
static int do_futex_bitset(void)
{
	return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, ~0U);
}
static int do_sem(void)
{
	return sem_wait(&sem);
}
static int do_read_pipe(void)
{
	char c;

	return read(pipe_fd[0], &c, 1);
}
static int do_read_event(void)
{
	uint64_t v;

	return read(event_fd, &v, 8);
}
static int do_recv(void)
{
	char c;

	return recv(pair[0], &c, 1, 0);
}
static int do_recv_time(void)
{
	int s[2];
	char c;
	struct timeval t = {.tv_sec = WAIT_S};

	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	int r = recv(s[0], &c, 1, 0), e = errno;
	close(s[0]);
	close(s[1]);
	errno = e;
	return r;
}
static int do_accept_time(void)
{
	struct timeval t = {.tv_sec = WAIT_S};

	setsockopt(listen_fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	return accept(listen_fd, NULL, NULL);
}
static int do_sigtimedwait(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, 50);
	return sigtimedwait(&set, NULL, &span);
}
static int do_sigwaitinfo(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, 51);
	return sigwaitinfo(&set, NULL);
}
static void nothing(int s)
{
	(void)s;
}
static int do_pause(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return pause(); /* SIGUSR1, directed here, ends it: EINTR is right */
}
static int do_sigsuspend(void)
{
	sigset_t set;

	sigfillset(&set);
	sigdelset(&set, SIGUSR1);
	return sigsuspend(&set);
}

static struct sleeper all[] = {
	{.name = "nanosleep", .call = do_nanosleep, .want = 0, .want_errno = 0, .by_time = true},
	{.name = "clock_nanosleep",
	 .call = do_clock_nanosleep,
	 .want = 0,
	 .want_errno = 0,
	 .by_time = true},
	{.name = "clock_nanosleep, absolute",
	 .call = do_clock_nanosleep_abs,
	 .want = 0,
	 .want_errno = 0,
	 .by_time = true},
	{.name = "poll with a timeout",
	 .call = do_poll,
	 .want = 0,
	 .want_errno = 0,
	 .by_time = true},
	{.name = "ppoll with a timeout",
	 .call = do_ppoll,
	 .want = 0,
	 .want_errno = 0,
	 .by_time = true},
	{.name = "poll on a pipe",
	 .call = do_poll_fd,
	 .want = 1,
	 .want_errno = 0,
	 .by_time = false},
	{.name = "select with a timeout",
	 .call = do_select,
	 .want = 0,
	 .want_errno = 0,
	 .by_time = true},
	{.name = "pselect on a pipe",
	 .call = do_pselect,
	 .want = 1,
	 .want_errno = 0,
	 .by_time = false},
	{.name = "epoll_wait", .call = do_epoll, .want = 1, .want_errno = 0, .by_time = false},
	{.name = "epoll_wait with a timeout",
	 .call = do_epoll_time,
	 .want = 0,
	 .want_errno = 0,
	 .by_time = true},
	{.name = "futex", .call = do_futex, .want = 0, .want_errno = 0, .by_time = false},
	{.name = "futex with a timeout",
	 .call = do_futex_time,
	 .want = -1,
	 .want_errno = ETIMEDOUT,
	 .by_time = true},
	{.name = "futex, bitset",
	 .call = do_futex_bitset,
	 .want = 0,
	 .want_errno = 0,
	 .by_time = false},
	{.name = "sem_wait", .call = do_sem, .want = 0, .want_errno = 0, .by_time = false},
	{.name = "read of a pipe",
	 .call = do_read_pipe,
	 .want = 1,
	 .want_errno = 0,
	 .by_time = false},
	{.name = "read of an eventfd",
	 .call = do_read_event,
	 .want = 8,
	 .want_errno = 0,
	 .by_time = false},
	{.name = "recv", .call = do_recv, .want = 1, .want_errno = 0, .by_time = false},
	{.name = "recv with SO_RCVTIMEO",
	 .call = do_recv_time,
	 .want = -1,
	 .want_errno = EAGAIN,
	 .by_time = true},
	{.name = "accept with SO_RCVTIMEO",
	 .call = do_accept_time,
	 .want = -1,
	 .want_errno = EAGAIN,
	 .by_time = true},
	{.name = "sigtimedwait",
	 .call = do_sigtimedwait,
	 .want = -1,
	 .want_errno = EAGAIN,
	 .by_time = true},
	{.name = "sigwaitinfo",
	 .call = do_sigwaitinfo,
	 .want = 51,
	 .want_errno = 0,
	 .by_time = false},
	{.name = "pause", .call = do_pause, .want = -1, .want_errno = EINTR, .by_time = false},
	{.name = "sigsuspend",
	 .call = do_sigsuspend,
	 .want = -1,
	 .want_errno = EINTR,
	 .by_time = false},
};
#define N (int)(sizeof(all) / sizeof(all[0]))

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void *run(void *arg)
{
	struct sleeper *s = arg;
	double start = now();

	__atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST);
	s->result = s->call();
	s->error = errno;
	s->took = now() - start;
	if (!s->by_time && !released && s->result != s->want)
		check(0, "%s: returned %d (%s) before it was time", s->name, s->result,
		      strerror(s->error));
	return NULL;
}

/* A stopped thread is in state S too: look for the call itself. */
static void wait_until_asleep(void)
{
	nap(100);
}

int main(int argc, char **argv)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event e = {.events = EPOLLIN};
	sigset_t set;

	subject_init(argc, argv);
	must(pipe(pipe_fd));
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	event_fd = must(eventfd(0, 0));
	epoll_fd = must(epoll_create1(0));
	must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pipe_fd[0], &e));
	listen_fd = must(socket(AF_INET, SOCK_STREAM, 0));
	must(bind(listen_fd, (void *)&sin, sizeof(sin)));
	must(listen(listen_fd, 5));
	sem_init(&sem, 0, 0);
	signal(SIGUSR1, nothing);
	sigemptyset(&set);
	sigaddset(&set, 50);
	sigaddset(&set, 51);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < N; i++)
		if (pthread_create(&all[i].t, NULL, run, &all[i]))
			die("pthread_create");
	while (inside < N)
		nap(1);
	wait_until_asleep();
	subject_wait();

	/* What ends by time first, then whatever waits for an event. */
	for (int i = 0; i < N; i++)
		if (all[i].by_time)
			pthread_join(all[i].t, NULL);
	released = 1;
	word = 1;
	syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0);
	sem_post(&sem);
	must(write(event_fd, &(uint64_t){1}, 8));
	must(write(pair[1], "x", 1));
	must(write(pipe_fd[1], "xy", 2)); /* one byte for read, one to poll for */
	for (int i = 0; i < N; i++) {
		if (all[i].call == do_sigwaitinfo)
			pthread_kill(all[i].t, 51);
		if (all[i].call == do_pause || all[i].call == do_sigsuspend)
			pthread_kill(all[i].t, SIGUSR1);
	}
	for (int i = 0; i < N; i++) {
		struct sleeper *s = &all[i];

		if (!s->by_time)
			pthread_join(s->t, NULL);
		check(s->result == s->want && (s->want >= 0 || s->error == s->want_errno),
		      "%s: returned %d (%s)", s->name, s->result,
		      s->result < 0 ? strerror(s->error) : "no error");
		if (s->by_time)
			check(s->took >= WAIT_S - 0.01, "%s: took only %.3f s", s->name, s->took);
	}
	return subject_done();
}
