/*
 * An open file of /proc; kept, or refused.
 * test: doors=attach refuse=ok
 */
#include "subject.h"

int main(int argc, char **argv)
{
	char buf[100], want[100];

	subject_init(argc, argv);
	int proc = must(open("/proc/cpuinfo", O_RDONLY));
	must(read(proc, buf, 10));
	must(pread(proc, want, 50, 10));
	subject_wait();

	check(read(proc, buf, 50) > 10 && !memcmp(buf, want, 10), "/proc/cpuinfo: offset");
	return subject_done();
}
