/* Memory of huge pages (MAP_HUGETLB): see memory_huge.c. */
#ifndef GODWIT_STATE_MEMORY_HUGE_H
#define GODWIT_STATE_MEMORY_HUGE_H

#include "state/memory.h"

/* Capture: is it of huge pages, without a file?  Its kind, or a refusal. */
bool memory_huge_is(const struct proc_map *m);
int memory_huge_classify(struct capture *c, const struct proc_map *m, struct mapping *ret,
			 struct err *err) __must_check;
/* When all mappings are known: refuses what could not be mapped again. */
int memory_huge_capture(struct capture *c, const struct process *p, struct err *err) __must_check;
/* Pages of a shared one: tells ranges that may hold something. */
int memory_huge_find_shared(struct capture *c, const struct mapping *m,
			    int (*found)(void *arg, uint64_t start, uint64_t end), void *arg,
			    struct err *err) __must_check;

/* After reading; before the restart: are there enough pages; and the call that maps it. */
bool memory_huge_is_possible(const struct mapping *m);
int memory_huge_check(const struct process *p, struct err *err) __must_check;
int memory_huge_flags(const struct mapping *m);

#endif
