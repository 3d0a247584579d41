/*
 * The heap by brk: content kept, the break where it was, growing in place.
 * test: build=static,nopie
 */
#include "subject.h"

int main(int argc, char **argv)
{
	const size_t n = 700001;

	subject_init(argc, argv);
	char *start = must(sbrk(n));
	fill(start, n, 9);
	void *end = sbrk(0);
	subject_wait();

	check(sbrk(0) == end, "the break is at %p, it was at %p", sbrk(0), end);
	check(is_filled(start, n, 9), "the heap's content differs");
	char *more = sbrk(1 << 20);
	check(more == end, "the heap does not go on growing at its old end: %p, not %p", more, end);
	if (more != (void *)-1) {
		check(is_zero(more, 1 << 20), "new heap memory is not zero");
		fill(more, 1 << 20, 10);
		check(is_filled(start, n, 9), "the old heap changes when it grows");
	}
	check(brk(end) == 0, "the heap cannot shrink");
	void *p = malloc(64);
	check(p != NULL, "malloc fails");
	free(p);
	return subject_done();
}
