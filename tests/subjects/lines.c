/*
 * Writes 1, 2, 3, ... on standard output until it is released, a line each, so that the
 * output shows whether anything was done twice or not at all.  Meanwhile it keeps a
 * pattern in memory in motion.  Second argument: threads that count as well.
 */
#include "subject.h"

#define THREADS_MAX 8
#define PARTS 64
#define PART (64 << 10)

static volatile bool released;
static volatile long counts[THREADS_MAX];

static void *count(void *arg)
{
	volatile long *mine = arg;

	while (!released) {
		++*mine;
		nap(5);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int nthreads = argc > 2 ? atoi(argv[2]) : 0;
	unsigned char *memory = malloc((size_t)PARTS * PART);
	pthread_t id[THREADS_MAX];
	char line[32];

	subject_init(argc, argv);
	if (!memory || nthreads > THREADS_MAX)
		die("usage: lines CTL [THREADS]");
	for (uint64_t i = 0; i < PARTS; i++)
		fill(memory + i * PART, PART, i);
	for (int i = 0; i < nthreads; i++)
		if (pthread_create(&id[i], NULL, count, (void *)&counts[i]))
			die("no thread");
	subject_ready();
	for (long n = 1; !subject_poll(); n++) {
		uint64_t i = (uint64_t)n % PARTS;
		int len = snprintf(line, sizeof(line), "%ld\n", n);

		/* What the round before this one has put there. */
		check(is_filled(memory + i * PART, PART, n < PARTS ? i : (uint64_t)n - PARTS),
		      "memory differs in line %ld", n);
		fill(memory + i * PART, PART, (uint64_t)n);
		if (write(1, line, (size_t)len) != len)
			die("cannot write");
		nap(1);
	}
	released = true;
	for (int i = 0; i < nthreads; i++) {
		pthread_join(id[i], NULL);
		check(counts[i] > 0, "thread %d has not counted", i);
	}
	return subject_done();
}
