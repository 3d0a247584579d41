/*
 * memfds: one that is mapped twice, sealed and written by its descriptor; one that
 * is mapped and closed; one that is empty.
 */
#include <linux/memfd.h>
#include <sys/stat.h>

#include "subject.h"

#define SIZE (1 << 20)

static int memfd(const char *name, unsigned flags)
{
	return (int)must(syscall(SYS_memfd_create, name, flags));
}

int main(int argc, char **argv)
{
	static char buf[SIZE], other[SIZE];
	struct stat st;
	char c = 0;

	subject_init(argc, argv);
	int fd = memfd("heap", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	must(ftruncate(fd, SIZE));
	char *a = must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	char *b = must(mmap(NULL, SIZE / 2, PROT_READ, MAP_SHARED, fd, SIZE / 2));
	fill(buf, SIZE, 1);
	memcpy(a, buf, SIZE);
	must(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	int closed = memfd("closed", 0);
	must(ftruncate(closed, SIZE));
	char *d = must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, closed, 0));
	char *e = must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, closed, 0));
	fill(other, SIZE, 2);
	memcpy(d, other, SIZE);
	close(closed);
	int empty = memfd("empty", 0);
	subject_wait();

	check(!memcmp(a, buf, SIZE), "content differs");
	check(!memcmp(b, buf + SIZE / 2, SIZE / 2), "content of the second mapping differs");
	a[SIZE - 1] = 'z';
	check(b[SIZE / 2 - 1] == 'z', "the two mappings are not of the same");
	check(pread(fd, &c, 1, SIZE - 1) == 1 && c == 'z', "the descriptor is of another");
	check(fcntl(fd, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_GROW), "seals are %#x",
	      fcntl(fd, F_GET_SEALS));
	check(ftruncate(fd, 1) < 0 && errno == EPERM, "it can shrink");
	check(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL) == 0, "it can have no more seals");
	check(fcntl(fd, F_GETFD) == FD_CLOEXEC, "close-on-exec");
	check(!memcmp(d, other, SIZE), "content of the closed one differs");
	e[5] = d[5] ^ 1;
	check(d[5] == e[5], "the mappings of the closed one are parted");
	check(fcntl(empty, F_GET_SEALS) == F_SEAL_SEAL, "the empty one's seals are %#x",
	      fcntl(empty, F_GET_SEALS));
	check(!fstat(empty, &st) && st.st_size == 0, "the empty one's size");
	return subject_done();
}
