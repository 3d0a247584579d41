/* Shared by the parts of run/. */
#ifndef GODWIT_RUN_INTERNAL_H
#define GODWIT_RUN_INTERNAL_H

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/types.h>

#include "run/run.h"

/* --- images.c: the files --- */

struct run_images {
	const char *path; /* IMAGE */
	unsigned keep;
	bool chained;  /* they may stand on others: parts.c */
	int lock;      /* descriptor of IMAGE.lock, locked; -1 where the file system has no locks */
	unsigned part; /* the last number that was used */
	unsigned tip;  /* that which the next checkpoint may stand on; 0: none */
};

/*
 * Waits a while, with this signal mask, until no other run works on the image, and finishes what
 * one that was killed had begun.  Every process that could still touch the program or its image
 * holds a copy of the lock's descriptor.
 */
int images_open(struct run_images *im, const struct run_options *o, const sigset_t *mask,
		struct err *err) __must_check;
/* The k-th image's name: IMAGE, IMAGE.1, ...; to the caller's free(). */
char *images_name(const struct run_images *im, unsigned k, struct err *err) __must_check;
/* Which file a checkpoint writes, and what makes it the newest image. */
char *images_next(const struct run_images *im, struct err *err) __must_check;
int images_promote(const struct run_images *im, struct err *err) __must_check;
/* Image k is the one that the job goes on from: those before it are damaged, and are put
 * out of the way. */
int images_demote(const struct run_images *im, unsigned k, struct err *err) __must_check;
/* The job is done: takes all of them away, and the lock. */
void images_remove(const struct run_images *im);
/* The end of a run that leaves its images. */
void images_close(struct run_images *im);

/* --- parts.c: what incremental images stand on --- */

/* The n-th one's name, n from 1 on; to the caller's free(). */
char *parts_name(const struct run_images *im, unsigned n, struct err *err) __must_check;
/* The largest number that is there, or 0. */
unsigned parts_last(const struct run_images *im);
/* Does the newest image stand on so many, or so large ones, that a complete one is due?  Also
 * where it cannot be read. */
bool parts_are_many(const struct run_images *im);
/* The image that was just written becomes part n, too. */
int parts_link(const struct run_images *im, unsigned n, struct err *err) __must_check;
/* Takes away what no image stands on, but for part n.  None where an image cannot be read. */
void parts_sweep(const struct run_images *im, unsigned n);
/* Takes all of them away. */
void parts_remove(const struct run_images *im);

/* --- lifeline.c --- */

/*
 * Starts the process that ends `child` (and a program below it) with SIGKILL when the
 * caller is killed.  Returns its id.  lock: see struct run_images.
 */
pid_t lifeline_start(pid_t child, int lock, struct err *err) __must_check;

/* --- group.c: process group and terminal --- */

/*
 * The program has a process group of its own, so that who sends SIGTERM to all of ours
 * (kill %1, timeout(1), batch systems) does not hit it; on a terminal it is handed the
 * foreground when we have it.  In a pipeline of a terminal the others need that, too: there
 * it shares our group, and gets what the terminal sends by itself.
 */
struct run_group {
	pid_t pid; /* the child: its group has the same number, unless shared */
	int tty;   /* the controlling terminal, or -1 */
	bool shared;
};

void group_init(struct run_group *g);
void group_done(struct run_group *g);
/* In the child, and in the parent when the child is there. */
void group_join(const struct run_group *g, pid_t child);
/* Hands the terminal over if it is ours to hand over; and takes it back. */
void group_give(const struct run_group *g);
void group_take(const struct run_group *g);
/* May it come to us while nobody tells? */
bool group_must_look(const struct run_group *g);
/* A signal that came to us: does the program need it from us? */
bool group_wants(const struct run_group *g, const struct signalfd_siginfo *s);
/* To the whole group, or to the child alone where that is shared. */
void group_signal(const struct run_group *g, int sig);
/* The child was stopped by sig: our shell sees its job stopped; true when it goes on, false
 * at once where no shell watches jobs: who has stopped it makes it go on. */
bool group_stop(const struct run_group *g, int sig);
/* The child has died of sig: who shares our group would have got a key's signal too. */
void group_died(const struct run_group *g, int sig);

/* --- start.c --- */

struct run_child {
	pid_t pid;
	int pidfd;
	pid_t lifeline;
};

/* Everything of one run. */
struct jobrun {
	const struct run_options *o;
	const struct run_listener *l;
	struct run_images images;
	struct run_group group;
	struct run_child child;
	sigset_t mask; /* as we found it */
	int signals;   /* signalfd of all */
};

/* Executes the program, stopped before its first instruction.  Where it cannot be, the exit
 * status is in *ret_status, and the result negative. */
int start_fresh(struct jobrun *r, int *ret_status, struct err *err) __must_check;
/* Goes on after start_fresh. */
void start_go(const struct jobrun *r);
/*
 * Restarts the program from an image: 0 when it runs, 1 when that failed (said, exit status
 * in *ret_status), 2 when a signal came meanwhile that means to leave (*ret_status: which;
 * the half-built program was ended), or negative.
 */
int start_resume(struct jobrun *r, const char *image, int *ret_status,
		 struct err *err) __must_check;
/* Is it one that means to leave? */
bool run_is_leave(int sig);

/* --- save.c --- */

enum save_kind {
	SAVE_FIRST,    /* of a program that stands before its first instruction */
	SAVE_INTERVAL, /* it goes on */
	SAVE_LAST,     /* it is ended when the image is safe */
};

/* A checkpoint in the making, by a process of its own. */
struct save {
	pid_t pid; /* 0: none */
	int fd;    /* from which the error is read */
	enum save_kind kind;
	unsigned part; /* which it becomes; 0: it is not incremental */
	uint64_t begun_ns;
};

/* quiet: without notices. */
int save_begin(struct jobrun *r, struct save *s, enum save_kind kind, bool quiet,
	       struct err *err) __must_check;
/* It has ended with this status: 0, or negative and *err. */
int save_end(struct jobrun *r, struct save *s, int status, struct err *err) __must_check;
void save_cancel(const struct save *s);

#endif
