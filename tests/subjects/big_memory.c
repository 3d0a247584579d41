/*
 * One mapping of more than 2 GiB: more than one read() or write() moves.
 *     big_memory CTL MIB
 */
#include "subject.h"

int main(int argc, char **argv)
{
	subject_init(argc, argv);
	size_t pages = (argc > 2 ? atol(argv[2]) : 16) * 256;
	uint64_t *p = must(mmap(NULL, pages << 12, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	for (size_t i = 0; i < pages; i++)
		p[i * 512 + i % 512] = i * 0x9e3779b97f4a7c15ULL | 1;
	subject_wait();
	for (size_t i = 0; i < pages; i++)
		if (p[i * 512 + i % 512] != (i * 0x9e3779b97f4a7c15ULL | 1)) {
			check(0, "page %zu differs", i);
			break;
		}
	return subject_done();
}
