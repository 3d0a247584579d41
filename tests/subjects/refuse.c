/* What cannot be saved; see refusing.h. */
#include <linux/capability.h>
#include <arpa/inet.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "refusing.h"

static int io_uring(void)
{
	struct io_uring_params p = {0};

	return syscall(SYS_io_uring_setup, 4, &p);
}

static int tcp_established(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int l = must(socket(AF_INET, SOCK_STREAM, 0)), c = must(socket(AF_INET, SOCK_STREAM, 0));

	must(bind(l, (void *)&a, n));
	must(listen(l, 1));
	must(getsockname(l, (void *)&a, &n));
	must(connect(c, (void *)&a, n));
	must(accept(l, NULL, NULL));
	close(l);
	return c;
}

static int userfaultfd(void)
{
	return syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY);
}

static int perf_event(void)
{
	struct perf_event_attr a = {.type = PERF_TYPE_SOFTWARE,
				    .size = sizeof(a),
				    .config = PERF_COUNT_SW_TASK_CLOCK,
				    .exclude_kernel = 1};

	return syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
}

static int memfd(void)
{
	return memfd_create("of the test", 0);
}

static int memfd_large(void)
{
	static char page[4096] = "x";
	int fd = must(memfd());

	for (off_t at = 0; at <= 64 << 20; at += sizeof(page))
		must(pwrite(fd, page, sizeof(page), at));
	return fd;
}

/* Another process has it, which is no child of ours. */
static int memfd_foreign(void)
{
	pid_t parent = getpid();
	int fd = must(memfd());

	if (!must(fork())) {
		if (!must(fork())) {
			close(0), close(1), close(2);
			while (kill(parent, 0) == 0)
				nap(5);
		}
		_exit(0);
	}
	wait(NULL);
	return fd;
}

static int memfd_secret_(void)
{
	int fd = syscall(SYS_memfd_secret, 0);

	if (fd >= 0 && !ftruncate(fd, 4096))
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return fd;
}
static char queue[40];

static int message_queue(void)
{

	snprintf(queue, sizeof(queue), "/godwit-test-%d", getpid());
	return mq_open(queue, O_CREAT | O_RDWR, 0600, NULL);
}

/* Sends it, and has it no more. */
static int send_away(int fd)
{
	int s[2];
	char control[CMSG_SPACE(sizeof(int))] = "", c = 'x';
	struct iovec v = {&c, 1};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(int));
	must(sendmsg(s[0], &m, 0));
	close(fd);
	return -2;
}

static int fd_in_flight(void)
{
	return send_away(must(epoll_create1(0)));
}

static int memfd_in_flight(void)
{
	return send_away(must(memfd()));
}

/* Of a process that is gone. */
static int credentials(void)
{
	int s[2], on = 1;

	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
	must(setsockopt(s[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
	if (!must(fork()))
		_exit(write(s[1], "x", 1) != 1);
	wait(NULL);
	return s[0];
}

/* The name leads to another socket by now. */
static int unix_replaced(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "replaced"};
	int l = must(socket(AF_UNIX, SOCK_STREAM, 0)), other = must(socket(AF_UNIX, SOCK_DGRAM, 0));

	unlink("replaced");
	must(bind(l, (void *)&a, sizeof(a)));
	must(listen(l, 5));
	must(rename("replaced", "kept"));
	must(bind(other, (void *)&a, sizeof(a)));
	close(other);
	return l;
}

/* A pipe to another process, not at 0, 1 or 2; that process is no child of ours. */
static int foreign_pipe(void)
{
	int p[2];

	must(pipe(p));
	if (!must(fork())) {
		if (!must(fork())) {
			char c;

			close(p[1]);
			close(0), close(1), close(2);
			_exit(read(p[0], &c, 1) != 0);
		}
		_exit(0);
	}
	wait(NULL);
	close(p[0]);
	return p[1];
}

static int child(void)
{
	pid_t parent = getpid();

	if (!must(fork()))
		while (getppid() == parent)
			nap(5);
	return -2;
}

static int zombie(void)
{
	siginfo_t si;
	pid_t pid = must(fork());

	if (!pid)
		_exit(7);
	must(waitid(P_PID, pid, &si, WEXITED | WNOWAIT));
	return -2;
}

static int vforked(void)
{
	/* The parent is stuck in vfork() until the child ends: it cannot print. */
	subject_ready();
	if (vfork() == 0) {
		while (!subject_poll())
			nap(3);
		_exit(0);
	}
	exit(subject_done());
}

static int traced(void)
{
	pid_t parent = getpid();
	int p[2];
	char c;

	must(pipe(p));
	if (!must(fork())) {
		if (!must(fork())) {
			int status;

			close(0), close(1), close(2);
			if (ptrace(PTRACE_SEIZE, parent, NULL, NULL))
				_exit(1);
			if (write(p[1], "x", 1) != 1)
				_exit(1);
			close(p[0]), close(p[1]);
			while (waitpid(parent, &status, 0) == parent && WIFSTOPPED(status))
				ptrace(PTRACE_CONT, parent, NULL,
				       (void *)(intptr_t)(status >> 16 ? 0 : WSTOPSIG(status)));
			_exit(0);
		}
		_exit(0);
	}
	wait(NULL);
	close(p[1]);
	if (read(p[0], &c, 1) != 1)
		return -1;
	close(p[0]);
	return -2;
}

static int undumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 0) ? -1 : -2;
}

static int hugetlb(void)
{
	void *p = mmap(NULL, 1 << 30, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 30 << 26 | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? -1 : -2;
}

/* Shared, and its half protected otherwise. */
static int hugetlb_parts(void)
{
	char *p = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | 21 << 26 | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED || mprotect(p, 2 << 20, PROT_READ) ? -1 : -2;
}

static int aio(void)
{
	aio_context_t ctx = 0;

	return syscall(SYS_io_setup, 8, &ctx) < 0 ? -1 : -2;
}

/* Shared anonymous memory that another process has too. */
static int foreign_shared_memory(void)
{
	char *p = must(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	pid_t parent = getpid();

	p[0] = 1;
	if (!must(fork())) {
		if (!must(fork())) {
			close(0), close(1), close(2);
			while (kill(parent, 0) == 0)
				nap(5);
		}
		_exit(0);
	}
	wait(NULL);
	return -2;
}

static volatile pid_t sleeper;

/*
 * Asleep in a call whose number is in no instruction, with arguments that would do
 * for FUTEX_WAIT, too.  Refused from the second stop on.
 */
static void *sleep_ambiguously(void *arg)
{
	static const struct timespec t = {.tv_sec = 600};

	sleeper = gettid();
	syscall(SYS_nanosleep, &t, NULL, 0, &t);
	sleeper = -1;
	return arg;
}

static int lost_call(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, sleep_ambiguously, NULL))
		return -1;
	while (sleeper == 0 || subject_call_of(sleeper) != SYS_nanosleep)
		nap(1);
	return -2;
}

static void *other_thread(void *arg)
{
	pause();
	return arg;
}

/* A timer of the CPU time of the thread that made it: the kernel does not show which. */
static int thread_clock(void)
{
	struct sigevent ev = {.sigev_notify = SIGEV_NONE};
	pthread_t other;
	timer_t t;

	must(-pthread_create(&other, NULL, other_thread, NULL));
	must(timer_create(CLOCK_THREAD_CPUTIME_ID, &ev, &t));
	return -2;
}

static void caught(int s)
{
	(void)s;
}

/* Each signal that could be lent to it is caught and waits, and none is ignored. */
static int no_bell(void)
{
	static const int mild[] = {SIGURG, SIGWINCH, SIGCHLD, SIGCONT};
	static const uint64_t by_default[4]; /* the kernel's struct sigaction */
	struct sigaction sa = {.sa_handler = caught};
	sigset_t set;

	sigemptyset(&set);
	/* Who started this may have left some ignored, also those that libc keeps to itself. */
	for (int sig = 1; sig < 65; sig++)
		syscall(SYS_rt_sigaction, sig, by_default, NULL, 8);
	for (int i = 0; i < 4; i++) {
		sigaddset(&set, mild[i]);
		must(sigaction(mild[i], &sa, NULL));
	}
	must(sigprocmask(SIG_BLOCK, &set, NULL));
	for (int i = 0; i < 4; i++)
		must(kill(getpid(), mild[i]));
	return -2;
}

static int two_users(void)
{
	return seteuid(65534) ? -1 : -2;
}

static int deadline(void)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} a = {.size = 48,
	       .policy = 6 /* SCHED_DEADLINE */,
	       .runtime = 2 << 20,
	       .deadline = 200 << 20,
	       .period = 200 << 20};

	return syscall(SYS_sched_setattr, 0, &a, 0) ? -1 : -2;
}

static int directory_gone(void)
{
	must(mkdir("gone", 0700));
	must(chdir("gone"));
	must(rmdir("../gone"));
	return -2;
}

static volatile bool is_apart;

static void *go_apart(void *arg)
{
	must(unshare((int)(intptr_t)arg));
	is_apart = true;
	pause();
	return arg;
}

static int thread_without(int shared)
{
	pthread_t t;

	must(-pthread_create(&t, NULL, go_apart, (void *)(intptr_t)shared));
	while (!is_apart)
		nap(1);
	return -2;
}

static int own_descriptors(void)
{
	return thread_without(CLONE_FILES);
}

static int own_directory(void)
{
	return thread_without(CLONE_FS);
}

static void *give_up(void *arg)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2] = {{0}};

	must(syscall(SYS_capset, &h, d));
	is_apart = true;
	pause();
	return arg;
}

static int own_capabilities(void)
{
	pthread_t t;

	must(-pthread_create(&t, NULL, give_up, NULL));
	while (!is_apart)
		nap(1);
	return -2;
}

/* Where fs.nr_open allows it. */
static int high_descriptor(void)
{
	struct rlimit l = {1048577, 1048577};

	if (setrlimit(RLIMIT_NOFILE, &l)) {
		errno = ENOENT;
		return -1;
	}
	return dup2(0, 1048576);
}

static int secret_mapped(void)
{
	int fd = memfd_secret_();

	if (fd < 0)
		return -1;
	close(fd);
	return -2;
}

static int device_memory(void)
{
	int fd = open("/dev/mem", O_RDONLY);
	void *p = MAP_FAILED;

	if (fd < 0)
		fd = open("/dev/loop0", O_RDONLY);
	if (fd >= 0) {
		p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0xf0000);
		close(fd);
	}
	return p == MAP_FAILED ? -1 : -2;
}

/* Its own user may not open it any more. */
static int shared_file_closed(void)
{
	int fd = must(open("closed", O_CREAT | O_RDWR, 0600));

	must(ftruncate(fd, 4096));
	must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	must(fchmod(fd, 0));
	close(fd);
	return -2;
}

static void at_the_end(void)
{
	if (*queue)
		mq_unlink(queue);
	check(sleeper >= 0, "the sleep is over");
}

static const struct refused_kind kinds[] = {
	{"io_uring", io_uring},
	{"tcp_established", tcp_established},
	{"userfaultfd", userfaultfd},
	{"perf_event", perf_event},
	{"memfd_large", memfd_large},
	{"memfd_foreign", memfd_foreign},
	{"memfd_secret", memfd_secret_},
	{"message_queue", message_queue},
	{"fd_in_flight", fd_in_flight},
	{"memfd_in_flight", memfd_in_flight},
	{"credentials", credentials},
	{"unix_replaced", unix_replaced},
	{"foreign_pipe", foreign_pipe},
	{"child", child},
	{"zombie", zombie},
	{"vforked", vforked},
	{"traced", traced},
	{"undumpable", undumpable},
	{"hugetlb", hugetlb},
	{"hugetlb_parts", hugetlb_parts},
	{"aio", aio},
	{"foreign_shared_memory", foreign_shared_memory},
	{"lost_call", lost_call},
	{"no_bell", no_bell},
	{"thread_clock", thread_clock},
	{"two_users", two_users},
	{"deadline", deadline},
	{"directory_gone", directory_gone},
	{"own_descriptors", own_descriptors},
	{"own_directory", own_directory},
	{"own_capabilities", own_capabilities},
	{"high_descriptor", high_descriptor},
	{"secret_mapped", secret_mapped},
	{"device_memory", device_memory},
	{"shared_file_closed", shared_file_closed},
};

int main(int argc, char **argv)
{
	return refusing(argc, argv, kinds, sizeof(kinds) / sizeof(kinds[0]), at_the_end);
}
