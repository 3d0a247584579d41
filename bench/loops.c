/*
 * What libckpt.so costs a program that never takes a checkpoint:
 *
 *     loops cpu|malloc|syscall|pthread
 *
 * does so much of the one kind of work that it takes some tenths of a second, and prints the
 * nanoseconds that it took.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void cpu(void)
{
	volatile uint64_t sink;
	uint64_t x = 88172645463325252;

	for (int i = 0; i < 50000000; i++) { /* xorshift64 */
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	sink = x;
	(void)sink;
}

static void allocate(void)
{
	static void *volatile held[1024];

	for (unsigned i = 0; i < 1500000; i++) {
		unsigned k = i * 2654435761u % 1024;

		free(held[k]);
		held[k] = malloc(16 + i % 2000);
	}
}

static void call(void)
{
	for (int i = 0; i < 600000; i++)
		syscall(SYS_getppid);
}

static void *locks(void *lock)
{
	for (int i = 0; i < 200; i++) {
		pthread_mutex_lock(lock);
		pthread_mutex_unlock(lock);
	}
	return NULL;
}

static void threads(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	for (int i = 0; i < 4000; i++) {
		pthread_t t[2];

		for (int k = 0; k < 2; k++)
			if (pthread_create(&t[k], NULL, locks, &lock))
				exit(1);
		for (int k = 0; k < 2; k++)
			pthread_join(t[k], NULL);
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*work)(void);
	} kinds[] = {{"cpu", cpu}, {"malloc", allocate}, {"syscall", call}, {"pthread", threads}};
	struct timespec from, to;

	for (size_t i = 0; argc == 2 && i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (strcmp(argv[1], kinds[i].name))
			continue;
		clock_gettime(CLOCK_MONOTONIC, &from);
		kinds[i].work();
		clock_gettime(CLOCK_MONOTONIC, &to);
		printf("%lld\n",
		       (to.tv_sec - from.tv_sec) * 1000000000LL + to.tv_nsec - from.tv_nsec);
		return 0;
	}
	fprintf(stderr, "usage: %s cpu|malloc|syscall|pthread\n", argv[0]);
	return 2;
}
