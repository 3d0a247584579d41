/* Memory state: what capture (memory.c) and restore (memory_restore.c) share
 * with the copying in checkpoint/ and restart/. */
#ifndef GODWIT_STATE_MEMORY_H
#define GODWIT_STATE_MEMORY_H

#include "state/state.h"

/* Bytes of all runs that are stored here: the size of the data area, unless places
 * are given. */
uint64_t memory_stored_bytes(const struct process *p);
/* Bytes of those that only the memory has. */
uint64_t memory_dirty_bytes(const struct process *p);

/* Runs that follow each other: fills run.place. */
void memory_place_runs(struct process *p);
/* Fills mapping.stored. */
void memory_count_stored(struct process *p);
/* Are all runs within the data area? */
int memory_check_places(const struct process *p, uint64_t data_size, const char *path,
			struct err *err) __must_check;

/* Clean pages of files larger than this (bytes) are left in the file. */
#define MEMORY_CLEAN_LIMIT (256ULL << 20)

/* Areas beyond this, hardly touched, are mapped without reserving swap. */
#define MEMORY_RESERVE_LIMIT (64ULL << 20)

/* Bytes of free address space that the restart needs for temporary mappings; and of the
 * kernel's own mappings in the new process.  r->now is known. */
uint64_t memory_hole_needed(const struct restore *r, const struct process *p);
uint64_t memory_specials_len(const struct restore *r);
/* Is it the kernel's own, by its name in the maps? */
bool memory_is_special(const char *name);
/* Pairs the kernel's mappings, in order, with the checkpoint's: moves them to the hole, or
 * from there to their places. */
int memory_move_specials(struct restore *r, const struct process *p, bool back,
			 struct err *err) __must_check;

/* Refuses shared anonymous memory that another process has too. */
int memory_refuse_foreign(struct capture *c, const struct process *p, struct err *err) __must_check;

int memory_check(struct restore *r, const struct process *p, struct err *err) __must_check;
int memory_restore(struct restore *r, const struct process *p, struct err *err) __must_check;
/* Its two halves, for a restart that is fed: before the pages come, all mappings,
 * writable where pages are to come; after them, protections and layout. */
int memory_restore_map(struct restore *r, const struct process *p, struct err *err) __must_check;
int memory_restore_rest(struct restore *r, const struct process *p, struct err *err) __must_check;
/* Before the first half: only the anonymous mappings of a first look, all writable, and
 * noted in r->early.  The vdso waits in the hole. */
int memory_restore_early(struct restore *r, const struct process *p, struct err *err) __must_check;
/* Must the pages of this run come, from the image or by the wire? */
bool memory_run_wanted(const struct restore *r, const struct process *p, const struct run *run);
/* Does this host's file of that name have what was mapped, as its inode and times or
 * its build id tell? */
bool memory_file_matches(const struct mapped_file *f);
/* The call that maps an anonymous mapping, readable and writable for now. */
void memory_map_anon(struct restore *r, const struct mapping *m);
void memory_show(const struct process *p, struct report *rep);

#endif
