/*
 * The classic first subject of a checkpoint: it counts.
 *
 *     count [LAST [MILLISECONDS]]
 *
 * prints the numbers from 1 to LAST (default 600), one a line, one every
 * MILLISECONDS (default 500), and ends.  Each line is flushed at once, so that
 * what is on the screen or in the file is exactly how far it has come.  A
 * number that is missing or printed twice after a restart is a bug of the
 * checkpointer; nothing here knows that it can be checkpointed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* A positive number of at most `max`, or -1. */
static long number(const char *text, long max)
{
	char *end;
	long v = strtol(text, &end, 10);

	return end == text || *end || v < 1 || v > max ? -1 : v;
}

/* Sleeps the whole time, also when a signal handler runs in the middle. */
static void rest(long ms)
{
	struct timespec left = {ms / 1000, ms % 1000 * 1000000};

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

int main(int argc, char **argv)
{
	long last = argc > 1 ? number(argv[1], 1000000000) : 600;
	long ms = argc > 2 ? number(argv[2], 3600000) : 500;

	if (argc > 3 || last < 0 || ms < 0) {
		fprintf(stderr, "usage: %s [LAST [MILLISECONDS]]\n", argv[0]);
		return 2;
	}
	for (long i = 1; i <= last; i++) {
		/* On a terminal printf itself writes, and fflush then sees no error. */
		if (printf("%ld\n", i) < 0 || fflush(stdout)) {
			perror("count: stdout");
			return 1;
		}
		rest(ms);
	}
	return 0;
}
