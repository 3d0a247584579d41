/*
 * Computes, and does nothing else: rounds over 8 MiB until the file `stop` is there, or
 * as many as it is told.  The result depends on every round and every word.
 *
 *   cpu ROUNDS      0: until `stop`
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WORDS (1u << 20)

static uint64_t mem[WORDS];

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : 0, n = 0;
	uint64_t x = 88172645463325252, sum = 0;
	double d = 1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (rounds ? n < rounds : access("stop", F_OK) != 0) {
		for (uint32_t i = 0; i < WORDS; i += 4) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			mem[x % WORDS] += x;
			d = d * 0.999 + (double)(x % 1000);
		}
		if (++n % 10 == 0)
			printf("%ld\n", n);
	}
	for (uint32_t i = 0; i < WORDS; i++)
		sum = sum * 31 + mem[i];
	printf("result %ld %016llx %.17g\n", n, (unsigned long long)sum, d);
	return 0;
}
