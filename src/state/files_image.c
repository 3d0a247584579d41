/*
 * Descriptors in the image: docs/IMAGE-FORMAT.md, note FILES.  What is read
 * may come from anybody, so validate looks at every number that is used later
 * as an index, a count, a descriptor or a kind.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "state/file_kinds.h"

#define FILE_MIN_SIZE 40u /* bytes that a description takes at least */
#define FD_MIN_SIZE 9u
#define SLOT_MAX 65536u /* bytes: the largest page */
#define PIPE_MIN_SIZE 29u

static void codec_file(struct codec *c, struct open_file *f)
{
	const struct file_ops *ops;

	codec_u32(c, &f->kind);
	codec_u32(c, &f->flags);
	codec_i64(c, &f->pos);
	codec_u64(c, &f->dev);
	codec_u64(c, &f->ino);
	codec_u64(c, &f->rdev);
	codec_str(c, &f->path);
	ops = f->kind < FILE_KIND_END ? file_ops_of(f->kind) : NULL;
	if (!ops)
		c->bad = true; /* where the next one begins is not known */
	else if (ops->codec)
		ops->codec(c, f);
}

void files_codec(struct codec *c, struct process *p)
{
	struct file_table *t = p->files;

	if (!t) {
		t = p->files = calloc(1, sizeof(*t));
		if (!t) {
			c->bad = true;
			return;
		}
	}
	codec_array(c, &t->pipes, &t->npipes, sizeof(*t->pipes), PIPE_MIN_SIZE, FILES_MAX);
	for (size_t i = 0; i < t->npipes && !c->bad; i++) {
		codec_u64(c, &t->pipes[i].dev);
		codec_u64(c, &t->pipes[i].ino);
		codec_u32(c, &t->pipes[i].capacity);
		codec_blob(c, &t->pipes[i].data, &t->pipes[i].len);
		codec_array(c, &t->pipes[i].slots, &t->pipes[i].nslots, sizeof(uint32_t), 4,
			    FILES_MAX);
		for (size_t k = 0; k < t->pipes[i].nslots && !c->bad; k++)
			codec_u32(c, &t->pipes[i].slots[k]);
		codec_bool(c, &t->pipes[i].packets);
	}
	codec_array(c, &t->files, &t->nfiles, sizeof(*t->files), FILE_MIN_SIZE, FILES_MAX);
	for (size_t i = 0; i < t->nfiles && !c->bad; i++)
		codec_file(c, &t->files[i]);
	codec_array(c, &t->fds, &t->nfds, sizeof(*t->fds), FD_MIN_SIZE, FILES_MAX);
	for (size_t i = 0; i < t->nfds && !c->bad; i++) {
		codec_i32(c, &t->fds[i].fd);
		codec_u32(c, &t->fds[i].file);
		codec_bool(c, &t->fds[i].cloexec);
	}
	if (!c->writing && !c->bad)
		files_link(t);
}

static int validate_fds(const struct file_table *t, struct err *err)
{
	__cleanup_free bool *seen = io_alloc(t->nfiles, sizeof(*seen), err);
	uint32_t next = 0;

	if (!seen)
		return err->error;
	for (size_t i = 0; i < t->nfds; i++) {
		const struct file_descriptor *d = &t->fds[i];

		if (d->fd < 0 || (unsigned)d->fd >= FILES_MAX)
			return err_image(err, "files: descriptor %d is out of range", d->fd);
		if (i && d->fd <= t->fds[i - 1].fd)
			return err_image(err, "files: descriptor %d is out of order", d->fd);
		/* In the order of their lowest descriptors: restart counts on it. */
		if (d->file >= t->nfiles || (!seen[d->file] && d->file != next))
			return err_image(err, "files: descriptor %d is of no file", d->fd);
		next += !seen[d->file];
		seen[d->file] = true;
	}
	if (next != t->nfiles)
		return err_image(err, "files: file %u has no descriptor", next);
	return 0;
}

static int validate_pipe(const struct pipe_object *p, size_t i, struct err *err)
{
	uint64_t sum = 0;

	if (!p->capacity || p->capacity > FILES_PIPE_MAX || p->len > p->capacity)
		return err_image(err, "files: pipe %zu holds more than it can", i);
	for (size_t k = 0; k < p->nslots; k++) {
		if (p->slots[k] > SLOT_MAX)
			return err_image(err, "files: pipe %zu has an impossible part", i);
		sum += p->slots[k];
	}
	if (p->nslots && sum != p->len)
		return err_image(err, "files: the parts of pipe %zu are not its content", i);
	return 0;
}

int files_validate(const struct process *p, struct err *err)
{
	const struct file_table *t = p->files;
	int e;

	if (!t)
		return 0;
	if (t->nfiles > FILES_MAX || t->nfds > FILES_MAX || t->npipes > FILES_MAX)
		return err_image(err, "files: too many");
	if ((e = validate_fds(t, err)))
		return e;
	for (size_t i = 0; i < t->npipes; i++)
		if ((e = validate_pipe(&t->pipes[i], i, err)))
			return e;
	for (size_t i = 0; i < t->nfiles; i++) {
		const struct open_file *f = &t->files[i];
		const struct file_ops *ops = file_ops_of(f->kind);

		if (!ops)
			return err_image(err, "files: unknown kind %u", f->kind);
		if (!f->path || strlen(f->path) > FILES_PATH_MAX || !f->path[0])
			return err_image(err, "files: fd %d has no possible name",
					 file_lowest_fd(t, f));
		if (f->flags & (O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC) ||
		    (f->flags & O_PATH && f->kind != FILE_PATH))
			return err_image(err, "files: fd %d has the impossible flags %#o",
					 file_lowest_fd(t, f), f->flags);
		if (ops->validate && (e = ops->validate(t, f, err)))
			return e;
	}
	return 0;
}
