/*
 * Descriptors of a place in the file system that is not opened (O_PATH, open(2)):
 * of anything that has a name.  Taken again by that name.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "state/file_kinds.h"

static int capture_path(struct file_scan *s, struct open_file *f, struct err *err)
{
	int is_named = file_is_named(s, AT_SYMLINK_NOFOLLOW, err);

	(void)f;
	if (!is_named)
		return file_refuse_as(s, err, REFUSED_PATH_GONE,
				      "what was opened with O_PATH is not there any more (renamed, "
				      "replaced or deleted, or in another mount namespace)");
	return is_named < 0 ? is_named : 0;
}

static int validate_path(const struct file_table *t, const struct open_file *f, struct err *err)
{
	if (f->path[0] != '/' || !(f->flags & O_PATH))
		return err_image(err, "files: fd %d: impossible name or flags",
				 file_lowest_fd(t, f));
	return 0;
}

static int flags_of(const struct open_file *f)
{
	return (int)((f->flags & O_DIRECTORY) | O_PATH | O_NOFOLLOW);
}

static int check_path(struct restore *r, const struct file_table *t, const struct open_file *f,
		      struct err *err)
{
	__cleanup_fd int try = open(f->path, flags_of(f) | O_CLOEXEC);

	(void)r;
	if (try >= 0)
		return 0;
	err_sys(err, -errno, "cannot take '%s' for the program (fd %d)", f->path,
		file_lowest_fd(t, f));
	return err_hint(err, "put back what had that name at the checkpoint; nothing was touched");
}

static int restore_path(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	unsigned cloexec = file_cloexec(fr, f);

	(void)err;
	/* What is there now may be a link where none was. */
	file_place(fr, f,
		   program_openat(fr->prog, file_why(fr, f, f->path), f->path,
				  flags_of(f) | (int)cloexec, 0),
		   cloexec);
	return 0;
}

const struct file_ops file_path = {
	.kind = FILE_PATH,
	.name = "place in the file system (O_PATH)",
	.kept = "name",
	.capture = capture_path,
	.validate = validate_path,
	.check = check_path,
	.restore = restore_path,
};
