/*
 * Locks for writing, of a program that moves: docs/PROTOCOL.md, section 4, "Locks".
 *
 * On storage that both hosts share only one of the copies can have them.  The one here gives
 * them up when it stands still for good, right before COMMIT, and such that it takes them again
 * before anything else, whoever lets it go on (remote_park): nobody has to know of them who
 * settles.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "migrate/source.h"
#include "state/locks.h"

/* How long the locks may take to be had again, before the program waits for them alone. */
#define BACK_MS 2000

int source_check_locks(struct source *s, struct err *err)
{
	__cleanup_free struct held_lock *v = NULL;
	ssize_t n = locks_for_writing(s->job.proc->files, &v, err);

	if (n < 0)
		return (int)n;
	s->result->nlocks = (uint32_t)n;
	if ((size_t)n <= REMOTE_PARKING_MAX)
		return 0;
	err_refuse(err, "process %d holds %zd locks for writing on files; at most %u can be moved",
		   s->o->pid, n, REMOTE_PARKING_MAX);
	return err_hint(err, "let it give some up before it moves");
}

/*
 * A network file system writes what is cached when a lock is given up: done before, so
 * that a change that the other side sees afterwards is somebody else's.
 */
int source_sync_locked(struct source *s, struct err *err)
{
	__cleanup_free struct held_lock *v = NULL;
	ssize_t n = locks_for_writing(s->job.proc->files, &v, err);

	for (ssize_t i = 0; i < n; i++) {
		__cleanup_fd int fd = -1;

		if (i && v[i].fd == v[i - 1].fd)
			continue;
		fd = remote_getfd(&s->job.remote, v[i].fd);
		if (fd < 0 || (fsync(fd) && errno != EINVAL))
			return err_sys(err, fd < 0 ? fd : -errno, "cannot write '%s' out",
				       v[i].file->path);
	}
	return n < 0 ? (int)n : 0;
}

/* v[n] as calls: the argument of each, given up, and taken again. */
static void plan(const struct held_lock *v, size_t n, struct call *undo, struct call *again,
		 struct flock *data)
{
	for (size_t i = 0; i < n; i++) {
		const struct file_lock *l = v[i].lock;
		uint64_t at = 2 * i * sizeof(*data);

		data[2 * i] = locks_range(l, LOCK_GIVE_UP);
		data[2 * i + 1] = locks_range(l, LOCK_WAIT);
		undo[i] = locks_call(l, v[i].fd, LOCK_GIVE_UP, at);
		again[i] = locks_call(l, v[i].fd, LOCK_WAIT, at + sizeof(*data));
		undo[i].pointers = again[i].pointers = undo[i].nr == SYS_fcntl ? 4 : 0;
		undo[i].why = "giving up a lock that the program holds";
	}
}

int source_give_locks_up(struct source *s, struct err *err)
{
	__cleanup_free struct held_lock *v = NULL;
	ssize_t n = locks_for_writing(s->job.proc->files, &v, err);
	__cleanup_free struct call *calls =
		n > 0 ? io_alloc(2 * (size_t)n, sizeof(*calls), err) : NULL;
	__cleanup_free struct flock *data =
		n > 0 ? io_alloc(2 * (size_t)n, sizeof(*data), err) : NULL;
	struct remote_parking p = {.undo = calls, .n = (size_t)n, .data = data};

	if (n <= 0)
		return (int)n;
	if (!calls || !data)
		return err->error;
	p.again = calls + n;
	p.data_len = 2 * p.n * sizeof(*data);
	plan(v, p.n, calls, calls + n, data);
	return remote_park(&s->job.remote, &p, &s->job.maps, err);
}

void source_take_locks_back(struct source *s)
{
	struct err why = ERR_INIT;
	char text[200];

	if (remote_unpark(&s->job.remote, BACK_MS, &why) != -EAGAIN)
		return;
	snprintf(text, sizeof(text),
		 "somebody else has a lock that process %d has given up to move: it goes on here "
		 "when it has that again",
		 s->job.remote.pid);
	guardian_notice(s->job.front, text);
}
