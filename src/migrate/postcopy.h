/*
 * Post-copy: the program goes on over there at once, and most of its pages come later.
 * docs/PROTOCOL.md, section 6, is normative.
 *
 * On the source the stopped copy is the store of its pages (store.c), whether the
 * guardian has it or, later, who settles.  On the destination the guardian becomes the
 * pager (pager.c), with a keeper beside it that goes on if it is killed.
 */
#ifndef GODWIT_MIGRATE_POSTCOPY_H
#define GODWIT_MIGRATE_POSTCOPY_H

#include "migrate/feed.h"
#include "migrate/source.h"
#include "restart/lazy.h"

/* --- frames LATER and WANT: proto_later.c --- */

#define PROTO_LATER_PIECE 65536u            /* ranges in one frame */
#define PROTO_LATER_MAX (UINT64_C(1) << 24) /* in all of them */
#define PROTO_LATER_FRAME (8u + 16u * PROTO_LATER_PIECE)

int proto_send_ranges(struct wire *w, uint32_t type, const struct lazy_ranges *r,
		      struct err *err) __must_check;
/* Appends those of a frame.  1: it is the last.  -EPROTO for what is not sorted,
 * disjoint, in whole pages and of a program. */
int proto_take_ranges(const void *frame, size_t len, struct lazy_ranges *r,
		      struct err *err) __must_check;

/* --- the source --- */

/* postcopy_source.c, in the command: may this program have its pages later, over there?  Why
 * not, or "". */
int postcopy_ask(struct wire *w, pid_t program, char *why, size_t cap,
		 struct err *err) __must_check;
/* later.c: which pages come later, and tells them. */
int source_choose_later(struct source *s, struct err *err) __must_check;
uint64_t later_bytes(const struct lazy_ranges *later);
/* Of [at, end): the first part that comes later; at its end if there is none. */
struct lazy_range later_next(const struct lazy_ranges *later, uint64_t at, uint64_t end);
/* postcopy_source.c: from DONE, or the answer that it lacks pages (s->w is closed), until all
 * are there: 0.  -EINPROGRESS: given up, for others to go on; -ENODATA: the copy here is gone. */
int source_serve_pages(struct source *s, struct err *err) __must_check;
/* The same in words: the connection is cut, and so many pages (0: unknown) are here. */
/* And: the copy here, which had them, was ended. */
int source_lost(const char *to, pid_t pid, struct err *err);
int source_still_lends(const char *to, pid_t pid, uint64_t pages, struct err *err);

/* What a store has done. */
struct store_stats {
	uint64_t asked, pushed; /* pages: because somebody waited, and all others */
	uint64_t all;           /* pages that were wanted when it began */
	uint64_t sent_bytes;
};

enum store_end {
	STORE_ALL = 1,  /* nothing is missing over there any more */
	STORE_LOST = 2, /* the copy here is gone, and was told to be */
};

/*
 * store.c: serves the pages of the process pid, which stands still, on a wire
 * where the other side is about to say what it wants.  An enum store_end, or why the
 * conversation ended.  progress() may be NULL; its done is 0 once, in the beginning.
 */
int store_serve(struct wire *w, pid_t pid, int timeout_ms, struct store_stats *stats,
		void (*progress)(void *arg, uint64_t done, uint64_t all), void *arg,
		struct err *err) __must_check;

/* --- the destination --- */

/* pager.c.  Before READY: takes what comes later, and makes the keeper. */
int pager_begin(struct feed *f, const struct process *p, struct remote *remote,
		struct err *err) __must_check;
/* The program has been let go: until it has all its pages. */
void pager_run(struct feed *f);
/* It was not: nothing of ours is left. */
void pager_drop(struct feed *f);
/* The next step lets it go: from now on the keeper goes on in our place. */
void pager_going(struct feed *f);

/* postcopy_target.c: answers ASK_LATER. */
int postcopy_answer(struct wire *w, const void *frame, size_t len, struct err *err) __must_check;
/* Answers PURPOSE_PAGES: what became of it; and where pages are missing, carries
 * frames between the wire and the pager. */
int postcopy_carry(struct wire *w, const struct migration_id *id, int timeout_ms,
		   struct err *err) __must_check;
/* The pager's doors, for this host alone: a listening socket, and a connection to it.  `what`:
 * "pages", where they come in; "lacks", where it says what is missing (lacks.h). */
int postcopy_door(const struct migration_id *id, const char *what, bool listens);
/* Is it one of ours that has connected? */
bool postcopy_is_ours(int fd);

#endif
