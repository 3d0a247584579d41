/* Memory state: what capture (memory.c) and restore (memory_restore.c) share
 * with the copying in checkpoint/ and restart/. */
#ifndef GODWIT_STATE_MEMORY_H
#define GODWIT_STATE_MEMORY_H

#include "state/state.h"

/* Bytes of all runs: the size of the data area. */
uint64_t memory_stored_bytes(const struct process *p);
/* Bytes of those that only the memory has; they come first. */
uint64_t memory_dirty_bytes(const struct process *p);

/* Clean pages of files larger than this (bytes) are left in the file. */
#define MEMORY_CLEAN_LIMIT (256ULL << 20)

/* Bytes of free address space that the restart needs for temporary mappings. */
uint64_t memory_hole_needed(const struct process *p);

/* Refuses shared anonymous memory that another process has too. */
int memory_refuse_foreign(struct capture *c, const struct process *p, struct err *err) __must_check;

int memory_check(struct restore *r, const struct process *p, struct err *err) __must_check;
int memory_restore(struct restore *r, const struct process *p, struct err *err) __must_check;
void memory_show(const struct process *p, struct report *rep);

#endif
