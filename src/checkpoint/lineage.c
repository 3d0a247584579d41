/* The image that an incremental one stands on: see lineage.h. */
#include "checkpoint/lineage.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "state/chain.h"
#include "state/memory.h"
#include "track/keeper.h"

/* The keeper's note. */
struct kept_parent {
	uint64_t id, size;
	int64_t time_ns;
	uint32_t depth;      /* images below this one */
	char path[PATH_MAX]; /* absolute */
};

_Static_assert(sizeof(struct kept_parent) <= KEEPER_NOTE_MAX, "it fits in a note");

void lineage_done(struct lineage *l)
{
	if (l->proc)
		process_done(l->proc);
	free(l->proc);
	image_close(l->parent);
	free(l->kept);
	io_close_fd(&l->sock);
	*l = (struct lineage){.sock = -1};
}

static bool is_same_file(const struct stat *a, const char *path)
{
	struct stat b;

	return !stat(path, &b) && a->st_dev == b.st_dev && a->st_ino == b.st_ino;
}

/* Would the new image replace one that it stands on? */
static int check_name(struct job *j, struct lineage *l, struct err *err)
{
	struct chain chain = {0};
	struct stat st;
	int ret = stat(j->o->image, &st) ? 0 : chain_open(l->parent, l->proc, &chain, err);

	for (size_t i = 0; !ret && i < chain.n; i++)
		if (is_same_file(&st, image_path(chain.v[i].img))) {
			err_set(err, -EEXIST,
				"'%s' would be replaced, but the new image is to stand on it",
				j->o->image);
			ret = err_hint(err, "give the new one a name of its own: -o %s.%u",
				       j->o->image, l->kept->depth + 1);
		}
	chain_done(&chain);
	return ret;
}

/* As realpath(3), of a file that need not be there. */
static int absolute(const char *path, char ret[PATH_MAX], struct err *err)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	char dir[PATH_MAX] = ".";
	size_t len;

	if (slash)
		snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	if (!realpath(dir, ret))
		return err_sys(err, -errno, "cannot find '%s' again", path);
	len = strlen(ret) == 1 ? 0 : strlen(ret);
	if (snprintf(ret + len, PATH_MAX - len, "/%s", base) >= (int)(PATH_MAX - len))
		return err_set(err, -ENAMETOOLONG, "the name '%s' is too long", path);
	return 0;
}

/* Is it the image that was asked for? */
static int check_wanted(const struct job *j, const struct lineage *l, struct err *err)
{
	char wanted[PATH_MAX];
	int ret;

	if (!j->o->parent)
		return 0;
	if ((ret = absolute(j->o->parent, wanted, err)))
		return ret;
	if (strcmp(wanted, l->kept->path))
		return err_set(err, -ESTALE, "'%s' was made in between", l->kept->path);
	return 0;
}

/* The image that the keeper knows, with its model. */
static int open_parent(struct lineage *l, struct err *err)
{
	int ret = image_open(l->kept->path, &l->parent, err);

	if (ret)
		return ret;
	if (image_id(l->parent) != l->kept->id || image_file_size(l->parent) != l->kept->size)
		return err_set(err, -ESTALE, "'%s' is another image by now", l->kept->path);
	if (l->kept->depth >= CHAIN_MAX)
		return err_set(err, -EMLINK, "'%s' stands on %u others already", l->kept->path,
			       l->kept->depth);
	l->proc = io_alloc(1, sizeof(*l->proc), err);
	if (!l->proc)
		return err->error;
	if ((ret = process_load(l->parent, l->proc, err))) {
		free(l->proc);
		l->proc = NULL;
	}
	return ret;
}

/* An error before anything was touched: the keeper goes on as it was. */
static void put_back(struct lineage *l, struct track **t)
{
	struct err ignored = ERR_INIT;

	if (keeper_give_back(l->sock, *t, l->kept, sizeof(*l->kept), &ignored))
		ignored = ERR_INIT; /* then the next image will be complete */
	*t = NULL;
	l->sock = -1;
}

int lineage_open(struct job *j, struct lineage *l, struct track **ret_track, struct err *err)
{
	struct err why = ERR_INIT;
	int ret;

	*l = (struct lineage){.sock = -1};
	l->kept = io_alloc(1, sizeof(*l->kept), err);
	if (!l->kept)
		return err->error;
	ret = keeper_take(j->o->pid, ret_track, l->kept, sizeof(*l->kept), &l->sock, err);
	if (ret < 0)
		return ret;
	if (ret == 0) {
		capture_notice(&j->capture,
			       "a complete image: nothing is known of what process %d "
			       "wrote before",
			       j->o->pid);
		return 0;
	}
	l->kept->path[sizeof(l->kept->path) - 1] = '\0';
	if (!track_is_alive(*ret_track))
		err_set(&why, -ESTALE, "process %d runs another program by now", j->o->pid);
	if (!why.error && !check_wanted(j, l, &why) && !open_parent(l, &why)) {
		ret = check_name(j, l, err);
		if (ret)
			put_back(l, ret_track);
		return ret;
	}
	capture_notice(&j->capture, "a complete image: %s", why.what);
	track_stop(*ret_track);
	*ret_track = NULL;
	lineage_done(l);
	return 0;
}

bool lineage_has(const struct lineage *l, uint64_t addr, uint64_t *len)
{
	return l->proc && chain_find_run(l->proc, addr, false, len);
}

static bool is_same_mapped_file(const struct mapped_file *a, const struct mapped_file *b)
{
	return !strcmp(a->path, b->path) && a->dev == b->dev && a->ino == b->ino &&
	       a->size == b->size && a->mtime_ns == b->mtime_ns;
}

bool lineage_has_clean(const struct lineage *l, const struct process *p, const struct run *r,
		       uint64_t addr, uint64_t *len)
{
	const struct mapping *m = &p->mappings[r->mapping], *old;
	const struct run *there = l->proc ? chain_find_run(l->proc, addr, true, len) : NULL;

	if (!there)
		return false;
	old = &l->proc->mappings[there->mapping];
	return m->file && old->file &&
	       is_same_mapped_file(&p->mapped_files[m->file - 1],
				   &l->proc->mapped_files[old->file - 1]) &&
	       m->offset + (addr - m->start) == old->offset + (addr - old->start);
}

int lineage_tell(struct job *j, struct lineage *l, struct err *err)
{
	struct parent_ref *r = &j->proc->parent;
	bool has_any = false;

	for (size_t i = 0; i < j->proc->nruns; i++)
		has_any = has_any || (j->proc->runs[i].flags & RUN_PARENT);
	if (!has_any)
		return 0;
	r->path = strdup(l->kept->path);
	r->name = strdup(strrchr(l->kept->path, '/') + 1);
	if (!r->path || !r->name)
		return err_set(err, -ENOMEM, "out of memory");
	r->id = l->kept->id;
	r->size = l->kept->size;
	r->time_ns = l->kept->time_ns;
	r->depth = l->kept->depth + 1;
	j->has_parent = true;
	image_writer_require(j->writer, IMAGE_NEEDS_PARENT);
	return 0;
}

void lineage_keep(struct job *j, struct lineage *l, struct track *t)
{
	struct kept_parent k = {
		.id = image_writer_id(j->writer),
		.size = image_writer_size(j->writer),
		.time_ns = j->proc->system.time_ns,
		.depth = j->proc->parent.depth,
	};
	struct err why = ERR_INIT;
	int ret;

	if ((ret = absolute(j->o->known_as ? j->o->known_as : j->o->image, k.path, &why))) {
		track_stop(t);
	} else if (l->sock >= 0) {
		ret = keeper_give_back(l->sock, t, &k, sizeof(k), &why);
		l->sock = -1;
	} else {
		ret = keeper_start(j->o->pid, t, &k, sizeof(k), &why);
	}
	if (ret)
		capture_notice(&j->capture, "the next checkpoint will be complete: %s", why.what);
}
