/* What became of a migration: the destination's answer, and the source's question. */
#ifndef GODWIT_MIGRATE_OUTCOME_H
#define GODWIT_MIGRATE_OUTCOME_H

#include "migrate/journal.h"
#include "migrate/proto.h"

/*
 * Decides, if nobody has yet: a migration that is not over the commit point when
 * its outcome is asked for, never will be.
 */
enum proto_outcome outcome_decide(const struct migration_id *id, struct err *err);
/* Destination: answers on the wire. */
int outcome_tell(struct wire *w, const struct migration_id *id, struct err *err) __must_check;
/* Source: asks, on a fresh connection, with PURPOSE_SETTLE or PURPOSE_PAGES.  An enum
 * proto_outcome, or a negative errno. */
int outcome_ask(struct wire *w, uint32_t purpose, const struct migration_id *id,
		struct err *err) __must_check;

#endif
