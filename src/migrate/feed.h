/*
 * The destination's guardian: takes the pages, says READY, hears COMMIT, decides,
 * lets go.  See docs/PROTOCOL.md, "The handover".
 */
#ifndef GODWIT_MIGRATE_FEED_H
#define GODWIT_MIGRATE_FEED_H

#include "migrate/fill.h"
#include "migrate/journal.h"
#include "migrate/model_in.h"
#include "migrate/proto.h"
#include "restart/lazy.h"
#include "restart/restart.h"

/* What came, for the log. */
struct arrival {
	uint64_t bytes; /* of memory, zeros among them */
	uint32_t rounds;
	/* 'd': it runs; 'l': it does, and lacks pages.  Then 'c': it waits for a connection; 't':
	 * it has all; 'x': it never will; 'f': it could not be followed and was ended. */
	char how;
};

struct pager;

struct feed {
	struct wire *w;
	struct proto_reader reader;
	struct journal *journal;
	int done_fd; /* a struct arrival is written to it when the program runs */
	pid_t pid;   /* of the program's process, or of its thin parent */
	struct arrival arrival;
	int timeout_ms; /* for each step of the other side's */
	struct proto_times times;
	int64_t begun, commit_heard;
	/* The first look at the program, and which of its mapped files this host has. */
	const struct process *first;
	const bool *known;
	struct model_in model;  /* the last one, on its way */
	struct carry_in *carry; /* files that come along */
	bool files_due;         /* after the last model: they are on their way */
	uint64_t may_come;      /* bytes of pages, in this round */
	uint32_t round;         /* 0: what comes is for fresh memory */
	struct fill fill;       /* of that */
	uint8_t *frame, *unpacked;
	struct proto_pages *pages;
	struct journal_record record; /* since COMMIT was heard; we have its lock */
	bool decided;                 /* GOING is in the journal */
	/* Post-copy: the pages that come later, all of them when the last list has come. */
	struct migration_id id;
	struct lazy_ranges later;
	bool later_ended;
	struct pager *pager;
};

/* Fills *ret to call restart() with; f outlives it. */
int feed_init(struct feed *f, struct restart_feed *ret, struct err *err) __must_check;

/* restart_feed.know: as the first verdict was. */
void feed_know(void *arg, const struct process *p, bool *known);

/* restart_feed.stand_in: files that come along. */
const char *feed_stand_in(void *arg, const char *path);
/* VERDICT, of n mapped files, and of the list of those that come along. */
int feed_send_verdict(struct wire *w, const bool *known, size_t n, const struct carry_in *carry,
		      struct err *err) __must_check;

/* Writes the ranges of a frame into the process that is being built.  Refuses
 * what is not within a mapping of proc that is to be filled; NULL: all may be. */
int feed_write(const struct process *proc, const struct remote *remote, const struct fill *fill,
	       const struct proto_pages *p, struct err *err) __must_check;

#endif
