/*
 * The first thread has ended (pthread_exit) and stays as a zombie; others go on for the process,
 * and one of them joins it afterwards.  The process keeps its name, its descriptors, its locks.
 * test: build=static
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "subject.h"

#define N 3
#define NAME "gone) Z 1 (x"

static __thread int tls_value;
static pthread_t leader;
static pthread_mutex_t held[N] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
				  PTHREAD_MUTEX_INITIALIZER};
static volatile int up, released, signalled;
static int zero_fd;

/* "/proc/PID/stat" of the process, from its name on. */
static void read_stat(char text[300])
{
	int fd = must(open("/proc/self/stat", O_RDONLY | O_CLOEXEC));

	memset(text, 0, 300);
	must(read(fd, text, 299));
	close(fd);
}

static char leader_state(void)
{
	char text[300];

	read_stat(text);
	return strrchr(text, ')')[2];
}

static void *run(void *arg)
{
	int i = (int)(intptr_t)arg;

	tls_value = i + 100;
	pthread_mutex_lock(&held[i]);
	__atomic_add_fetch(&up, 1, __ATOMIC_SEQ_CST);
	while (!released)
		nap(3);
	check(tls_value == i + 100, "thread %d: TLS differs", i);
	check(pthread_mutex_trylock(&held[i]) == EBUSY, "thread %d does not hold its mutex", i);
	check(!pthread_mutex_unlock(&held[i]), "thread %d cannot give its mutex back", i);
	return arg;
}

static void took(int sig)
{
	signalled = sig;
}

static void check_leader(void)
{
	char text[300], *name;
	void *v = NULL;

	read_stat(text);
	name = strchr(text, '(');
	check(!strncmp(name, "(" NAME ") Z", strlen(NAME) + 4), "the first thread is '%.40s'",
	      name);
	check(!pthread_join(leader, &v) && v == (void *)4711L, "the first thread is not joined");
	check(leader_state() == 'Z', "the first thread is in state %c", leader_state());
}

static void check_process(void)
{
	char four[4] = "....";
	int status = -1;
	pid_t child;

	check(read(zero_fd, four, 4) == 4 && is_zero(four, 4), "the descriptor differs");
	signal(SIGUSR1, took);
	kill(getpid(), SIGUSR1);
	for (int i = 0; i < 1000 && !signalled; i++)
		nap(1);
	check(signalled == SIGUSR1, "no thread takes a signal for the process");
	child = must(fork());
	if (child == 0)
		_exit(9);
	check(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 9,
	      "a child cannot be waited for");
}

static void *speak(void *arg)
{
	pthread_t t[N], more;
	void *v = NULL;

	for (long i = 0; i < N; i++)
		must(-pthread_create(&t[i], NULL, run, (void *)i));
	tls_value = 99;
	while (up < N || leader_state() != 'Z')
		nap(1);
	subject_wait();

	check(tls_value == 99, "the TLS of the last thread differs");
	check_leader();
	check_process();
	released = 1;
	for (long i = 0; i < N; i++)
		check(!pthread_join(t[i], &v) && v == (void *)i, "thread %ld is not joined", i);
	check(!pthread_create(&more, NULL, run, NULL) && !pthread_join(more, NULL),
	      "no new thread can be created");
	exit(subject_done());
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t t;

	subject_init(argc, argv);
	prctl(PR_SET_NAME, NAME);
	zero_fd = must(open("/dev/zero", O_RDONLY));
	leader = pthread_self();
	must(-pthread_create(&t, NULL, speak, NULL));
	pthread_exit((void *)4711L);
}
