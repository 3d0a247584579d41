/*
 * Reserved and hardly touched, up to terabytes, as Go, the JVM and the sanitizers
 * do.  The driver looks at the image's size.
 * test: build=static
 */
#include "subject.h"

#define TIB (1ULL << 40)

int main(int argc, char **argv)
{
	static const uint64_t sizes[] = {1 * TIB, 14 * TIB, 3 * TIB};
	static const int prots[] = {PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_NONE};
	char *p[3];

	subject_init(argc, argv);
	for (int i = 0; i < 3; i++) {
		p[i] = must(mmap(NULL, sizes[i], PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
		for (int k = 0; k < 50; k++)
			fill(p[i] + sizes[i] / 50 * k / 4096 * 4096, 4096, i * 100 + k);
		must(mprotect(p[i], sizes[i], prots[i]));
	}
	subject_wait();

	must(mprotect(p[2], sizes[2], PROT_READ));
	for (int i = 0; i < 3; i++)
		for (int k = 0; k < 50; k++) {
			char *q = p[i] + sizes[i] / 50 * k / 4096 * 4096;

			check(is_filled(q, 4096, i * 100 + k), "page %d of area %d differs", k, i);
			check(is_zero(q + 4096, 4096), "a hole of area %d is not zero", i);
		}
	p[1][7 * TIB + 5] = 1;
	return subject_done();
}
