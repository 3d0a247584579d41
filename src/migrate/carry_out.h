/*
 * The source's half of --copy-files: which files the program has, and their bytes, as far as
 * the destination lacks them.  They go over while the program runs; when it stands still,
 * only what has changed since, in blocks of 64 KiB.
 */
#ifndef GODWIT_MIGRATE_CARRY_OUT_H
#define GODWIT_MIGRATE_CARRY_OUT_H

#include "migrate/carry.h"
#include "migrate/sender.h"
#include "state/process.h"

struct carry_out_file {
	bool seen;     /* of an earlier list */
	bool lacks;    /* the destination does, and said so */
	bool written;  /* by a shared mapping: its times do not tell when */
	bool has_copy; /* what follows is of a file that was sent */
	int64_t ctime_ns, mtime_ns, copied_ns;
	uint64_t ino, size;
	uint64_t *hash; /* of each block that was sent; 0: never */
	size_t nhash, hash_cap;
};

struct carry_out {
	uint64_t max; /* bytes to take along at most */
	struct carry_list list;
	struct carry_out_file *file; /* [i] belongs to list.v[i] */
	uint64_t lacks, lacks_bytes; /* of the last verdict */
	uint64_t bytes;              /* read and sent, before packing */
	uint64_t sent_files;
};

/* The list of the program's files now, from its model; keeps what is known of those that
 * were in the last.  *ret_new: some were not. */
int carry_out_list(struct carry_out *c, const struct process *p, bool *ret_new,
		   struct err *err) __must_check;
int carry_out_send_list(struct carry_out *c, struct wire *w, struct err *err) __must_check;
/* The destination's answer: of each, does it lack it?  Refuses what is too much. */
int carry_out_verdict(struct carry_out *c, const bool *lacks, size_t n,
		      struct err *err) __must_check;
/* Sends what the destination lacks and does not have yet as it is; is_last: the program stands
 * still, and each must be there. */
int carry_out_send(struct carry_out *c, struct sender *s, bool is_last, int timeout_ms,
		   struct err *err) __must_check;
void carry_out_done(struct carry_out *c);

#endif
