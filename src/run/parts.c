/*
 * What the images of an incremental run stand on: IMAGE.part-1, IMAGE.part-2, ...
 *
 * IMAGE and the older ones change their names with every checkpoint, so none of them can be the
 * parent that an image names.  Therefore each gets a second name, a hard link, which it
 * keeps until nothing stands on it any more.  That name is there before it is an image's
 * parent, and goes only when no generation is left that needs it:
 *
 *   1. the checkpoint writes IMAGE.new, which names IMAGE.part-(n-1); the keeper is told
 *      IMAGE.part-n;
 *   2. IMAGE.new is linked as IMAGE.part-n;
 *   3. the generations move up (images.c);
 *   4. what no generation stands on is taken away.
 *
 * Who is killed in between leaves names too many, never one too few: the next run, whose
 * program is another process and has no keeper, begins a chain of its own, and takes them away.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"
#include "image/image.h"
#include "run/internal.h"
#include "state/chain.h"

#define SUFFIX ".part-"
/* A chain is as long as this at most; and as large as the complete image that it stands on: so it
 * takes twice the room, and twice the time of a restart, at most. */
#define INCREMENTS_MAX 20u

char *parts_name(const struct run_images *im, unsigned n, struct err *err)
{
	char *name;

	if (asprintf(&name, "%s" SUFFIX "%u", im->path, n) < 0) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	return name;
}

/* --- which are there --- */

struct part {
	unsigned n;
	bool needed;
};

struct parts {
	struct part *v;
	size_t n, cap;
};

/* The number of a part, by the name of the file without its directory; 0: it is none. */
static unsigned number_of(const struct run_images *im, const char *base)
{
	const char *slash = strrchr(im->path, '/'), *own = slash ? slash + 1 : im->path;
	size_t len = strlen(own);
	unsigned long n;
	char *end;

	if (strncmp(base, own, len) || strncmp(base + len, SUFFIX, strlen(SUFFIX)))
		return 0;
	base += len + strlen(SUFFIX);
	if (*base < '1' || *base > '9')
		return 0;
	errno = 0;
	n = strtoul(base, &end, 10);
	return *end || errno || n > INT_MAX ? 0 : (unsigned)n;
}

static DIR *open_directory(const struct run_images *im)
{
	const char *slash = strrchr(im->path, '/');
	char dir[PATH_MAX] = ".";

	if (slash)
		snprintf(dir, sizeof(dir), "%.*s", slash == im->path ? 1 : (int)(slash - im->path),
			 im->path);
	return opendir(dir);
}

static int list(const struct run_images *im, struct parts *ret, struct err *err)
{
	DIR *d = open_directory(im);
	const struct dirent *e;
	int error = 0;

	*ret = (struct parts){0};
	if (!d)
		return err_sys(err, -errno, "cannot read the directory of '%s'", im->path);
	while (!error && (e = readdir(d))) {
		unsigned n = number_of(im, e->d_name);
		void *v = n ? io_grow(ret->v, &ret->cap, ret->n + 1, sizeof(*ret->v), err) : NULL;

		if (v) {
			ret->v = v;
			ret->v[ret->n++] = (struct part){.n = n};
		} else if (n) {
			error = err->error;
		}
	}
	closedir(d);
	return error;
}

unsigned parts_last(const struct run_images *im)
{
	struct err ignored = ERR_INIT;
	struct parts p;
	unsigned last = 0;

	if (list(im, &p, &ignored))
		p.n = 0;
	for (size_t i = 0; i < p.n; i++)
		last = p.v[i].n > last ? p.v[i].n : last;
	free(p.v);
	return last;
}

/* --- from an image down --- */

/* The number of the part that an image stands on, and the size of its file; 0: none of ours. */
static int read_below(const struct run_images *im, const char *path, unsigned *ret,
		      uint64_t *ret_bytes, struct err *err)
{
	struct parent_ref r;
	struct image *img;
	int error = image_open(path, &img, err);

	if (error)
		return error;
	*ret = 0;
	*ret_bytes = image_stored_size(img);
	error = parent_read(img, &r, err);
	if (!error && r.name)
		*ret = number_of(im, r.name);
	parent_done(&r);
	image_close(img);
	return error;
}

bool parts_are_many(const struct run_images *im)
{
	struct err ignored = ERR_INIT;
	uint64_t bytes = 0, above = 0;
	unsigned below = 0;

	for (unsigned i = 0; i < INCREMENTS_MAX; i++) {
		__cleanup_free char *name =
			i ? parts_name(im, below, &ignored) : images_name(im, 0, &ignored);

		if (!name || read_below(im, name, &below, &bytes, &ignored))
			return true;
		if (!below)
			return above > bytes;
		above += bytes;
	}
	return true;
}

/* Marks what the image stands on. */
static int mark(const struct run_images *im, struct parts *p, const char *path, struct err *err)
{
	uint64_t bytes;
	unsigned below;
	int ret = read_below(im, path, &below, &bytes, err);

	while (!ret && below) {
		__cleanup_free char *name = parts_name(im, below, err);
		size_t i = 0;

		while (i < p->n && p->v[i].n != below)
			i++;
		if (i == p->n || p->v[i].needed)
			break; /* what is below it is known; or is nowhere */
		p->v[i].needed = true;
		ret = name ? read_below(im, name, &below, &bytes, err) : err->error;
	}
	return ret;
}

static int mark_all(const struct run_images *im, struct parts *p, struct err *err)
{
	int ret = 0;

	/* A run with a larger --keep may have left more of them. */
	for (unsigned k = 0; k <= RUN_KEEP_MAX && !ret; k++) {
		__cleanup_free char *name = images_name(im, k, err);

		if (!name)
			return err->error;
		if (!access(name, F_OK))
			ret = mark(im, p, name, err);
		else if (k > im->keep)
			break;
	}
	return ret;
}

/* --- the steps --- */

int parts_link(const struct run_images *im, unsigned n, struct err *err)
{
	__cleanup_free char *name = parts_name(im, n, err), *next = images_next(im, err);

	if (!name || !next)
		return err->error;
	if (linkat(AT_FDCWD, next, AT_FDCWD, name, 0))
		return err_sys(err, -errno, "cannot link '%s' as '%s'", next, name);
	fault_point("part linked");
	return 0;
}

void parts_sweep(const struct run_images *im, unsigned n)
{
	struct err ignored = ERR_INIT;
	struct parts p;
	int ret = list(im, &p, &ignored);

	/* One that cannot be read may yet be, when its disk is back: all stay. */
	if (!ret && p.n)
		ret = mark_all(im, &p, &ignored);
	for (size_t i = 0; i < p.n && !ret; i++) {
		__cleanup_free char *name = parts_name(im, p.v[i].n, &ignored);

		if (!name || p.v[i].needed || p.v[i].n == n)
			continue;
		unlink(name);
		fault_point("part removed");
	}
	free(p.v);
}

void parts_remove(const struct run_images *im)
{
	struct err ignored = ERR_INIT;
	struct parts p;

	if (list(im, &p, &ignored))
		p.n = 0;
	for (size_t i = 0; i < p.n; i++) {
		__cleanup_free char *name = parts_name(im, p.v[i].n, &ignored);

		if (name)
			unlink(name);
	}
	free(p.v);
}
