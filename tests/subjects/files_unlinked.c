/*
 * A file that was deleted while open, also one that is mapped; kept, or refused.
 * test: doors=attach refuse=ok
 */
#include "subject.h"

int main(int argc, char **argv)
{
	char buf[9000];

	subject_init(argc, argv);
	int fd = must(open("doomed", O_CREAT | O_TRUNC | O_RDWR, 0600));
	fill(buf, sizeof(buf), 1);
	must(write(fd, buf, sizeof(buf)));
	char *p = must(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	p[100] ^= 1;
	must(unlink("doomed"));
	must(lseek(fd, 777, SEEK_SET));
	subject_wait();

	char now[9000];
	check(lseek(fd, 0, SEEK_CUR) == 777, "offset differs");
	check(pread(fd, now, sizeof(now), 0) == sizeof(now) && !memcmp(buf, now, sizeof(now)),
	      "content differs");
	buf[100] ^= 1;
	check(!memcmp(buf, p, 8192), "mapped content differs");
	return subject_done();
}
