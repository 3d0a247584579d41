/*
 * Memory that comes later: the program runs, and pages of it are still to come.
 *
 * Its mappings are registered on a userfaultfd that the program was made to open and that
 * was taken out of it before it could see it.  Whoever touches a page that is
 * missing, also the kernel on behalf of a system call, waits until the page is put.
 *
 * A page is known by its number among the pages that were missing in the beginning, and
 * so by the address that it had there.  The program goes on moving, unmapping and dropping its
 * memory, and forks: an area says where the pages that began at `was` are now, and
 * each address space (a space: the program's, and those of its children) has its own areas
 * and its own list of what has come.
 *
 * All of that is in memory that is shared with a keeper (a process that holds the same
 * descriptors): where we are killed, it goes on with it, at any instruction:
 * - a message of the kernel's is read to the shared memory, and erased there when all is
 *   done that follows from it; doing it twice does no harm;
 * - areas are changed in a copy, which then takes the place of the others in one store.
 */
#ifndef GODWIT_RESTART_LAZY_H
#define GODWIT_RESTART_LAZY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "remote/remote.h"
#include "state/process.h"

#define LAZY_SPACES 512
#define LAZY_DEFERRED 64

struct lazy_range {
	uint64_t start, end; /* page-aligned, [start, end) */
};

/* Sorted and disjoint.  Zero-initialised is empty. */
struct lazy_ranges {
	struct lazy_range *v;
	size_t n, cap;
};

int lazy_ranges_add(struct lazy_ranges *r, uint64_t start, uint64_t end,
		    struct err *err) __must_check;
void lazy_ranges_done(struct lazy_ranges *r);

/* How far the process is of which this is the memory. */
enum lazy_phase {
	LAZY_BUILT = 0, /* it stands still, and dies with its guardian */
	LAZY_GOING = 1, /* it is being let go, or runs */
	LAZY_FULL = 2,  /* nothing is missing any more */
};

struct lazy_shared;

struct lazy {
	struct lazy_shared *shared;
	/* Of this process, that is not shared: the descriptors, -1: none; an epoll of them; and
	 * faults whose answer the kernel does not take yet. */
	int uffd[LAZY_SPACES];
	int epoll;
	struct lazy_fault {
		unsigned space;
		uint64_t at;
	} deferred[LAZY_DEFERRED];
	size_t ndeferred;
	/* A page is needed now; its address of the beginning. */
	void (*ask)(void *arg, uint64_t was);
	/* A child's userfaultfd has come: whoever keeps ours shall have it. */
	void (*share)(void *arg, unsigned space, int uffd);
	void *arg;
};

/*
 * Would memory that comes later be safe for a program of this user?  Else why not, in
 * err: the fault of a system call must wait, too, and a child must have such memory as well.
 */
int lazy_probe(struct err *err) __must_check;

/*
 * For a program that is built and still stopped: its anonymous pages of `later` are
 * missing from now on.  -EBADMSG for what is no such memory, or is there already.
 */
int lazy_open(struct lazy *l, const struct process *p, struct remote *remote,
	      const struct lazy_ranges *later, struct err *err) __must_check;
/* Closes our descriptors: when nobody has them any more the program is rid of all of it. */
void lazy_close(struct lazy *l);

enum lazy_phase lazy_phase(const struct lazy *l);
void lazy_set_phase(struct lazy *l, enum lazy_phase phase);

/* After another process has died that had all of this: an epoll of our own, its
 * unfinished message, and all that wait wake and tell again what they wait for. */
int lazy_take_over(struct lazy *l, struct err *err) __must_check;
/* The keeper's part of share(): takes a descriptor for the space, which is closed before. */
void lazy_keep(struct lazy *l, unsigned space, int uffd);
void lazy_wake_all(struct lazy *l);

/* Pages that are missing, in all spaces together: each counts once. */
uint64_t lazy_missing(const struct lazy *l);
/* Pages that were missing in the beginning. */
uint64_t lazy_pages(const struct lazy *l);
/* Calls fn for each range of them, ascending, until it fails. */
int lazy_each_missing(const struct lazy *l, int (*fn)(void *arg, uint64_t start, uint64_t end),
		      void *arg);

/* Does what the kernel has to say: faults, and changes of the address spaces.  Never waits;
 * l->epoll is readable when there is something. */
void lazy_serve(struct lazy *l);
/* It has to be called again soon, even if nothing is readable. */
bool lazy_is_busy(const struct lazy *l);
/* Why the program cannot be helped any more, or NULL. */
const char *lazy_failed(const struct lazy *l);
/* Finds out which spaces have ended. */
void lazy_look(struct lazy *l);

/*
 * Pages have come that began at `was`: len bytes at data, or zeros (NULL).  What is not
 * missing any more stays as it is.  May wait for the program's own calls to end.
 */
int lazy_put(struct lazy *l, uint64_t was, const uint8_t *data, uint64_t len,
	     struct err *err) __must_check;

#endif
