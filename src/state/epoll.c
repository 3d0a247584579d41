/*
 * epoll(7): what is watched, by descriptor number, events and data.
 *
 * An entry belongs to a pair of number and description.  The number may have
 * been closed, or given to another file, while a duplicate keeps the entry
 * alive: such an entry cannot be made again and is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state/file_kinds.h"

/* Is the entry number `nth` among those of descriptor fd the one of what fd is now? */
static int is_watched(const struct file_scan *s, int epfd, int fd, uint32_t nth)
{
	struct kcmp_epoll_slot slot = {.efd = (uint32_t)epfd, .tfd = (uint32_t)fd, .toff = nth};
	pid_t pid = s->c->remote->speaker;
	long n = syscall(SYS_kcmp, pid, pid, KCMP_EPOLL_TFD, (unsigned long)fd, &slot);

	return n < 0 ? -errno : n == 0;
}

static int refuse_entry(const struct file_scan *s, int fd, struct err *err)
{
	return file_refuse_as(
		s, err, REFUSED_EPOLL_STALE,
		"it watches what descriptor %d was once; that number is closed or another "
		"file now",
		fd);
}

static int check_entry(const struct file_scan *s, const struct fdinfo *info, size_t i,
		       struct err *err)
{
	const struct fdinfo_epoll *e = &info->epoll[i];
	const struct open_file *target = files_find(s->table, e->fd);
	uint32_t nth = 0;
	int watched;

	if (!target || target->ino != e->ino)
		return refuse_entry(s, e->fd, err);
	for (size_t j = 0; j < i; j++)
		nth += info->epoll[j].fd == e->fd;
	watched = is_watched(s, s->fd, e->fd, nth);
	if (watched == 0)
		return refuse_entry(s, e->fd, err);
	return 0; /* kcmp not allowed: the inode number has to do */
}

static int complete_epoll(struct file_scan *s, struct open_file *f, struct err *err)
{
	struct fdinfo info;
	int e = file_read_info(s, s->fd, &info, err);

	if (e)
		return e;
	f->epoll.watches = io_alloc(info.nepoll, sizeof(*f->epoll.watches), err);
	if (!f->epoll.watches)
		e = err->error;
	for (size_t i = 0; i < info.nepoll && !e; i++) {
		if ((e = check_entry(s, &info, i, err)))
			break;
		f->epoll.watches[f->epoll.n++] = (struct file_watch){.fd = info.epoll[i].fd,
								     .events = info.epoll[i].events,
								     .data = info.epoll[i].data};
	}
	fdinfo_done(&info);
	return e;
}

static void codec_epoll(struct codec *c, struct open_file *f)
{
	codec_array(c, &f->epoll.watches, &f->epoll.n, sizeof(*f->epoll.watches), 16, FILES_MAX);
	for (size_t i = 0; i < f->epoll.n && !c->bad; i++) {
		codec_i32(c, &f->epoll.watches[i].fd);
		codec_u32(c, &f->epoll.watches[i].events);
		codec_u64(c, &f->epoll.watches[i].data);
	}
}

static int validate_epoll(const struct file_table *t, const struct open_file *f, struct err *err)
{
	for (size_t i = 0; i < f->epoll.n; i++) {
		const struct open_file *target = files_find(t, f->epoll.watches[i].fd);

		if (!target || target == f)
			return err_image(err, "files: fd %d watches fd %d, which cannot be",
					 file_lowest_fd(t, f), f->epoll.watches[i].fd);
	}
	return 0;
}

static int restore_epoll(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	unsigned cloexec = file_cloexec(fr, f);

	(void)err;
	file_place(fr, f,
		   program_fd_call(fr->prog, file_why(fr, f, "an epoll"), SYS_epoll_create1,
				   cloexec, 0, 0, 0, 0),
		   cloexec);
	return 0;
}

static int restore_watches(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	int epfd = file_lowest_fd(fr->table, f);

	(void)err;
	for (size_t i = 0; i < f->epoll.n; i++) {
		const struct file_watch *w = &f->epoll.watches[i];
		struct epoll_event ev = {.events = w->events, .data.u64 = w->data};
		uint64_t addr = program_data(fr->prog, &ev, sizeof(ev));
		struct call *c = program_call_want(
			fr->prog, 0, program_why(fr->prog, "fd %d: watches fd %d", epfd, w->fd),
			SYS_epoll_ctl, (unsigned)epfd, EPOLL_CTL_ADD, (unsigned)w->fd, addr, 0, 0);

		/* The shell's descriptor may be what epoll takes no interest in,
		 * a file or /dev/null: EPERM, as if the program had been started so. */
		if (files_find(fr->table, w->fd)->kind == FILE_INHERITED)
			c->expect = EXPECT_ANY;
	}
	return 0;
}

static void describe_epoll(const struct file_table *t, const struct open_file *f, struct buf *out)
{
	(void)t;
	buf_printf(out, "watches %zu descriptor%s", f->epoll.n, f->epoll.n == 1 ? "" : "s");
	for (size_t i = 0; i < f->epoll.n && i < 8; i++)
		buf_printf(out, "%s%d", i ? "," : ": ", f->epoll.watches[i].fd);
	if (f->epoll.n > 8)
		buf_printf(out, ",...");
}

static void done_epoll(struct open_file *f)
{
	free(f->epoll.watches);
}

const struct file_ops file_epoll = {
	.kind = FILE_EPOLL,
	.name = "epoll",
	.kept = "what is watched: descriptor, events, data",
	.complete = complete_epoll,
	.codec = codec_epoll,
	.validate = validate_epoll,
	.restore = restore_epoll,
	.restore_late = restore_watches,
	.describe = describe_epoll,
	.done = done_epoll,
};
