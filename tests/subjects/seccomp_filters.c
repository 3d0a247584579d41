/*
 * Seccomp filters of three threads: two that all have (a list of calls, and death for all others;
 * then one with an answer of its own), and a third that one of them has alone.  After a restart
 * they still answer and kill, and the first thread can give all the same one more.
 * test: doors=attach refuse=ok
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "subject.h"

#define LOAD BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define RET(what) BPF_STMT(BPF_RET | BPF_K, what)
#define IF(nr, what) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), RET(what)
#define ALLOW(nr) IF(nr, SECCOMP_RET_ALLOW)
#define SAYS(nr, error)                                                                            \
	{                                                                                          \
		LOAD, IF(nr, SECCOMP_RET_ERRNO | (error)), RET(SECCOMP_RET_ALLOW)                  \
	}

/* Not restart_syscall, unless an argument says so: who stops and continues a program that sleeps
 * would kill it. */
static struct sock_filter few[] = {
	LOAD,
	ALLOW(SYS_access),
	ALLOW(SYS_access),
	ALLOW(SYS_clock_nanosleep),
	ALLOW(SYS_clone),
	ALLOW(SYS_close),
	ALLOW(SYS_exit),
	ALLOW(SYS_exit_group),
	ALLOW(SYS_faccessat),
	ALLOW(SYS_futex),
	ALLOW(SYS_getpgrp),
	ALLOW(SYS_getppid),
	ALLOW(SYS_gettid),
	ALLOW(SYS_madvise),
	ALLOW(SYS_munmap),
	ALLOW(SYS_openat),
	ALLOW(SYS_read),
	ALLOW(SYS_rt_sigprocmask),
	ALLOW(SYS_rt_sigreturn),
	ALLOW(SYS_seccomp),
	ALLOW(SYS_unlink),
	ALLOW(SYS_wait4),
	ALLOW(SYS_write),
	RET(SECCOMP_RET_KILL_PROCESS),
};
static struct sock_filter all[] = SAYS(SYS_getppid, 77), own[] = SAYS(SYS_getpgrp, 78),
			  late[] = SAYS(SYS_gettid, 79);
static atomic_int stands, goes, has_own;

static void set(struct sock_filter *f, size_t n, unsigned flags)
{
	struct sock_fprog prog = {.len = n, .filter = f};
	long ret = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);

	if (ret)
		die("seccomp(flags %#x) gave %ld: %s", flags, ret, strerror(errno));
}
#define SET(f, flags) set(f, sizeof(f) / sizeof(*(f)), flags)

/* How many there are, as the kernel shows it. */
static int count(void)
{
	char b[4096], *p;
	int fd = open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, b, sizeof(b) - 1);

	close(fd);
	b[n < 0 ? 0 : n] = '\0';
	p = strstr(b, "Seccomp_filters:");
	return p ? atoi(p + 16) : -1;
}

static void verify(const char *who, int filters)
{
	errno = 0;
	check(syscall(SYS_getppid) == -1 && errno == 77, "%s: getppid() is not filtered", who);
	errno = 0;
	check((syscall(SYS_getpgrp) == -1 && errno == 78) == (filters == 3),
	      "%s: getpgrp() is filtered otherwise", who);
	check(count() == filters, "%s: %d filters, not %d", who, count(), filters);
}

static void *thread(void *arg)
{
	bool is_alone = arg;

	stands++;
	while (!goes)
		nap(is_alone ? 1 : 5);
	if (is_alone)
		SET(own, 0);
	has_own += is_alone;
	while (goes == 1)
		nap(is_alone ? 50 : 2000);
	verify(is_alone ? "a thread with its own" : "a thread", is_alone ? 3 : 2);
	return NULL;
}

/* Whoever makes another call dies. */
static void verify_death(void)
{
	int status = 0;
	long pid = must(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));

	if (!pid) {
		syscall(SYS_getuid);
		syscall(SYS_exit_group, 0);
	}
	must(syscall(SYS_wait4, pid, &status, 0, NULL));
	check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS,
	      "a call that is not in the list: status %#x", status);
}

int main(int argc, char **argv)
{
	pthread_t t[2];

	subject_init(argc, argv);
	if (argc > 2)
		few[1].k = SYS_restart_syscall;
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	for (uintptr_t i = 0; i < 2; i++)
		must(-pthread_create(&t[i], NULL, thread, (void *)i));
	while (stands < 2)
		nap(1);
	SET(few, SECCOMP_FILTER_FLAG_TSYNC);
	SET(all, SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG);
	goes = 1;
	while (!has_own)
		nap(1);
	subject_wait();
	verify("the first thread", 2);
	verify_death();
	goes = 2;
	pthread_join(t[1], NULL);
	SET(late, SECCOMP_FILTER_FLAG_TSYNC);
	errno = 0;
	check(syscall(SYS_gettid) == -1 && errno == 79, "the last filter says nothing");
	return subject_done();
}
