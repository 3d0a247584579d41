/*
 * The parent of an incremental image: another image of the same program, made
 * before, that holds the runs that have not changed since.
 */
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/report.h"
#include "state/chain.h"
#include "state/state.h"

static bool is_needed(const struct process *p)
{
	return p->parent.path != NULL;
}

static void codec(struct codec *c, struct process *p)
{
	struct parent_ref *r = &p->parent;

	codec_str(c, &r->name);
	codec_str(c, &r->path);
	codec_u64(c, &r->id);
	codec_u64(c, &r->size);
	codec_i64(c, &r->time_ns);
	codec_u32(c, &r->depth);
}

static int validate(const struct process *p, struct err *err)
{
	const struct parent_ref *r = &p->parent;
	bool has_any = false;

	for (size_t i = 0; i < p->nruns; i++)
		has_any = has_any || (p->runs[i].flags & RUN_PARENT);
	if (!r->path && !r->name && !has_any)
		return 0;
	if (!r->path || !r->name || *r->path != '/' || !*r->name || strchr(r->name, '/'))
		return err_image(err, "the name of its parent is impossible");
	if (!r->depth || r->depth > CHAIN_MAX)
		return err_image(err, "it cannot have %u parents", r->depth);
	return 0;
}

static void show(const struct process *p, struct report *rep)
{
	uint64_t bytes = 0;

	if (!p->parent.path)
		return;
	for (size_t i = 0; i < p->nruns; i++)
		bytes += p->runs[i].flags & RUN_PARENT ? p->runs[i].len : 0;
	report_section(rep, "parent", "Parent");
	report_str(rep, "name", "image", "%s", p->parent.name);
	report_str(rep, "path", "was in", "%s", p->parent.path);
	report_hex(rep, "id", "id", p->parent.id);
	report_bytes(rep, "image_bytes", NULL, p->parent.size);
	report_bytes(rep, "stored_there", "stored there", bytes);
	report_u64(rep, "images_below", "images below", p->parent.depth);
	report_end(rep);
}

void parent_done(struct parent_ref *r)
{
	free(r->name);
	free(r->path);
	*r = (struct parent_ref){0};
}

static void done(struct process *p)
{
	parent_done(&p->parent);
}

int parent_read(struct image *img, struct parent_ref *ret, struct err *err)
{
	struct process p = {0};
	struct image_note note;
	struct codec c;

	*ret = (struct parent_ref){0};
	if (!image_note_find(img, "GODWIT", NOTE_PARENT, &note))
		return 0;
	c = codec_reader(note.desc, note.len);
	codec(&c, &p);
	if (c.bad || c.left || validate(&p, err)) {
		done(&p);
		return err_image(err, "%s: the note on the parent image is malformed",
				 image_path(img));
	}
	*ret = p.parent;
	return 0;
}

const struct state_ops state_parent = {
	.name = "the parent image",
	.note = NOTE_PARENT,
	.optional = true,
	.is_needed = is_needed,
	.codec = codec,
	.validate = validate,
	.show = show,
	.done = done,
};
