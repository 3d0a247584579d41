/*
 * The model of a process, from the notes of an image.  The input is the area of
 * the notes; an image is made around it, with right checksums.  What is
 * accepted must hold together, and must be written again as it was.
 */
#include "fuzz.h"
#include "image_around.h"
#include "state/memory.h"
#include "state/state.h"

/* What was read is written as it was. */
static void same_again(struct image *img, struct process *p)
{
	for (size_t i = 0; state_kinds[i]; i++) {
		struct codec c;
		struct image_note n;
		struct buf b = {0};

		if (!image_note_find(img, "GODWIT", state_kinds[i]->note, &n)) {
			ALWAYS(state_kinds[i]->optional);
			continue;
		}
		c = codec_writer(&b);
		state_kinds[i]->codec(&c, p);
		ALWAYS(!c.bad && b.len == n.len && (!b.len || !memcmp(b.p, n.desc, b.len)));
		buf_done(&b);
	}
}

/* What everybody who uses the model relies on. */
static void holds_together(const struct process *p)
{
	uint64_t end = 0, sum = 0;

	ALWAYS(p->nthreads > 0);
	for (size_t i = 0; i < p->nmappings; i++) {
		const struct mapping *m = &p->mappings[i];

		ALWAYS(m->start >= end && m->end > m->start && !((m->start | m->end) & 4095));
		ALWAYS(m->file <= p->nmapped_files);
		end = m->end;
	}
	for (size_t i = 0; i < p->nmapped_files; i++)
		ALWAYS(p->mapped_files[i].path && p->mapped_files[i].build_id_len <= 20);
	for (size_t i = 0; i < p->nruns; i++) {
		const struct run *r = &p->runs[i];

		ALWAYS(r->mapping < p->nmappings && r->len && !((r->start | r->len) & 4095));
		ALWAYS(r->start >= p->mappings[r->mapping].start &&
		       r->len <= p->mappings[r->mapping].end - r->start);
		ALWAYS(!(r->flags & RUN_PARENT) || p->parent.path);
		ALWAYS(r->flags & RUN_PARENT || !__builtin_add_overflow(sum, r->len, &sum));
	}
	ALWAYS(memory_stored_bytes(p) == sum && memory_dirty_bytes(p) <= sum);
	const struct proc_maps none = {0};
	const struct restore r = {.now = &none};

	(void)memory_hole_needed(&r, p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = image_around(data, size, 0);
	struct image *img = image_opened(b);
	struct err err = ERR_INIT;
	struct process p;

	free(b.p);
	if (!img)
		return 0;
	if (!process_load(img, &p, &err)) {
		same_again(img, &p);
		holds_together(&p);
		process_done(&p);
	} else {
		if (fuzz_this_is_a_seed())
			fprintf(stderr, "# refused: %s\n", err.what);
		/* Else nearly nothing is tested: seed_state.py makes new ones. */
		ALWAYS(!fuzz_this_is_a_seed());
		ALWAYS(err.error == -ENOMEM || err.exit == EXIT_BAD_IMAGE);
		ALWAYS(err.what[0]);
	}
	image_close(img);
	return 0;
}
