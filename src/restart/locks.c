/*
 * Locks for writing of a program that comes from elsewhere: taken when its other copy has
 * given them up, and before it is decided that this one goes on.
 *
 * Between the two somebody else may have one of them.  Who still has it, or has written to
 * the file, is noticed, and the program goes on where it was; who has only read is not.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "restart/internal.h"
#include "state/locks.h"

/* How long they may take to be free: so much longer the program stands still. */
#define TRY_MS 1000

static int look_at(struct rebuild *b, int fd, struct stat *ret, struct err *err)
{
	__cleanup_fd int dup = remote_getfd(&b->remote, fd);

	if (dup < 0 || fstat(dup, ret))
		return err_sys(err, dup < 0 ? dup : -errno, "cannot look at fd %d of the program",
			       fd);
	return 0;
}

int rebuild_look_at_locked(struct rebuild *b, struct err *err)
{
	ssize_t n = locks_for_writing(b->proc.files, &b->locks, err);
	int ret = 0;

	if (n < 0)
		return (int)n;
	b->nlocks = (size_t)n;
	b->locked = io_alloc(b->nlocks + 1, sizeof(*b->locked), err);
	if (!b->locked)
		return err->error;
	for (size_t i = 0; i < b->nlocks && !ret; i++)
		ret = look_at(b, b->locks[i].fd, &b->locked[i], err);
	return ret;
}

static bool is_changed(const struct stat *a, const struct stat *b)
{
	return a->st_size != b->st_size || a->st_mtim.tv_sec != b->st_mtim.tv_sec ||
	       a->st_mtim.tv_nsec != b->st_mtim.tv_nsec || a->st_ctim.tv_sec != b->st_ctim.tv_sec ||
	       a->st_ctim.tv_nsec != b->st_ctim.tv_nsec;
}

static void plan(struct rebuild *b, size_t from, struct err *err)
{
	const struct restore *r = &b->restore;

	program_init(&b->prog, r->scratch + r->scratch_len - REMOTE_DATA_LEN, REMOTE_DATA_LEN,
		     REMOTE_CALL_CAP, err);
	for (size_t i = from; i < b->nlocks; i++) {
		struct flock k = locks_range(b->locks[i].lock, LOCK_TRY);
		uint64_t addr = program_data(&b->prog, &k, sizeof(k));
		struct call c = locks_call(b->locks[i].lock, b->locks[i].fd, LOCK_TRY, addr);

		program_call(&b->prog, "a lock that the program holds", c.nr, c.arg[0], c.arg[1],
			     c.arg[2], 0, 0, 0)
			->expect = EXPECT_ANY;
	}
}

/* Tries those from *at on; *at becomes the first that was not to be had.  -EAGAIN: there is one. */
static int try(struct rebuild *b, size_t *at, struct err *err)
{
	int ret;

	plan(b, *at, err);
	ret = remote_run(&b->remote, &b->prog, err);
	for (size_t i = 0; i < b->prog.n && !ret; i++)
		for (size_t k = 0; k < b->prog.batches[i].n && !ret; k++) {
			ret = (int)b->prog.batches[i].calls[k].ret;
			*at += !ret;
		}
	program_done(&b->prog);
	return ret == -EACCES ? -EAGAIN : ret; /* fcntl(2) may say either */
}

static int held_by_another(const struct rebuild *b, size_t i, struct err *err)
{
	const struct held_lock *l = &b->locks[i];

	err_set(err, -EBUSY,
		"cannot lock '%s' for the program (fd %d): somebody else holds the lock",
		l->file->path, l->fd);
	return err_hint(err, "lslocks(8) finds it");
}

int rebuild_take_locks(struct rebuild *b, struct err *err)
{
	struct timespec step = {.tv_nsec = 5 * 1000 * 1000};
	struct stat now;
	size_t at = 0;
	int ret = b->nlocks ? -EAGAIN : 0;

	for (int left = TRY_MS; ret == -EAGAIN; left -= 5) {
		ret = try(b, &at, err);
		if (ret == -EAGAIN && left <= 0)
			return held_by_another(b, at, err);
		if (ret == -EAGAIN)
			nanosleep(&step, NULL);
	}
	if (ret)
		return err->error ? ret
				  : err_sys(err, ret, "cannot lock '%s' for the program (fd %d)",
					    b->locks[at].file->path, b->locks[at].fd);
	for (size_t i = 0; i < b->nlocks; i++) {
		if ((ret = look_at(b, b->locks[i].fd, &now, err)))
			return ret;
		if (is_changed(&b->locked[i], &now))
			return err_set(
				err, -EBUSY,
				"somebody else had the lock of '%s' (fd %d) in the moment in "
				"which it was handed over, and has changed the file",
				b->locks[i].file->path, b->locks[i].fd);
	}
	return 0;
}

void rebuild_forget_locks(struct rebuild *b)
{
	free(b->locks);
	free(b->locked);
	b->locks = NULL;
	b->locked = NULL;
	b->nlocks = 0;
}
