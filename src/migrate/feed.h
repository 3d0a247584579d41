/*
 * The destination's guardian: takes the pages, says READY, hears COMMIT, decides,
 * lets go.  See docs/PROTOCOL.md, "The handover".
 */
#ifndef GODWIT_MIGRATE_FEED_H
#define GODWIT_MIGRATE_FEED_H

#include "migrate/journal.h"
#include "migrate/proto.h"
#include "restart/restart.h"

struct feed {
	struct wire *w;
	struct proto_reader reader;
	struct journal *journal;
	int done_fd;    /* a byte is written to it when the program runs */
	int timeout_ms; /* for each step of the other side's */
	struct proto_times times;
	int64_t begun;
	uint8_t *frame, *unpacked;
	struct proto_pages *pages;
	struct journal_record record; /* since COMMIT was heard; we have its lock */
	bool decided;                 /* GOING is in the journal */
};

/* Fills *ret to call restart() with; f outlives it. */
int feed_init(struct feed *f, struct restart_feed *ret, struct err *err) __must_check;

/* Writes the ranges of a frame into the process that is being built.  Refuses
 * what is not within a mapping that is to be filled. */
int feed_write(const struct restore *r, const struct remote *remote, const struct proto_pages *p,
	       struct err *err) __must_check;

#endif
