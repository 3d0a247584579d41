/*
 * 20,000 mappings, and a file name of nearly PATH_MAX: nothing has a fixed size.
 * test: limit=120
 */
#include <limits.h>
#include <sys/stat.h>

#include "subject.h"

#define MAPS 20000
#define PG 4096

int main(int argc, char **argv)
{
	char dir[201];

	subject_init(argc, argv);
	char *p = must(
		mmap(NULL, MAPS * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	for (size_t i = 0; i < MAPS; i++) {
		*(uint64_t *)(p + i * PG) = i * 3 + 1;
		if (i % 2)
			must(mprotect(p + i * PG, PG, PROT_READ));
	}
	int home = must(open(".", O_RDONLY | O_DIRECTORY)), at = must(dup(home));
	memset(dir, 'd', 200);
	dir[200] = 0;
	for (int i = 0; i < 18; i++) {
		if (mkdirat(at, dir, 0755) < 0 && errno != EEXIST)
			die("mkdirat: %s", strerror(errno));
		int next = must(openat(at, dir, O_RDONLY | O_DIRECTORY));
		close(at);
		at = next;
	}
	int fd = must(openat(at, "long \n name", O_CREAT | O_TRUNC | O_RDWR, 0644));
	must(write(fd, "content", 7));
	char *m = must(mmap(NULL, PG, PROT_READ, MAP_PRIVATE, fd, 0));
	close(at);
	close(home);
	subject_wait();

	for (size_t i = 0; i < MAPS; i++)
		if (*(uint64_t *)(p + i * PG) != i * 3 + 1) {
			check(0, "mapping %zu differs", i);
			break;
		}
	check(!memcmp(m, "content", 7), "the mapping of a file with a long name differs");
	check(lseek(fd, 0, SEEK_CUR) == 7, "the offset of a file with a long name differs");
	return subject_done();
}
