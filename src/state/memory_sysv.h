/*
 * System V shared memory (shmget(2)) that this process alone has attached.
 *
 * Such a segment is no file, and its number is the kernel's.  In the model it is shared
 * memory like any other, stored with its content, and has an entry among the mapped
 * files: path "/SYSV" and the key, ino the number, size in bytes, mtime the time it was
 * made or changed by shmctl(2).
 *
 * One that is removed already (IPC_RMID, the habit of programs that want nothing left
 * behind) is made anew: nobody can ask for it by number or key any more.  Any other must
 * still be there, and unused: the program knows its number.
 */
#ifndef GODWIT_STATE_MEMORY_SYSV_H
#define GODWIT_STATE_MEMORY_SYSV_H

#include "proc/maps.h"
#include "state/state.h"

/* In mapping.object, besides the number: apart from inodes. */
#define SYSV_OBJECT (1ULL << 63)

/* Of a line of the maps: kind, flags and object, or a refusal. */
bool memory_sysv_is(const struct proc_map *m);
int memory_sysv_classify(struct capture *c, const struct proc_map *m, struct mapping *ret,
			 struct err *err) __must_check;
/* After all mappings are known: looks at each segment, and refuses what is shared with
 * others, or attached in part. */
int memory_sysv_capture(struct capture *c, struct process *p, struct err *err) __must_check;

bool memory_sysv_is_possible(const struct process *p, const struct mapping *m);
int memory_sysv_check(const struct process *p, struct err *err) __must_check;
/* The call that attaches mapping i. */
void memory_sysv_map(struct restore *r, const struct process *p, size_t i);
/* The segments are attached by the program: those made for it are let go of. */
void memory_sysv_done(struct restore *r);

#endif
