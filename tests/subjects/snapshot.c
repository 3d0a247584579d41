/*
 * A program that looks at everything by which a snapshot of its memory could show, and
 * whose memory is of all the kinds that a fork leaves out.  Its thread writes a number to each
 * page in turn, and each page must have the number before: a page that is older or newer
 * than the others is found.
 *
 * test: doors=attach
 *
 *     snapshot CTL [under] [plain | subreaper | few | namespace]
 *
 * under: its parent watches as well.  plain: it waits like most do, without __WALL. few: it has
 * used up its RLIMIT_NPROC. A ping makes it close a pipe, which must end at once.
 */
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "subject.h"

#define PAGE 4096
#define PAGES 256

static struct {
	const char *name;
	int pages, flags, advice;
	unsigned char *p;
} areas[] = {
	{"private", 4096, MAP_PRIVATE | MAP_ANONYMOUS, 0, NULL},
	{"shared", PAGES, MAP_SHARED | MAP_ANONYMOUS, 0, NULL},
	{"MADV_DONTFORK", PAGES, MAP_PRIVATE | MAP_ANONYMOUS, MADV_DONTFORK, NULL},
	{"MADV_WIPEONFORK", PAGES, MAP_PRIVATE | MAP_ANONYMOUS, 18, NULL},
	{"a deleted file", PAGES, MAP_PRIVATE, 0, NULL},
	{"locked", PAGES, MAP_PRIVATE | MAP_ANONYMOUS, -1, NULL},
};
#define AREAS (sizeof(areas) / sizeof(areas[0]))

static volatile int children_ended, stop;
static int wait_flags = WNOHANG | __WALL;
static int pipes[2];

static void on_child(int sig)
{
	(void)sig;
	children_ended++;
}

static void map_areas(void)
{
	for (size_t i = 0; i < AREAS; i++) {
		char name[] = "deleted-XXXXXX";
		size_t len = (size_t)areas[i].pages * PAGE;
		int fd = -1;

		if (!(areas[i].flags & MAP_ANONYMOUS)) {
			fd = must(mkstemp(name));
			must(ftruncate(fd, (off_t)len));
		}
		areas[i].p = must(mmap(NULL, len, PROT_READ | PROT_WRITE, areas[i].flags, fd, 0));
		if (areas[i].advice > 0)
			must(madvise(areas[i].p, len, areas[i].advice));
		/* What may be locked is limited. */
		if (areas[i].advice < 0 && mlock(areas[i].p, 16 * PAGE))
			check(errno == ENOMEM || errno == EPERM, "mlock: %s", strerror(errno));
		if (fd >= 0) {
			must(unlink(name));
			must(close(fd));
		}
	}
}

static void *write_numbers(void *arg)
{
	(void)arg;
	for (uint64_t round = 1; !stop; round++)
		for (size_t i = 0; i < AREAS; i++)
			for (int k = 0; k < areas[i].pages; k++) {
				volatile uint64_t *n = (void *)(areas[i].p + (size_t)k * PAGE + 64);

				if (*n != round - 1) {
					check(false, "page %d of %s: %llu, not %llu", k,
					      areas[i].name, (unsigned long long)*n,
					      (unsigned long long)round - 1);
					return NULL;
				}
				*n = round;
			}
	return NULL;
}

static void *wait_for_nobody(void *arg)
{
	(void)arg;
	while (!stop) {
		pid_t got = waitpid(-1, NULL, wait_flags);

		check(got == -1 && errno == ECHILD, "wait() met process %d", got);
		nap(1);
	}
	return NULL;
}

static void close_pipe(void)
{
	char c;

	if (pipes[1] < 0)
		return;
	close(pipes[1]);
	pipes[1] = -1;
	check(read(pipes[0], &c, 1) == 0, "the pipe has another writer");
}

/* What it meets is told by its exit status. */
static void watch_over_me(void)
{
	pid_t child = must(fork()), got;
	int status = 0;

	if (!child)
		return;
	signal(SIGCHLD, on_child);
	while ((got = waitpid(-1, &status, __WALL)) != child)
		if (got > 0 || errno != EINTR)
			_exit(90);
	_exit(!WIFEXITED(status) ? 91 : children_ended != 1 ? 92 : WEXITSTATUS(status));
}

static void prepare(const char *how)
{
	struct rlimit one = {1, 1};

	if (!strcmp(how, "subreaper"))
		must(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	else if (!strcmp(how, "few"))
		must(setrlimit(RLIMIT_NPROC, &one));
	else if (!strcmp(how, "namespace"))
		must(unshare(CLONE_NEWPID));
}

int main(int argc, char **argv)
{
	pthread_t t[2];

	subject_init(argc, argv);
	subject_on_ping = close_pipe;
	if (argc > 2 && !strcmp(argv[2], "under"))
		watch_over_me();
	signal(SIGCHLD, on_child);
	must(pipe2(pipes, O_CLOEXEC | O_NONBLOCK));
	map_areas();
	if (argc > 2 && !strcmp(argv[2], "plain"))
		wait_flags = WNOHANG;
	pthread_create(&t[0], NULL, write_numbers, NULL);
	pthread_create(&t[1], NULL, wait_for_nobody, NULL);
	if (argc > 2)
		prepare(argv[argc - 1]);
	subject_wait();
	stop = 1;
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	check(!children_ended, "%d SIGCHLD", children_ended);
	return subject_done();
}
