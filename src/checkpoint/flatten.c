/*
 * Flattening: see flatten.h.  The notes are copied as they are, but for those on
 * memory; the memory is gathered from all the images.
 */
#include "checkpoint/flatten.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/meter.h"
#include "checkpoint/internal.h"
#include "state/chain.h"
#include "state/memory.h"

struct flattening {
	struct image *img;
	struct process proc; /* as it is stored */
	struct process flat; /* the same arrays, but for runs of its own */
	struct chain chain;
	struct image_writer *writer;
	struct meter *meter;
};

static uint64_t bytes_of_runs(const struct process *p)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < p->nruns; i++)
		bytes += p->runs[i].len;
	return bytes;
}

static int open_all(struct flattening *f, const char *path, struct err *err)
{
	int ret = image_open(path, &f->img, err);

	if (ret)
		return ret;
	if ((ret = process_load(f->img, &f->proc, err)) ||
	    (ret = memory_check_places(&f->proc, image_data_size(f->img), path, err)) ||
	    (ret = chain_open(f->img, &f->proc, &f->chain, err)))
		return ret;
	meter_begin(f->meter, chain_data_size(&f->chain) + bytes_of_runs(&f->proc));
	if ((ret = image_verify_blocks(f->img, 0, image_blocks(f->img), f->meter, err)))
		return ret;
	return chain_verify_below(&f->chain, f->meter, err);
}

/* Runs that are cut only where they must be. */
static int plan(struct flattening *f, struct err *err)
{
	struct process *p = &f->flat;
	size_t n = 0;

	*p = f->proc;
	p->places_given = false;
	p->parent = (struct parent_ref){0};
	p->runs = io_alloc(f->proc.nruns + 1, sizeof(*p->runs), err);
	if (!p->runs)
		return err->error;
	for (size_t i = 0; i < f->proc.nruns; i++) {
		struct run r = f->proc.runs[i], *last = n ? &p->runs[n - 1] : NULL;

		r.flags &= ~(uint32_t)RUN_PARENT;
		if (last && last->start + last->len == r.start && last->mapping == r.mapping &&
		    last->flags == r.flags)
			last->len += r.len;
		else
			p->runs[n++] = r;
	}
	p->nruns = n;
	memory_place_runs(p);
	memory_count_stored(p);
	return image_writer_set_data_size(f->writer, memory_stored_bytes(p), err);
}

/* The stored runs in their order are the data area. */
static int copy_data(struct flattening *f, struct err *err)
{
	__cleanup_free uint8_t *buf = io_alloc(1, IMAGE_BLOCK, err);
	const struct process *p = &f->proc;
	uint64_t block = 0;
	size_t len = 0;
	int ret;

	if (!buf)
		return err->error;
	for (size_t i = 0; i < p->nruns; i++)
		for (uint64_t skip = 0; skip < p->runs[i].len;) {
			size_t n = IMAGE_BLOCK - len;

			if (n > p->runs[i].len - skip)
				n = (size_t)(p->runs[i].len - skip);
			if ((ret = chain_read(&f->chain, &p->runs[i], skip, buf + len, n, err)))
				return ret;
			skip += n;
			len += n;
			meter_add(f->meter, n);
			if (len < IMAGE_BLOCK)
				continue;
			if ((ret = image_writer_block(f->writer, block++, buf, len)))
				return image_writer_fail(f->writer, ret, err);
			len = 0;
		}
	if (len && (ret = image_writer_block(f->writer, block, buf, len)))
		return image_writer_fail(f->writer, ret, err);
	return 0;
}

static const struct state_ops *of_memory(const struct image_note *n)
{
	if (strcmp(n->owner, "GODWIT"))
		return NULL;
	if (n->type == NOTE_MAPPINGS)
		return &state_memory;
	return n->type == NOTE_RUNS ? &state_runs : NULL;
}

static bool is_dropped(const struct image_note *n)
{
	return !strcmp(n->owner, "GODWIT") && (n->type == NOTE_PLACES || n->type == NOTE_PARENT);
}

static int copy_note(struct flattening *f, const struct image_note *n, struct err *err)
{
	const struct state_ops *k = of_memory(n);
	__cleanup_buf struct buf b = {0};
	__cleanup_free void *bytes = NULL;
	int ret;

	if (k) {
		struct codec c = codec_writer(&b);

		k->codec(&c, &f->flat);
		if (b.failed || c.bad)
			return err_set(err, -ENOMEM, "out of memory");
		return image_writer_note(f->writer, n->owner, n->type, b.p, b.len, err);
	}
	if (!(bytes = io_alloc(1, n->len, err)))
		return err->error;
	ret = image_note_read(f->img, n, bytes, err);
	return ret ? ret : image_writer_note(f->writer, n->owner, n->type, bytes, n->len, err);
}

static int copy_notes(struct flattening *f, struct err *err)
{
	struct image_note n;
	size_t cursor = 0;
	int ret;

	while (image_note_next(f->img, &cursor, &n) == 1)
		if (!is_dropped(&n) && (ret = copy_note(f, &n, err)))
			return ret;
	return segments_write(&f->flat, f->writer, err);
}

int flatten(const char *image, const char *out, struct meter *meter, struct flatten_result *ret,
	    struct err *err)
{
	struct flattening f = {.meter = meter};
	int error = open_all(&f, image, err);

	if (!error)
		error = image_writer_open(out, &f.writer, err);
	if (!error)
		error = plan(&f, err);
	if (!error)
		error = copy_data(&f, err);
	if (!error)
		error = copy_notes(&f, err);
	if (!error)
		error = image_writer_commit(f.writer, err);
	meter_end(meter);
	if (!error)
		*ret = (struct flatten_result){f.chain.n, image_writer_size(f.writer)};
	image_writer_close(f.writer);
	chain_done(&f.chain);
	free(f.flat.runs);
	process_done(&f.proc);
	image_close(f.img);
	return error;
}
