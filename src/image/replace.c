/*
 * A new file that replaces an old one atomically.
 *
 * The file has no name (O_TMPFILE) until it is complete, so that no death of
 * ours leaves anything.  It gets its name in one step where the path is free;
 * otherwise linkat() cannot replace, and the file passes through a temporary
 * name: PATH.godwit-0, or -1, ... -7.
 *
 * A crash between the link and the rename leaves that name.  Whoever comes next
 * with the same PATH removes it: a living writer holds a lock (flock) on its
 * file, a dead one does not.  The steps that make this safe when two come at once:
 *   1. the cleaner opens the name, and locks what it has opened;
 *   2. it looks whether the name still leads to that file: if not, somebody
 *      was faster and it starts over;
 *   3. it unlinks.  Nobody else removes or renames the name between 2 and 3,
 *      since only the holder of the lock may.
 * A creator by name (no O_TMPFILE here) locks after creating; if a cleaner
 * came in between, it has the lock, or the file has no name any more: then the creator
 * starts over.  (Test: writers_that_are_killed_at_any_moment.)
 */
#include "image/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"

#define SLOTS 8
#define TRIES 16 /* rounds over all slots, for races with other writers */

static void slot_name(const struct replacement *r, unsigned slot, char out[256])
{
	/* A base name near NAME_MAX is cut: the lock decides, not the name. */
	snprintf(out, 256, "%.240s.godwit-%u", r->base, slot);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Removes the name if a dead writer left it.  True: try to take it again. */
static bool slot_reclaim(const struct replacement *r, const char *name)
{
	__cleanup_fd int fd =
		openat(r->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat open_st, name_st;

	if (fd < 0)
		return errno == ENOENT;
	if (fstat(fd, &open_st) || !S_ISREG(open_st.st_mode) || open_st.st_uid != geteuid())
		return false;
	if (flock(fd, LOCK_EX | LOCK_NB))
		return false;
	if (fstatat(r->dirfd, name, &name_st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT;
	if (!same_file(&open_st, &name_st))
		return true;
	return unlinkat(r->dirfd, name, 0) == 0;
}

/*
 * Gives the file a temporary name through take(), which returns 0, -EEXIST or
 * another negative errno, which ends the search.
 */
static int slot_take(struct replacement *r, int (*take)(struct replacement *r, const char *name))
{
	char name[256];
	int ret;

	for (unsigned i = 0; i < TRIES * SLOTS; i++) {
		slot_name(r, i % SLOTS, name);
		ret = take(r, name);
		if (ret == -EEXIST && slot_reclaim(r, name))
			ret = take(r, name);
		if (ret == 0)
			memcpy(r->temp, name, sizeof(r->temp));
		if (ret != -EEXIST)
			return ret;
	}
	return -EBUSY;
}

/* Removes what writers that died left under the names of this path. */
static void sweep(const struct replacement *r)
{
	char name[256];

	for (unsigned slot = 0; slot < SLOTS; slot++) {
		slot_name(r, slot, name);
		(void)slot_reclaim(r, name);
	}
}

static int take_by_create(struct replacement *r, const char *name)
{
	struct stat st;
	int fd = openat(r->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	/* Where the file system has no locks nobody can reclaim: no harm.  But where
	 * somebody has the lock, it is a cleaner that is about to unlink. */
	if ((flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) || fstat(fd, &st) ||
	    st.st_nlink == 0) {
		close(fd);
		return -EEXIST;
	}
	r->fd = fd;
	return 0;
}

static int link_fd(const struct replacement *r, const char *name)
{
	char self[64];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", r->fd);
	return linkat(AT_FDCWD, self, r->dirfd, name, AT_SYMLINK_FOLLOW) ? -errno : 0;
}

static int take_by_link(struct replacement *r, const char *name)
{
	return link_fd(r, name);
}

/* An unnamed file; -EOPNOTSUPP where there is none, or no way to name it later. */
static int open_unnamed(struct replacement *r)
{
	int fd;

	if (access("/proc/self/fd", X_OK))
		return -EOPNOTSUPP;
	fd = openat(r->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno == EISDIR || errno == ENOENT || errno == EINVAL ? -EOPNOTSUPP : -errno;
	(void)!flock(fd, LOCK_EX | LOCK_NB);
	r->fd = fd;
	return 0;
}

static int split_path(struct replacement *r, const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;

	if (!*base || !strcmp(base, ".") || !strcmp(base, ".."))
		return err_set(err, -EISDIR, "cannot write the image '%s': no file name", path);
	r->path = strdup(path);
	r->base = strdup(base);
	r->dir = !slash          ? strdup(".")
		 : slash == path ? strdup("/")
				 : strndup(path, (size_t)(slash - path));
	if (!r->path || !r->base || !r->dir)
		return err_set(err, -ENOMEM, "out of memory");
	return 0;
}

static int check_old(const struct replacement *r, struct err *err)
{
	struct stat st;

	if (fstatat(r->dirfd, r->base, &st, AT_SYMLINK_NOFOLLOW)) {
		if (errno == ENOENT)
			return 0;
		return err_sys(err, -errno, "cannot write the image '%s'", r->path);
	}
	if (S_ISREG(st.st_mode))
		return 0;
	err_set(err, -EEXIST, "cannot write the image '%s': it is there and no regular file",
		r->path);
	return err_hint(err, S_ISLNK(st.st_mode)
				     ? "it is a symbolic link: name the file itself, or remove it"
				     : "choose another name for the image");
}

int replace_open(struct replacement *r, const char *path, struct err *err)
{
	int ret;

	*r = (struct replacement){.dirfd = -1, .fd = -1};
	ret = split_path(r, path, err);
	if (ret)
		return ret;
	r->dirfd = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->dirfd < 0 && errno == EACCES) /* searchable, not readable: enough */
		r->dirfd = open(r->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (r->dirfd < 0)
		return err_sys(err, -errno, "cannot write the image '%s'", path);
	ret = check_old(r, err);
	if (ret)
		return ret;
	sweep(r);
	ret = open_unnamed(r);
	if (ret == -EOPNOTSUPP)
		ret = slot_take(r, take_by_create);
	if (ret) {
		err_sys(err, ret, "cannot write the image '%s'", path);
		return err_hint(err, "the directory '%s' must be writable: choose another place",
				r->dir);
	}
	if (fchmod(r->fd, 0600)) /* an umask may have taken our own access away */
		return err_sys(err, -errno, "cannot write the image '%s'", path);
	return 0;
}

/* Gives an unnamed file a name: the final one (*ret_final) if that is free. */
static int give_name(struct replacement *r, bool *ret_final)
{
	int ret;

	*ret_final = false;
	if (r->temp[0])
		return 0;
	ret = link_fd(r, r->base);
	*ret_final = ret == 0;
	return ret == -EEXIST ? slot_take(r, take_by_link) : ret;
}

int replace_commit(struct replacement *r, struct err *err)
{
	bool final;
	int ret = fsync(r->fd) ? -errno : 0;

	fault_point("image synced");
	if (!ret)
		ret = give_name(r, &final);
	fault_point("image named");
	if (!ret && !final)
		ret = renameat(r->dirfd, r->temp, r->dirfd, r->base) ? -errno : 0;
	if (ret) {
		err_sys(err, ret, "cannot write the image '%s'", r->path);
		if (ret == -EBUSY)
			err_hint(err, "other checkpoints are writing the same name");
		return ret;
	}
	r->temp[0] = '\0';
	r->committed = true;
	fault_point("image in place");
	/* Some file systems cannot sync a directory (EINVAL, as fsync(2) says), and O_PATH cannot
	 * either: the image is in place, only its name could be lost in a power cut. */
	if (fsync(r->dirfd) && errno != EINVAL && errno != EBADF && errno != EOPNOTSUPP)
		return err_sys(err, -errno,
			       "the image '%s' is in place, but its directory cannot be synced",
			       r->path);
	return 0;
}

void replace_done(struct replacement *r)
{
	if (r->path && r->temp[0])
		(void)!unlinkat(r->dirfd, r->temp, 0);
	if (r->path) {
		io_close_fd(&r->fd);
		io_close_fd(&r->dirfd);
	}
	free(r->path);
	free(r->dir);
	free(r->base);
	*r = (struct replacement){.dirfd = -1, .fd = -1};
}
