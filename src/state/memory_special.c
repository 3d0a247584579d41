/*
 * The kernel's own mappings, [vdso] and [vvar], at restart: they can be moved but not
 * made.  They go to their old places by way of the hole, so that old and new may overlap;
 * or, where the program has a vdso of its own (state/vdso.h), to a new one.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "state/memory.h"
#include "state/vdso.h"

bool memory_is_special(const char *name)
{
	return !strcmp(name, "[vdso]") || !strncmp(name, "[vvar", 5);
}

uint64_t memory_specials_len(const struct restore *r)
{
	uint64_t len = 0;

	for (size_t i = 0; i < r->now->n; i++)
		if (memory_is_special(r->now->v[i].name))
			len += r->now->v[i].end - r->now->v[i].start;
	return len;
}

static void move(struct restore *r, const char *why, uint64_t from, uint64_t len, uint64_t to)
{
	struct call *c;

	if (from == to)
		return;
	c = program_call(r->prog, why, SYS_mremap, from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
			 to, 0);
	if (c) {
		c->expect = EXPECT_VALUE;
		c->want = (int64_t)to;
	}
}

int memory_move_specials(struct restore *r, const struct process *p, bool back, struct err *err)
{
	uint64_t at = r->hole, to = r->vdso_at;
	size_t k = 0;

	for (size_t i = 0; i < r->now->n; i++) {
		const struct proc_map *now = &r->now->v[i];
		uint64_t len = now->end - now->start;

		if (!memory_is_special(now->name))
			continue;
		if (vdso_is_adapted(p)) {
			if (back)
				move(r, program_why(r->prog, "%s to a place of its own", now->name),
				     at, len, to);
			else
				move(r, "out of the way", now->start, len, at);
			at += len;
			to += len;
			continue;
		}
		while (k < p->nmappings && !mapping_is_special(&p->mappings[k]))
			k++;
		if (k == p->nmappings ||
		    strcmp(p->mappings[k].name ? p->mappings[k].name : "", now->name) ||
		    p->mappings[k].end - p->mappings[k].start != len)
			return err_refuse(err, "this kernel's %s is not like the checkpoint's",
					  now->name);
		if (!back)
			move(r, "out of the way", now->start, len, at);
		else
			move(r, program_why(r->prog, "%s to its old place", now->name), at, len,
			     p->mappings[k].start);
		at += len;
		k++;
	}
	while (k < p->nmappings && !mapping_is_special(&p->mappings[k]))
		k++;
	if (k != p->nmappings)
		return err_refuse(err, "this kernel has no %s", p->mappings[k].name);
	return 0;
}
