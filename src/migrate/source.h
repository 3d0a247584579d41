/* Shared by the steps of a migration, on the source. */
#ifndef GODWIT_MIGRATE_SOURCE_H
#define GODWIT_MIGRATE_SOURCE_H

#include "checkpoint/internal.h"
#include "migrate/journal.h"
#include "migrate/migrate.h"
#include "migrate/sender.h"

/* Everything of one migration.  Lives in the guardian. */
struct source {
	const struct migrate_options *o;
	struct peer_link *link; /* greeted by the command */
	struct wire *w;         /* &link->w */
	struct migration_id id;
	struct job job;
	struct checkpoint_options job_options;
	struct proto_reader reader;
	struct journal journal;
	struct sender sender;
	bool *known; /* per mapped file: the destination has it */
	bool held;   /* in a group stop */
	struct migrate_result *result;
};

/* model.c: the state of the stopped program, without its pages, to the destination,
 * and what it says to it. */
int source_send_model(struct source *s, struct err *err) __must_check;
int source_hear_verdict(struct source *s, struct err *err) __must_check;
/* The pages of the stopped program that the destination lacks. */
int source_send_pages(struct source *s, struct err *err) __must_check;
/* handover.c: from READY to the end, one way or the other. */
int source_hear_ready(struct source *s, struct err *err) __must_check;
int source_hand_over(struct source *s, struct err *err) __must_check;

#endif
