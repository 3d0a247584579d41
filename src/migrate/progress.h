/* How far a migration is, for the person who waits for it. */
#ifndef GODWIT_MIGRATE_PROGRESS_H
#define GODWIT_MIGRATE_PROGRESS_H

#include <stdint.h>

enum migrate_stage {
	STAGE_ROUND = 1, /* pre-copy: the program runs, its memory goes over */
	STAGE_REST,      /* it stands still, what is left goes over */
	STAGE_HANDOVER,
	STAGE_FETCH, /* post-copy: it runs over there, its memory comes after it */
};

/* What the guardian tells: guardian_listener.told. */
struct migrate_progress {
	enum migrate_stage stage;
	uint32_t round;      /* of STAGE_ROUND, from 1 */
	uint64_t done, all;  /* bytes of memory, in this stage */
	uint64_t rate;       /* bytes of memory a second, or 0: not known yet */
	uint64_t dirty_rate; /* bytes a second that the program has written, or 0 */
	uint64_t pause_ns;   /* if it were stopped when this round is over, about; or 0 */
};

/* Kept by who does the work; zeros to begin with. */
struct progress {
	int front; /* socket to the command */
	struct migrate_progress now;
	uint64_t begun_ns, last_ns; /* of the stage, and when it was told last */
};

/* A new stage begins.  dirty_rate: bytes a second, 0 if not known. */
void progress_stage(struct progress *p, enum migrate_stage stage, uint64_t all,
		    uint64_t dirty_rate);
/* Cheap to call often: told ten times a second. */
void progress_done(struct progress *p, uint64_t done);

#endif
