/*
 * Each kind of process state has one file in this folder that holds all that
 * concerns it: how it is captured, stored, checked, restored and shown.  This
 * is the form they share; state.c lists them in the order in which they run.
 */
#ifndef GODWIT_STATE_STATE_H
#define GODWIT_STATE_STATE_H

#include "base/err.h"
#include "base/refusal.h"
#include "image/codec.h"
#include "image/image.h"
#include "remote/program.h"
#include "remote/remote.h"
#include "state/process.h"

struct memory_range {
	uint64_t start, end; /* page-aligned */
};

/* A checkpoint in the making.  The target is stopped and prepared. */
struct capture {
	struct remote *remote;
	struct process *proc;
	/* Notices for the person at the terminal, a line each, text only. */
	void (*notice)(void *arg, const char *text);
	void *notice_arg;
	pid_t ignore_child;           /* a child of the target that is our own helper, or 0 */
	bool is_unborn;               /* see checkpoint_options */
	const struct proc_maps *maps; /* before our scratch mapping was there */
	bool has_leases;              /* state/lease.h: who opens a file of the target's must ask */
	bool tracked;                 /* track/track.h: runs are told apart by RUN_UNCHANGED */
	const struct early_advice *early_advice;   /* state/advice.h; may be NULL or empty */
	struct early_scheduling *early_scheduling; /* state/scheduling.h; the same; emptied */
	/* Left out of the image: private anonymous memory in these ranges. */
	const struct memory_range *excluded;
	size_t nexcluded;
	char *const *job; /* njob strings: state/job.c */
	size_t njob;
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
	bool explain;              /* only print: nothing may be touched */
	pid_t tracer;              /* who may trace it, with all below, where Yama is on; or 0 */
	int image_fd;              /* the image's descriptor in the new process */
	const struct chain *chain; /* state/chain.h: the images */
	const int *chain_fd;       /* descriptors of those below it, by link */
	bool drop_rights;          /* every thread has a capability of the restart's to give up */
	bool *file_matches;        /* per process.mapped_files: it may be mapped again */
	/* The pages come by another way than the image: by the wire.  know_files says
	 * which mapped files this host has, as file_matches. */
	bool is_fed;
	void (*know_files)(void *arg, const struct process *p, bool *known);
	void *know_arg;
	/* Files that come by the wire, too: under which name, until the program goes on. */
	const char *(*stand_in)(void *arg, const char *path);
	/* Where the kernel's vdso and its data go whose place is another kernel's
	 * (state/vdso.h). */
	uint64_t vdso_at;
	bool with_vdso;             /* on a source: the destination wants the vdso's bytes */
	bool still_runs;            /* elsewhere, until the last look: its files may change */
	struct memory_early *early; /* state/memory_early.h; NULL: nothing came early */
	struct sysv_made *sysv;     /* state/memory_sysv.h: made for the program */
	/* While the calls are planned: */
	const struct proc_maps *now;   /* the new process's maps, right after exec */
	uint64_t scratch, scratch_len; /* the engine's; not to be touched */
	uint64_t hole, hole_len;       /* for temporary mappings: nothing old or new is there */
	pid_t new_pid;                 /* as the process sees itself */
	pid_t new_pgid;                /* the same way; 0: its group has no number there */
	const pid_t *new_tids;         /* of its threads, the same way */
	void (*notice)(void *arg, const char *text);
	void *notice_arg;
};

struct chain;
struct sysv_made;
struct report; /* cli: text or JSON */

struct state_ops {
	const char *name;
	uint32_t note; /* enum image_note_type, 0: stored with another kind */
	bool optional; /* an image may lack the note: nothing of this kind is restored then */
	/* Fill p from the stopped target.  Refuse what cannot be restored. */
	int (*capture)(struct capture *c, struct process *p, struct err *err);
	/* Is the note written at all?  NULL: always. */
	bool (*is_needed)(const struct process *p);
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

extern const struct state_ops state_system, state_cpu, state_ids, state_surroundings, state_memory,
	state_runs, state_places, state_parent, state_threads, state_signals, state_timers,
	state_files, state_scheduling, state_advice, state_timers_posix, state_contents,
	state_terminal_modes, state_file_signals, state_flight, state_unix_unread, state_settings,
	state_job, state_seccomp, state_leader, state_capabilities;
extern const struct state_ops *const state_kinds[]; /* NULL-terminated, in order */

/* Calls notice(), formatted. */
void capture_notice(const struct capture *c, const char *fmt, ...) __printf_like(2, 3);
void restore_notice(const struct restore *r, const char *fmt, ...) __printf_like(2, 3);
/* The name by which a file or folder is to be opened that comes by the wire, and need
 * not be checked; NULL: it has to be here, as path. */
const char *restore_stand_in(const struct restore *r, const char *path);

/* Reads and validates the model from an image that image_open accepted.  On
 * failure *p is empty. */
int process_load(struct image *img, struct process *p, struct err *err) __must_check;
/* Writes the notes of every kind but threads, whose registers are streamed. */
int process_store(const struct process *p, struct image_writer *w, struct err *err) __must_check;

/*
 * Names of our own processes, as comm has them.  Who asks for a restarted
 * program by the id of its thin parent means the program; and one that is
 * only being restarted is waited for.
 */
#define STATE_RESTART_COMM "godwit-restart" /* not the program yet */
#define STATE_PARENT_COMM "godwit-parent"   /* restart/ids.c */
#define STATE_INIT_COMM "godwit-init"       /* the same, process 1 of a namespace */

/* Helpers shared by kinds. */
int state_read_proc(struct capture *c, const char *name, struct buf *b,
		    struct err *err) __must_check;
void codec_mapped_file(struct codec *c, struct mapped_file *f);
void codec_pending(struct codec *c, struct pending_signal **v, size_t *n);
int state_peek_pending(pid_t tid, bool shared, struct pending_signal **ret, size_t *ret_n,
		       struct err *err) __must_check;
void thread_codec(struct codec *c, struct thread *t);
/* The calls by which a thread takes its own policy and CPUs. */
void scheduling_restore_thread(struct program *g, const struct process *p, size_t thread);
/* Gives up the capability of the restart's: state/threads.c. */
void threads_drop_rights(struct program *g);
/* The last calls of a leader that is to end: state/leader.c. */
void leader_restore(struct restore *r, const struct process *p);
/* The part of the threads' capture that comes before remote_prepare: it may
 * still change registers (a restartable sequence is aborted). */
int threads_read_registers(struct capture *c, struct process *p, struct err *err) __must_check;

/* For people: "name+0x12 in /path", or the address with what is known of its place. */
void state_symbol(const struct process *p, uint64_t addr, char *out, size_t cap);
/* The list "pending" of a report. */
void state_show_pending(struct report *rep, const struct pending_signal *v, size_t n);

#endif
