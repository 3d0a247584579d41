/*
 * Named pipes that the program holds both ends of.  The content is in the
 * kernel as long as anybody has the pipe open: so a description of our own
 * holds it open until all of the program's are there.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state/file_kinds.h"

static int complete_fifo(struct file_scan *s, struct open_file *f, struct err *err)
{
	int e = file_complete_pipe(s, f, err);
	struct stat st;

	if (e || f->kind != FILE_FIFO)
		return e;
	if (s->table->pipes[f->pipe.pipe].packets && s->table->pipes[f->pipe.pipe].len)
		return file_refuse_as(s, err, REFUSED_FIFO_PACKETS,
				      "a named pipe in packet mode (O_DIRECT) with unread packets");
	if (stat(f->path, &st) || st.st_dev != f->dev || st.st_ino != f->ino)
		return file_refuse_as(s, err, REFUSED_FIFO_GONE,
				      "the named pipe has been deleted or replaced");
	return 0;
}

static int validate_fifo(const struct file_table *t, const struct open_file *f, struct err *err)
{
	if (f->path[0] != '/')
		return err_image(err, "files: fd %d: impossible name", file_lowest_fd(t, f));
	return file_validate_pipe(t, f, err);
}

static int check_fifo(struct restore *r, const struct file_table *t, const struct open_file *f,
		      struct err *err)
{
	int fd = file_lowest_fd(t, f);
	struct stat st = {0};

	if (stat(f->path, &st) && errno != ENOENT)
		return err_sys(err, -errno,
			       "cannot open the named pipe '%s' for the program (fd %d)", f->path,
			       fd);
	if (!S_ISFIFO(st.st_mode)) {
		err_refuse(err, "cannot give the program '%s' back (fd %d): it is no named pipe",
			   f->path, fd);
		return err_hint(err, "make it with mkfifo(1); nothing was touched");
	}
	if (access(f->path, R_OK | W_OK))
		return err_sys(err, -errno,
			       "cannot open the named pipe '%s' for the program (fd %d)", f->path,
			       fd);
	return file_check_pipe(r, t, f, err);
}

/* With the pipe held open, no open waits for the other end; O_NONBLOCK makes
 * that certain and is taken away again. */
static void open_end(struct file_restore *fr, const struct open_file *f)
{
	unsigned cloexec = file_cloexec(fr, f);
	int temp = program_openat(fr->prog, file_why(fr, f, f->path), f->path,
				  (int)((f->flags & O_ACCMODE) | O_NONBLOCK | cloexec), 0);

	if (!(f->flags & O_NONBLOCK))
		program_call_want(fr->prog, 0, file_why(fr, f, "flags"), SYS_fcntl, (unsigned)temp,
				  F_SETFL, f->flags & O_APPEND, 0, 0, 0);
	file_place(fr, f, temp, cloexec);
}

/* All descriptions of one named pipe, when the first of them is met. */
static int restore_fifo(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	const struct file_table *t = fr->table;
	int holder;

	(void)err;
	for (const struct open_file *o = t->files; o < f; o++)
		if (o->kind == FILE_FIFO && o->pipe.pipe == f->pipe.pipe)
			return 0;
	holder = program_openat(fr->prog, file_why(fr, f, "hold the named pipe open"), f->path,
				O_RDWR | O_NONBLOCK | O_CLOEXEC, 0);
	holder = file_out_of_the_way(fr, holder);
	file_fill_pipe(fr, &t->pipes[f->pipe.pipe], holder);
	for (size_t i = 0; i < t->nfiles; i++)
		if (t->files[i].kind == FILE_FIFO && t->files[i].pipe.pipe == f->pipe.pipe)
			open_end(fr, &t->files[i]);
	program_close(fr->prog, "the program holds it open by now", holder);
	return 0;
}

const struct file_ops file_fifo = {
	.kind = FILE_FIFO,
	.name = "named pipe",
	.kept = "name, unread content, capacity, flags, where both ends are the program's",
	.complete = complete_fifo,
	.codec = file_codec_pipe,
	.validate = validate_fifo,
	.check = check_fifo,
	.restore = restore_fifo,
	.describe = file_describe_pipe,
};
