/*
 * Reads the clock all the time, until a file NAME.stop is there; then prints the longest gap
 * between two readings, in ns: how long it was away, as it saw it.
 *
 *   gaps NAME
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	uint64_t last = 0, longest = 0;
	char path[4096];

	if (argc != 2)
		return 2;
	snprintf(path, sizeof(path), "%s.stop", argv[1]);
	printf("ready\n");
	fflush(stdout);
	for (unsigned n = 0; n % 65536 || access(path, F_OK); n++) {
		struct timespec t;
		uint64_t now;

		clock_gettime(CLOCK_REALTIME, &t);
		now = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
		if (last && now > last && now - last > longest)
			longest = now - last;
		last = now;
	}
	printf("gap %llu\n", (unsigned long long)longest);
	return 0;
}
