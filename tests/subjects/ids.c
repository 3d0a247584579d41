/*
 * Process and thread ids are the same as before.
 * test: ids=same
 */
#include <signal.h>

#include "subject.h"

static volatile int released;
static volatile pid_t tids[3];

static void *run(void *arg)
{
	int i = (int)(intptr_t)arg;

	tids[i] = gettid();
	while (!released)
		nap(3);
	check(gettid() == tids[i], "thread %d: gettid() is %d, was %d", i, gettid(), tids[i]);
	check(syscall(SYS_tgkill, getpid(), tids[i], 0) == 0, "thread %d: tgkill fails", i);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t[3];
	pid_t pid = getpid();
	char path[64], target[64] = "";

	subject_init(argc, argv);
	for (intptr_t i = 0; i < 3; i++)
		if (pthread_create(&t[i], NULL, run, (void *)i))
			die("pthread_create");
	while (!tids[0] || !tids[1] || !tids[2])
		nap(1);
	subject_wait();

	check(getpid() == pid, "getpid() is %d, was %d", getpid(), pid);
	check(gettid() == pid, "gettid() is %d, was %d", gettid(), pid);
	must(readlink("/proc/self", target, sizeof(target) - 1));
	check(atoi(target) == pid, "/proc/self is %s, not %d", target, pid);
	snprintf(path, sizeof(path), "/proc/%d/task/%d", pid, tids[1]);
	check(access(path, F_OK) == 0, "%s is missing", path);
	check(kill(pid, 0) == 0, "kill(own pid) fails");
	released = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	return subject_done();
}
