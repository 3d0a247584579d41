/*
 * Descriptors: restart.  See files.h for the model, file_kinds.h for the parts.
 *
 * The new process comes with descriptors 0-2, whatever of them the restarting
 * shell had open, and the image's.  All numbers are those of the program soon:
 *
 *   1. the limit on numbers is raised if need be
 *   2. what is there moves above the program's highest number
 *   3. each description is made, at the lowest free number, and duplicated to
 *      its numbers; a number is never in the way, since all of the program's
 *      are free until they are taken for good
 *   4. what was moved is closed, but for the image
 *   5. what is in flight is sent (flight.h), and closed where the program has it nowhere else
 *   6. what needs all descriptors in place: epoll entries, locks (closing any
 *      descriptor of a file drops the process's locks on it: so locks last)
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state/contents.h"
#include "state/flight.h"

/* Numbers above the program's highest that a restart needs: the three, the
 * image's, and two ends that wait. */
#define NUMBERS_ABOVE 8

const struct open_file *files_find(const struct file_table *t, int fd)
{
	size_t low = 0, high = t->nfds;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (t->fds[mid].fd == fd)
			return &t->files[t->fds[mid].file];
		if (t->fds[mid].fd < fd)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

bool file_has_fd(const struct file_table *t, const struct open_file *f, int fd, bool *ret_cloexec)
{
	for (uint32_t i = f->first; i != FILES_NONE; i = t->fds[i].next)
		if (t->fds[i].fd == fd) {
			if (ret_cloexec)
				*ret_cloexec = t->fds[i].cloexec;
			return true;
		}
	return false;
}

const char *file_why(struct file_restore *fr, const struct open_file *f, const char *what)
{
	return program_why(fr->prog, "fd %d: %s", file_lowest_fd(fr->table, f), what);
}

unsigned file_cloexec(const struct file_restore *fr, const struct open_file *f)
{
	bool cloexec;

	if (file_has_fd(fr->table, f, program_fd_lowest(fr->prog, 0), &cloexec))
		return cloexec ? O_CLOEXEC : 0;
	return O_CLOEXEC;
}

void file_place(struct file_restore *fr, const struct open_file *f, int temp, bool cloexec)
{
	const struct file_table *t = fr->table;
	bool stays = false;

	for (uint32_t i = f->first; i != FILES_NONE; i = t->fds[i].next) {
		const struct file_descriptor *d = &t->fds[i];

		stays |= d->fd == temp;
		if (d->fd != temp)
			program_dup(fr->prog, file_why(fr, f, "put in place"), temp, d->fd,
				    d->cloexec);
		else if (d->cloexec != cloexec)
			program_dup(fr->prog, file_why(fr, f, "close-on-exec"), temp, temp,
				    d->cloexec);
	}
	if (!stays)
		program_close(fr->prog, file_why(fr, f, "only needed to put it in place"), temp);
}

void file_take_pair(struct file_restore *fr, int temp[2])
{
	for (int i = 0; i < 2; i++) {
		temp[i] = program_fd_lowest(fr->prog, 0);
		program_fd_mark(fr->prog, temp[i], true);
	}
}

int file_out_of_the_way(struct file_restore *fr, int temp)
{
	int fd = program_dup_above(fr->prog, "out of the way of the other end", temp, fr->above);

	program_close(fr->prog, "moved", temp);
	return fd;
}

static void place_end(struct file_restore *fr, const struct open_file *f, int temp)
{
	if (f)
		file_place(fr, f, temp, true);
	else
		program_close(fr->prog, "this end was closed", temp);
}

void file_place_pair(struct file_restore *fr, const struct open_file *f0, int temp0,
		     const struct open_file *f1, int temp1)
{
	/* Putting one end in place must not close the other. */
	if (f0 && file_has_fd(fr->table, f0, temp1, NULL))
		temp1 = file_out_of_the_way(fr, temp1);
	place_end(fr, f0, temp0);
	place_end(fr, f1, temp1);
}

void file_write_all(struct file_restore *fr, const char *why, int fd, const void *data, size_t len)
{
	size_t piece = ALIGN_DOWN(fr->prog->data_cap < 65536 ? fr->prog->data_cap : 65536, 16);

	for (size_t off = 0; off < len; off += piece) {
		size_t n = len - off < piece ? len - off : piece;
		uint64_t addr = program_data(fr->prog, (const char *)data + off, n);

		program_call_want(fr->prog, (int64_t)n, why, SYS_write, (unsigned)fd, addr, n, 0, 0,
				  0);
	}
}

void file_restore_notice(struct restore *r, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (r->notice)
		r->notice(r->notice_arg, text);
}

static uint64_t numbers_needed(const struct file_table *t)
{
	return (t->nfds ? (uint64_t)t->fds[t->nfds - 1].fd : 0) + 1 + NUMBERS_ABOVE;
}

int files_check(struct restore *r, const struct process *p, struct err *err)
{
	const struct file_table *t = p->files;
	struct rlimit lim;
	int e;

	if (!t)
		return 0;
	if (getrlimit(RLIMIT_NOFILE, &lim))
		return err_sys(err, -errno, "cannot read the limit on descriptors");
	if (lim.rlim_max != RLIM_INFINITY && lim.rlim_max < numbers_needed(t)) {
		err_set(err, -EMFILE,
			"the program has the descriptor %d; here the hard limit allows %llu",
			t->fds[t->nfds - 1].fd, (unsigned long long)lim.rlim_max);
		return err_hint(err, "raise the limit before the restart: ulimit -Hn %llu",
				(unsigned long long)numbers_needed(t));
	}
	for (size_t i = 0; i < t->nfiles; i++) {
		const struct file_ops *ops = file_ops_of(t->files[i].kind);

		if (ops->check && (e = ops->check(r, t, &t->files[i], err)))
			return e;
	}
	return 0;
}

int files_act(struct restore *r, const struct process *p, struct err *err)
{
	const struct file_table *t = p->files;
	int e;

	for (size_t i = 0; t && i < t->nfiles; i++) {
		const struct file_ops *ops = file_ops_of(t->files[i].kind);

		if (ops->act && (e = ops->act(r, &t->files[i], err)))
			return e;
	}
	return 0;
}

static void raise_limit(struct file_restore *fr)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) || lim.rlim_cur >= numbers_needed(fr->table))
		return;
	lim.rlim_cur = numbers_needed(fr->table);
	uint64_t addr = program_data(fr->prog, &lim, sizeof(lim));

	program_call_want(fr->prog, 0, "room for the program's descriptors", SYS_prlimit64, 0,
			  RLIMIT_NOFILE, addr, 0, 0, 0);
}

/* Does something become the shell's descriptor fd? */
static bool is_wanted(const struct file_table *t, int fd)
{
	for (size_t i = 0; i < t->nfiles; i++)
		if ((t->files[i].kind == FILE_INHERITED &&
		     (t->files[i].inherited.like == fd ||
		      file_has_fd(t, &t->files[i], fd, NULL))) ||
		    (t->files[i].kind == FILE_GIVEN && t->files[i].given.like == fd))
			return true;
	return false;
}

/* What the new process came with moves up, or is closed. */
static void clear_numbers(struct file_restore *fr)
{
	struct program *prog = fr->prog;

	for (int fd = 0; fd < 3; fd++) {
		fr->inherited[fd] = -1;
		if (!program_fd_is_used(prog, fd) || fd == fr->r->image_fd ||
		    !is_wanted(fr->table, fd))
			continue;
		fr->inherited[fd] = program_dup_above(
			prog, program_why(prog, "keep the shell's descriptor %d for later", fd), fd,
			fr->above);
		program_close(prog, "moved", fd);
	}
	for (int fd = 0; fd < fr->above; fd++) {
		if (!program_fd_is_used(prog, fd))
			continue;
		if (fd == fr->r->image_fd)
			fr->r->image_fd =
				program_dup_above(prog, "keep the image for later", fd, fr->above);
		program_close(prog, "this number is needed", fd);
	}
}

int files_restore(struct restore *r, const struct process *p, struct err *err)
{
	const struct file_table *t = p->files;
	struct file_restore fr = {.r = r, .p = p, .table = t, .prog = r->prog};
	__cleanup_free int *contents = NULL, *senders = NULL;
	int e;

	if (!t)
		return 0;
	fr.above = t->nfds ? t->fds[t->nfds - 1].fd + 1 : 0;
	if (fr.above < 3)
		fr.above = 3;
	raise_limit(&fr);
	clear_numbers(&fr);
	if ((e = contents_restore(&fr, &contents, err)))
		return e;
	fr.contents = contents;
	fr.senders = senders = io_alloc(t->nfiles, sizeof(*senders), err);
	if (!senders)
		return err->error;
	for (size_t i = 0; i < t->nfiles; i++)
		if ((e = file_ops_of(t->files[i].kind)->restore(&fr, &t->files[i], err)))
			return e;
	contents_restore_end(&fr, contents);
	for (int i = 0; i < 3; i++)
		if (fr.inherited[i] >= 0)
			program_close(fr.prog, "in place by now", fr.inherited[i]);
	if ((e = flight_restore(&fr, err)))
		return e;
	for (size_t i = 0; i < t->nfiles; i++) {
		const struct file_ops *ops = file_ops_of(t->files[i].kind);

		if (ops->restore_late && !flight_has(t, file_lowest_fd(t, &t->files[i])) &&
		    (e = ops->restore_late(&fr, &t->files[i], err)))
			return e;
	}
	return r->prog->failed ? err->error : 0;
}
