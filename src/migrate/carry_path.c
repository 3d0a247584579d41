/* Ways to files: see carry_path.h. */
#include "migrate/carry_path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

/* Could somebody else have put a name into this folder? */
static bool is_open_to_others(int fd)
{
	struct stat st;

	return fstat(fd, &st) || (st.st_uid && st.st_uid != geteuid()) || st.st_mode & 022;
}

/* The folder `name` in dir: its descriptor; -ENOENT. */
static int step(int dir, const char *name, const char *path, struct err *err)
{
	struct stat st;
	int flags = O_PATH | O_DIRECTORY | O_CLOEXEC, fd;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? -ENOENT
				       : err_sys(err, -errno, "cannot look at '%s'", path);
	if (S_ISLNK(st.st_mode) && is_open_to_others(dir)) {
		err_perm(err,
			 "'%s' is a symbolic link in a folder that others can write to: a file is "
			 "not put behind it",
			 path);
		return err_hint(err, "make a folder of that name, or put the file there yourself");
	}
	fd = openat(dir, name, flags | (S_ISLNK(st.st_mode) ? 0 : O_NOFOLLOW));
	return fd >= 0 ? fd : err_sys(err, -errno, "cannot go to '%s'", path);
}

int carry_walk(const char *path, int (*make)(void *arg, const char *folder, struct err *err),
	       void *arg, const char **ret_name, const char **ret_missing, struct err *err)
{
	int dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char part[PATH_MAX];
	const char *p = path;

	*ret_missing = NULL;
	if (dir < 0)
		return err_sys(err, -errno, "cannot open '/'");
	for (const char *end; (end = strchr(p + 1, '/')); p = end) {
		char name[NAME_MAX + 1];
		int next;

		snprintf(part, sizeof(part), "%.*s", (int)(end - path), path);
		snprintf(name, sizeof(name), "%.*s", (int)(end - p - 1), p + 1);
		next = step(dir, name, part, err);
		if (next == -ENOENT && !make) {
			*ret_missing = path;
			break;
		}
		if (next == -ENOENT) {
			next = mkdirat(dir, name, 0777) && errno != EEXIST
				       ? err_sys(err, -errno, "cannot make the folder '%s'", part)
				       : make(arg, part, err);
			if (!next)
				next = step(dir, name, part, err);
			if (next == -ENOENT)
				next = err_set(err, -ENOENT, "'%s' is gone again", part);
		}
		close(dir);
		if (next < 0)
			return next;
		dir = next;
	}
	*ret_name = strrchr(path, '/') + 1;
	return dir;
}
