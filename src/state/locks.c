/* Locks on files as calls: see locks.h. */
#include "state/locks.h"

#include <stdlib.h>
#include <sys/file.h>
#include <sys/syscall.h>

#include "proc/fdinfo.h"
#include "state/file_kinds.h"

/* A lease is another thing: it is there to be broken. */
static bool is_for_writing(const struct file_lock *l)
{
	return l->is_write && l->kind != FDINFO_LEASE;
}

static size_t count(const struct open_file *f)
{
	size_t n = 0;

	for (size_t i = 0; f->kind == FILE_REGULAR && i < f->regular.nlocks; i++)
		n += is_for_writing(&f->regular.locks[i]);
	return n;
}

ssize_t locks_for_writing(const struct file_table *t, struct held_lock **ret, struct err *err)
{
	size_t n = 0;

	for (size_t i = 0; i < t->nfiles; i++)
		n += count(&t->files[i]);
	*ret = io_alloc(n + 1, sizeof(**ret), err);
	if (!*ret)
		return err->error;
	n = 0;
	for (size_t i = 0; i < t->nfiles; i++) {
		const struct open_file *f = &t->files[i];

		for (size_t k = 0; f->kind == FILE_REGULAR && k < f->regular.nlocks; k++)
			if (is_for_writing(&f->regular.locks[k]))
				(*ret)[n++] = (struct held_lock){f, &f->regular.locks[k],
								 file_lowest_fd(t, f)};
	}
	return (ssize_t)n;
}

struct flock locks_range(const struct file_lock *l, enum lock_how how)
{
	return (struct flock){.l_type = how == LOCK_GIVE_UP ? F_UNLCK
					: l->is_write       ? F_WRLCK
							    : F_RDLCK,
			      .l_whence = SEEK_SET,
			      .l_start = l->start,
			      .l_len = l->end == INT64_MAX ? 0 : l->end - l->start + 1};
}

struct call locks_call(const struct file_lock *l, int fd, enum lock_how how, uint64_t addr)
{
	bool is_ofd = l->kind == FDINFO_OFD;
	int op = how == LOCK_GIVE_UP
			 ? LOCK_UN
			 : (l->is_write ? LOCK_EX : LOCK_SH) | (how == LOCK_TRY ? LOCK_NB : 0);

	if (l->kind == FDINFO_FLOCK)
		return (struct call){.nr = SYS_flock, .arg = {(unsigned)fd, (unsigned)op}};
	return (struct call){.nr = SYS_fcntl,
			     .arg = {(unsigned)fd,
				     how == LOCK_WAIT ? (is_ofd ? F_OFD_SETLKW : F_SETLKW)
						      : (is_ofd ? F_OFD_SETLK : F_SETLK),
				     addr}};
}
