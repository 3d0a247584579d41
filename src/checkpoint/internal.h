/* Shared by the steps of a checkpoint. */
#ifndef GODWIT_CHECKPOINT_INTERNAL_H
#define GODWIT_CHECKPOINT_INTERNAL_H

#include "checkpoint/checkpoint.h"
#include "state/advice.h"
#include "state/state.h"

/* Everything of one checkpoint while it is made.  Lives in the guardian. */
struct job {
	const struct checkpoint_options *o;
	struct remote remote;
	struct process_tree tree; /* one process, so far */
	struct process *proc;     /* &tree.procs[0] */
	struct capture capture;
	struct proc_maps maps;
	struct early_advice early;
	struct image_writer *writer;
	int front;        /* socket to the command */
	uint64_t *run_at; /* offset of each run in the data area; [nruns]: its size */
	int *file_fd;     /* per mapped file: open for its clean pages, or -1 */
	uint64_t stopped_ns, released_ns, begun_ns;
	bool released;
};

/* Has the command gone away, or been interrupted? */
bool job_is_cancelled(const struct job *j);

/* core_notes.c: the notes that debuggers know, and each thread's registers. */
int job_write_notes(struct job *j, struct err *err) __must_check;
/* core_notes.c: a PT_LOAD for each stored run and each gap. */
int job_write_segments(struct job *j, struct err *err) __must_check;

/* copy.c: blocks of the data area that hold memory of the program; the target is stopped. */
int job_copy_memory(struct job *j, struct err *err) __must_check;
/* copy.c: the rest, from the mapped files; the target may run. */
int job_copy_files(struct job *j, struct err *err) __must_check;
/* copy.c: the places of the runs, the files of the clean ones. */
int job_plan_copy(struct job *j, struct err *err) __must_check;

#endif
