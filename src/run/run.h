/*
 * A job that survives its interruptions: started, or resumed from its image;
 * checkpointed at an interval, and when the batch system asks it to leave.
 *
 * The caller's process stays as the parent of the program, which has a process group
 * of its own.  Three small processes serve it: the lifeline (lifeline.c), which ends the
 * program when this process is killed; and, for the time of a checkpoint, one that
 * waits for the checkpoint's guardian, and that guardian.
 */
#ifndef GODWIT_RUN_RUN_H
#define GODWIT_RUN_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "checkpoint/checkpoint.h"
#include "state/state.h"

#define RUN_KEEP_MAX 999

struct run_options {
	const char *image; /* path */
	char **argv;       /* of the program, NULL-terminated */
	size_t argc;
	uint64_t every_ns; /* between two checkpoints; 0: none but the first and the last */
	unsigned keep;     /* older images, IMAGE.1 the youngest */
	enum checkpoint_pause pause;
	bool incremental;                    /* those at the interval and the last: see parts.c */
	unsigned threads;                    /* that copy memory; 0: as many as make sense */
	const struct image_packing *packing; /* how to compress, or NULL */
	enum ids_policy ids;
	enum files_policy files;
	const char *tunables; /* GLIBC_TUNABLES of a program that is started, or NULL */
};

struct run_listener {
	void (*notice)(void *arg, const char *text);
	/* Something failed and the program goes on, or another image is tried. */
	void (*complain)(void *arg, const struct err *err);
	/* How a process leaves as a program did, by its status from waitpid(2): returns the
	 * exit status, or dies of the same signal. */
	int (*leave)(int status);
	void *arg;
};

/* The program could not be executed: what a shell exits with. */
enum { RUN_EXIT_NO_EXEC = 126, RUN_EXIT_NOT_FOUND = 127 };
/* The batch systems' "I have checkpointed myself: start me again". */
enum { RUN_EXIT_SAVED = 85 };

enum run_end {
	RUN_ENDED,  /* the program has ended: *ret_status, as waitpid(2) has it */
	RUN_SAVED,  /* told to leave: its image is safe, the program has been ended */
	RUN_FAILED, /* it was not begun; all is said: *ret_status is the exit status */
};

/*
 * Runs the job to its end: enum run_end, or a negative errno and *err when nothing was
 * begun.  The caller has one thread.  Its signals are blocked meanwhile (and after, for
 * the caller is to leave); what it was told by SIGTERM, SIGUSR1 or SIGXCPU means RUN_SAVED,
 * or, where no checkpoint can be made, is passed on to the program, as others are.
 */
int run(const struct run_options *o, const struct run_listener *l, int *ret_status,
	struct err *err) __must_check;

#endif
