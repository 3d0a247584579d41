/*
 * Where the runs are in the data area.  Without this note they follow each other
 * in their order.  An image that grew under a running program (--pause=live) has
 * its pages in the order in which they were met first, and gaps where
 * pages were that do not exist any more.
 */
#include <stdlib.h>

#include "base/io.h"
#include "state/memory.h"
#include "state/state.h"

void memory_place_runs(struct process *p)
{
	uint64_t at = 0;

	for (size_t i = 0; i < p->nruns; i++) {
		bool here = !(p->runs[i].flags & RUN_PARENT);

		p->runs[i].place = here ? at : 0;
		at += here ? p->runs[i].len : 0;
	}
}

void memory_count_stored(struct process *p)
{
	for (size_t i = 0; i < p->nmappings; i++)
		p->mappings[i].stored = 0;
	for (size_t i = 0; i < p->nruns; i++)
		if (!(p->runs[i].flags & RUN_PARENT))
			p->mappings[p->runs[i].mapping].stored += p->runs[i].len;
}

static bool is_needed(const struct process *p)
{
	return p->places_given;
}

static void codec(struct codec *c, struct process *p)
{
	size_t n = p->nruns;
	uint64_t *v = NULL;

	/* Writing, the array is only counted. */
	codec_array(c, &v, &n, sizeof(*v), 8, 1u << 30);
	if (n != p->nruns)
		c->bad = true;
	for (size_t i = 0; i < n && !c->bad; i++)
		codec_u64(c, &p->runs[i].place);
	p->places_given = true;
	free(v);
}

static int validate(const struct process *p, struct err *err)
{
	for (size_t i = 0; i < p->nruns; i++) {
		const struct run *r = &p->runs[i];

		if (r->place % PAGE_SIZE_4K || r->place > (UINT64_C(1) << 47) ||
		    ((r->flags & RUN_PARENT) && r->place))
			return err_image(err, "the place of stored range %zu (%#llx) is impossible",
					 i, (unsigned long long)r->start);
	}
	return 0;
}

int memory_check_places(const struct process *p, uint64_t data_size, const char *path,
			struct err *err)
{
	uint64_t sum = memory_stored_bytes(p);

	if (!p->places_given && sum != data_size) {
		err_image(err,
			  "'%s' contradicts itself: its notes tell of %llu bytes of memory, %llu "
			  "are there",
			  path, (unsigned long long)sum, (unsigned long long)data_size);
		return err_hint(err, "take the file from a backup, or make a new checkpoint");
	}
	for (size_t i = 0; i < p->nruns && p->places_given; i++) {
		const struct run *r = &p->runs[i];

		if (r->flags & RUN_PARENT ||
		    (r->len <= data_size && r->place <= data_size - r->len))
			continue;
		err_image(err, "'%s' contradicts itself: stored range %zu (%#llx) is not in it",
			  path, i, (unsigned long long)r->start);
		return err_hint(err, "take the file from a backup, or make a new checkpoint");
	}
	return 0;
}

const struct state_ops state_places = {
	.name = "the places of the stored ranges",
	.note = NOTE_PLACES,
	.optional = true,
	.is_needed = is_needed,
	.codec = codec,
	.validate = validate,
};
