/* Images that stand on others: see chain.h. */
#include "state/chain.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/meter.h"
#include "state/memory.h"
#include "state/state.h"

void chain_done(struct chain *c)
{
	for (size_t i = 1; i < c->n; i++) {
		if (c->v[i].proc)
			process_done(c->v[i].proc);
		free(c->v[i].proc);
		image_close(c->v[i].img);
	}
	free(c->v);
	*c = (struct chain){0};
}

static bool is_that(const struct image *img, const struct parent_ref *r)
{
	return image_id(img) == r->id && image_file_size(img) == r->size;
}

/* 0 and *ret, or what was wrong in *err. */
static int try_place(const char *path, const struct parent_ref *r, struct image **ret,
		     struct err *err)
{
	int error = image_open(path, ret, err);

	if (error || is_that(*ret, r))
		return error;
	image_close(*ret);
	*ret = NULL;
	err_image(err, "'%s' is not the image it was: it has been replaced by another one", path);
	return err_hint(err, "put back the image with the id 0x%llx", (unsigned long long)r->id);
}

static int open_parent(const struct image *child, const struct parent_ref *r, struct image **ret,
		       struct err *err)
{
	const char *slash = strrchr(image_path(child), '/');
	int dir_len = slash ? (int)(slash + 1 - image_path(child)) : 0;
	struct err beside = ERR_INIT, there = ERR_INIT;
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%.*s%s", dir_len, image_path(child), r->name) >=
	    (int)sizeof(path))
		return err_set(err, -ENAMETOOLONG, "the name of the parent is too long");
	if (!try_place(path, r, ret, &beside) || !try_place(r->path, r, ret, &there))
		return 0;
	if (beside.error == -ENOENT && there.error == -ENOENT) {
		err_image(err, "'%s' needs its parent '%s', which is missing", image_path(child),
			  r->name);
		return err_hint(err, "put it beside '%s', or back to '%s'", image_path(child),
				r->path);
	}
	*err = beside.error == -ENOENT ? there : beside;
	err->exit = EXIT_BAD_IMAGE;
	return err_prepend(err, "the parent of '%s' cannot be used", image_path(child));
}

static int add_link(struct chain *c, struct image *img, struct process *p, struct err *err)
{
	void *v = io_grow(c->v, &c->cap, c->n + 1, sizeof(*c->v), err);

	if (!v)
		return err->error;
	c->v = v;
	c->v[c->n++] = (struct chain_link){img, p};
	return 0;
}

static int add_parent(struct chain *c, struct err *err)
{
	const struct chain_link *child = &c->v[c->n - 1];
	struct image *img;
	struct process *p;
	int ret;

	if (c->n > CHAIN_MAX)
		return err_image(err, "'%s' stands on more than %u images", image_path(c->v[0].img),
				 CHAIN_MAX);
	if ((ret = open_parent(child->img, &child->proc->parent, &img, err)))
		return ret;
	if ((ret = add_link(c, img, NULL, err))) {
		image_close(img);
		return ret;
	}
	p = io_alloc(1, sizeof(*p), err);
	if (!p)
		return err->error;
	if ((ret = process_load(img, p, err))) {
		free(p);
		return ret;
	}
	c->v[c->n - 1].proc = p;
	return memory_check_places(p, image_data_size(img), image_path(img), err);
}

/* Everything that is said to be below is there. */
static int check_runs(const struct chain *c, struct err *err)
{
	const struct process *p = c->v[0].proc;

	for (size_t i = 0; i < p->nruns; i++)
		for (uint64_t skip = 0; skip < p->runs[i].len;) {
			struct chain_place place;

			if (!chain_locate(c, &p->runs[i], skip, &place))
				return err_image(
					err, "'%s': the memory at %#llx is in none of its parents",
					image_path(c->v[0].img),
					(unsigned long long)(p->runs[i].start + skip));
			skip += place.len;
		}
	return 0;
}

int chain_open(struct image *img, struct process *p, struct chain *ret, struct err *err)
{
	struct chain c = {0};
	int error = add_link(&c, img, p, err);

	while (!error && c.v[c.n - 1].proc->parent.path)
		error = add_parent(&c, err);
	if (!error)
		error = check_runs(&c, err);
	if (error) {
		chain_done(&c);
		return error;
	}
	*ret = c;
	return 0;
}

/* --- where is it? --- */

static size_t first_clean(const struct process *p)
{
	size_t lo = 0, hi = p->nruns;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (p->runs[mid].flags & RUN_CLEAN)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

const struct run *chain_find_run(const struct process *p, uint64_t start, bool clean, uint64_t *len)
{
	size_t middle = first_clean(p), lo = clean ? middle : 0, hi = clean ? p->nruns : middle;
	size_t end = hi;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (p->runs[mid].start + p->runs[mid].len <= start)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == end || p->runs[lo].start > start)
		return NULL;
	if (*len > p->runs[lo].start + p->runs[lo].len - start)
		*len = p->runs[lo].start + p->runs[lo].len - start;
	return &p->runs[lo];
}

bool chain_locate(const struct chain *c, const struct run *run, uint64_t skip,
		  struct chain_place *ret)
{
	uint64_t start = run->start + skip, len = run->len - skip;
	size_t link = 0;

	while (run->flags & RUN_PARENT) {
		if (++link >= c->n ||
		    !(run = chain_find_run(c->v[link].proc, start, run->flags & RUN_CLEAN, &len)))
			return false;
	}
	*ret = (struct chain_place){link, run->place + (start - run->start), len};
	return true;
}

int chain_read(const struct chain *c, const struct run *run, uint64_t skip, void *buf, size_t len,
	       struct err *err)
{
	uint8_t *to = buf;

	while (len) {
		struct chain_place p;
		size_t n;
		int ret;

		if (!chain_locate(c, run, skip, &p))
			return err_image(err, "the memory at %#llx is in no image",
					 (unsigned long long)(run->start + skip));
		n = p.len < len ? (size_t)p.len : len;
		ret = image_read(c->v[p.link].img, to, n, IMAGE_DATA_START + p.off, err);
		if (ret)
			return ret;
		to += n;
		skip += n;
		len -= n;
	}
	return 0;
}

/* --- checksums --- */

/* used[link][block] */
static void mark(const struct chain *c, uint8_t **used)
{
	const struct process *p = c->v[0].proc;

	for (size_t i = 0; i < p->nruns; i++)
		for (uint64_t skip = 0; p->runs[i].flags & RUN_PARENT && skip < p->runs[i].len;) {
			struct chain_place at;

			if (!chain_locate(c, &p->runs[i], skip, &at))
				break; /* chain_open has refused it */
			for (uint64_t b = at.off / IMAGE_BLOCK;
			     b <= (at.off + at.len - 1) / IMAGE_BLOCK; b++)
				used[at.link][b] = 1;
			skip += at.len;
		}
}

uint64_t chain_data_size(const struct chain *c)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < c->n; i++)
		bytes += image_data_size(c->v[i].img);
	return bytes;
}

int chain_verify_below(const struct chain *c, struct meter *meter, struct err *err)
{
	__cleanup_free uint8_t **used = io_alloc(c->n, sizeof(*used), err);
	int ret = 0;

	if (!used)
		return err->error;
	for (size_t i = 1; i < c->n && !ret; i++)
		if (!(used[i] = io_alloc(image_blocks(c->v[i].img) + 1, 1, err)))
			ret = err->error;
	if (!ret)
		mark(c, used);
	for (size_t i = 1; i < c->n; i++) {
		for (uint64_t b = 0; !ret && b < image_blocks(c->v[i].img); b++)
			if (used[i][b])
				ret = image_verify_blocks(c->v[i].img, b, b + 1, meter, err);
			else
				meter_add(meter, IMAGE_BLOCK);
		free(used[i]);
	}
	return ret;
}
