/* Shared by the steps of a migration, on the source. */
#ifndef GODWIT_MIGRATE_SOURCE_H
#define GODWIT_MIGRATE_SOURCE_H

#include "checkpoint/internal.h"
#include "migrate/carry_out.h"
#include "migrate/journal.h"
#include "migrate/late.h"
#include "migrate/migrate.h"
#include "migrate/progress.h"
#include "migrate/sender.h"
#include "restart/lazy.h"

/* Everything of one migration.  Lives in the guardian. */
struct source {
	const struct migrate_options *o;
	struct peer_link *link; /* greeted by the command */
	struct wire *w;         /* &link->w */
	struct migration_id id;
	const struct proto_welcome *there; /* the destination, as it says */
	struct job job;
	struct checkpoint_options job_options;
	struct proto_reader reader;
	struct journal journal;
	struct sender sender;
	bool *known; /* per mapped file of known_of: the destination has it */
	/* Pre-copy: the first look at the program, to which the destination said what it
	 * has; NULL while that is the job itself. */
	struct job *early;
	struct track *track;    /* NULL: nothing is tracked */
	int memfd;              /* /proc/PID/mem, while it runs; -1 */
	bool *unchanged;        /* per run of the job: the destination has it as it is */
	struct carry_out carry; /* --copy-files */
	bool carry_asks;        /* something new is in its list: a verdict comes */
	struct late late;       /* signals that came since the last look */
	bool held;              /* in a group stop */
	int64_t commit_ns;      /* when COMMIT was sent */
	int64_t done_ns;        /* when the answer came that it runs over there */
	int64_t begun_ns;       /* of all of it */
	int64_t looked_ns;      /* post-copy: for late signals */
	struct progress progress;
	struct peer_link again;   /* post-copy: when the first connection is no more */
	struct lazy_ranges later; /* post-copy: pages that come after the handover */
	struct migrate_result *result;
};

/* model.c: so many bytes of memory more are on their way.  Counts them for who waits;
 * -ECANCELED if that one has had enough. */
int source_sent(struct source *s, uint64_t bytes, struct err *err) __must_check;

/* precopy.c: sends memory while the program runs, until the rest is small. */
int source_begin_tracking(struct source *s, struct err *err) __must_check;
int source_let_run(struct source *s, struct err *err) __must_check;
int source_send_rounds(struct source *s, struct err *err) __must_check;
/* The last look: the program is stopped for good, and only what it wrote is left. */
int source_look_again(struct source *s, struct err *err) __must_check;
int source_mark_unchanged(struct source *s, struct err *err) __must_check;
void source_end_tracking(struct source *s);

/* model.c: the same in two: made while it is stopped, sent while it runs. */
int source_make_model(struct source *s, struct err *err) __must_check;
int source_send_made_model(struct source *s, struct err *err) __must_check;
/* The state of the stopped program, without its pages, to the destination,
 * and what it says to it. */
int source_send_model(struct source *s, struct err *err) __must_check;
int source_hear_verdict(struct source *s, struct err *err) __must_check;
/* The same, of files to be taken along alone. */
int source_hear_files(struct source *s, struct err *err) __must_check;
/* source_carry.c, --copy-files: after the first verdict; what has changed after the
 * rounds, while it still runs; and after the last model, when it stands still. */
int source_send_carry_list(struct source *s, struct err *err) __must_check;
int source_carry(struct source *s, struct err *err) __must_check;
int source_carry_on(struct source *s, struct err *err) __must_check;
int source_carry_last(struct source *s, struct err *err) __must_check;
/* cpu.c: refuses one whose code needs what the destination's CPU lacks. */
int source_check_code(struct source *s, struct err *err) __must_check;
/* The pages of the stopped program that the destination lacks. */
int source_send_pages(struct source *s, struct err *err) __must_check;
/*
 * source_locks.c: locks for writing, which the program must have given up here before it takes
 * them there.  Can it be done, and what it has written to the files must be seen there; then, in
 * a group stop, it is done; and undone.
 */
/* Also counts them, for the report. */
int source_check_locks(struct source *s, struct err *err) __must_check;
int source_sync_locked(struct source *s, struct err *err) __must_check;
int source_give_locks_up(struct source *s, struct err *err) __must_check;
void source_take_locks_back(struct source *s);
/* handover.c: from READY to the end, one way or the other. */
int source_hear_ready(struct source *s, struct err *err) __must_check;
int source_hand_over(struct source *s, struct err *err) __must_check;

#endif
