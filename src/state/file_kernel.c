/*
 * Files of the kernel's: /proc, /sys, cgroups.  Opened again by name; what is
 * read from them is what the kernel says then.  The program's own files in
 * /proc become those of the new process.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state/file_kinds.h"

#define REOPEN_FLAGS (O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECTORY | 0100000 /* O_LARGEFILE */)

/* What stands behind /proc/PID in path, or NULL when path is not of that form. */
static const char *behind_pid(const char *path, long *ret_pid)
{
	char *end;

	if (strncmp(path, "/proc/", 6) || !isdigit((unsigned char)path[6]))
		return NULL;
	*ret_pid = strtol(path + 6, &end, 10);
	return *end == '/' || !*end ? end : NULL;
}

static int capture_kernel(struct file_scan *s, struct open_file *f, struct err *err)
{
	int is_named = file_is_named(s, 0, err);
	const char *rest;
	char *own;
	long pid;

	if (is_named < 0)
		return is_named;
	if (!is_named)
		return file_refuse_as(s, err, REFUSED_KERNEL_FILE_GONE,
				      "a file of the kernel's that has not this name here");
	rest = behind_pid(f->path, &pid);
	if (!rest)
		return 0;
	if (pid != s->c->remote->pid || !strncmp(rest, "/task/", 6))
		return file_refuse_as(s, err, REFUSED_KERNEL_FILE_OTHER,
				      "a file that describes another process, or a thread");
	if (asprintf(&own, "/proc/self%s", rest) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	free(f->path);
	f->path = own;
	return 0;
}

static int validate_kernel(const struct file_table *t, const struct open_file *f, struct err *err)
{
	if (f->path[0] != '/' || f->pos < 0)
		return err_image(err, "files: fd %d: impossible name or offset",
				 file_lowest_fd(t, f));
	return 0;
}

static int check_kernel(struct restore *r, const struct file_table *t, const struct open_file *f,
			struct err *err)
{
	__cleanup_fd int fd =
		open(f->path, (int)(f->flags & (O_ACCMODE | O_DIRECTORY)) | O_NONBLOCK | O_CLOEXEC);

	(void)r;
	if (fd >= 0)
		return 0;
	err_sys(err, -errno, "cannot open '%s' for the program (fd %d)", f->path,
		file_lowest_fd(t, f));
	return err_hint(err, "the program needs a kernel that has this file, and a user who may "
			     "open it");
}

static int restore_kernel(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	unsigned cloexec = file_cloexec(fr, f);
	int temp = program_openat(fr->prog, file_why(fr, f, "a file of the kernel's"), f->path,
				  (int)((f->flags & REOPEN_FLAGS) | cloexec), 0);

	(void)err;
	/* The text may be shorter now: then the next read finds its end. */
	if (f->pos)
		program_call(fr->prog, file_why(fr, f, "its offset"), SYS_lseek, (unsigned)temp,
			     (uint64_t)f->pos, SEEK_SET, 0, 0, 0)
			->expect = EXPECT_ANY;
	file_place(fr, f, temp, cloexec);
	return 0;
}

static void describe_kernel(const struct file_table *t, const struct open_file *f, struct buf *out)
{
	(void)t;
	buf_printf(out, "offset %lld", (long long)f->pos);
}

const struct file_ops file_kernel = {
	.kind = FILE_KERNEL,
	.name = "file of the kernel's",
	.kept = "/proc, /sys, cgroups: name, offset, flags; the program's own in /proc become the "
		"new process's",
	.capture = capture_kernel,
	.validate = validate_kernel,
	.check = check_kernel,
	.restore = restore_kernel,
	.describe = describe_kernel,
};
