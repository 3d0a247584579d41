/*
 * Ends with another thread asleep, which takes a while to give the memory back: meanwhile the
 * first one is a zombie already.
 *     ends_slowly CTL MIB
 */
#include <sys/prctl.h>

#include "subject.h"

static void *asleep(void *arg)
{
	for (;;)
		pause();
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t t;

	subject_init(argc, argv);
	/* Small pages are given back one by one. */
	must(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	size_t size = (size_t)(argc > 2 ? atol(argv[2]) : 16) << 20;
	char *p =
		must(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	memset(p, 1, size);
	if (pthread_create(&t, NULL, asleep, NULL))
		die("pthread_create");
	subject_wait();
	_exit(subject_done());
}
