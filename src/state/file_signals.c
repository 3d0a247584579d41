/*
 * Who is told by a signal that something can be done with a descriptor, by which one, and
 * whether at all: F_SETOWN_EX, F_SETSIG, O_ASYNC (fcntl(2)).  Any kind of open file may have
 * an owner; sockets signal one SIGURG without O_ASYNC, files with a lease SIGIO.
 *
 * The kernel tells all of it but the number that si_fd shows (fasync_struct.fa_fd): it becomes
 * the lowest descriptor's.
 *
 * They are set last, when the threads are there, since one may be the owner; and so nothing
 * that the restart itself does with the file is signalled.
 */
#include "state/file_signals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/refusal.h"
#include "base/report.h"
#include "state/flight.h"
#include "state/lease.h"

#define NO_THREAD UINT32_MAX

/* --- capture --- */

static int refuse(const struct capture *c, const struct open_file *f, int fd, enum refusal kind,
		  const char *what, struct err *err)
{
	return err_refuse_as(err, kind, "cannot save '%.200s' (fd %d of process %d): %s", f->path,
			     fd, c->remote->pid, what);
}

/* The owner as the program knows it, or false: somebody else. */
static bool know_owner(const struct capture *c, const struct f_owner_ex *o, struct file_signal *s)
{
	s->thread = NO_THREAD;
	s->owner = FILE_OWNER_NONE; /* none, or it has ended */
	if (!o->pid)
		return true;
	switch (o->type) {
	case F_OWNER_PID:
		s->owner = FILE_OWNER_PROCESS;
		return o->pid == c->remote->pid;
	case F_OWNER_PGRP:
		s->owner = FILE_OWNER_GROUP;
		return o->pid == getpgid(c->remote->pid);
	default:
		s->owner = FILE_OWNER_THREAD;
		for (size_t i = 0; i < c->remote->n; i++)
			if (c->remote->threads[i].tid == o->pid)
				s->thread = (uint32_t)i;
		return s->thread != NO_THREAD;
	}
}

static int add(struct process *p, const struct file_signal *s, size_t *cap, struct err *err)
{
	struct file_signal *v =
		io_grow(p->file_signals, cap, p->nfile_signals + 1, sizeof(*v), err);

	if (!v)
		return err->error;
	p->file_signals = v;
	v[p->nfile_signals++] = *s;
	return 0;
}

static int look(struct capture *c, struct process *p, const struct open_file *f, size_t *cap,
		struct err *err)
{
	struct file_signal s = {.fd = file_lowest_fd(p->files, f)};
	__cleanup_fd int dup = remote_getfd(c->remote, s.fd);
	struct f_owner_ex o = {0};
	int sig;

	if (dup < 0 || fcntl(dup, F_GETOWN_EX, &o) || (sig = fcntl(dup, F_GETSIG)) < 0)
		return err_sys(err, dup < 0 ? dup : -errno,
			       "cannot look at '%.200s' (fd %d of process %d)", f->path, s.fd,
			       c->remote->pid);
	s.is_async = f->flags & O_ASYNC;
	s.signal = (uint32_t)sig;
	if (!o.pid && !sig && !s.is_async && !lease_of(f))
		return 0;
	if (know_owner(c, &o, &s))
		/* dnotify leaves no other trace (fs/notify/dnotify/dnotify.c, fcntl_dirnotify) */
		return f->kind == FILE_DIRECTORY && o.pid ? refuse(c, f, s.fd, REFUSED_DNOTIFY,
								   "signals of changes in it may "
								   "have been asked for (F_NOTIFY)",
								   err)
							  : add(p, &s, cap, err);
	if (f->kind == FILE_INHERITED)
		return 0; /* its other holder's business */
	return refuse(c, f, s.fd, REFUSED_OWNER, "its signals go to another process", err);
}

static int capture(struct capture *c, struct process *p, struct err *err)
{
	size_t cap = 0;
	int e = 0;

	/* Of a file that is not really open nothing can be asked. */
	for (size_t i = 0; i < p->files->nfiles && !e; i++)
		if (p->files->files[i].kind != FILE_PATH &&
		    !flight_has(p->files, file_lowest_fd(p->files, &p->files->files[i])))
			e = look(c, p, &p->files->files[i], &cap, err);
	return e;
}

/* --- image --- */

static bool is_needed(const struct process *p)
{
	return p->nfile_signals > 0;
}

static void codec(struct codec *c, struct process *p)
{
	codec_array(c, &p->file_signals, &p->nfile_signals, sizeof(*p->file_signals), 17,
		    FILES_MAX);
	for (size_t i = 0; i < p->nfile_signals && !c->bad; i++) {
		struct file_signal *s = &p->file_signals[i];

		codec_i32(c, &s->fd);
		codec_u32(c, &s->owner);
		codec_u32(c, &s->thread);
		codec_u32(c, &s->signal);
		codec_bool(c, &s->is_async);
	}
}

static int validate(const struct process *p, struct err *err)
{
	for (size_t i = 0; i < p->nfile_signals; i++) {
		const struct file_signal *s = &p->file_signals[i];
		bool is_thread = s->owner == FILE_OWNER_THREAD;

		if (s->owner > FILE_OWNER_GROUP || s->signal > 64 ||
		    is_thread != (s->thread != NO_THREAD) ||
		    (is_thread && s->thread >= p->nthreads))
			return err_image(err, "the signals of fd %d are impossible", s->fd);
		if (!p->files || !files_find(p->files, s->fd) ||
		    (i && s->fd <= p->file_signals[i - 1].fd))
			return err_image(err, "signals of fd %d, out of order or not open", s->fd);
	}
	return 0;
}

/* --- restart --- */

static struct f_owner_ex new_owner(const struct restore *r, const struct file_signal *s)
{
	switch (s->owner) {
	case FILE_OWNER_PROCESS:
		return (struct f_owner_ex){F_OWNER_PID, r->new_pid};
	case FILE_OWNER_THREAD:
		return (struct f_owner_ex){F_OWNER_TID, r->new_tids[s->thread]};
	case FILE_OWNER_GROUP: /* without a number in its own namespace: it stands for all */
		return r->new_pgid > 0 ? (struct f_owner_ex){F_OWNER_PGRP, r->new_pgid}
				       : (struct f_owner_ex){F_OWNER_PID, r->new_pid};
	default:
		return (struct f_owner_ex){F_OWNER_PID, 0};
	}
}

static void restore_one(struct restore *r, const struct process *p, const struct file_signal *s)
{
	const struct open_file *f = files_find(p->files, s->fd);
	struct f_owner_ex o = new_owner(r, s);
	const int on = 1;
	/* What the shell gives may be another kind of object. */
	bool may_fail = f->kind == FILE_INHERITED || f->kind == FILE_GIVEN;
	uint64_t at;

	program_call(r->prog, program_why(r->prog, "fd %d: by which signal it tells", s->fd),
		     SYS_fcntl, (unsigned)s->fd, F_SETSIG, s->signal, 0, 0, 0)
		->expect = may_fail ? EXPECT_ANY : EXPECT_OK;
	at = program_data(r->prog, &o, sizeof(o));
	program_call(r->prog, program_why(r->prog, "fd %d: whom it tells", s->fd), SYS_fcntl,
		     (unsigned)s->fd, F_SETOWN_EX, at, 0, 0, 0)
		->expect = may_fail ? EXPECT_ANY : EXPECT_OK;
	if (!s->is_async)
		return;
	at = program_data(r->prog, &on, sizeof(on));
	program_call(r->prog, program_why(r->prog, "fd %d: O_ASYNC", s->fd), SYS_ioctl,
		     (unsigned)s->fd, FIOASYNC, at, 0, 0, 0)
		->expect = may_fail ? EXPECT_ANY : EXPECT_OK;
}

int file_signals_restore(struct restore *r, const struct process *p, struct err *err)
{
	program_thread(r->prog, 0);
	for (size_t i = 0; i < p->nfile_signals; i++)
		restore_one(r, p, &p->file_signals[i]);
	return r->prog->failed ? err->error : 0;
}

static void show(const struct process *p, struct report *rep)
{
	static const char *const owners[] = {"nobody", "process", "thread", "group"};

	if (!p->nfile_signals)
		return;
	report_list(rep, "file_signals", NULL);
	for (size_t i = 0; i < p->nfile_signals; i++) {
		const struct file_signal *s = &p->file_signals[i];

		report_item(rep);
		report_i64(rep, "fd", NULL, s->fd);
		report_str(rep, "owner", NULL, "%s", owners[s->owner]);
		report_u64(rep, "signal", NULL, s->signal);
		report_bool(rep, "async", NULL, s->is_async);
		if (s->signal)
			report_line(rep, "%4d  tells the %s by signal %u%s", s->fd,
				    owners[s->owner], s->signal, s->is_async ? ", O_ASYNC" : "");
		else
			report_line(rep, "%4d  tells the %s by SIGIO%s", s->fd, owners[s->owner],
				    s->is_async ? ", O_ASYNC" : "");
		report_end(rep);
	}
	report_end(rep);
}

static void done(struct process *p)
{
	free(p->file_signals);
}

const struct state_ops state_file_signals = {
	.name = "signals of descriptors",
	.note = NOTE_FILE_SIGNALS,
	.optional = true,
	.capture = capture,
	.is_needed = is_needed,
	.codec = codec,
	.validate = validate,
	.show = show,
	.done = done,
};
