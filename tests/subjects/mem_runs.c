/*
 * Every second page touched, 80,000 times: more runs than an ELF file's e_phnum
 * can count.
 * test: limit=120
 */
#include "subject.h"

#define PAGES 160000UL
#define PG 4096

static char *area; /* for the debugger in a test */

int main(int argc, char **argv)
{
	subject_init(argc, argv);
	char *p = must(
		mmap(NULL, PAGES * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	madvise(p, PAGES * PG, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < PAGES; i += 2)
		*(uint64_t *)(p + i * PG + 8 * (i % 512)) = i + 1;
	area = p;
	subject_wait();

	for (size_t i = 0; i < PAGES; i++) {
		uint64_t v = *(uint64_t *)(p + i * PG + 8 * (i % 512));

		if (v != (i % 2 ? 0 : i + 1)) {
			check(0, "page %zu of %p differs", i, (void *)area);
			break;
		}
	}
	return subject_done();
}
