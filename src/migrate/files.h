/* Mapped files: which of them both hosts have, so that their pages need not be sent. */
#ifndef GODWIT_MIGRATE_FILES_H
#define GODWIT_MIGRATE_FILES_H

#include "state/process.h"
#include "base/err.h"

/* XXH3 of each mapped file, by which the other side knows it; 0 where there is no need
 * (it has a build id) or no way.  hash[p->nmapped_files]. */
void files_hash(const struct process *p, uint64_t *hash);
/* Which of them this host has: known[p->nmapped_files]. */
void files_compare(const struct process *p, const uint64_t *hash, bool *known);

/* A verdict on the files of one look, carried to a later one: files that are new are
 * not known.  Both sides reckon so. */
void files_carry(const struct process *old, const bool *old_known, const struct process *p,
		 bool *known);

#endif
