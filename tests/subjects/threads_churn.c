/*
 * Threads begin and end all the time, also while they are being seized.
 */
#include "subject.h"

static volatile int released;
static long made, ended;

static void *brief(void *arg)
{
	char here[2000];

	fill(here, sizeof(here), (uintptr_t)arg);
	check(is_filled(here, sizeof(here), (uintptr_t)arg), "a brief thread's stack differs");
	__atomic_add_fetch(&ended, 1, __ATOMIC_SEQ_CST);
	return arg;
}

static void *maker(void *arg)
{
	while (!released) {
		pthread_t t[4];
		int n = 0;

		for (uintptr_t i = 0; i < 4; i++)
			if (!pthread_create(&t[n], NULL, brief, (void *)(i + 1)))
				n++;
		__atomic_add_fetch(&made, n, __ATOMIC_SEQ_CST);
		for (int i = 0; i < n; i++) {
			void *v = NULL;

			pthread_join(t[i], &v);
			check(v != NULL, "a brief thread's result is lost");
		}
	}
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t t[2];

	subject_init(argc, argv);
	for (int i = 0; i < 2; i++)
		if (pthread_create(&t[i], NULL, maker, NULL))
			die("pthread_create");
	subject_wait();

	long had = made;
	for (int i = 0; i < 3000 && made == had; i++)
		nap(10);
	check(made > had, "no thread is made any more");
	released = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	check(made == ended, "%ld threads were made, %ld ended", made, ended);
	return subject_done();
}
