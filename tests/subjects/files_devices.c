/* Devices without state of their own. */
#include "subject.h"

int main(int argc, char **argv)
{
	char buf[100] = "x";

	subject_init(argc, argv);
	int null = must(open("/dev/null", O_RDWR | O_CLOEXEC));
	int zero = must(open("/dev/zero", O_RDONLY));
	int full = must(open("/dev/full", O_WRONLY));
	int random = must(open("/dev/urandom", O_RDONLY | O_NONBLOCK));
	char *z = must(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0));
	strcpy(z, "written");
	subject_wait();

	check(write(null, "x", 1) == 1 && read(null, buf, 1) == 0, "/dev/null");
	check(fcntl(null, F_GETFD) & FD_CLOEXEC, "/dev/null: close-on-exec is lost");
	check(read(zero, buf, 10) == 10 && is_zero(buf, 10), "/dev/zero");
	check(write(full, "x", 1) < 0 && errno == ENOSPC, "/dev/full");
	check(read(random, buf, 10) == 10 && (fcntl(random, F_GETFL) & O_NONBLOCK), "/dev/urandom");
	check(!strcmp(z, "written") && is_zero(z + 4096, 4096), "a mapping of /dev/zero");
	return subject_done();
}
