/*
 * Each kind of process state has one file in this folder that holds all that
 * concerns it: how it is captured, stored, checked, restored and shown.  This
 * is the form they share; state.c lists them in the order in which they run.
 */
#ifndef GODWIT_STATE_STATE_H
#define GODWIT_STATE_STATE_H

#include "base/err.h"
#include "image/codec.h"
#include "image/image.h"
#include "remote/program.h"
#include "remote/remote.h"
#include "state/process.h"

/* A checkpoint in the making.  The target is stopped and prepared. */
struct capture {
	struct remote *remote;
	struct process *proc;
	/* Notices for the person at the terminal, a line each, text only. */
	void (*notice)(void *arg, const char *text);
	void *notice_arg;
	pid_t ignore_child; /* a child of the target that is our own helper, or 0 */
};

/* What the person may say about files that changed: --files=. */
enum files_policy { FILES_CUT, FILES_KEEP };

/* How the ids come back: --new-ids, --same-ids, or chosen. */
enum ids_policy { IDS_AUTO, IDS_NEW, IDS_SAME };

/* A restart in the making.  check() runs before anything is touched. */
struct restore {
	struct program *prog;
	const struct process *proc;
	struct image *image;
	enum files_policy files;
	enum ids_policy ids;
	bool explain; /* only print: check() must not touch anything either way */
	int image_fd; /* the image's descriptor in the new process */
	uint64_t vdso_now, vdso_now_len, vvar_now; /* where exec put them; see restart/ */
	pid_t new_pid;                             /* pid of the new process as it sees it itself */
	void (*notice)(void *arg, const char *text);
	void *notice_arg;
	void *scratch; /* for the state files between check and restore */
};

struct report; /* cli: text or JSON */

struct state_ops {
	const char *name;
	uint32_t note; /* enum image_note_type, 0: stored with another kind */
	/* Fill p from the stopped target.  Refuse what cannot be restored. */
	int (*capture)(struct capture *c, struct process *p, struct err *err);
	/* Write or read the note's bytes. */
	void (*codec)(struct codec *c, struct process *p);
	/* After reading: are the values possible at all?  (-EBADMSG via err_image) */
	int (*validate)(const struct process *p, struct err *err);
	/* Before the point of no return of a restart: can it be restored here?
	 * Touches nothing. */
	int (*check)(struct restore *r, const struct process *p, struct err *err);
	/* Right after the point of no return: changes outside of the process
	 * (cutting files back).  Rare. */
	int (*act)(struct restore *r, const struct process *p, struct err *err);
	/* Add the calls to r->prog. */
	int (*restore)(struct restore *r, const struct process *p, struct err *err);
	/* Print what a person wants to know. */
	void (*show)(const struct process *p, struct report *rep);
	void (*done)(struct process *p);
};

extern const struct state_ops *const state_kinds[]; /* NULL-terminated, in order */

#endif
