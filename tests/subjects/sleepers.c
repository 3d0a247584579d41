/*
 * A thread in each kind of waiting system call.  The cut must not be seen: none
 * returns early, none returns EINTR.  (By preload the doorbell is a signal handler,
 * and signal(7)'s rule holds: only attach.)
 *
 *     sleepers CTL [SECONDS [all | kept]]
 *
 * SECONDS: how long those last that end by themselves (2).  all: also those whose
 * objects cannot be saved.  kept: only those that Linux itself goes on with after a
 * stop (signal(7)).  A ping prints `over NAME` for each that has ended.
 * test: doors=attach build=static
 */
#include <arpa/inet.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "subject.h"

static int pipe_fd[2], pair[2], dgrams[2], event_fd, epoll_fd, listen_fd;
static int sem_id, queue_id, inotify_fd;
static pid_t child;
static uint32_t word, other_words[2];
static sem_t sem;
static volatile int released, inside;

#define ANY (-2)

struct sleeper {
	const char *name;
	int (*call)(void);    /* result of the system call, or -1 and errno */
	long nr;              /* of the system call; ANY: the C library chooses */
	int want, want_errno; /* what must come out */
	bool by_time;         /* ends after `span`; else when released */
	bool is_over;
	int result, error;
	double took;
	pid_t tid;
	pthread_t t;
};

static struct timespec span = {.tv_sec = 2}; /* of those that end by themselves */

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
	t.tv_sec += span.tv_sec;
	int r = clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL);
	errno = r;
	return r ? -1 : 0;
}
/* The number in a variable: nothing before the instruction tells it. */
static int do_nanosleep_raw(void)
{
	return syscall(SYS_nanosleep, &span, NULL, 0, NULL);
}
static int do_nanosleep_rem(void)
{
	struct timespec left;

	return syscall(SYS_nanosleep, &span, &left, 0, NULL);
}
static int do_clock_nanosleep_raw(void)
{
	return syscall(SYS_clock_nanosleep, CLOCK_BOOTTIME, 0, &span, NULL);
}
static int do_poll_raw(void)
{
	struct pollfd p = {.fd = event_fd, .events = POLLPRI};

	return syscall(SYS_poll, &p, 1, (int)span.tv_sec * 1000);
}
static int do_futex_raw(void)
{
	return syscall(SYS_futex, &other_words[1], FUTEX_WAIT, 0, &span, NULL, 0);
}
static int do_cond_timedwait(void)
{
	static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += span.tv_sec;
	pthread_mutex_lock(&m);
	int r = pthread_cond_timedwait(&c, &m, &t);
	pthread_mutex_unlock(&m);
	errno = r;
	return r ? -1 : 0;
}
static int do_poll(void)
{
	return poll(NULL, 0, (int)span.tv_sec * 1000);
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
	struct timeval t = {.tv_sec = span.tv_sec};

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
	int fd = epoll_create1(0), r = epoll_wait(fd, &e, 1, (int)span.tv_sec * 1000);

	close(fd);
	return r;
}
static int do_epoll_pwait(void)
{
	struct epoll_event e;
	sigset_t none;
	int fd = epoll_create1(0), r;

	sigfillset(&none);
	r = epoll_pwait(fd, &e, 1, (int)span.tv_sec * 1000, &none);
	close(fd);
	return r;
}
static int do_futex(void)
{
	return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}
static int do_futex_time(void)
{
	return syscall(SYS_futex, &other_words[0], FUTEX_WAIT_PRIVATE, 0, &span, NULL, 0);
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
	struct timeval t = {.tv_sec = span.tv_sec};

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
	struct timeval t = {.tv_sec = span.tv_sec};

	setsockopt(listen_fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	return accept(listen_fd, NULL, NULL);
}
static int do_recvmmsg(void)
{
	char c;
	struct iovec v = {&c, 1};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};

	return recvmmsg(dgrams[0], &m, 1, 0, NULL);
}
static int do_semtimedop(void)
{
	struct sembuf take = {.sem_op = -1};

	return semtimedop(sem_id, &take, 1, &span);
}
static int do_msgrcv(void)
{
	struct {
		long type;
		char c;
	} m;

	return msgrcv(queue_id, &m, 1, 0, 0);
}
static int do_io_getevents(void)
{
	struct io_event e;
	aio_context_t ctx = 0;

	must(syscall(SYS_io_setup, 1, &ctx));
	return syscall(SYS_io_getevents, ctx, 1L, 1L, &e, &span);
}
static int do_inotify(void)
{
	char b[4096];

	return read(inotify_fd, b, sizeof(b)) > 0 ? 1 : -1;
}
static int do_wait4(void)
{
	return waitpid(child, NULL, 0) == child ? 1 : -1;
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

/* What ends by time, and by an event. */
#define TIMED(n, c, s, w, e)                                                                       \
	{                                                                                          \
		.name = n, .call = c, .nr = s, .want = w, .want_errno = e, .by_time = true         \
	}
#define EVENT(n, c, s, w, e)                                                                       \
	{                                                                                          \
		.name = n, .call = c, .nr = s, .want = w, .want_errno = e                          \
	}

static struct sleeper all[] = {
	TIMED("nanosleep", do_nanosleep, ANY, 0, 0),
	TIMED("nanosleep itself", do_nanosleep_raw, SYS_nanosleep, 0, 0),
	TIMED("nanosleep with room for the rest", do_nanosleep_rem, SYS_nanosleep, 0, 0),
	TIMED("clock_nanosleep", do_clock_nanosleep, SYS_clock_nanosleep, 0, 0),
	TIMED("clock_nanosleep by syscall()", do_clock_nanosleep_raw, SYS_clock_nanosleep, 0, 0),
	TIMED("clock_nanosleep, absolute", do_clock_nanosleep_abs, SYS_clock_nanosleep, 0, 0),
	TIMED("poll with a timeout", do_poll, SYS_poll, 0, 0),
	TIMED("poll by syscall()", do_poll_raw, SYS_poll, 0, 0),
	TIMED("ppoll with a timeout", do_ppoll, SYS_ppoll, 0, 0),
	EVENT("poll on a pipe", do_poll_fd, SYS_poll, 1, 0),
	TIMED("select with a timeout", do_select, ANY, 0, 0),
	EVENT("pselect on a pipe", do_pselect, SYS_pselect6, 1, 0),
	EVENT("epoll_wait", do_epoll, SYS_epoll_wait, 1, 0),
	TIMED("epoll_wait with a timeout", do_epoll_time, SYS_epoll_wait, 0, 0),
	TIMED("epoll_pwait with a timeout", do_epoll_pwait, SYS_epoll_pwait, 0, 0),
	EVENT("futex", do_futex, SYS_futex, 0, 0),
	TIMED("futex with a timeout", do_futex_time, SYS_futex, -1, ETIMEDOUT),
	TIMED("futex with a timeout, shared", do_futex_raw, SYS_futex, -1, ETIMEDOUT),
	TIMED("pthread_cond_timedwait", do_cond_timedwait, SYS_futex, -1, ETIMEDOUT),
	EVENT("futex, bitset", do_futex_bitset, SYS_futex, 0, 0),
	EVENT("sem_wait", do_sem, SYS_futex, 0, 0),
	EVENT("read of a pipe", do_read_pipe, SYS_read, 1, 0),
	EVENT("read of an eventfd", do_read_event, SYS_read, 8, 0),
	EVENT("recv", do_recv, SYS_recvfrom, 1, 0),
	TIMED("recv with SO_RCVTIMEO", do_recv_time, SYS_recvfrom, -1, EAGAIN),
	EVENT("recvmmsg", do_recvmmsg, SYS_recvmmsg, 1, 0),
	TIMED("accept with SO_RCVTIMEO", do_accept_time, SYS_accept, -1, EAGAIN),
	TIMED("semtimedop", do_semtimedop, SYS_semtimedop, -1, EAGAIN),
	EVENT("msgrcv", do_msgrcv, SYS_msgrcv, 1, 0),
	TIMED("sigtimedwait", do_sigtimedwait, SYS_rt_sigtimedwait, -1, EAGAIN),
	EVENT("sigwaitinfo", do_sigwaitinfo, SYS_rt_sigtimedwait, 51, 0),
	EVENT("pause", do_pause, SYS_pause, -1, EINTR),
	EVENT("sigsuspend", do_sigsuspend, SYS_rt_sigsuspend, -1, EINTR),
	/* For `all` only. */
	TIMED("io_getevents", do_io_getevents, SYS_io_getevents, 0, 0),
	EVENT("read of an inotify", do_inotify, SYS_read, 1, 0),
	EVENT("wait4", do_wait4, SYS_wait4, 1, 0),
};
#define N (int)(sizeof(all) / sizeof(all[0]))

static const struct sleeper *first_unsaved(void)
{
	for (int i = 0; i < N; i++)
		if (all[i].call == do_io_getevents)
			return &all[i];
	return all + N;
}

/* Those that get EINTR from a stop. */
static bool is_kept(const struct sleeper *s)
{
	return s->nr != SYS_epoll_wait && s->nr != SYS_epoll_pwait &&
	       s->nr != SYS_rt_sigtimedwait && s->nr != SYS_semtimedop && s->nr != SYS_accept &&
	       s->call != do_recv_time;
}

static struct sleeper *chosen[N];
static int n;

static void choose(const char *set)
{
	const struct sleeper *end = strcmp(set, "all") ? first_unsaved() : all + N;

	for (struct sleeper *s = all; s < end; s++)
		if (strcmp(set, "kept") || is_kept(s))
			chosen[n++] = s;
}

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

	s->tid = gettid();
	__atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST);
	s->result = s->call();
	s->error = errno;
	s->took = now() - start;
	s->is_over = true;
	if (!s->by_time && !released && s->result != s->want)
		check(0, "%s: returned %d (%s) before it was time", s->name, s->result,
		      strerror(s->error));
	return NULL;
}

static bool is_asleep(const struct sleeper *s)
{
	long nr = subject_call_of(s->tid);

	return s->nr == ANY ? nr >= 0 : nr == s->nr;
}

static void say_what_is_over(void)
{
	char line[100];

	for (int i = 0; i < n; i++)
		if (chosen[i]->is_over)
			must(write(1, line,
				   snprintf(line, sizeof(line), "over %s\n", chosen[i]->name)));
}

static void make_objects(const char *folder, bool is_all)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event e = {.events = EPOLLIN};

	must(pipe(pipe_fd));
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, dgrams));
	event_fd = must(eventfd(0, 0));
	epoll_fd = must(epoll_create1(0));
	must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pipe_fd[0], &e));
	listen_fd = must(socket(AF_INET, SOCK_STREAM, 0));
	must(bind(listen_fd, (void *)&sin, sizeof(sin)));
	must(listen(listen_fd, 5));
	sem_init(&sem, 0, 0);
	sem_id = must(semget(IPC_PRIVATE, 1, 0600));
	queue_id = must(msgget(IPC_PRIVATE, 0600));
	if (!is_all)
		return;
	inotify_fd = must(inotify_init());
	must(inotify_add_watch(inotify_fd, folder, IN_ATTRIB));
	child = must(fork());
	if (child == 0)
		for (;;)
			pause();
}

static void release(const char *folder)
{
	struct {
		long type;
		char c;
	} m = {1, 'x'};

	released = 1;
	word = 1;
	syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0);
	sem_post(&sem);
	must(write(event_fd, &(uint64_t){1}, 8));
	must(write(pair[1], "x", 1));
	must(write(dgrams[1], "x", 1));
	must(write(pipe_fd[1], "xy", 2)); /* one byte for read, one to poll for */
	must(msgsnd(queue_id, &m, 1, 0));
	if (child) {
		must(kill(child, SIGKILL));
		must(utimensat(AT_FDCWD, folder, NULL, 0));
	}
	for (int i = 0; i < n; i++) {
		if (chosen[i]->call == do_sigwaitinfo)
			pthread_kill(chosen[i]->t, 51);
		if (chosen[i]->call == do_pause || chosen[i]->call == do_sigsuspend)
			pthread_kill(chosen[i]->t, SIGUSR1);
	}
}

static void verify(const struct sleeper *s)
{
	check(s->result == s->want && (s->want >= 0 || s->error == s->want_errno),
	      "%s: returned %d (%s)", s->name, s->result,
	      s->result < 0 ? strerror(s->error) : "no error");
	if (s->by_time)
		check(s->took >= span.tv_sec - 0.01, "%s: took only %.3f s", s->name, s->took);
}

int main(int argc, char **argv)
{
	sigset_t set;

	subject_init(argc, argv);
	subject_on_ping = say_what_is_over;
	if (argc > 2)
		span.tv_sec = atoi(argv[2]);
	choose(argc > 3 ? argv[3] : "");
	make_objects(argv[1], argc > 3 && !strcmp(argv[3], "all"));
	signal(SIGUSR1, nothing);
	sigemptyset(&set);
	sigaddset(&set, 50);
	sigaddset(&set, 51);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < n; i++)
		if (pthread_create(&chosen[i]->t, NULL, run, chosen[i]))
			die("pthread_create");
	while (inside < n)
		nap(1);
	for (int i = 0; i < n; i++)
		while (!chosen[i]->is_over && !is_asleep(chosen[i]))
			nap(1);
	subject_wait();

	/* What ends by time first, then whatever waits for an event. */
	for (int i = 0; i < n; i++)
		if (chosen[i]->by_time)
			pthread_join(chosen[i]->t, NULL);
	release(argv[1]);
	for (int i = 0; i < n; i++) {
		if (!chosen[i]->by_time)
			pthread_join(chosen[i]->t, NULL);
		verify(chosen[i]);
	}
	semctl(sem_id, 0, IPC_RMID);
	msgctl(queue_id, IPC_RMID, NULL);
	return subject_done();
}
