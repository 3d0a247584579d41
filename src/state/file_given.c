/*
 * Descriptors that whoever restarts the program gives it, in place of what the image
 * has at that number (restart --fd): another file, or a descriptor of the shell's.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "state/flight.h"
#include "state/pty.h"

/* Directories are seen from here, not from the program's own. */
static char *absolute(const char *path)
{
	char cwd[PATH_MAX], *ret = NULL;

	if (path[0] == '/')
		return strdup(path);
	if (!getcwd(cwd, sizeof(cwd)) || asprintf(&ret, "%s/%s", cwd, path) < 0)
		return NULL;
	return ret;
}

static bool has_slave(const struct file_table *t, const struct open_file *f)
{
	for (size_t i = 0; f->kind == FILE_PTY && f->pty.is_master && i < t->nfiles; i++)
		if (pty_is_slave(t, &t->files[i], f))
			return true;
	return false;
}

int files_give(struct process *p, int fd, const char *source, struct err *err)
{
	struct open_file *f =
		p->files ? (struct open_file *)(uintptr_t)files_find(p->files, fd) : NULL;
	const struct file_ops *ops;
	char *path;

	if (!f || flight_has(p->files, fd)) {
		err_set(err, -EBADF, "the program has no descriptor %d", fd);
		return err_hint(err, "godwit show --files lists those that it has");
	}
	if (has_slave(p->files, f)) {
		err_set(err, -EINVAL, "descriptor %d is the master of a pseudo-terminal", fd);
		return err_hint(err, "give the program something else for its slave first");
	}
	path = source[0] == '&' ? strdup("(given)") : absolute(source);
	if (!path)
		return err_set(err, -ENOMEM, "out of memory");
	ops = file_ops_of(f->kind);
	if (f->kind == FILE_UNIX_PAIR && f->unix_pair.peer != FILES_NO_PEER)
		p->files->files[f->unix_pair.peer].unix_pair.peer = FILES_NO_PEER;
	if (ops->done)
		ops->done(f);
	free(f->path);
	f->path = path;
	f->kind = FILE_GIVEN;
	f->given.like = source[0] == '&' ? source[1] - '0' : -1;
	return 0;
}

static int flags_of(const struct open_file *f)
{
	int mode = (int)(f->flags & O_ACCMODE);

	return (int)(f->flags & (O_ACCMODE | O_APPEND | O_NONBLOCK)) |
	       (mode == O_RDONLY ? 0 : O_CREAT) | O_NOCTTY;
}

static bool can_be_made(const struct open_file *f)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(f->path, '/') - f->path + 1), f->path);
	return flags_of(f) & O_CREAT && !access(dir, W_OK | X_OK);
}

static int check_given(struct restore *r, const struct file_table *t, const struct open_file *f,
		       struct err *err)
{
	__cleanup_fd int try = -1;

	(void)r;
	if (f->given.like >= 0)
		return 0;
	try = open(f->path, (flags_of(f) & ~O_CREAT) | O_NONBLOCK | O_CLOEXEC);
	if (try >= 0 || errno == ENXIO || (errno == ENOENT && can_be_made(f)))
		return 0;
	return err_sys(err, -errno, "cannot open '%s' for the program (fd %d)", f->path,
		       file_lowest_fd(t, f));
}

static int open_given(struct file_restore *fr, const struct open_file *f)
{
	int from = f->given.like < 0 ? -1 : fr->inherited[f->given.like];

	if (from >= 0)
		return program_dup_above(fr->prog, file_why(fr, f, "the shell's"), from, 0);
	return program_openat(fr->prog, file_why(fr, f, f->path),
			      f->given.like < 0 ? f->path : "/dev/null", flags_of(f) | O_CLOEXEC,
			      0666);
}

static int restore_given(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	(void)err;
	file_place(fr, f, open_given(fr, f), true);
	return 0;
}

const struct file_ops file_given = {
	.kind = FILE_GIVEN,
	.name = "given",
	.kept = "what restart --fd says",
	.check = check_given,
	.restore = restore_given,
};
