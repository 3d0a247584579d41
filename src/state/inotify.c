/*
 * inotify(7): what is watched, with the numbers of the watches.
 *
 * The kernel shows inodes, not names.  A name is found by the file handle, which
 * takes CAP_DAC_READ_SEARCH, or among the names that the program has anything to do
 * with: its arguments, its directory and what is in there, open files, what is in a
 * directory that is watched as well, and all their parents.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "state/file_kinds.h"

#define WATCHES_MAX (1u << 20)
/* A number is reached by making and removing watches. */
#define GAP_MAX 10000
#define ENTRIES_MAX 20000 /* of a watched directory that are looked at */
#define MASK_ALLOWED                                                                               \
	(IN_ALL_EVENTS | IN_EXCL_UNLINK | IN_ONESHOT | IN_DONT_FOLLOW | IN_ONLYDIR | IN_UNMOUNT)

/* --- capture: names --- */

struct search {
	struct file_scan *s;
	const struct fdinfo_watch *want;
	size_t n;
	char **found; /* [n] */
	size_t left;
};

/* As the kernel counts devices (include/linux/kdev_t.h). */
static dev_t device_of(uint64_t sdev)
{
	return makedev((unsigned)(sdev >> 20), (unsigned)(sdev & 0xfffff));
}

static void try_name(struct search *k, const char *path)
{
	struct stat st;

	if (!k->left || path[0] != '/' || lstat(path, &st))
		return;
	for (size_t i = 0; i < k->n; i++)
		if (!k->found[i] && k->want[i].ino == st.st_ino &&
		    device_of(k->want[i].sdev) == st.st_dev && (k->found[i] = strdup(path)))
			k->left--;
}

/* The name and those of all directories above. */
static void try_all(struct search *k, const char *path)
{
	char name[PATH_MAX];
	char *end;

	if ((size_t)snprintf(name, sizeof(name), "%s", path) >= sizeof(name) || name[0] != '/')
		return;
	while (k->left) {
		try_name(k, *name ? name : "/");
		if (!*name)
			return;
		end = strrchr(name, '/');
		*end = '\0';
	}
}

/* An argument: a name, perhaps after "--option=". */
static void try_argument(struct search *k, const char *cwd, const char *arg)
{
	const char *eq = strchr(arg, '=');
	char name[PATH_MAX], *real;

	snprintf(name, sizeof(name), "%s%s%s", arg[0] == '/' ? "" : cwd, arg[0] == '/' ? "" : "/",
		 arg);
	real = realpath(name, NULL);
	try_all(k, name);
	if (real)
		try_all(k, real);
	free(real);
	if (eq)
		try_argument(k, cwd, eq + 1);
}

static void try_entries(struct search *k, const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int n = 0;

	while (d && k->left && n++ < ENTRIES_MAX && (e = readdir(d))) {
		char name[PATH_MAX];

		for (size_t i = 0; i < k->n; i++)
			if (!k->found[i] && k->want[i].ino == e->d_ino &&
			    (size_t)snprintf(name, sizeof(name), "%s/%s",
					     strcmp(dir, "/") ? dir : "", e->d_name) < sizeof(name))
				try_name(k, name);
	}
	if (d)
		closedir(d);
}

static void try_arguments(struct search *k)
{
	__cleanup_buf struct buf args = {0};
	char cwd[PATH_MAX] = "";

	if (io_readlink(k->s->c->remote->procfd, "cwd", cwd, sizeof(cwd)))
		return;
	try_all(k, cwd);
	try_entries(k, cwd);
	if (io_read_file(k->s->c->remote->procfd, "cmdline", &args))
		return;
	for (size_t at = 0; at < args.len && k->left; at += strlen(args.p + at) + 1)
		try_argument(k, cwd, args.p + at);
}

static void try_descriptors(struct search *k)
{
	int fd = openat(k->s->c->remote->procfd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char link[PATH_MAX];
	struct dirent *e;

	while (d && k->left && (e = readdir(d)))
		if (!io_readlink(dirfd(d), e->d_name, link, sizeof(link)))
			try_all(k, link);
	if (d)
		closedir(d);
	else if (fd >= 0)
		close(fd);
}

static void try_handle(struct search *k, size_t i)
{
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + FDINFO_HANDLE_MAX];
	} h = {.h = {.handle_bytes = k->want[i].handle_len,
		     .handle_type = (int)k->want[i].handle_type}};
	__cleanup_buf struct buf mounts = {0};
	char link[PATH_MAX], path[48];

	memcpy(h.room + sizeof(struct file_handle), k->want[i].handle, k->want[i].handle_len);
	if (io_read_file(k->s->c->remote->procfd, "mountinfo", &mounts))
		return;
	/* "36 35 98:0 /root /where options ..." */
	for (char *line = mounts.p; line && *line;
	     line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		__cleanup_fd int mount = -1, fd = -1;
		char where[PATH_MAX];
		struct stat st;

		if (sscanf(line, "%*u %*u %*s %*s %4095s", where) != 1 || lstat(where, &st) ||
		    st.st_dev != device_of(k->want[i].sdev))
			continue;
		mount = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		fd = mount < 0 ? -1 : open_by_handle_at(mount, &h.h, O_PATH | O_CLOEXEC);
		if (fd < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (!io_readlink(AT_FDCWD, path, link, sizeof(link)))
			try_name(k, link);
		if (k->found[i])
			return;
	}
}

static void search(struct search *k)
{
	size_t before;

	for (size_t i = 0; i < k->n; i++)
		try_handle(k, i);
	try_arguments(k);
	try_descriptors(k);
	do {
		before = k->left;
		for (size_t i = 0; i < k->n && k->left; i++)
			if (k->found[i])
				try_entries(k, k->found[i]);
	} while (k->left && k->left != before);
}

/* --- capture --- */

static int by_number(const void *a, const void *b)
{
	const struct inotify_watch *x = a, *y = b;

	return (x->wd > y->wd) - (x->wd < y->wd);
}

static int take_watches(struct search *k, struct open_file *f, struct err *err)
{
	for (size_t i = 0; i < k->n; i++) {
		struct inotify_watch *w = &f->inotify.watches[f->inotify.n];

		if (!k->found[i])
			return file_refuse_as(
				k->s, err, REFUSED_INOTIFY_HIDDEN,
				"the name of what watch %d watches (inode %llu) cannot be found",
				k->want[i].wd, (unsigned long long)k->want[i].ino);
		*w = (struct inotify_watch){
			.wd = k->want[i].wd, .mask = k->want[i].mask, .path = k->found[i]};
		k->found[i] = NULL;
		f->inotify.n++;
	}
	if (f->inotify.n)
		qsort(f->inotify.watches, f->inotify.n, sizeof(*f->inotify.watches), by_number);
	return 0;
}

static int refuse_gap(struct file_scan *s, const struct open_file *f, struct err *err)
{
	int last = 0;

	for (size_t i = 0; i < f->inotify.n; i++) {
		if (f->inotify.watches[i].wd - last > GAP_MAX)
			return file_refuse_as(s, err, REFUSED_INOTIFY_NUMBERS,
					      "its watches have too high numbers");
		last = f->inotify.watches[i].wd;
	}
	return 0;
}

static int capture_inotify(struct file_scan *s, struct open_file *f, struct err *err)
{
	__cleanup_fd int dup = file_getfd(s, s->fd, err);
	struct search k = {.s = s, .want = s->info->watches, .n = s->info->nwatches};
	int unread = 0, e;

	if (dup < 0)
		return dup;
	if (!ioctl(dup, FIONREAD, &unread) && unread)
		return file_refuse_as(s, err, REFUSED_INOTIFY_UNREAD,
				      "an inotify with %d bytes of events not yet read", unread);
	k.left = k.n;
	k.found = io_alloc(k.n + 1, sizeof(*k.found), err);
	f->inotify.watches = io_alloc(k.n + 1, sizeof(*f->inotify.watches), err);
	if (!k.found || !f->inotify.watches) {
		free(k.found);
		return err->error;
	}
	search(&k);
	e = take_watches(&k, f, err);
	for (size_t i = 0; i < k.n; i++)
		free(k.found[i]);
	free(k.found);
	return e ? e : refuse_gap(s, f, err);
}

/* --- image --- */

static void codec_inotify(struct codec *c, struct open_file *f)
{
	codec_array(c, &f->inotify.watches, &f->inotify.n, sizeof(*f->inotify.watches), 12,
		    WATCHES_MAX);
	for (size_t i = 0; i < f->inotify.n && !c->bad; i++) {
		codec_i32(c, &f->inotify.watches[i].wd);
		codec_u32(c, &f->inotify.watches[i].mask);
		codec_str(c, &f->inotify.watches[i].path);
	}
}

static int validate_inotify(const struct file_table *t, const struct open_file *f, struct err *err)
{
	int last = 0;

	for (size_t i = 0; i < f->inotify.n; i++) {
		const struct inotify_watch *w = &f->inotify.watches[i];

		if (w->wd <= last || w->wd - last > GAP_MAX || w->mask & ~(uint32_t)MASK_ALLOWED ||
		    !w->path || w->path[0] != '/' || strlen(w->path) > FILES_PATH_MAX)
			return err_image(err, "files: fd %d: impossible watch",
					 file_lowest_fd(t, f));
		last = w->wd;
	}
	return 0;
}

/* --- restart --- */

static int check_inotify(struct restore *r, const struct file_table *t, const struct open_file *f,
			 struct err *err)
{
	struct stat st;

	(void)r;
	for (size_t i = 0; i < f->inotify.n; i++) {
		if (!lstat(f->inotify.watches[i].path, &st))
			continue;
		err_sys(err, -errno, "cannot watch '%s' for the program (fd %d)",
			f->inotify.watches[i].path, file_lowest_fd(t, f));
		return err_hint(err,
				"put it back as it was at the checkpoint; nothing was touched");
	}
	return 0;
}

static void watch(struct file_restore *fr, const struct open_file *f, int fd,
		  const struct inotify_watch *w, int number, uint32_t mask)
{
	uint64_t path = program_str(fr->prog, w->path);

	program_call_want(fr->prog, number, file_why(fr, f, w->path), SYS_inotify_add_watch,
			  (unsigned)fd, path, mask | IN_DONT_FOLLOW, 0, 0, 0);
}

static int restore_inotify(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	unsigned cloexec = file_cloexec(fr, f);
	int fd = program_fd_call(fr->prog, file_why(fr, f, "an inotify"), SYS_inotify_init1,
				 (f->flags & O_NONBLOCK) | cloexec, 0, 0, 0, 0);
	int next = 1;

	(void)err;
	for (size_t i = 0; i < f->inotify.n; i++) {
		const struct inotify_watch *w = &f->inotify.watches[i];

		for (; next < w->wd; next++) {
			watch(fr, f, fd, w, next, IN_DELETE_SELF);
			program_call_want(fr->prog, 0, file_why(fr, f, "a number to pass over"),
					  SYS_inotify_rm_watch, (unsigned)fd, (unsigned)next, 0, 0,
					  0, 0);
			/* That it is gone is an event. */
			program_call(fr->prog, file_why(fr, f, "passed over"), SYS_read,
				     (unsigned)fd, program_data(fr->prog, NULL, 256), 256, 0, 0, 0);
		}
		watch(fr, f, fd, w, w->wd, w->mask);
		next = w->wd + 1;
	}
	file_place(fr, f, fd, cloexec);
	return 0;
}

static void describe_inotify(const struct file_table *t, const struct open_file *f, struct buf *out)
{
	(void)t;
	buf_printf(out, "%zu watch%s", f->inotify.n, f->inotify.n == 1 ? "" : "es");
	for (size_t i = 0; i < f->inotify.n && i < 3; i++)
		buf_printf(out, "%s %s", i ? "," : ":", f->inotify.watches[i].path);
}

static void done_inotify(struct open_file *f)
{
	for (size_t i = 0; f->inotify.watches && i < f->inotify.n; i++)
		free(f->inotify.watches[i].path);
	free(f->inotify.watches);
}

const struct file_ops file_inotify = {
	.kind = FILE_INOTIFY,
	.name = "inotify",
	.kept = "watches with their numbers, masks and names; refused while events are not yet "
		"read",
	.capture = capture_inotify,
	.codec = codec_inotify,
	.validate = validate_inotify,
	.check = check_inotify,
	.restore = restore_inotify,
	.describe = describe_inotify,
	.done = done_inotify,
};
