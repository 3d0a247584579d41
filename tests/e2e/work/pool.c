/*
 * Threads that take jobs from a queue, allocate, copy and free; thread-local variables,
 * mutexes, conditions with a time limit.  For other C libraries and for sanitizers.
 *
 *   pool STEPS [leak]   with "leak" one block of 4711 bytes is lost on the way
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WORKERS 6
#define QUEUE 32

struct job {
	struct job *next;
	uint64_t seed;
	size_t len;
	unsigned char text[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER, emptied = PTHREAD_COND_INITIALIZER;
static struct job *queue;
static int queued, ending;
static uint64_t total, served;
static __thread uint64_t mine;
static void *volatile lost;

static uint64_t mix(uint64_t n)
{
	n ^= n << 13;
	n ^= n >> 7;
	return n ^ n << 17;
}

static struct job *make(uint64_t seed)
{
	size_t len = 1 + mix(seed) % 6000;
	struct job *j = malloc(sizeof(*j) + len);

	if (!j)
		abort();
	j->seed = seed;
	j->len = len;
	for (size_t i = 0; i < len; i++)
		j->text[i] = (unsigned char)(seed >> i % 56);
	return j;
}

static struct job *take(void)
{
	struct timespec t;
	struct job *j;

	pthread_mutex_lock(&lock);
	while (!queue && !ending) {
		clock_gettime(CLOCK_REALTIME, &t);
		t.tv_nsec += 2000000;
		if (t.tv_nsec >= 1000000000) {
			t.tv_nsec -= 1000000000;
			t.tv_sec++;
		}
		int rc = pthread_cond_timedwait(&filled, &lock, &t);

		if (rc && rc != ETIMEDOUT)
			abort();
	}
	j = queue;
	if (j) {
		queue = j->next;
		queued--;
		pthread_cond_signal(&emptied);
	}
	pthread_mutex_unlock(&lock);
	return j;
}

static void *work(void *arg)
{
	struct job *j;
	uint64_t n = 0;

	while ((j = take())) {
		unsigned char *copy = malloc(j->len);
		uint64_t h = j->seed + 1;

		memcpy(copy, j->text, j->len);
		for (size_t i = 0; i < j->len; i++)
			h = mix(h + copy[i]);
		mine += h;
		n++;
		free(copy);
		free(j);
	}
	pthread_mutex_lock(&lock);
	total += mine;
	served += n;
	pthread_mutex_unlock(&lock);
	return arg;
}

int main(int argc, char **argv)
{
	long steps = argc > 1 ? atol(argv[1]) : 1000;
	pthread_t threads[WORKERS];

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	for (int i = 0; i < WORKERS; i++)
		if (pthread_create(&threads[i], NULL, work, NULL))
			abort();
	for (long i = 0; i < steps; i++) {
		struct job *j = make((uint64_t)i);

		pthread_mutex_lock(&lock);
		while (queued == QUEUE)
			pthread_cond_wait(&emptied, &lock);
		j->next = queue;
		queue = j;
		queued++;
		pthread_cond_signal(&filled);
		pthread_mutex_unlock(&lock);
		if (i == 100 && argc > 2)
			lost = malloc(4711);
		if (i % 3000 == 0)
			printf("%ld\n", i);
	}
	lost = NULL;
	pthread_mutex_lock(&lock);
	ending = 1;
	pthread_cond_broadcast(&filled);
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	printf("result %lu %016lx\n", (unsigned long)served, (unsigned long)total);
	return 0;
}
