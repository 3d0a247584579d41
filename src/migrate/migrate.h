/*
 * Migration: a running program goes on on another host.
 *
 * The source's half, in a guardian.  Exactly one copy runs: docs/PROTOCOL.md says how,
 * and what happens when somebody vanishes at any step.
 */
#ifndef GODWIT_MIGRATE_MIGRATE_H
#define GODWIT_MIGRATE_MIGRATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/guardian.h"
#include "migrate/peer.h"

enum migrate_mode { MODE_TOTAL, MODE_PRECOPY, MODE_POSTCOPY };

struct migrate_options {
	pid_t pid;
	struct peer peer;
	enum migrate_mode mode;
	bool ask_only;     /* can it be done?  Nothing is moved */
	bool explain;      /* with ask_only: what would be done, step by step */
	bool follow;       /* stay, and carry the program's standard input and output */
	bool copy_files;   /* take open files along */
	uint64_t copy_max; /* of them, bytes */
	int timeout_ms;    /* for each step of the other side's */
	int max_pause_ms;  /* wanted, of pre-copy */
};

#define MIGRATE_ROUNDS_MAX 32

/* One round of pre-copy.  What the program wrote between the begin of the round before and
 * that of this one is what this one sends. */
struct migrate_round {
	uint64_t pages;      /* sent, with those that are zeros */
	uint64_t sent_bytes; /* by the wire */
	uint64_t begun;      /* ns since the migration began */
	uint64_t ns;
};

enum migrate_outcome {
	MIGRATE_MOVED = 1,
	MIGRATE_ASKED, /* it could be done */
	MIGRATE_DOUBT, /* nobody knows: the source's copy stands still */
};

struct migrate_result {
	enum migrate_outcome outcome;
	uint32_t nthreads;
	uint32_t nlocks;  /* for writing, on files */
	char program[32]; /* its name, as the kernel has it */
	/* Phases, ns; of the destination's as it measured them. */
	uint64_t bulk, suspension, checkpoint, transfer, mapping, building, handover, total;
	/* As the program saw it: in the middle of what is known for sure. */
	uint64_t downtime, downtime_min, downtime_max;
	uint64_t memory_bytes; /* of the program, that have to be there */
	uint64_t sent_bytes, pages, zero_pages, known_bytes;
	uint64_t files, files_bytes; /* taken along; what was read of them to be sent */
	uint64_t files_last_bytes;   /* of those, while the program stood still */
	uint32_t nrounds;
	struct migrate_round rounds[MIGRATE_ROUNDS_MAX];
	/* What was sent while the program stood still: as a round, from the stop to where it
	 * goes on. */
	struct migrate_round rest;
	enum migrate_mode mode; /* that it came to */
	/* Pages that were packed: bytes before and after. */
	uint64_t packed_from, packed_to;
	/* Post-copy: pages that somebody waited for, and all others that came after the
	 * handover; and the time that took, ns. */
	uint64_t asked_pages, pushed_pages, later;
	char why_total[256]; /* pre-copy was wanted and is not possible: why; or "" */
	pid_t pid;           /* over there, 0: not known */
	bool cpu_differs;    /* it lacks what this one has, and nothing that the program uses */
	char host[64], tool[32], kernel[64]; /* of the destination */
	uint64_t free_memory, needed_bytes;  /* there, and of it for the program */
	int status; /* with follow: how the program ended, as waitpid(2) says it */
};

/* The name of step i of a migration; NULL after the last. */
const char *migrate_step_name(enum migrate_mode mode, size_t i);

/*
 * Moves a program.  moved() is called, if it is not NULL, before the program's
 * output is followed.  0 and *ret; or a negative errno, and the program goes on here;
 * or -EINPROGRESS with exit 6: in doubt, settled later.  SIGINT, SIGTERM and SIGHUP call
 * it off before the commit point.
 */
int migrate(const struct migrate_options *o, const struct guardian_listener *listener,
	    void (*moved)(void *arg, const struct migrate_result *r), void *arg,
	    struct migrate_result *ret, struct err *err) __must_check;

#endif
