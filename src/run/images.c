/*
 * The files of a run: IMAGE, the older ones IMAGE.1, IMAGE.2, ..., and IMAGE.lock.
 *
 * With older images a checkpoint goes to IMAGE.new, which has that name only when it
 * is complete.  Then all move up by one.  Who is killed in between has left IMAGE.new, and
 * the next run moves the rest up: so no instant is without a newest image, and the
 * names are right whenever somebody looks who holds the lock.  So it is with incremental ones,
 * too, which must not replace what they stand on (parts.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"
#include "run/internal.h"

/* A run that was killed needs a moment until its program has ended. */
#define PATIENCE_NS (20ULL * 1000 * 1000 * 1000)

static char *with_suffix(const struct run_images *im, const char *suffix, struct err *err)
{
	char *name;

	if (asprintf(&name, "%s%s", im->path, suffix) < 0) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	return name;
}

char *images_name(const struct run_images *im, unsigned k, struct err *err)
{
	char number[16] = "";

	if (k)
		snprintf(number, sizeof(number), ".%u", k);
	return with_suffix(im, number, err);
}

char *images_next(const struct run_images *im, struct err *err)
{
	return with_suffix(im, im->keep || im->chained ? ".new" : "", err);
}

/* Names are as lasting as what they name. */
static void sync_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX] = ".";
	int fd;

	if (slash)
		snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!fsync(fd); /* some file systems have none for directories */
	close(fd);
}

static int move(const char *from, const char *to, struct err *err)
{
	if (!rename(from, to) || errno == ENOENT)
		return 0;
	return err_sys(err, -errno, "cannot rename '%s' to '%s'", from, to);
}

/* IMAGE.k takes the place of IMAGE.(k+1), from the oldest on. */
static int shift_up(const struct run_images *im, struct err *err)
{
	unsigned first_gap = 0;
	int ret = 0;

	/* What is above a gap need not move. */
	for (; first_gap < im->keep; first_gap++) {
		__cleanup_free char *name = images_name(im, first_gap, err);

		if (!name)
			return err->error;
		if (access(name, F_OK))
			break;
	}
	for (unsigned k = first_gap; k > 0 && !ret; k--) {
		__cleanup_free char *from = images_name(im, k - 1, err);
		__cleanup_free char *to = images_name(im, k, err);

		ret = from && to ? move(from, to, err) : err->error;
		fault_point("older image moved");
	}
	return ret;
}

int images_promote(const struct run_images *im, struct err *err)
{
	__cleanup_free char *next = images_next(im, err);
	int ret;

	if (!next)
		return err->error;
	if (access(next, F_OK) || !strcmp(next, im->path))
		return 0;
	if ((ret = shift_up(im, err)) || (ret = move(next, im->path, err)))
		return ret;
	sync_directory(im->path);
	return 0;
}

int images_demote(const struct run_images *im, unsigned k, struct err *err)
{
	for (unsigned i = 0; i < k; i++) {
		__cleanup_free char *from = images_name(im, i, err), *to = NULL;
		int ret;

		if (!from || asprintf(&to, "%s.damaged", from) < 0)
			return err_set(err, -ENOMEM, "out of memory");
		if ((ret = move(from, to, err)))
			return ret;
	}
	sync_directory(im->path);
	return 0;
}

static bool is_still_named(int fd, const char *name)
{
	struct stat a, b;

	return !fstat(fd, &a) && !stat(name, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* 1: locked, 0: try again, negative: no. */
static int try_lock(struct run_images *im, const char *name, struct err *err)
{
	/* Out of the way of 0-2, in case those are closed. */
	int low = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), fd;

	if (low < 0)
		return err_sys(err, -errno, "cannot open '%s'", name);
	fd = fcntl(low, F_DUPFD_CLOEXEC, 3);
	close(low);
	if (fd < 0)
		return err_sys(err, -errno, "cannot open '%s'", name);
	if (!flock(fd, LOCK_EX | LOCK_NB)) {
		/* 1. it waits for the lock; 2. the job is done, its files are removed;
		 * 3. it gets a lock that nobody else can find. */
		if (is_still_named(fd, name)) {
			im->lock = fd;
			return 1;
		}
		close(fd);
		return 0;
	}
	close(fd);
	return errno == EWOULDBLOCK || errno == EINTR ? 0 : 1;
}

/* While it waits, signals do to us what they always do. */
static void pause_a_little(const sigset_t *mask)
{
	struct timespec step = {.tv_nsec = 10 * 1000 * 1000};
	sigset_t before;

	sigprocmask(SIG_SETMASK, mask, &before);
	nanosleep(&step, NULL);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static int lock(struct run_images *im, const sigset_t *mask, struct err *err)
{
	__cleanup_free char *name = with_suffix(im, ".lock", err);
	uint64_t begun = io_now_ns();
	int ret;

	if (!name)
		return err->error;
	while ((ret = try_lock(im, name, err)) == 0) {
		if (io_now_ns() - begun > PATIENCE_NS) {
			err_set(err, -EBUSY, "another godwit run is at work on '%s'", im->path);
			return err_hint(err, "give this job an image of its own, or end the other");
		}
		pause_a_little(mask);
	}
	return ret < 0 ? ret : 0;
}

int images_open(struct run_images *im, const struct run_options *o, const sigset_t *mask,
		struct err *err)
{
	struct run_images all;
	int ret;

	*im = (struct run_images){
		.path = o->image, .keep = o->keep, .chained = o->incremental, .lock = -1};
	if ((ret = lock(im, mask, err)))
		return ret;
	/* One that was run with other options may have left IMAGE.new, too. */
	all = *im;
	all.chained = true;
	if ((ret = images_promote(&all, err)))
		return ret;
	im->part = parts_last(im);
	im->chained |= im->part > 0;
	parts_sweep(im, 0);
	return 0;
}

void images_remove(const struct run_images *im)
{
	static const char *const others[] = {"", ".new"};
	__cleanup_free char *lock_name = NULL;
	struct err ignored = ERR_INIT;

	for (unsigned k = 1; k <= im->keep; k++) {
		__cleanup_free char *name = images_name(im, k, &ignored);

		if (name)
			unlink(name);
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		__cleanup_free char *name = with_suffix(im, others[i], &ignored);

		if (name)
			unlink(name);
	}
	parts_remove(im);
	/* The lock last: until then nobody else looks. */
	if ((lock_name = with_suffix(im, ".lock", &ignored)))
		unlink(lock_name);
}

void images_close(struct run_images *im)
{
	__cleanup_free char *name = NULL;

	/* Nothing was begun: no trace. */
	if (im->lock >= 0 && access(im->path, F_OK) && asprintf(&name, "%s.lock", im->path) > 0)
		unlink(name);
	io_close_fd(&im->lock);
}
