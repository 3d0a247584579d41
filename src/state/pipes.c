/*
 * Pipes that the program holds both ends of, or that nobody else holds any
 * more.  The unread content is taken with tee(2), which consumes nothing.
 *
 * A pipe whose other end is somebody else's is inherited where it is one of
 * the descriptors 0-2 (file_inherited.c), and refused elsewhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state/file_kinds.h"

#define PIPE_DEFAULT 65536u /* bytes, pipe(7) */

static bool is_reader(const struct open_file *f)
{
	return (f->flags & O_ACCMODE) != O_WRONLY;
}

static bool is_writer(const struct open_file *f)
{
	return (f->flags & O_ACCMODE) != O_RDONLY;
}

/* --- capture --- */

static bool has_other_end(const struct file_table *t, const struct open_file *f)
{
	for (size_t i = 0; i < t->nfiles; i++) {
		const struct open_file *o = &t->files[i];

		if (o->kind == f->kind && o->dev == f->dev && o->ino == f->ino &&
		    (is_reader(f) ? is_writer(o) : is_reader(o)))
			return true;
	}
	return false;
}

static int find_pipe(const struct file_table *t, const struct open_file *f)
{
	for (size_t i = 0; i < t->npipes; i++)
		if (t->pipes[i].dev == f->dev && t->pipes[i].ino == f->ino)
			return (int)i;
	return -1;
}

/*
 * Takes the content of our copy page by page: a splice(2) into a pipe of one
 * page moves exactly one.
 */
static int read_slots(int in, const int page[2], struct pipe_object *p, size_t len, struct err *err)
{
	size_t cap = 0;

	for (size_t done = 0; done < len;) {
		ssize_t n = splice(in, NULL, page[1], NULL, len - done, SPLICE_F_NONBLOCK);
		uint32_t *v = io_grow(p->slots, &cap, p->nslots + 1, sizeof(*v), err);
		int e;

		if (!v)
			return err->error;
		p->slots = v;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		if ((e = io_read_all(page[0], (char *)p->data + done, (size_t)n)))
			return e;
		v[p->nslots++] = (uint32_t)n;
		done += (size_t)n;
	}
	return 0;
}

/* Slots that a plain write would fill in the same way need not be kept. */
static void forget_plain_slots(struct pipe_object *p)
{
	for (size_t i = 0; i + 1 < p->nslots; i++)
		if (p->slots[i] != PAGE_SIZE_4K)
			return;
	if (p->packets)
		return;
	free(p->slots);
	p->slots = NULL;
	p->nslots = 0;
}

static int copy_content(int dup, const int copy[2], const int page[2], struct pipe_object *p,
			size_t len, struct err *err)
{
	int e;

	if (fcntl(page[1], F_SETPIPE_SZ, PAGE_SIZE_4K) != PAGE_SIZE_4K)
		return -EIO;
	p->data = io_alloc(len, 1, err);
	if (!p->data)
		return err->error;
	if (tee(dup, copy[1], len, SPLICE_F_NONBLOCK) != (ssize_t)len)
		return -EIO;
	if ((e = read_slots(copy[0], page, p, len, err)))
		return e;
	p->len = len;
	forget_plain_slots(p);
	return 0;
}

/* Reads what is in the pipe, by a pipe of our own that has room for all of it. */
static int read_content(const struct file_scan *s, int dup, struct pipe_object *p, struct err *err)
{
	int copy[2] = {-1, -1}, page[2] = {-1, -1}, waiting = 0, e = 0;

	if (ioctl(dup, FIONREAD, &waiting) || waiting <= 0)
		return 0;
	if (pipe2(copy, O_CLOEXEC | O_NONBLOCK) || pipe2(page, O_CLOEXEC | O_NONBLOCK))
		e = err_sys(err, -errno, "cannot make a pipe");
	else if (p->capacity > PIPE_DEFAULT && fcntl(copy[1], F_SETPIPE_SZ, p->capacity) < 0) {
		err_sys(err, -errno, "cannot save '%s' (fd %d of process %d): no pipe of %u bytes",
			s->link, s->fd, s->c->remote->pid, p->capacity);
		e = err_hint(err, "raise /proc/sys/fs/pipe-max-size and pipe-user-pages-soft");
	} else if ((e = copy_content(dup, copy, page, p, (size_t)waiting, err)))
		e = file_refuse(s, err, "try again",
				"its content changed while it was read (%d bytes)", waiting);
	for (int i = 0; i < 2; i++) {
		io_close_fd(&copy[i]);
		io_close_fd(&page[i]);
	}
	return e;
}

static int add_pipe(const struct file_scan *s, const struct open_file *f, struct err *err)
{
	struct file_table *t = s->table;
	__cleanup_fd int dup = file_getfd(s, s->fd, err);
	struct pipe_object *p;
	int capacity;

	if (dup < 0)
		return dup;
	p = io_grow(t->pipes, &t->pipes_cap, t->npipes + 1, sizeof(*p), err);
	if (!p)
		return err->error;
	t->pipes = p;
	p += t->npipes++;
	*p = (struct pipe_object){.dev = f->dev, .ino = f->ino};
	capacity = fcntl(dup, F_GETPIPE_SZ);
	if (capacity <= 0)
		return err_sys(err, -errno, "cannot look at '%s' (fd %d)", s->link, s->fd);
	p->capacity = (uint32_t)capacity;
	return 0;
}

static bool is_packet_pipe(const struct file_table *t, const struct open_file *f)
{
	for (size_t i = 0; i < t->nfiles; i++)
		if (t->files[i].kind == f->kind && t->files[i].dev == f->dev &&
		    t->files[i].ino == f->ino && (t->files[i].flags & O_DIRECT))
			return true;
	return false;
}

/* The first reader that is met brings the content. */
static int add_content(const struct file_scan *s, const struct open_file *f, struct err *err)
{
	struct pipe_object *p = &s->table->pipes[f->pipe.pipe];
	__cleanup_fd int dup = -1;

	if (!is_reader(f) || p->data)
		return 0;
	dup = file_getfd(s, s->fd, err);
	if (dup < 0)
		return dup;
	p->packets = is_packet_pipe(s->table, f);
	return read_content(s, dup, p, err);
}

static void become_inherited(struct open_file *f)
{
	f->kind = FILE_INHERITED;
	f->inherited.is_tty = false;
	f->inherited.like = -1;
}

/*
 * Only one end is inside.  Nobody has the other: the program sees its end
 * again.  But descriptors 1 and 2 follow the restarting shell even so: whoever
 * restarts a program whose reader is gone wants to see what it writes.
 */
static int complete_single_end(struct file_scan *s, struct open_file *f, bool *ret_alone,
			       struct err *err)
{
	__cleanup_fd int dup = file_getfd(s, s->fd, err);

	if (dup < 0)
		return dup;
	*ret_alone = f->kind == FILE_PIPE && file_pipe_is_hung_up(dup, f->flags) &&
		     (s->fd > 2 || !is_writer(f));
	if (!*ret_alone)
		become_inherited(f);
	return 0;
}

int file_complete_pipe(struct file_scan *s, struct open_file *f, struct err *err)
{
	bool alone = true;
	int index, e;

	if (!has_other_end(s->table, f) && (e = complete_single_end(s, f, &alone, err)))
		return e;
	if (!alone)
		return file_inherited.complete(s, f, err);
	index = find_pipe(s->table, f);
	if (index < 0) {
		if ((e = add_pipe(s, f, err)))
			return e;
		index = (int)s->table->npipes - 1;
	}
	f->pipe.pipe = (uint32_t)index;
	return add_content(s, f, err);
}

/* --- image --- */

void file_codec_pipe(struct codec *c, struct open_file *f)
{
	codec_u32(c, &f->pipe.pipe);
}

int file_validate_pipe(const struct file_table *t, const struct open_file *f, struct err *err)
{
	if (f->pipe.pipe >= t->npipes)
		return err_image(err, "files: fd %d is of no pipe", file_lowest_fd(t, f));
	return 0;
}

/* --- restart --- */

int file_check_pipe(struct restore *r, const struct file_table *t, const struct open_file *f,
		    struct err *err)
{
	uint32_t capacity = t->pipes[f->pipe.pipe].capacity;
	__cleanup_fd int in = -1, out = -1;
	int ends[2];

	(void)r;
	if (capacity <= PIPE_DEFAULT)
		return 0;
	if (pipe2(ends, O_CLOEXEC))
		return err_sys(err, -errno, "cannot make a pipe");
	in = ends[0];
	out = ends[1];
	if (fcntl(out, F_SETPIPE_SZ, capacity) >= 0)
		return 0;
	err_sys(err, -errno, "cannot give the program a pipe of %u bytes (fd %d)", capacity,
		file_lowest_fd(t, f));
	return err_hint(err, "raise /proc/sys/fs/pipe-max-size to %u", capacity);
}

/* The description that gets an end as pipe2() makes it. */
static const struct open_file *find_end(const struct file_table *t, uint32_t pipe, uint32_t mode)
{
	for (size_t i = 0; i < t->nfiles; i++)
		if (t->files[i].kind == FILE_PIPE && t->files[i].pipe.pipe == pipe &&
		    (t->files[i].flags & O_ACCMODE) == mode)
			return &t->files[i];
	return NULL;
}

void file_fill_pipe(struct file_restore *fr, const struct pipe_object *p, int fd)
{
	/* Filled while it is large enough: as many bytes may have taken fewer
	 * pages, or more, in the old pipe; never more than its capacity. */
	if (p->capacity != PIPE_DEFAULT)
		program_call(fr->prog, "the pipe's capacity", SYS_fcntl, (unsigned)fd, F_SETPIPE_SZ,
			     p->capacity, 0, 0, 0);
	for (size_t i = 0, off = 0; i < p->nslots; off += p->slots[i++])
		file_write_all(fr, "what the program has not read yet from the pipe", fd,
			       (const char *)p->data + off, p->slots[i]);
	if (!p->nslots)
		file_write_all(fr, "what the program has not read yet from the pipe", fd, p->data,
			       p->len);
}

static void set_flags(struct file_restore *fr, const struct open_file *f, int fd, uint32_t made)
{
	if (f && (f->flags & (O_NONBLOCK | O_DIRECT)) != made)
		program_call_want(fr->prog, 0, file_why(fr, f, "flags"), SYS_fcntl, (unsigned)fd,
				  F_SETFL, f->flags & (O_NONBLOCK | O_DIRECT | O_APPEND), 0, 0, 0);
}

static bool has_more(const struct file_table *t, uint32_t pipe, const struct open_file *r,
		     const struct open_file *w)
{
	for (size_t i = 0; i < t->nfiles; i++)
		if (t->files[i].kind == FILE_PIPE && t->files[i].pipe.pipe == pipe &&
		    &t->files[i] != r && &t->files[i] != w)
			return true;
	return false;
}

/* More descriptions of an end, opened by name from the ones that exist. */
static void open_more(struct file_restore *fr, uint32_t pipe, const int ends[2],
		      const struct open_file *r, const struct open_file *w)
{
	const struct file_table *t = fr->table;
	char path[32];

	for (size_t i = 0; i < t->nfiles; i++) {
		const struct open_file *f = &t->files[i];

		if (f->kind != FILE_PIPE || f->pipe.pipe != pipe || f == r || f == w)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
		int temp =
			program_openat(fr->prog, file_why(fr, f, "the same pipe once more"), path,
				       (int)(f->flags & (O_ACCMODE | O_NONBLOCK)) | O_CLOEXEC, 0);

		file_place(fr, f, temp, true);
	}
}

/* All descriptions of one pipe, when the first of them is met. */
static int restore_pipe(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	const struct file_table *t = fr->table;
	const struct open_file *r, *w;
	uint32_t made;
	int ends[2];

	(void)err;
	for (const struct open_file *o = t->files; o < f; o++)
		if (o->kind == FILE_PIPE && o->pipe.pipe == f->pipe.pipe)
			return 0;
	r = find_end(t, f->pipe.pipe, O_RDONLY);
	w = find_end(t, f->pipe.pipe, O_WRONLY);
	made = t->pipes[f->pipe.pipe].packets ? O_DIRECT : 0;
	file_take_pair(fr, ends);
	uint64_t addr = program_data(fr->prog, NULL, sizeof(ends));

	program_call_want(fr->prog, 0, file_why(fr, f, "a pipe"), SYS_pipe2, addr, O_CLOEXEC | made,
			  0, 0, 0, 0);
	file_fill_pipe(fr, &t->pipes[f->pipe.pipe], ends[1]);
	set_flags(fr, r, ends[0], made);
	set_flags(fr, w, ends[1], made);
	if (has_more(t, f->pipe.pipe, r, w)) {
		/* Putting those in place must not close these. */
		for (int i = 0; i < 2; i++)
			ends[i] = file_out_of_the_way(fr, ends[i]);
		open_more(fr, f->pipe.pipe, ends, r, w);
	}
	file_place_pair(fr, r, ends[0], w, ends[1]);
	return 0;
}

void file_describe_pipe(const struct file_table *t, const struct open_file *f, struct buf *out)
{
	const struct pipe_object *p = &t->pipes[f->pipe.pipe];

	buf_printf(out, "%zu bytes unread of %u", p->len, p->capacity);
	if (!has_other_end(t, f))
		buf_printf(out, ", the other end is closed");
}

const struct file_ops file_pipe = {
	.kind = FILE_PIPE,
	.name = "pipe",
	.kept = "unread content, capacity, flags, where both ends are the program's or the other "
		"end is closed",
	.complete = file_complete_pipe,
	.codec = file_codec_pipe,
	.validate = file_validate_pipe,
	.check = file_check_pipe,
	.restore = restore_pipe,
	.describe = file_describe_pipe,
};
