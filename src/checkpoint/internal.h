/*
 * Shared by the steps of a checkpoint, and with migrate/, whose first steps are the
 * same: the table in checkpoint.c says in which order they come.
 */
#ifndef GODWIT_CHECKPOINT_INTERNAL_H
#define GODWIT_CHECKPOINT_INTERNAL_H

#include "checkpoint/checkpoint.h"
#include "remote/snapshot.h"
#include "state/advice.h"
#include "state/scheduling.h"
#include "state/state.h"

/* Everything of one checkpoint while it is made.  Lives in the guardian. */
struct job {
	const struct checkpoint_options *o;
	struct remote remote;
	const struct remote *source; /* where memory is read: remote, or its snapshot */
	struct process_tree tree;    /* one process, so far */
	struct process *proc;        /* &tree.procs[0] */
	struct capture capture;
	struct proc_maps maps;
	struct early_advice early;
	struct early_scheduling early_scheduling;
	struct image_writer *writer;
	int front;        /* socket to the command */
	uint64_t *run_at; /* offset of each run in the data area; [nruns]: its size */
	int *file_fd;     /* per mapped file: open for its clean pages, or -1 */
	uint64_t stopped_ns, released_ns, begun_ns;
	bool released;
	/* --pause=short */
	struct remote snapshot; /* pid 0: there is none */
	bool has_snapshot;      /* there is, or was */
	uint8_t *stays;         /* per block: it holds what the snapshot has not, or NULL */
	/* --pause=live */
	struct live *live;
	uint64_t first_pause_ns; /* the short stop that begins it */
	unsigned rounds;
	bool has_parent; /* --incremental: the image stands on another one */
};

/* In the guardian: an empty job (o must outlive it), and its end, which releases a
 * program that was not released. */
int job_init(struct job *j, const struct checkpoint_options *o, int front,
	     struct err *err) __must_check;
void job_done(struct job *j);

/* checkpoint.c: the steps that come before the memory, in this order. */
int job_look(struct job *j, struct err *err) __must_check;
int job_stop(struct job *j, struct err *err) __must_check;
int job_prepare(struct job *j, struct err *err) __must_check;
int job_collect(struct job *j, struct err *err) __must_check;
int job_give_back(struct job *j, struct err *err) __must_check;

/* A target that ended while it was looked at fails in all kinds of ways: says so in
 * *err, which holds one of them, if that is why. */
void job_explain_end(const struct job *j, struct err *err);

/* The program that is meant by an id: the same, or the program under the thin
 * parent that has the id. */
int checkpoint_find_program(pid_t asked, pid_t *ret, struct err *err) __must_check;

/* Has the command gone away, or been interrupted? */
bool job_is_cancelled(const struct job *j);

/* core_notes.c: the notes that debuggers know, and each thread's registers. */
int job_write_notes(struct job *j, struct err *err) __must_check;
/* The same, for a program of so many threads that their vector registers are not kept and
 * must be asked for while it is stopped; and for one of fewer, which may run again. */
int job_write_notes_of_many(struct job *j, struct err *err) __must_check;
int job_write_notes_of_few(struct job *j, struct err *err) __must_check;
/* core_notes.c: a PT_LOAD for each stored run and each gap; the places of the runs are known. */
int segments_write(const struct process *p, struct image_writer *w, struct err *err) __must_check;
int job_write_segments(struct job *j, struct err *err) __must_check;

/* copy.c: blocks of the data area that hold memory of the program; the target is stopped. */
int job_copy_memory(struct job *j, struct err *err) __must_check;
/* copy.c: the rest, from the mapped files; the target may run. */
int job_copy_files(struct job *j, struct err *err) __must_check;
/* copy.c: len bytes (at most IMAGE_BLOCK) of the data area, from offset at, to buf. */
int job_gather(struct job *j, uint64_t at, size_t len, uint8_t *buf, struct err *err) __must_check;
/* copy.c: len bytes of a run, skip bytes into it; a clean one is read from its file. */
int job_read_run(struct job *j, const struct run *r, uint64_t skip, uint8_t *to, size_t len,
		 struct err *err) __must_check;
/* short.c: makes the snapshot, or says why not; copies what it has not while the program is
 * stopped (everything, without one), and the rest when it runs again. */
int short_snapshot(struct job *j, struct err *err) __must_check;
int short_copy_stopped(struct job *j, struct err *err) __must_check;
int short_copy_running(struct job *j, struct err *err) __must_check;
/* The same in three parts, for --incremental: splits the pieces, of which those that the
 * snapshot lacks get into *missing; says whether what it has is what it should; ends it. */
struct slot_list;
int short_split(struct job *j, struct slot_list *pieces, struct slot_list *missing,
		struct err *err) __must_check;
int short_check(struct job *j, struct err *err) __must_check;
void short_end(struct job *j);
/* copy.c: blocks that hold memory of the program; those whose `which` is `want`, all if it
 * is NULL.  is_running: leave it a core. */
int job_copy_blocks(struct job *j, const uint8_t *which, uint8_t want, bool is_running,
		    struct err *err) __must_check;
/* copy.c: how many threads shall copy so many bytes; runs copy(arg) in n threads, one of them
 * the caller's. */
unsigned job_copiers(const struct job *j, uint64_t bytes, bool is_running);
void job_run_copiers(unsigned n, void *(*copy)(void *), void *arg);
/* copy.c: the places of the runs, unless places_given; the files of the clean ones. */
int job_plan_copy(struct job *j, struct err *err) __must_check;

#endif
