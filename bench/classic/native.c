/*
 * The native program of the classical comparison: computes, and does nothing else.
 *
 *     native MIB PATH
 *
 * fills MIB mebibytes, says "ready" in the file PATH, computes on them until there is a
 * file PATH.stop, and says in PATH.done whether all is as it must be.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static uint64_t next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	return *x ^= *x << 17;
}

static void say(const char *path, const char *more, const char *text)
{
	char name[4096];
	FILE *f;

	snprintf(name, sizeof(name), "%s%s", path, more);
	f = fopen(name, "w");
	if (!f || fputs(text, f) < 0 || fclose(f))
		exit(1);
}

int main(int argc, char **argv)
{
	size_t n = argc == 3 ? strtoul(argv[1], NULL, 10) << 17 : 0;
	uint64_t *v = malloc((n + 1) * sizeof(*v)), x = 88172645463325252, sum = 0, now;
	char stop[4096];

	if (argc != 3 || !v) {
		fprintf(stderr, "usage: native MIB PATH\n");
		return 2;
	}
	for (size_t i = 0; i < n; i++)
		sum += v[i] = next(&x);
	snprintf(stop, sizeof(stop), "%s.stop", argv[2]);
	say(argv[2], "", "ready\n");
	/* Words change places: the sum stays. */
	for (uint64_t round = 0; round % 65536 || access(stop, F_OK); round++) {
		size_t i = n ? next(&x) % n : 0, k = n ? next(&x) % n : 0;
		uint64_t word = v[i];

		v[i] = v[k];
		v[k] = word;
	}
	now = 0;
	for (size_t i = 0; i < n; i++)
		now += v[i];
	say(argv[2], ".done", now == sum ? "ok\n" : "wrong\n");
	return 0;
}
