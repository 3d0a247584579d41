/*
 * Leases.  Who opens a file breaks the lease that another one has on it: the holder would be
 * told, by a signal that ends it unless it expects it.  So /proc/locks is asked first: at a
 * checkpoint, whose program may have a file with a lease mapped; and at a restart, where the
 * program that was checkpointed may still be there.
 *
 * QUIRK: to read /proc/locks takes 4 to 20 ms, since all processors must have passed a grace
 * period before (fs/locks.c, locks_start: percpu_down_write).  So it is not done while a program
 * stands still, unless one of its descriptors has a lease.
 */
#include "state/lease.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"

const struct file_lock *lease_of(const struct open_file *f)
{
	for (size_t i = 0; f->kind == FILE_REGULAR && i < f->regular.nlocks; i++)
		if (f->regular.locks[i].kind == FDINFO_LEASE)
			return &f->regular.locks[i];
	return NULL;
}

struct lease {
	int pid;
	bool is_read;
	unsigned major, minor;
	unsigned long ino;
};

/* 12: LEASE  ACTIVE    WRITE 4242 fe:00:10953115 0 EOF */
static bool read_line(const char *line, struct lease *ret)
{
	char kind[16], mode[16];

	if (sscanf(line, "%*d: %15s %*s %15s %d %x:%x:%lu", kind, mode, &ret->pid, &ret->major,
		   &ret->minor, &ret->ino) != 6)
		return false;
	ret->is_read = !strcmp(mode, "READ");
	return !strcmp(kind, "LEASE");
}

/* The next one in /proc/locks, whose text *at goes through. */
static bool next_lease(const char **at, struct lease *ret)
{
	while (*at && **at) {
		const char *line = *at;

		*at = strchr(line, '\n');
		*at = *at ? *at + 1 : NULL;
		if (read_line(line, ret))
			return true;
	}
	return false;
}

static bool has_lease(int procfd, const char *fd)
{
	__cleanup_buf struct buf b = {0};
	char name[300], to[16] = "";

	snprintf(name, sizeof(name), "fd/%s", fd);
	/* Cut short is enough. */
	if (readlinkat(procfd, name, to, sizeof(to) - 1) < 0 || *to != '/' ||
	    !strncmp(to, "/dev/", 5))
		return false;
	snprintf(name, sizeof(name), "fdinfo/%s", fd);
	return !io_read_file(procfd, name, &b) && b.len && strstr(b.p, ": LEASE ");
}

bool lease_is_any(int procfd)
{
	int fd = openat(procfd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	bool any = false;

	while (d && !any && (e = readdir(d)))
		any = *e->d_name != '.' && has_lease(procfd, e->d_name);
	if (d)
		closedir(d);
	else if (fd >= 0)
		close(fd);
	return any;
}

bool lease_is_held(pid_t pid, uint64_t ino)
{
	__cleanup_buf struct buf text = {0};
	const char *at;
	struct lease l;

	if (io_read_file(AT_FDCWD, "/proc/locks", &text) || !text.len)
		return false;
	at = text.p;
	while (next_lease(&at, &l))
		if (l.pid == pid && !l.is_read && l.ino == ino)
			return true;
	return false;
}

/* Who has one on that file that is in the way; 0: nobody.  Those who read do not disturb each
 * other. */
static int find_holder(const struct stat *st, bool is_write)
{
	__cleanup_buf struct buf text = {0};
	const char *at;
	struct lease l;

	if (io_read_file(AT_FDCWD, "/proc/locks", &text) || !text.len)
		return 0;
	at = text.p;
	while (next_lease(&at, &l))
		if (l.ino == st->st_ino && l.major == major(st->st_dev) &&
		    l.minor == minor(st->st_dev) && (is_write || !l.is_read))
			return l.pid;
	return 0;
}

int lease_check(const struct restore *r, const struct open_file *f, const struct stat *st, int fd,
		struct err *err)
{
	const struct timespec step = {.tv_nsec = 10 * 1000 * 1000};
	const struct file_lock *l = lease_of(f);
	int pid;

	if (!l)
		return 0;
	if (r->is_fed) {
		/* On shared storage this open would break the program's own. */
		err_refuse(err, "the program holds a lease on '%s' (fd %d), which cannot move",
			   f->path, fd);
		return err_hint(err, "let it give the lease up before it moves");
	}
	/* One that was killed a moment ago may still be on its way out: give it a second. */
	for (int i = 0; (pid = find_holder(st, l->is_write)) && i < 100; i++)
		nanosleep(&step, NULL);
	if (!pid)
		return 0;
	err_set(err, -EAGAIN,
		"cannot give the program its lease on '%s' back (fd %d): process %d has one",
		f->path, fd, pid);
	return err_hint(err, "end process %d (perhaps the program that was checkpointed)", pid);
}

int lease_take(int ours, const struct open_file *f, const struct file_lock *l, int fd,
	       struct err *err)
{
	if (!fcntl(ours, F_SETLEASE, l->is_write ? F_WRLCK : F_RDLCK)) {
		(void)!fcntl(ours, F_SETLEASE, F_UNLCK);
		return 0;
	}
	err_sys(err, -errno, "cannot give the program its lease on '%s' back (fd %d)", f->path, fd);
	if (err->error == -EACCES)
		return err_hint(err, "restart as the user who owns the file");
	return err_hint(err, "end who has the file open: fuser -v shows it");
}
