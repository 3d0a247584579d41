/* A shared mapping of a file: content, and that writes reach the file. */
#include "subject.h"

#define N (64 * 4096)

int main(int argc, char **argv)
{
	static char buf[N];

	subject_init(argc, argv);
	int fd = must(open("mapped-shared", O_CREAT | O_TRUNC | O_RDWR, 0644));
	must(ftruncate(fd, N));
	char *p = must(mmap(NULL, N, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	char *r = must(mmap(NULL, N / 2, PROT_READ, MAP_SHARED, fd, N / 2));
	fill(p, N, 21);
	subject_wait();

	check(is_filled(p, N, 21), "the content differs");
	p[5000] ^= 0x77;
	p[N - 1] = 1;
	must(pread(fd, buf, N, 0));
	check(!memcmp(buf, p, N), "a write does not reach the file");
	check(r[N / 2 - 1] == 1, "a second mapping does not follow");
	must(pwrite(fd, "new", 3, 9000));
	check(!memcmp(p + 9000, "new", 3), "a write to the file is not seen in the mapping");
	return subject_done();
}
