/* Devices without state: /dev/null, zero, full, random, urandom.  Opened again by name. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "state/file_kinds.h"

static int capture_device(struct file_scan *s, struct open_file *f, struct err *err)
{
	struct stat st;

	(void)f;
	if (stat(s->link, &st) || st.st_rdev != s->st.st_rdev)
		return file_refuse_as(s, err, REFUSED_DEVICE_GONE,
				      "it is not the device of that name here");
	return 0;
}

static int validate_device(const struct file_table *t, const struct open_file *f, struct err *err)
{
	if (f->path[0] != '/' || major(f->rdev) != 1)
		return err_image(err, "files: fd %d: impossible device", file_lowest_fd(t, f));
	return 0;
}

static int check_device(struct restore *r, const struct file_table *t, const struct open_file *f,
			struct err *err)
{
	int fd = file_lowest_fd(t, f);
	struct stat st = {0};

	(void)r;
	if (stat(f->path, &st) && errno != ENOENT)
		return err_sys(err, -errno, "cannot open '%s' for the program (fd %d)", f->path,
			       fd);
	if (S_ISCHR(st.st_mode) && st.st_rdev == f->rdev)
		return 0;
	err_refuse(err, "cannot open '%s' for the program (fd %d): that device is not there",
		   f->path, fd);
	return err_hint(err, "the program had the character device %u:%u there", major(f->rdev),
			minor(f->rdev));
}

static int restore_device(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	unsigned cloexec = file_cloexec(fr, f);

	(void)err;
	file_place(fr, f,
		   program_openat(fr->prog, file_why(fr, f, f->path), f->path,
				  (int)((f->flags & (O_ACCMODE | O_APPEND | O_NONBLOCK | 0100000)) |
					cloexec),
				  0),
		   cloexec);
	return 0;
}

const struct file_ops file_device = {
	.kind = FILE_DEVICE,
	.name = "device",
	.kept = "/dev/null, zero, full, random, urandom: name and flags",
	.capture = capture_device,
	.validate = validate_device,
	.check = check_device,
	.restore = restore_device,
};
