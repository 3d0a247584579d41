/*
 * What an incremental checkpoint stands on: the image before it, as the keeper
 * (track/keeper.h) remembers it.
 */
#ifndef GODWIT_CHECKPOINT_LINEAGE_H
#define GODWIT_CHECKPOINT_LINEAGE_H

#include "checkpoint/internal.h"
#include "track/track.h"

struct lineage {
	struct image *parent;     /* NULL: there is none, the image is complete */
	struct process *proc;     /* its model */
	struct kept_parent *kept; /* what the keeper knows */
	int sock;                 /* to the keeper; -1: there is none */
};

/*
 * Finds the keeper and the image that it knows of.  Where there is none, or the
 * image is not what it was, the lineage is empty, and a notice says that the new image
 * will be complete.  -EEXIST: j->o->image is one of the images that the new one
 * would stand on.
 */
int lineage_open(struct job *j, struct lineage *l, struct track **ret_track,
		 struct err *err) __must_check;
/* Frees; the keeper ends, unless lineage_keep was called.  For an empty one as well. */
void lineage_done(struct lineage *l);

/* Does the parent have the memory at addr?  Cuts *len to what it has in one. */
bool lineage_has(const struct lineage *l, uint64_t addr, uint64_t *len);
/* The same for a clean run of p, which must be of the same file.  Where it has not,
 * *len is as much as can be said at once. */
bool lineage_has_clean(const struct lineage *l, const struct process *p, const struct run *r,
		       uint64_t addr, uint64_t *len);
/* Writes down in the model, and in the image, what it stands on. */
int lineage_tell(struct job *j, struct lineage *l, struct err *err) __must_check;
/* Hands the tracking to the keeper: the image just written is the next one's parent.
 * Failures are notices. */
void lineage_keep(struct job *j, struct lineage *l, struct track *t);

#endif
