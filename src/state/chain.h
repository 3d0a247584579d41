/*
 * An image and those below it: an incremental image, its parent, and so on down to
 * one that is complete.
 */
#ifndef GODWIT_STATE_CHAIN_H
#define GODWIT_STATE_CHAIN_H

#include "image/image.h"
#include "state/process.h"

/* Images below one; more are refused. */
#define CHAIN_MAX 100u

struct chain_link {
	struct image *img;
	struct process *proc;
};

/* [0] is the image itself, and its caller's; the others are the chain's. */
struct chain {
	struct chain_link *v;
	size_t n, cap;
};

/*
 * Opens what is below img, whose model is p: each parent is looked for beside its
 * child, then where it was when the child was made.  Refuses (exit 5), by name,
 * one that is missing, and one that is not the image it was; and runs that are
 * nowhere.
 */
int chain_open(struct image *img, struct process *p, struct chain *ret,
	       struct err *err) __must_check;
/* Accepts a zeroed one. */
void chain_done(struct chain *c);

/* What an image stands on: 0, and a zeroed *ret where that is nothing.  Reads that note alone. */
int parent_read(struct image *img, struct parent_ref *ret, struct err *err) __must_check;
void parent_done(struct parent_ref *r);

/* Where memory of the image [0] is stored. */
struct chain_place {
	size_t link;  /* in which image */
	uint64_t off; /* in its data area, bytes */
	uint64_t len; /* how much of what was asked for; the rest may be elsewhere */
};

/* The place of bytes [skip, run->len) of a run of image [0].  false: nowhere. */
bool chain_locate(const struct chain *c, const struct run *run, uint64_t skip,
		  struct chain_place *ret);
/* Are [start, start + *len) among the runs of p, clean ones or the others?  Makes
 * *len as much as one run has of it. */
const struct run *chain_find_run(const struct process *p, uint64_t start, bool clean,
				 uint64_t *len);
/* Reads len bytes of a run, skip bytes into it. */
int chain_read(const struct chain *c, const struct run *run, uint64_t skip, void *buf, size_t len,
	       struct err *err) __must_check;
/* Bytes of the data areas of all the images. */
uint64_t chain_data_size(const struct chain *c);
/* Checks every block of the images below that holds something of image [0].  The meter (or NULL)
 * passes over the others as well. */
struct meter;
int chain_verify_below(const struct chain *c, struct meter *meter, struct err *err) __must_check;

#endif
