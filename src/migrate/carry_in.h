/*
 * The destination's half of --copy-files: which files this host lacks, and how they come
 * to be.  Each is filled under a name of its own beside its place, and gets its name at the
 * commit point; until then a failure, or the death of the guardian, leaves nothing of it.
 * Nothing that is there already is ever written to.
 */
#ifndef GODWIT_MIGRATE_CARRY_IN_H
#define GODWIT_MIGRATE_CARRY_IN_H

#include "migrate/carry.h"
#include "state/process.h"

struct carry_in_file {
	bool seen;     /* of an earlier list: judged */
	bool lacks;    /* it comes by the wire */
	bool compare;  /* a file of that name and size is there: is it the same? */
	bool same;     /* it is */
	int fd;        /* to write to; -1 */
	uint64_t next; /* where the next piece may begin, until a new round does */
	char *temp;    /* its name until the commit point; NULL: not made (yet) */
};

struct carry_in {
	bool is_used; /* the source takes files along */
	struct migration_id id;
	struct carry_list list;
	struct carry_in_file *file; /* [i] belongs to list.v[i] */
	unsigned made;              /* files, for their names */
	uint8_t *unpacked;
	int log; /* what was made, for whoever has to take it away: shared by fork */
};

int carry_in_init(struct carry_in *c, const struct migration_id *id, struct err *err) __must_check;
/* The memory and the descriptors; nothing on the disk. */
void carry_in_done(struct carry_in *c);
void carry_in_close(struct carry_in *c);

/*
 * A list came (frame CARRY), the first or a later one, for the program p.  Decides of each
 * file that was not in an earlier list whether this host lacks it; *ret_new: there were such.
 * Refuses what is another file here, what could not be made, and what the disk has no room
 * for.  Touches nothing.
 */
int carry_in_list(struct carry_in *c, const void *frame, size_t len, struct err *err) __must_check;
int carry_in_judge(struct carry_in *c, const struct process *p, bool *ret_new,
		   struct err *err) __must_check;
/* Makes folders, and the files that come, empty.  As their owner. */
int carry_in_prepare(struct carry_in *c, struct err *err) __must_check;
/* A round begins, in which each block of a file may come once more. */
void carry_in_from_start(struct carry_in *c);
/* A piece of a file (frame FILE). */
int carry_in_take(struct carry_in *c, const void *frame, size_t len, struct err *err) __must_check;
/* All of a list is there.  is_last: they get their sizes and times, and what was there
 * before is compared. */
int carry_in_end(struct carry_in *c, bool is_last, struct err *err) __must_check;
/* The name by which to open what has this name at the program; NULL: its own.  What
 * comes is fit by definition, and need not be looked at. */
const char *carry_in_stand_in(const struct carry_in *c, const char *path);

/* Gives the files their names: the last step before the commit point. */
int carry_in_place(struct carry_in *c, struct err *err) __must_check;
/* They stay: nothing is taken away any more. */
void carry_in_keep(struct carry_in *c);
/* Takes away whatever was made, and not kept; in any process, any number of times. */
void carry_in_undo(struct carry_in *c);

#endif
