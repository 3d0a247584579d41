/* Migrations whose outcome the source does not know: see docs/PROTOCOL.md. */
#ifndef GODWIT_MIGRATE_SETTLE_H
#define GODWIT_MIGRATE_SETTLE_H

#include "migrate/journal.h"
#include "migrate/peer.h"

enum settle_result {
	SETTLED_TAKEN,   /* it goes on over there; ours is gone */
	SETTLED_RESUMED, /* it goes on here */
	SETTLED_SAVED,   /* it goes on nowhere: our process is gone, its image is there */
	SETTLE_LATER,    /* nobody answers, or not decided */
	SETTLE_LACKS,    /* it goes on over there, and lacks pages that are here */
	SETTLED_LOST,    /* the same, and they are gone: it can never go on */
	SETTLE_ASK,      /* a person has to decide: --resume or --drop */
};

enum settle_order { ORDER_ASK, ORDER_RESUME, ORDER_DROP };

/* The peer of a record; the strings stay the record's. */
void settle_peer(const struct journal_record *r, struct peer *ret);

/* Asks for one, and does what follows from the answer.  r is filled with the record
 * that there was.  -ENOENT when there is none (any more). */
int settle_one(const struct migration_id *id, enum settle_order order, int timeout_ms,
	       enum settle_result *ret, struct journal_record *r, struct err *err) __must_check;

/* Leaves a process behind that asks again and again, a day long. */
void settle_in_background(const struct migration_id *id);

#endif
