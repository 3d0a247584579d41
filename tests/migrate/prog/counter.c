/*
 * Writes 1, 2, 3, ... to a file, a line each, until a file NAME.stop is there.  Two
 * copies of it would write a number twice, and none would end the file: so the file
 * proves that exactly one goes on.
 *
 *   counter FILE [MIB [THREADS [locked]]]
 *
 * MIB of memory hold a pattern, of which a part is rewritten and compared all the time;
 * the threads sleep, and count too.  `locked`: it has a lock for writing on FILE (flock),
 * FILE.fcntl and FILE.ofd, from before the first line to the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static volatile int stop;

static void *idle(void *arg)
{
	volatile long *count = arg;
	struct timespec t = {.tv_nsec = 20 * 1000 * 1000};

	while (!stop) {
		nanosleep(&t, NULL);
		++*count;
	}
	return NULL;
}

static uint64_t word(size_t i, uint64_t round)
{
	return i % 7 == 3 ? 0 : (i * 0x9e3779b97f4a7c15) ^ round;
}

static int lock(const char *file, const char *suffix, int op)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 20};
	char path[4096];

	snprintf(path, sizeof(path), "%s%s", file, suffix);
	return fcntl(open(path, O_RDWR | O_CREAT, 0666), op, &l);
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
	size_t words = (argc > 2 ? (size_t)atol(argv[2]) : 1) << 17, page = 512;
	int threads = argc > 3 ? atoi(argv[3]) : 0;
	uint64_t *mem = malloc(words * 8), *rounds = calloc(words / page, 8);
	long counts[16] = {0}, last[16] = {0};
	struct timespec t = {.tv_nsec = 5 * 1000 * 1000};
	pthread_t id[16];
	char path[4096];

	if (fd < 0 || !mem || !rounds || threads > 16)
		return 2;
	if (argc > 4 && (flock(fd, LOCK_EX) || lock(argv[1], ".fcntl", F_SETLK) ||
			 lock(argv[1], ".ofd", F_OFD_SETLK)))
		return 2;
	snprintf(path, sizeof(path), "%s.stop", argv[1]);
	for (size_t i = 0; i < words; i++)
		mem[i] = word(i, 0);
	for (int i = 0; i < threads; i++)
		if (pthread_create(&id[i], NULL, idle, &counts[i]))
			return 2;
	printf("ready\n");
	fflush(stdout);
	for (long n = 1; access(path, F_OK); n++) {
		size_t p = (size_t)n * 37 % (words / page);

		dprintf(fd, "%ld\n", n);
		for (size_t i = p * page; i < (p + 1) * page; i++) {
			if (mem[i] != word(i, rounds[p])) {
				printf("wrong at word %zu\n", i);
				return 1;
			}
			mem[i] = word(i, (uint64_t)n);
		}
		rounds[p] = (uint64_t)n;
		nanosleep(&t, NULL);
	}
	for (int i = 0; i < threads; i++)
		last[i] = counts[i];
	nanosleep(&(struct timespec){.tv_nsec = 200 * 1000 * 1000}, NULL);
	for (int i = 0; i < threads; i++)
		if (counts[i] == last[i]) {
			printf("thread %d stands still\n", i);
			return 1;
		}
	for (size_t i = 0; i < words; i++)
		if (mem[i] != word(i, rounds[i / page])) {
			printf("wrong at word %zu in the end\n", i);
			return 1;
		}
	stop = 1;
	for (int i = 0; i < threads; i++)
		pthread_join(id[i], NULL);
	printf("ok\n");
	return 0;
}
