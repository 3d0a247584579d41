/*
 * What a program has told the kernel about itself, and each of its threads:
 * parent-death signal, keepcaps and securebits, I/O priority, timer slack, I/O
 * flusher; oom_score_adj, what a core dump holds, mlockall(MCL_FUTURE), PR_SET_MDWE.
 */
#include <linux/securebits.h>
#include <signal.h>
#include <sys/prctl.h>

#include "subject.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#define PR_GET_IO_FLUSHER 58
#endif
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif
#define BEST_EFFORT (2 << 13)

struct told {
	int slack, death, securebits, ioprio, flusher;
};

static struct told before[2], after[2];
static pthread_barrier_t built, looked;

static void tell(int i)
{
	prctl(PR_SET_TIMERSLACK, 11111 * (i + 1), 0, 0, 0);
	prctl(PR_SET_PDEATHSIG, i ? SIGWINCH : SIGURG, 0, 0, 0);
	if (i || geteuid())
		prctl(PR_SET_KEEPCAPS, i, 0, 0, 0);
	else
		must(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0));
	must(syscall(SYS_ioprio_set, 1, 0, BEST_EFFORT | (5 + i)));
	if (i && !geteuid())
		prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
}

static struct told ask(void)
{
	struct told t = {0};

	t.slack = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
	prctl(PR_GET_PDEATHSIG, &t.death, 0, 0, 0);
	t.securebits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
	t.ioprio = syscall(SYS_ioprio_get, 1, 0);
	t.flusher = prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0);
	return t;
}

static void *other(void *arg)
{
	tell(1);
	before[1] = ask();
	pthread_barrier_wait(&built);
	pthread_barrier_wait(&looked);
	after[1] = ask();
	return arg;
}

static long number_in(const char *path)
{
	char text[40] = "";
	int fd = must(open(path, O_RDONLY));

	must(read(fd, text, sizeof(text) - 1));
	close(fd);
	return strtol(text, NULL, strstr(path, "filter") ? 16 : 10);
}

static void put(const char *path, const char *text)
{
	int fd = must(open(path, O_WRONLY));

	must(write(fd, text, strlen(text)));
	close(fd);
}

static long locked_kib(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[300];
	long n = -1;

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "VmLck: %ld", &n);
	if (f)
		fclose(f);
	return n;
}

/* Is a page locked as soon as it is mapped? */
static bool is_locked_at_once(void)
{
	long n = locked_kib();
	char *p = must(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	bool more = locked_kib() > n;

	munmap(p, 4096);
	return more;
}

int main(int argc, char **argv)
{
	pthread_t t;

	subject_init(argc, argv);
	pthread_barrier_init(&built, NULL, 2);
	pthread_barrier_init(&looked, NULL, 2);
	put("/proc/self/oom_score_adj", "321");
	put("/proc/self/coredump_filter", "0x17");
	must(-pthread_create(&t, NULL, other, NULL));
	tell(0);
	before[0] = ask();
	pthread_barrier_wait(&built);
	locked_kib(); /* stdio's buffer is there before anything is compared */
	/* An ordinary user may lock too little for all that a new thread's stack takes. */
	bool locks = !geteuid() && !mlockall(MCL_FUTURE | MCL_ONFAULT);
	bool mdwe = !prctl(PR_SET_MDWE, 1, 0, 0, 0);
	check(before[0].slack == 11111 && before[1].death == SIGWINCH, "nothing was told");
	subject_wait();

	after[0] = ask();
	check(is_locked_at_once() == locks, "mlockall: %d, was %d", !locks, locks);
	pthread_barrier_wait(&looked);
	must(-pthread_join(t, NULL));
	for (int i = 0; i < 2; i++) {
		struct told *a = &before[i], *b = &after[i];

		check(a->slack == b->slack, "%d: timer slack %d, was %d", i, b->slack, a->slack);
		check(a->death == b->death, "%d: parent-death signal %d, was %d", i, b->death,
		      a->death);
		check(a->securebits == b->securebits, "%d: securebits %#x, were %#x", i,
		      b->securebits, a->securebits);
		check(a->ioprio == b->ioprio, "%d: I/O priority %#x, was %#x", i, b->ioprio,
		      a->ioprio);
		check(a->flusher == b->flusher, "%d: I/O flusher %d, was %d", i, b->flusher,
		      a->flusher);
	}
	check(number_in("/proc/self/oom_score_adj") == 321, "oom_score_adj is %ld",
	      number_in("/proc/self/oom_score_adj"));
	check(number_in("/proc/self/coredump_filter") == 0x17, "coredump_filter is %#lx",
	      number_in("/proc/self/coredump_filter"));
	check(!mdwe || prctl(PR_GET_MDWE, 0, 0, 0, 0) == 1, "PR_SET_MDWE is forgotten");
	return subject_done();
}
