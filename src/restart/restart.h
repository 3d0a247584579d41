/*
 * Restart: read, plan, build, let go.
 *
 * The process that calls restart() becomes the program, like exec: a guardian
 * seizes it, it executes the original program file, is stopped before its first
 * instruction, emptied, refilled and let go.  Or, where the same ids are wanted,
 * the caller stays as a thin parent of the program (ids.c).
 */
#ifndef GODWIT_RESTART_RESTART_H
#define GODWIT_RESTART_RESTART_H

#include <stdbool.h>

#include "base/err.h"
#include "state/state.h"

/* A program that was let go: its ids as the guardian sees them; pidfd is the caller's. */
struct restart_gone {
	int pidfd;
	pid_t pid;
	const pid_t *tids; /* of its threads, in the order of the model; NULL: not known */
	size_t n;
};

/*
 * A restart that is fed: the image holds the notes alone, the pages come from
 * somebody else, and so does the word that the program may go on.  All calls but
 * leave() are made in the guardian; arg was copied there by fork.
 */
struct restart_feed {
	int model_fd;  /* an image without data (image_open_fd) */
	bool is_early; /* pages come before the model that counts; see pages() */
	void *arg;
	/* Which mapped files of p this host has: known[p->nmapped_files].  In any process. */
	void (*know)(void *arg, const struct process *p, bool *known);
	/* Files that come, too: restore.stand_in; NULL: none do.  In any process. */
	const char *(*stand_in)(void *arg, const char *path);
	/* In each process that stays and shall not hold the wire's descriptors. */
	void (*leave)(void *arg);
	/*
	 * The mappings are there: fill them (remote_write).  Called once; but twice
	 * where is_early is set: the first time r->early holds what is mapped, to be made
	 * larger as needed (state/memory_early.h), until the last model has come; *ret_fd
	 * is then its image, the caller's.  The second time ret_fd is NULL.
	 */
	int (*pages)(void *arg, const struct restore *r, struct remote *remote, int *ret_fd,
		     struct err *err);
	/* All is built, and still stopped. */
	int (*built)(void *arg, const struct process *p, struct remote *remote, struct err *err);
	/* 0 when the word has come that the program is ours, with the signals
	 * that came to it after the model was made; the caller frees them. */
	int (*ready)(void *arg, struct late_signal **ret, size_t *ret_n, struct err *err);
	/* What is outside of the process has been changed, too: the last step that can
	 * fail.  0: it is let go at once. */
	int (*commit)(void *arg, struct err *err);
	/* It was let go; or it failed before that, in any process. */
	void (*gone)(void *arg, const struct restart_gone *to);
	void (*failed)(void *arg, const struct err *err);
};

/* restart --fd: see files_give(). */
struct restart_fd {
	int fd;
	const char *source;
};

struct restart_options {
	const char *image; /* or its name in messages, where feed is set */
	const struct restart_feed *feed;
	enum ids_policy ids;
	enum files_policy files;
	bool explain; /* print the calls on stdout and return 0 */
	const struct restart_fd *fds;
	size_t nfds;
	/* Gets a byte when nothing can fail any more and the program is let go: until then an
	 * exit status is the restart's.  0: none. */
	int let_go_fd;
	struct meter *meter; /* how far it is, told in this process or in its guardian; or NULL */
	pid_t tracer;        /* with whose children it may be traced, where Yama is on; 0: none */
};

/*
 * Becomes the program and does not return; or, as its thin parent, returns its
 * exit status in *ret_status (as waitpid(2) gives it) with result 1; or fails
 * with a negative errno.  Until the program file is executed nothing has been
 * touched.  Later failures are printed by the guardian, and the process exits
 * with 6.
 */
int restart(const struct restart_options *o, void (*notice)(void *, const char *), void *arg,
	    int *ret_status, struct err *err) __must_check;

/* Would restart() find all that the program needs here?  Touches nothing. */
int restart_check(const struct restart_options *o, void (*notice)(void *, const char *), void *arg,
		  struct err *err) __must_check;

#endif
