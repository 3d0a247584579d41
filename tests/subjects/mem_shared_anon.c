/* Shared anonymous memory, and the same object mapped a second time. */
#include "subject.h"

#define N (1 << 20)

int main(int argc, char **argv)
{
	subject_init(argc, argv);
	char *one = must(mmap(NULL, N, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	fill(one, N / 2, 5);
	/* old_size 0: a second mapping of the same pages. */
	char *two = must(mremap(one, 0, N, MREMAP_MAYMOVE));
	char *other =
		must(mmap(NULL, N, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	fill(other, N, 6);
	char *readonly = must(mremap(other, 0, N, MREMAP_MAYMOVE));
	must(mprotect(readonly, N, PROT_READ));
	char *part = must(mremap(one + N / 4, 0, N / 4, MREMAP_MAYMOVE));
	subject_wait();

	check(is_filled(one, N / 2, 5) && is_zero(one + N / 2, N / 2), "the content differs");
	check(is_filled(two, N / 2, 5), "the second mapping's content differs");
	check(is_filled(other, N, 6) && is_filled(readonly, N, 6), "another object differs");
	one[12345] ^= 0x55;
	check(two[12345] == one[12345], "two mappings of one object are two objects now");
	two[N - 1] = 9;
	check(one[N - 1] == 9, "two mappings of one object are two objects now (2)");
	other[7] ^= 1;
	check(readonly[7] == other[7], "the read-only view does not follow");
	one[N / 4 + 5] ^= 3;
	check(part[5] == one[N / 4 + 5], "the view of a part does not follow");
	/* A child shares it: it is shared memory still. */
	pid_t pid = must(fork());
	if (!pid) {
		one[100] = 42;
		_exit(0);
	}
	int status;
	while (syscall(SYS_wait4, pid, &status, 0, NULL) < 0 && errno == EINTR)
		;
	check(one[100] == 42, "a child does not share the memory");
	return subject_done();
}
