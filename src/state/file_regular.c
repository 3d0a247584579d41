/*
 * Regular files and directories: opened again by name.
 *
 * The content is not in the image.  So that a program that goes on from the
 * checkpoint does not write everything since then a second time, a file that
 * grew is cut back to the size that it had, and what is cut off is kept beside
 * it.  A file that is another one, or misses bytes, is refused before anything
 * is touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state/lease.h"
#include "state/locks.h"

#define NS_PER_S 1000000000LL
#define KEPT_SUFFIX ".after-checkpoint"
#define KEPT_NUMBER_MAX 10000

static int64_t mtime_of(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec;
}

static bool is_writable(const struct open_file *f)
{
	return (f->flags & O_ACCMODE) != O_RDONLY;
}

/* --- capture --- */

static int capture_name(struct file_scan *s, struct err *err)
{
	int is_named = file_is_named(s, 0, err);

	if (!is_named)
		return file_refuse_as(
			s, err, REFUSED_FILE_GONE,
			"it is not the file of that name (renamed, replaced or deleted, or "
			"in another mount namespace)");
	return is_named < 0 ? is_named : 0;
}

static int capture_locks(struct file_scan *s, struct open_file *f, struct err *err)
{
	const struct fdinfo *info = s->info;

	if (!info->nlocks)
		return 0;
	f->regular.locks = io_alloc(info->nlocks, sizeof(*f->regular.locks), err);
	if (!f->regular.locks)
		return err->error;
	for (size_t i = 0; i < info->nlocks; i++) {
		if (info->locks[i].kind == FDINFO_BREAKING)
			return file_refuse_as(s, err, REFUSED_LEASE_BREAKING,
					      "somebody waits for the lease that is held on it");
		if (info->locks[i].kind == FDINFO_OTHER)
			return file_refuse(s, err, "release it before the checkpoint",
					   "a mandatory lock or a delegation is held on it");
		f->regular.locks[i] = (struct file_lock){.kind = info->locks[i].kind,
							 .is_write = info->locks[i].is_write,
							 .start = info->locks[i].start,
							 .end = info->locks[i].end};
		f->regular.nlocks++;
	}
	return 0;
}

static int capture_regular(struct file_scan *s, struct open_file *f, struct err *err)
{
	int e = capture_name(s, err);

	f->regular.size = (uint64_t)s->st.st_size;
	f->regular.mtime_ns = mtime_of(&s->st);
	return e ? e : capture_locks(s, f, err);
}

static int capture_directory(struct file_scan *s, struct open_file *f, struct err *err)
{
	(void)f;
	if (s->info->nlocks)
		return file_refuse_as(s, err, REFUSED_DIRECTORY_LOCK,
				      "a directory with a lock on it");
	return capture_name(s, err);
}

/* --- image --- */

static void codec_regular(struct codec *c, struct open_file *f)
{
	codec_u64(c, &f->regular.size);
	codec_i64(c, &f->regular.mtime_ns);
	codec_array(c, &f->regular.locks, &f->regular.nlocks, sizeof(*f->regular.locks), 21,
		    FILES_LOCKS_MAX);
	for (size_t i = 0; i < f->regular.nlocks && !c->bad; i++) {
		struct file_lock *l = &f->regular.locks[i];

		codec_u32(c, &l->kind);
		codec_bool(c, &l->is_write);
		codec_i64(c, &l->start);
		codec_i64(c, &l->end);
	}
}

static int validate_name(const struct file_table *t, const struct open_file *f, struct err *err)
{
	if (f->path[0] != '/' || f->pos < 0)
		return err_image(err, "files: fd %d: impossible name or offset",
				 file_lowest_fd(t, f));
	return 0;
}

static int validate_regular(const struct file_table *t, const struct open_file *f, struct err *err)
{
	if (f->regular.size > INT64_MAX)
		return err_image(err, "files: fd %d: impossible size", file_lowest_fd(t, f));
	for (size_t i = 0; i < f->regular.nlocks; i++) {
		const struct file_lock *l = &f->regular.locks[i];

		if (l->kind < FDINFO_POSIX || l->kind > FDINFO_LEASE || l->start < 0 ||
		    l->end < l->start)
			return err_image(err, "files: fd %d: impossible lock",
					 file_lowest_fd(t, f));
	}
	return validate_name(t, f, err);
}

/* --- check: touches nothing --- */

/* Is what has the name now another file?  The device's number is only good
 * until the next boot. */
static bool is_other(const struct restore *r, const struct open_file *f, const struct stat *st)
{
	__cleanup_buf struct buf boot = {0};

	if (st->st_ino != f->ino)
		return true;
	if (st->st_dev == f->dev || !r->proc || !r->proc->system.boot_id)
		return false;
	if (io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &boot))
		return false;
	return !strncmp(boot.p, r->proc->system.boot_id, 36);
}

static int refuse_file(const struct restore *r, struct err *err, int fd, const struct open_file *f,
		       const char *what)
{
	err_refuse(err, "cannot give the program '%s' back (fd %d): %s", f->path, fd, what);
	if (r->is_fed)
		return err_hint(err, "--copy-files takes files along that are not there; or put it "
				     "there, or on shared storage");
	if ((fd == 1 || fd == 2) && is_writable(f))
		return err_hint(
			err,
			"put the file back as it was at the checkpoint (%llu bytes); nothing "
			"was touched; in a job script write >>, since > empties the file",
			(unsigned long long)f->regular.size);
	return err_hint(err,
			"put the file back as it was at the checkpoint (%llu bytes); nothing "
			"was touched",
			(unsigned long long)f->regular.size);
}

static bool can_have_lock(int fd, const struct file_lock *l)
{
	struct flock k = locks_range(l, LOCK_TRY);

	if (l->kind == FDINFO_FLOCK) {
		if (flock(fd, (l->is_write ? LOCK_EX : LOCK_SH) | LOCK_NB))
			return errno != EWOULDBLOCK;
		flock(fd, LOCK_UN);
		return true;
	}
	return fcntl(fd, F_OFD_GETLK, &k) || k.l_type == F_UNLCK;
}

static int check_open(bool is_fed, const struct file_table *t, const struct open_file *f,
		      struct err *err)
{
	int fd = file_lowest_fd(t, f);
	__cleanup_fd int try = open(f->path, (int)(f->flags & (O_ACCMODE | O_DIRECTORY)) |
						     O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (try < 0) {
		err_sys(err, -errno, "cannot open '%s' for the program (fd %d)", f->path, fd);
		return err_hint(err, "restart as a user who may open the file (flags %#o)",
				f->flags & O_ACCMODE);
	}
	for (size_t i = 0; f->kind == FILE_REGULAR && i < f->regular.nlocks; i++) {
		const struct file_lock *l = &f->regular.locks[i];

		if (l->kind == FDINFO_LEASE) {
			if (lease_take(try, f, l, fd, err))
				return err->error;
			continue;
		}
		/* Of one for writing the other copy has, on shared storage. */
		if ((is_fed && l->is_write) || can_have_lock(try, l))
			continue;
		err_set(err, -EAGAIN,
			"cannot lock '%s' for the program (fd %d): somebody else holds the lock",
			f->path, fd);
		return err_hint(err, "end the program that holds it%s; lslocks(8) finds it",
				is_fed ? "" : " (perhaps the one that was checkpointed)");
	}
	return 0;
}

/* Does the program that was checkpointed go on, and still have the file there? */
static bool is_in_use(const struct restore *r, int fd, const struct stat *now)
{
	struct stat st;
	char path[48];

	if (!r->proc || r->proc->pid <= 0 || r->proc->pid == getpid())
		return false;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", remote_find_speaker(r->proc->pid), fd);
	return !stat(path, &st) && st.st_dev == now->st_dev && st.st_ino == now->st_ino;
}

/* One that was killed a moment ago may still be on its way out: give it a second. */
static bool stays_in_use(const struct restore *r, int fd, const struct stat *now)
{
	struct timespec step = {.tv_nsec = 10 * 1000 * 1000};

	for (int i = 0; i < 100; i++) {
		if (!is_in_use(r, fd, now))
			return false;
		nanosleep(&step, NULL);
	}
	return true;
}

/* It will be cut back: can what is cut off be kept? */
static int check_cut(const struct restore *r, const struct open_file *f, int fd,
		     const struct stat *now, struct err *err)
{
	__cleanup_fd int try = open(f->path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	int error = try < 0 ? -errno : 0;
	char dir[FILES_PATH_MAX + 1];

	if (stays_in_use(r, fd, now)) {
		err_set(err, -EBUSY,
			"'%s' (fd %d) grew since the checkpoint, and process %d still writes it",
			f->path, fd, r->proc->pid);
		return err_hint(err, "end process %d first, or restart with --files=keep",
				r->proc->pid);
	}
	snprintf(dir, sizeof(dir), "%s", f->path);
	*(strrchr(dir, '/') + 1) = '\0';
	if (!error && access(dir, W_OK | X_OK))
		error = -errno;
	if (!error)
		return 0;
	err_sys(err, error,
		"'%s' (fd %d) grew since the checkpoint and cannot be cut back: its end cannot be "
		"kept beside it",
		f->path, fd);
	return err_hint(err, "restart with --files=keep, or make file and directory writable");
}

static int check_regular(struct restore *r, const struct file_table *t, const struct open_file *f,
			 struct err *err)
{
	int fd = file_lowest_fd(t, f);
	struct stat st;
	uint64_t size;

	if (restore_stand_in(r, f->path))
		return 0;
	if (stat(f->path, &st))
		return errno == ENOENT
			       ? refuse_file(r, err, fd, f,
					     r->is_fed ? "the file is not there"
						       : "the file is not there any more")
			       : err_sys(err, -errno, "cannot look at '%s' (fd %d)", f->path, fd);
	size = (uint64_t)st.st_size;
	if (!S_ISREG(st.st_mode))
		return refuse_file(r, err, fd, f, "something other than a file has that name now");
	if (lease_check(r, f, &st, fd, err))
		return err->error;
	if (r->still_runs)
		return check_open(r->is_fed, t, f, err);
	if (is_other(r, f, &st) &&
	    (size != f->regular.size || mtime_of(&st) != f->regular.mtime_ns))
		return refuse_file(r, err, fd, f, "another file has that name now");
	if (size < f->regular.size)
		return refuse_file(r, err, fd, f, "the file is shorter than it was");
	if (size == f->regular.size && mtime_of(&st) != f->regular.mtime_ns)
		file_restore_notice(r,
				    "'%s' (fd %d) was modified since the checkpoint; its size "
				    "is the same: left as it is",
				    f->path, fd);
	if (size > f->regular.size && is_writable(f) && r->files == FILES_CUT &&
	    check_cut(r, f, fd, &st, err))
		return err->error;
	return check_open(r->is_fed, t, f, err);
}

static int check_directory(struct restore *r, const struct file_table *t, const struct open_file *f,
			   struct err *err)
{
	return restore_stand_in(r, f->path) ? 0 : check_open(r->is_fed, t, f, err);
}

/* --- act: cutting back --- */

/* A new file NAME.after-checkpoint, .1, .2, ...; its name to `name`. */
static int open_kept(const char *path, mode_t mode, char *name, size_t size, struct err *err)
{
	for (int i = 0; i < KEPT_NUMBER_MAX; i++) {
		char number[16] = "";
		int fd;

		if (i)
			snprintf(number, sizeof(number), ".%d", i);
		if ((size_t)snprintf(name, size, "%s" KEPT_SUFFIX "%s", path, number) >= size)
			return err_set(err, -ENAMETOOLONG, "'%s': the name is too long", path);
		fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd >= 0) {
			/* As open as the original; an owner that cannot be kept is no harm. */
			if (fchmod(fd, mode & 0777))
				(void)fchmod(fd, 0600);
			return fd;
		}
		if (errno != EEXIST)
			return err_sys(err, -errno, "cannot keep the end of '%s' in '%s'", path,
				       name);
	}
	return err_set(err, -EEXIST, "'%s" KEPT_SUFFIX "' and %d more exist already", path,
		       KEPT_NUMBER_MAX - 1);
}

static int copy_rest(int from, int to, uint64_t pos, uint64_t len)
{
	size_t cap = 1u << 20;
	__cleanup_free char *data = malloc(cap);

	if (!data)
		return -ENOMEM;
	while (len) {
		size_t n = len < cap ? len : cap;
		int e = io_pread_all(from, data, n, pos);

		if (e || (e = io_write_all(to, data, n)))
			return e;
		pos += n;
		len -= n;
	}
	return fsync(to) ? -errno : 0;
}

static int cut_back(struct restore *r, const struct open_file *f, struct err *err)
{
	__cleanup_fd int fd = open(f->path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	__cleanup_fd int kept = -1;
	char name[FILES_PATH_MAX + 64];
	struct stat st;
	uint64_t more;
	int e;

	if (fd < 0 || fstat(fd, &st))
		return err_sys(err, -errno, "cannot cut '%s' back to its size at the checkpoint",
			       f->path);
	if ((uint64_t)st.st_size <= f->regular.size)
		return 0; /* another description of it came first */
	more = (uint64_t)st.st_size - f->regular.size;
	kept = open_kept(f->path, st.st_mode, name, sizeof(name), err);
	if (kept < 0)
		return kept;
	if ((e = copy_rest(fd, kept, f->regular.size, more))) {
		unlink(name);
		return err_sys(err, e, "cannot keep the end of '%s' in '%s'", f->path, name);
	}
	if (ftruncate(fd, (off_t)f->regular.size)) {
		err_sys(err, -errno, "cannot cut '%s' back to %llu bytes", f->path,
			(unsigned long long)f->regular.size);
		unlink(name); /* nothing was cut */
		return err->error;
	}
	if (fsync(fd)) {
		err_sys(err, -errno, "cannot cut '%s' back to %llu bytes", f->path,
			(unsigned long long)f->regular.size);
		return err_hint(err, "what was behind them is in '%s'", name);
	}
	file_restore_notice(r,
			    "'%s' was cut back to the %llu bytes of the checkpoint; the %llu "
			    "bytes after them are in '%s' (--files=keep leaves such files alone)",
			    f->path, (unsigned long long)f->regular.size, (unsigned long long)more,
			    name);
	return 0;
}

static int act_regular(struct restore *r, const struct open_file *f, struct err *err)
{
	struct stat st;

	if (r->files == FILES_KEEP || !is_writable(f) || restore_stand_in(r, f->path))
		return 0;
	if (stat(f->path, &st))
		return err_sys(err, -errno, "cannot look at '%s'", f->path);
	return (uint64_t)st.st_size > f->regular.size ? cut_back(r, f, err) : 0;
}

/* --- restore --- */

static int restore_regular(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	unsigned cloexec = file_cloexec(fr, f);
	const char *other = restore_stand_in(fr->r, f->path);
	int temp = program_openat(fr->prog, file_why(fr, f, f->path), other ? other : f->path,
				  (int)((f->flags & FILE_REOPEN_FLAGS) | cloexec), 0);

	(void)err;
	if (f->pos)
		program_call_want(fr->prog, f->pos, file_why(fr, f, "its offset"), SYS_lseek,
				  (unsigned)temp, (uint64_t)f->pos, SEEK_SET, 0, 0, 0);
	file_place(fr, f, temp, cloexec);
	return 0;
}

static int restore_locks(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	int fd = file_lowest_fd(fr->table, f);

	(void)err;
	for (size_t i = 0; i < f->regular.nlocks; i++) {
		const struct file_lock *l = &f->regular.locks[i];
		struct flock k = locks_range(l, LOCK_TRY);
		uint64_t addr = 0;
		struct call c;

		if (l->kind == FDINFO_LEASE) {
			program_call_want(fr->prog, 0,
					  file_why(fr, f, "a lease that the program holds"),
					  SYS_fcntl, (unsigned)fd, F_SETLEASE,
					  l->is_write ? F_WRLCK : F_RDLCK, 0, 0, 0);
			continue;
		}
		if (fr->r->is_fed && l->is_write)
			continue; /* the other copy has it: restart/locks.c takes it */
		if (l->kind != FDINFO_FLOCK)
			addr = program_data(fr->prog, &k, sizeof(k));
		c = locks_call(l, fd, LOCK_TRY, addr);
		program_call_want(fr->prog, 0, file_why(fr, f, "a lock that the program holds"),
				  c.nr, c.arg[0], c.arg[1], c.arg[2], 0, 0, 0);
	}
	return 0;
}

static void describe_regular(const struct file_table *t, const struct open_file *f, struct buf *out)
{
	(void)t;
	buf_printf(out, "offset %lld of %llu", (long long)f->pos,
		   (unsigned long long)f->regular.size);
	if (f->regular.nlocks)
		buf_printf(out, ", %zu lock%s", f->regular.nlocks,
			   f->regular.nlocks > 1 ? "s" : "");
}

static void done_regular(struct open_file *f)
{
	free(f->regular.locks);
}

const struct file_ops file_regular = {
	.kind = FILE_REGULAR,
	.name = "regular file",
	.kept = "name, offset, flags, locks (fcntl, open file description, flock), leases; not the "
		"content",
	.capture = capture_regular,
	.codec = codec_regular,
	.validate = validate_regular,
	.check = check_regular,
	.act = act_regular,
	.restore = restore_regular,
	.restore_late = restore_locks,
	.describe = describe_regular,
	.done = done_regular,
};

const struct file_ops file_directory = {
	.kind = FILE_DIRECTORY,
	.name = "directory",
	.kept = "name, flags, position in a listing as the file system counts it",
	.capture = capture_directory,
	.validate = validate_name,
	.check = check_directory,
	.restore = restore_regular,
};
