/*
 * Huge pages by MAP_HUGETLB: private ones with holes, one of which a child had in common; some
 * that are only read from now on; shared ones, of which one is in no page table; reserved by
 * nobody; and none at all.  Takes 12 pages of 2 MiB; with an argument it goes on changing some.
 */
#include <sys/wait.h>

#include "subject.h"

#define HUGE (2ul << 20)
#define FLAGS (MAP_ANONYMOUS | MAP_HUGETLB | 21 << 26)

static unsigned char *map(size_t pages, int flags)
{
	return must(mmap(NULL, pages * HUGE, PROT_READ | PROT_WRITE, FLAGS | flags, -1, 0));
}

/* Of the mapping at p, by its line in smaps. */
static bool is_huge(const void *p)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512];
	bool here = false, huge = false;

	while (f && fgets(line, sizeof(line), f)) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start <= (unsigned long)p && (unsigned long)p < end;
		if (here && strstr(line, "KernelPageSize:") && strstr(line, " 2048 kB"))
			huge = true;
	}
	if (f)
		fclose(f);
	return huge;
}

static unsigned char *changing;
static unsigned long rounds;

static void change(void)
{
	rounds++;
	for (size_t i = 0; i < HUGE; i += 4096)
		memcpy(changing + i, &rounds, sizeof(rounds));
}

int main(int argc, char **argv)
{
	subject_init(argc, argv);
	unsigned char *private = map(4, MAP_PRIVATE), *shared = map(3, MAP_SHARED);
	unsigned char *loose = map(8, MAP_PRIVATE | MAP_NORESERVE), *none = map(1, MAP_PRIVATE);
	int status;

	changing = map(1, MAP_PRIVATE);
	fill(private, HUGE, 1);
	fill(private + 3 * HUGE, HUGE, 2);
	fill(shared, HUGE, 3);
	fill(shared + 2 * HUGE, HUGE, 4);
	fill(loose + 5 * HUGE, HUGE, 5);
	must(mprotect(private + 3 * HUGE, HUGE, PROT_READ));
	/* Out of this page table, not of the object. */
	if (madvise(shared + 2 * HUGE, HUGE, MADV_DONTNEED))
		check(errno == EINVAL, "madvise: %s", strerror(errno)); /* before Linux 5.18 */
	pid_t pid = must(fork());
	if (!pid) {
		private[7] ^= 1;
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	fill(private, 4096, 6);
	subject_on_ping = change;
	change();
	subject_wait();
	change();
	check(is_filled(private, 4096, 6), "private, first page");
	fill(private, HUGE, 1);
	check(is_zero(private + HUGE, 2 * HUGE), "private, what was not written to");
	check(is_filled(private + 3 * HUGE, HUGE, 2), "private, the part to be read only");
	check(is_filled(shared, HUGE, 3), "shared, first page");
	check(is_zero(shared + HUGE, HUGE), "shared, second page");
	check(is_filled(shared + 2 * HUGE, HUGE, 4), "shared, third page");
	check(is_filled(loose + 5 * HUGE, HUGE, 5), "without a reservation");
	check(is_zero(loose, 8), "without a reservation, not written to");
	check(is_zero(none, HUGE), "not written to");
	for (size_t i = 0; i < HUGE; i += 4096)
		check(!memcmp(changing + i, &rounds, sizeof(rounds)), "changing, at %zx", i);
	check(is_huge(private) && is_huge(shared) && is_huge(loose) && is_huge(none),
	      "they are huge pages no more");
	pid = must(fork());
	if (!pid) {
		shared[0] = 77;
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	check(shared[0] == 77, "not shared any more");
	return subject_done();
}
