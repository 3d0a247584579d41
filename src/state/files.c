/*
 * Descriptors: capture.  See files.h for the model, file_kinds.h for the parts.
 *
 *   1. read /proc/PID/fd: each descriptor's link, inode and fdinfo
 *   2. find the descriptors that share an open file description (kcmp)
 *   3. the rules (file_rules.c) say of which kind a description is, or refuse
 *   4. what is in flight in the program's sockets (flight.h) goes the same way
 *   5. the kind looks closer; then once more when all descriptors are known:
 *      what ends of pipes and pairs are inside, what an epoll watches
 *
 * Nothing in the target changes.
 */
#include "state/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "state/flight.h"

uint32_t file_index(const struct file_table *t, const struct open_file *f)
{
	return (uint32_t)(f - t->files);
}

int file_lowest_fd(const struct file_table *t, const struct open_file *f)
{
	return f->first < t->nfds ? t->fds[f->first].fd : -1;
}

void files_link(struct file_table *t)
{
	for (size_t i = 0; i < t->nfiles; i++)
		t->files[i].first = FILES_NONE;
	/* From behind, so that each goes before those that are higher. */
	for (size_t i = t->nfds; i-- > 0;) {
		struct file_descriptor *d = &t->fds[i];

		d->next = FILES_NONE;
		if (d->file >= t->nfiles)
			continue;
		d->next = t->files[d->file].first;
		t->files[d->file].first = (uint32_t)i;
	}
}

void file_notice(const struct file_scan *s, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (s->c->notice)
		s->c->notice(s->c->notice_arg, text);
}

int file_refuse(const struct file_scan *s, struct err *err, const char *remedy, const char *fmt,
		...)
{
	char what[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (flight_has(s->table, s->fd))
		err_refuse(err, "cannot save '%.200s' (in flight in process %d): %s", s->link,
			   s->c->remote->pid, what);
	else
		err_refuse(err, "cannot save '%.200s' (fd %d of process %d): %s", s->link, s->fd,
			   s->c->remote->pid, what);
	return remedy ? err_hint(err, "%s", remedy) : err->error;
}

int file_refuse_as(const struct file_scan *s, struct err *err, enum refusal kind, const char *fmt,
		   ...)
{
	char what[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return file_refuse(s, err, refusal_remedy(kind), "%s", what);
}

int file_is_named(const struct file_scan *s, int flags, struct err *err)
{
	struct stat st;

	if (!fstatat(AT_FDCWD, s->link, &st, flags))
		return st.st_dev == s->st.st_dev && st.st_ino == s->st.st_ino;
	if (errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == ELOOP)
		return 0;
	return err_sys(err, -errno, "cannot look at '%.200s' (fd %d of process %d)", s->link, s->fd,
		       s->c->remote->pid);
}

/* Whose descriptor it is, and of which number there: one in flight is ours. */
static pid_t holder_of(const struct file_scan *s, int fd, int *ret_fd)
{
	bool is_ours = flight_has(s->table, fd);

	*ret_fd = is_ours ? s->held[fd - s->table->flight_from] : fd;
	return is_ours ? getpid() : s->c->remote->speaker;
}

int file_try_getfd(const struct file_scan *s, int fd)
{
	int there, dup;
	pid_t pid = holder_of(s, fd, &there);

	if (pid == s->c->remote->speaker)
		return remote_getfd(s->c->remote, fd);
	dup = fcntl(there, F_DUPFD_CLOEXEC, 3);
	return dup < 0 ? -errno : dup;
}

int file_getfd(const struct file_scan *s, int fd, struct err *err)
{
	int dup = file_try_getfd(s, fd);

	if (dup >= 0)
		return dup;
	err_sys(err, dup, "cannot look at '%.200s' (fd %d of process %d)", s->link, fd,
		s->c->remote->pid);
	if (dup == -EPERM || dup == -ENOSYS)
		err_hint(err, "pidfd_getfd(2) is not allowed here: in a container add "
			      "--cap-add=SYS_PTRACE, or run as root");
	return err->error;
}

int file_read_info(const struct file_scan *s, int fd, struct fdinfo *ret, struct err *err)
{
	__cleanup_buf struct buf text = {0};
	char path[48];
	int there, e;
	pid_t pid = holder_of(s, fd, &there);

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, there);
	if ((e = io_read_file(s->c->remote->procfd,
			      pid == s->c->remote->speaker ? strstr(path, "fdinfo") : path, &text)))
		return err_sys(err, e, "cannot read %s", path);
	return proc_parse_fdinfo(text.p, ret, err);
}

bool file_pipe_is_hung_up(int dup, uint32_t flags)
{
	struct pollfd p = {.fd = dup};

	if (poll(&p, 1, 0) < 0)
		return false;
	return p.revents & ((flags & O_ACCMODE) == O_WRONLY ? POLLERR : POLLHUP);
}

/* --- 1: the list of descriptors --- */

static int compare_ints(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* The target's descriptors, ascending; the caller frees *ret. */
static int list_fds(const struct capture *c, int **ret, size_t *ret_n, struct err *err)
{
	int fd = openat(c->remote->procfd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	__attribute__((cleanup(close_dir))) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	size_t n = 0, cap = 0;
	__cleanup_free int *fds = NULL;
	struct dirent *e;

	if (!d) {
		err_sys(err, -errno, "cannot list the descriptors of process %d", c->remote->pid);
		if (fd >= 0)
			close(fd);
		return err->error;
	}
	while ((e = readdir(d))) {
		int *v;

		if (e->d_name[0] < '0' || e->d_name[0] > '9')
			continue;
		v = io_grow(fds, &cap, n + 1, sizeof(*v), err);
		if (!v)
			return err->error;
		fds = v;
		v[n++] = atoi(e->d_name);
	}
	if (n)
		qsort(fds, n, sizeof(*fds), compare_ints);
	*ret = fds;
	*ret_n = n;
	fds = NULL;
	return 0;
}

static int look_at(struct file_scan *s, int fd, struct fdinfo *info, struct err *err)
{
	char full[64];
	const char *path = full;
	struct statfs fs;
	int there, e;
	pid_t pid = holder_of(s, fd, &there);

	snprintf(full, sizeof(full), "/proc/%d/fd/%d", pid, there);
	if (pid == s->c->remote->speaker)
		path = strstr(full, "fd/"); /* of the very process that is held */
	s->fd = fd;
	s->info = info;
	s->fs_magic = 0;
	s->detail[0] = s->link[0] = '\0';
	if ((e = io_readlink(s->c->remote->procfd, path, s->link, sizeof(s->link))))
		return err_sys(err, e, "cannot read %s", full);
	if (fstatat(s->c->remote->procfd, path, &s->st, 0))
		return err_sys(err, -errno, "cannot look at '%.200s' (fd %d of process %d)",
			       s->link, fd, s->c->remote->pid);
	if ((S_ISREG(s->st.st_mode) || S_ISDIR(s->st.st_mode)) && !statfs(full, &fs))
		s->fs_magic = (uint64_t)fs.f_type;
	return file_read_info(s, fd, info, err);
}

/* --- 2: descriptors that share a description --- */

/* Without kcmp: what has an offset, a name or a number of its own is the same
 * where all that is seen is the same; of the others we cannot know. */
static int compare_looks(const struct open_file *f, const struct file_scan *s)
{
	if (f->pos != s->info->pos)
		return f->pos < s->info->pos ? -1 : 1;
	return !strncmp(s->link, "anon_inode:", 11) ? -1 : 0;
}

/* kcmp(2) orders descriptions, so that thousands of them can be told apart by
 * bisection: the program waits meanwhile. */
static int compare(const struct open_file *f, const struct file_scan *s)
{
	uint32_t flags = s->info->flags & ~(uint32_t)O_CLOEXEC;
	int a, b;
	pid_t pid_a = holder_of(s, file_lowest_fd(s->table, f), &a);
	pid_t pid_b = holder_of(s, s->fd, &b);
	long n;

	if (f->ino != s->st.st_ino)
		return f->ino < s->st.st_ino ? -1 : 1;
	if (f->dev != s->st.st_dev)
		return f->dev < s->st.st_dev ? -1 : 1;
	if (f->flags != flags)
		return f->flags < flags ? -1 : 1;
	n = syscall(SYS_kcmp, pid_a, pid_b, KCMP_FILE, (unsigned long)a, (unsigned long)b);
	if (n < 0)
		return compare_looks(f, s);
	return n == 0 ? 0 : n == 1 ? -1 : 1;
}

/* The place of s's description in s->order; *ret_same: it is there. */
static size_t find_shared(const struct file_scan *s, bool *ret_same)
{
	const struct file_table *t = s->table;
	size_t low = 0, high = t->nfiles;

	*ret_same = false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = compare(&t->files[s->order[mid]], s);

		if (c == 0) {
			*ret_same = true;
			return mid;
		}
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int put_in_order(struct file_scan *s, size_t at, uint32_t file, struct err *err)
{
	/* The file is counted in nfiles already. */
	size_t n = s->table->nfiles - 1;
	uint32_t *v = io_grow(s->order, &s->order_cap, n + 1, sizeof(*v), err);

	if (!v)
		return err->error;
	s->order = v;
	memmove(v + at + 1, v + at, (n - at) * sizeof(*v));
	v[at] = file;
	return 0;
}

/* --- 3, 4: kinds --- */

static int add_file(struct file_scan *s, struct open_file **ret, struct err *err)
{
	struct file_table *t = s->table;
	struct open_file *f;
	uint32_t kind;
	int e;

	if ((e = file_rules_match(s, &kind, err)))
		return e;
	f = io_grow(t->files, &t->files_cap, t->nfiles + 1, sizeof(*f), err);
	if (!f)
		return err->error;
	t->files = f;
	f += t->nfiles++;
	*f = (struct open_file){.first = FILES_NONE,
				.kind = kind,
				.flags = s->info->flags & ~(uint32_t)O_CLOEXEC,
				.pos = s->info->pos,
				.path = strdup(s->link),
				.dev = s->st.st_dev,
				.ino = s->st.st_ino,
				.rdev = s->st.st_rdev};
	*ret = f;
	if (!f->path)
		return err_set(err, -ENOMEM, "out of memory");
	return file_ops_of(kind)->capture ? file_ops_of(kind)->capture(s, f, err) : 0;
}

int files_add_fd(struct file_scan *s, int fd, uint32_t *ret_file, struct err *err)
{
	struct file_table *t = s->table;
	struct file_descriptor *d;
	struct fdinfo info;
	struct open_file *f = NULL;
	size_t at;
	bool same;
	int e;

	if ((unsigned)fd >= FILES_MAX)
		return err_refuse_as(err, REFUSED_HIGH_DESCRIPTOR,
				     "process %d has the descriptor %d; %u is the highest that "
				     "can be saved",
				     s->c->remote->pid, fd, FILES_MAX - 1);
	if ((e = look_at(s, fd, &info, err)))
		return e;
	at = find_shared(s, &same);
	if (same)
		f = &t->files[s->order[at]];
	else if (!(e = add_file(s, &f, err)))
		e = put_in_order(s, at, file_index(t, f), err);
	d = e ? NULL : io_grow(t->fds, &t->fds_cap, t->nfds + 1, sizeof(*d), err);
	if (d) {
		t->fds = d;
		d += t->nfds++;
		*d = (struct file_descriptor){.fd = fd,
					      .file = file_index(t, f),
					      .next = FILES_NONE,
					      .cloexec = info.flags & O_CLOEXEC};
		if (!same)
			f->first = (uint32_t)t->nfds - 1;
		*ret_file = d->file;
	}
	fdinfo_done(&info);
	return d ? 0 : err->error;
}

/* Threads that do not share the first one's descriptors (clone without CLONE_FILES). */
static int refuse_private_tables(const struct capture *c, struct err *err)
{
	const struct remote *r = c->remote;

	for (size_t i = 1; i < r->n; i++)
		if (remote_has_own_files(r, &r->threads[i])) {
			return err_refuse_as(err, REFUSED_OWN_DESCRIPTORS,
					     "cannot save thread %d of process %d: it has "
					     "descriptors of its own",
					     r->threads[i].tid, r->pid);
		}
	return 0;
}

static int complete(struct file_scan *s, struct err *err)
{
	struct file_table *t = s->table;

	for (size_t i = 0; i < t->nfiles; i++) {
		const struct file_ops *ops = file_ops_of(t->files[i].kind);
		int e;

		s->fd = file_lowest_fd(t, &t->files[i]);
		s->detail[0] = '\0';
		snprintf(s->link, sizeof(s->link), "%s", t->files[i].path);
		if (ops->complete && (e = ops->complete(s, &t->files[i], err)))
			return e;
	}
	return 0;
}

static int capture_files(struct capture *c, struct process *p, struct err *err)
{
	__cleanup_free struct file_scan *s = io_alloc(1, sizeof(*s), err);
	__cleanup_free int *fds = NULL;
	size_t n = 0;
	uint32_t file;
	int e;

	p->files = s ? io_alloc(1, sizeof(*p->files), err) : NULL;
	if (!p->files)
		return err->error;
	*s = (struct file_scan){.c = c, .p = p, .table = p->files};
	if ((e = refuse_private_tables(c, err)) || (e = list_fds(c, &fds, &n, err)))
		return e;
	for (size_t i = 0; i < n && !(e = files_add_fd(s, fds[i], &file, err)); i++)
		;
	if (!e)
		e = flight_capture(s, err);
	free(s->order);
	files_link(p->files);
	if (!e)
		e = complete(s, err);
	flight_release(s);
	return e;
}

/* --- the kinds, and what concerns all --- */

const struct file_ops *file_ops_of(uint32_t kind)
{
	static const struct file_ops *const all[] = {
		&file_regular,    &file_directory, &file_device,  &file_inherited, &file_pipe,
		&file_eventfd,    &file_epoll,     &file_timerfd, &file_signalfd,  &file_unix_pair,
		&file_tcp_listen, &file_kernel,    &file_fifo,    &file_path,      &file_udp,
		&file_unix_named, &file_unlinked,  &file_inotify, &file_given,     &file_pty};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i]->kind == kind)
			return all[i];
	return NULL;
}

static void done_files(struct process *p)
{
	struct file_table *t = p->files;

	if (!t)
		return;
	for (size_t i = 0; i < t->nfiles; i++) {
		const struct file_ops *ops = file_ops_of(t->files[i].kind);

		if (ops && ops->done)
			ops->done(&t->files[i]);
		free(t->files[i].path);
	}
	for (size_t i = 0; i < t->npipes; i++) {
		free(t->pipes[i].data);
		free(t->pipes[i].slots);
	}
	free(t->files);
	free(t->fds);
	free(t->pipes);
	free(t);
	p->files = NULL;
}

const struct state_ops state_files = {
	.name = "files",
	.note = NOTE_FILES,
	.capture = capture_files,
	.codec = files_codec,
	.validate = files_validate,
	.check = files_check,
	.act = files_act,
	.restore = files_restore,
	.show = files_show,
	.done = done_files,
};
