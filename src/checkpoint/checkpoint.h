/*
 * Checkpoint: freeze, collect, write, release.
 *
 * The work is done by a guardian: a process in a session of its own, all
 * signals blocked.  The command only talks to it; when the command dies, the
 * guardian puts the target back and leaves nothing.
 */
#ifndef GODWIT_CHECKPOINT_CHECKPOINT_H
#define GODWIT_CHECKPOINT_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/guardian.h"
#include "image/pack.h"

enum checkpoint_pause {
	PAUSE_COPY,  /* the program is stopped while its memory is copied */
	PAUSE_LIVE,  /* it runs meanwhile, and is stopped for what it wrote last */
	PAUSE_SHORT, /* it is stopped for a snapshot, which is copied while it runs */
};

struct memory_range;

struct checkpoint_options {
	pid_t pid;
	const char *image;  /* path; relative to the working directory */
	bool kill;          /* end the program once the image is safe */
	pid_t ignore_child; /* a child of the program that is ours, or 0 */
	/* It stands before its first instruction: signals that came to it are not of the program
	 * that begins there. */
	bool is_unborn;
	enum checkpoint_pause pause;
	bool incremental; /* store what was written since the last such checkpoint */
	/* Of an incremental one: the only image that it may stand on ("": none, a chain begins),
	 * or NULL: the last one; and the name, in the same directory, that it will have when the
	 * next one looks for it, or NULL: image. */
	const char *parent, *known_as;
	unsigned threads; /* that copy memory; 0: as many as make sense */
	/* Private anonymous memory that the image does without: zeros after a restart. */
	const struct memory_range *excluded;
	size_t nexcluded;
	char *const *job; /* njob strings: what the program is started by (state/job.c) */
	size_t njob;
	const struct image_packing *packing; /* how to compress, or NULL; threads, tick: ours */
};

struct checkpoint_result {
	uint64_t image_bytes;  /* size of the file */
	uint64_t plain_bytes;  /* of the image, before it was compressed */
	uint64_t memory_bytes; /* stored */
	uint64_t pause_ns;     /* from stop to release; PAUSE_LIVE: the longer of two */
	uint64_t total_ns;
	uint32_t nthreads;
	uint32_t nsteps;
	bool has_parent;   /* it is incremental: another image holds the rest */
	uint32_t rounds;   /* PAUSE_LIVE: of copying while it ran; 0: not possible here */
	bool has_snapshot; /* PAUSE_SHORT: it was possible */
	struct checkpoint_step {
		char name[16];
		uint64_t ns;
	} steps[32]; /* what took how long, in order */
};

/*
 * Makes a checkpoint.  0 and *ret, or a negative errno and the target unharmed.
 * SIGINT, SIGTERM and SIGHUP call it off (-ECANCELED).
 */
int checkpoint(const struct checkpoint_options *o, const struct guardian_listener *listener,
	       struct checkpoint_result *ret, struct err *err) __must_check;

#endif
