/*
 * Private anonymous memory of every protection, with holes, and the data and bss
 * of the program.
 * test: build=static,nopie
 */
#include "subject.h"

#define PG 4096
#define PAGES 64

static char data_page[PG] = "initialised";
static char bss[3 * PG];
static const char rodata[] = "read-only data";

static char *map_with(int prot, int seed)
{
	char *p = must(
		mmap(NULL, PAGES * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	/* Every second page is never touched. */
	for (int i = 0; i < PAGES; i += 2)
		fill(p + i * PG, PG, seed + i);
	must(mprotect(p, PAGES * PG, prot));
	return p;
}

static void verify(const char *what, char *p, int seed)
{
	for (int i = 0; i < PAGES; i++) {
		if (i % 2 == 0)
			check(is_filled(p + i * PG, PG, seed + i), "%s: page %d differs", what, i);
		else
			check(is_zero(p + i * PG, PG), "%s: hole %d is not zero", what, i);
	}
}

static bool faults(char *p, bool writing)
{
	/* The kernel's own access tells without a signal handler. */
	int fds[2], r;

	must(pipe(fds));
	if (writing) {
		must(write(fds[1], "x", 1));
		r = read(fds[0], p, 1);
	} else {
		r = write(fds[1], p, 1);
	}
	close(fds[0]);
	close(fds[1]);
	return r < 0 && errno == EFAULT;
}

int main(int argc, char **argv)
{
	static const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3}; /* mov eax,42; ret */

	subject_init(argc, argv);
	char *rw = map_with(PROT_READ | PROT_WRITE, 1);
	char *ro = map_with(PROT_READ, 2);
	char *none = map_with(PROT_NONE, 3);
	char *x = must(mmap(NULL, PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	char *heap = malloc(300000);
	char *untouched = must(
		mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	memcpy(x, code, sizeof(code));
	must(mprotect(x, PG, PROT_READ | PROT_EXEC));
	fill(heap, 300000, 4);
	fill(bss + PG, PG, 5);
	data_page[100] = 7;
	subject_wait();

	verify("read-write", rw, 1);
	verify("read-only", ro, 2);
	check(faults(ro, true), "a read-only mapping can be written");
	check(faults(none, false), "a PROT_NONE mapping can be read");
	must(mprotect(none, PAGES * PG, PROT_READ));
	verify("PROT_NONE", none, 3);
	check(faults(x, true), "an executable mapping can be written");
	check(((int (*)(void))x)() == 42, "machine code in anonymous memory differs");
	check(is_filled(heap, 300000, 4), "malloc'ed memory differs");
	check(is_zero(bss, PG) && is_filled(bss + PG, PG, 5) && is_zero(bss + 2 * PG, PG),
	      "bss differs");
	check(strcmp(data_page, "initialised") == 0 && data_page[100] == 7, "data differs");
	check(strcmp(rodata, "read-only data") == 0, "read-only data differs");
	check(is_zero(untouched, 1 << 20), "an untouched mapping is not zero");
	/* An allocator expects zeros after MADV_DONTNEED. */
	must(madvise(rw, PAGES * PG, MADV_DONTNEED));
	check(is_zero(rw, PAGES * PG), "MADV_DONTNEED brings something else than zeros");
	must(munmap(rw, PAGES * PG));
	free(heap);
	return subject_done();
}
