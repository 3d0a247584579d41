/* Plain computing with floating point and a printed line now and then. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	int steps = argc > 1 ? atoi(argv[1]) : 1000;
	uint64_t n = 88172645463325252ULL, *table = calloc(1 << 16, 8);
	double x = 0.3, y = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	for (int i = 0; i < steps; i++) {
		for (int k = 0; k < 20000; k++) {
			n ^= n << 13, n ^= n >> 7, n ^= n << 17;
			table[n & 0xffff] += n >> 32;
			x = 3.99 * x * (1 - x);
			y += sqrt(x) * 1e-3;
		}
		if (i % 100 == 0)
			printf("%d %016lx %.17g\n", i, (unsigned long)n, y);
	}
	uint64_t sum = 0;
	for (int i = 0; i < 1 << 16; i++)
		sum = sum * 31 + table[i];
	printf("result %016lx %.17g %.17g\n", (unsigned long)sum, x, y);
	return 0;
}
