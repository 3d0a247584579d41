/*
 * A thousand threads, each with something of its own on its stack.
 * test: limit=120
 */
#include "subject.h"

#define N 1000

static pthread_barrier_t up;
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static int released, counted;

static void *run(void *arg)
{
	char mine[1000];
	int i = (int)(intptr_t)arg;

	fill(mine, sizeof(mine), i);
	pthread_barrier_wait(&up);
	pthread_mutex_lock(&m);
	while (!released)
		pthread_cond_wait(&c, &m);
	counted++;
	pthread_mutex_unlock(&m);
	check(is_filled(mine, sizeof(mine), i), "thread %d: stack differs", i);
	return (void *)(intptr_t)(i + 1);
}

int main(int argc, char **argv)
{
	static pthread_t t[N];
	pthread_attr_t a;

	subject_init(argc, argv);
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 65536);
	pthread_barrier_init(&up, NULL, N + 1);
	for (int i = 0; i < N; i++)
		if (pthread_create(&t[i], &a, run, (void *)(intptr_t)i))
			die("pthread_create %d", i);
	pthread_barrier_wait(&up);
	subject_wait();

	pthread_mutex_lock(&m);
	released = 1;
	pthread_cond_broadcast(&c);
	pthread_mutex_unlock(&m);
	for (int i = 0; i < N; i++) {
		void *v = NULL;

		pthread_join(t[i], &v);
		check((intptr_t)v == i + 1, "thread %d: result differs", i);
	}
	check(counted == N, "%d threads woke, not %d", counted, N);
	return subject_done();
}
