/*
 * A program that holds one object that cannot be saved:   refuse CTL KIND
 *
 * Prints `fd N` where the object has a descriptor.  After the refused checkpoint
 * it must go on as if nothing had been.  `refuse CTL list` prints all kinds.
 */
#ifndef REFUSING_H
#define REFUSING_H

#include "subject.h"

struct refused_kind {
	const char *name;
	int (*make)(void); /* the descriptor, -2: none, -1: not possible here */
};

/* Has this kernel not got it, or may nobody have it here?  errno. */
static inline bool refusing_lacks(void)
{
	return errno == ENOSYS || errno == ENODEV || errno == ENXIO || errno == EAFNOSUPPORT ||
	       errno == EPROTONOSUPPORT || errno == ESOCKTNOSUPPORT || errno == ENOENT;
}

static inline int refusing(int argc, char **argv, const struct refused_kind *kinds, size_t n,
			   void (*at_the_end)(void))
{
	subject_init(argc, argv);
	for (size_t i = 0; i < n; i++) {
		if (argc > 2 && !strcmp(argv[2], "list"))
			puts(kinds[i].name);
		if (argc < 3 || strcmp(argv[2], kinds[i].name))
			continue;
		int fd = kinds[i].make();
		if (fd == -1) {
			printf("%s here: %s\n", refusing_lacks() ? "absent" : "impossible",
			       strerror(errno));
			return 77;
		}
		if (fd >= 0) {
			printf("fd %d\n", fd);
			fflush(stdout);
		}
		subject_wait();
		if (at_the_end)
			at_the_end();
		check(fd < 0 || fcntl(fd, F_GETFD) >= 0, "the descriptor is gone");
		return subject_done();
	}
	return 0;
}

#endif
