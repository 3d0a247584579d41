/*
 * Pairs of Unix sockets (socketpair(2)) with both ends in the program, or one
 * end whose other end is closed everywhere.
 *
 * Unread messages are peeked at, from outside.  SO_PEEK_OFF is needed to see
 * more than the first one and is put back.  (Killed between the two we leave it
 * at an offset: only a program that itself uses MSG_PEEK there would notice.)
 *
 * QUIRK: an empty datagram that was peeked at once is passed over when it is
 * peeked at again with SO_PEEK_OFF (net/core/datagram.c,
 * __skb_try_recv_from_queue): a second checkpoint that finds it still unread
 * does not see it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state/sockets.h"

#define MESSAGE_MAX (192u << 10) /* bytes: fits in a batch of a syscall program */
#define SHUT_READ 1u
#define SHUT_WRITE 2u

/* --- capture --- */

static int capture_pair(struct file_scan *s, struct open_file *f, struct err *err)
{
	__cleanup_fd int dup = file_getfd(s, s->fd, err);

	if (dup < 0)
		return dup;
	f->unix_pair.type = (uint32_t)s->sock_type;
	f->unix_pair.peer = FILES_NO_PEER;
	return sockets_capture_options(s, dup, &f->unix_pair.options, &f->unix_pair.noptions, err);
}

/* Descriptors that came along are ours now: close them. */
static bool close_passed(struct msghdr *m)
{
	bool any = m->msg_flags & MSG_CTRUNC;

	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fds[256];

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		any = true;
		memcpy(fds, CMSG_DATA(h), (n < 256 ? n : 256) * sizeof(int));
		for (size_t i = 0; i < n && i < 256; i++)
			close(fds[i]);
	}
	return any;
}

static int add_message(struct open_file *f, const void *data, size_t len, struct err *err)
{
	size_t cap = f->unix_pair.nunread;
	struct file_message *v = reallocarray(f->unix_pair.unread, cap + 1, sizeof(*v));

	if (!v)
		return err_set(err, -ENOMEM, "out of memory");
	f->unix_pair.unread = v;
	v[cap].data = io_alloc(len, 1, err);
	if (!v[cap].data)
		return err->error;
	memcpy(v[cap].data, data, len);
	v[cap].len = len;
	f->unix_pair.nunread++;
	return 0;
}

/* The next message that was not peeked at yet: 1, or 0 when there is none. */
static int peek(struct file_scan *s, struct open_file *f, int dup, char *buf, struct err *err)
{
	char control[CMSG_SPACE(256 * sizeof(int)) + 256] __attribute__((aligned(8)));
	struct iovec iov = {buf, MESSAGE_MAX};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	bool stream = f->unix_pair.type == SOCK_STREAM;
	ssize_t n = recvmsg(dup, &m,
			    MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC | (stream ? 0 : MSG_TRUNC));

	if (n < 0)
		return errno == EAGAIN || errno == ENOTCONN || errno == ECONNRESET
			       ? 0
			       : err_sys(err, -errno, "cannot look into '%s' (fd %d)", s->link,
					 s->fd);
	if (close_passed(&m))
		return file_refuse_as(s, err, REFUSED_IN_FLIGHT,
				      "descriptors are on their way in it (SCM_RIGHTS)");
	if (n == 0 && (stream || (f->unix_pair.shutdown & SHUT_READ)))
		return 0;
	if (n > (ssize_t)MESSAGE_MAX)
		return file_refuse_as(s, err, REFUSED_LARGE_MESSAGE,
				      "an unread message of %zd bytes; up to %u can be saved", n,
				      MESSAGE_MAX);
	if (f->unix_pair.nunread >= FILES_MESSAGES_MAX)
		return file_refuse(s, err, NULL, "too many unread messages");
	return add_message(f, buf, (size_t)n, err) ? err->error : 1;
}

static int read_unread(struct file_scan *s, struct open_file *f, int dup, struct err *err)
{
	__cleanup_free char *buf = NULL;
	struct pollfd p = {.fd = dup, .events = POLLIN};
	int old = -1, zero = 0, e;
	socklen_t len = sizeof(old);

	if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLIN))
		return 0;
	buf = io_alloc(MESSAGE_MAX, 1, err);
	if (!buf)
		return err->error;
	if (getsockopt(dup, SOL_SOCKET, SO_PEEK_OFF, &old, &len) ||
	    setsockopt(dup, SOL_SOCKET, SO_PEEK_OFF, &zero, sizeof(zero)))
		return err_sys(err, -errno, "cannot look into '%s' (fd %d)", s->link, s->fd);
	while ((e = peek(s, f, dup, buf, err)) > 0)
		;
	if (setsockopt(dup, SOL_SOCKET, SO_PEEK_OFF, &old, sizeof(old)) && !e)
		e = err_sys(err, -errno, "cannot look into '%s' (fd %d)", s->link, s->fd);
	return e;
}

static uint32_t find_peer(const struct file_table *t, const struct open_file *f, uint64_t ino)
{
	for (size_t i = 0; i < t->nfiles; i++)
		if (t->files[i].kind == FILE_UNIX_PAIR && t->files[i].ino == ino &&
		    &t->files[i] != f)
			return (uint32_t)i;
	return FILES_NO_PEER;
}

static int to_inherited(struct file_scan *s, struct open_file *f, struct err *err)
{
	free(f->unix_pair.options);
	f->kind = FILE_INHERITED;
	f->inherited.is_tty = false;
	f->inherited.like = -1;
	return file_inherited.complete(s, f, err);
}

static int complete_pair(struct file_scan *s, struct open_file *f, struct err *err)
{
	struct unix_diag diag;
	int e = sockets_unix_diag(s, f->ino, &diag);
	__cleanup_fd int dup = -1;

	if (e && s->fd < 3)
		return to_inherited(s, f, err);
	if (e)
		return file_refuse(s, err,
				   "the kernel needs CONFIG_UNIX_DIAG (modprobe unix_diag); in "
				   "another network namespace, run as root",
				   "cannot find the other end of this Unix socket (%s)",
				   strerror(-e));
	f->unix_pair.peer = find_peer(s->table, f, diag.peer);
	f->unix_pair.shutdown = diag.shutdown & 3;
	if (diag.peer && f->unix_pair.peer == FILES_NO_PEER)
		return to_inherited(s, f, err);
	if (!diag.peer && f->unix_pair.type == SOCK_STREAM && diag.shutdown != 3)
		return file_refuse_as(s, err, REFUSED_UNIX_LONE,
				      "a Unix socket that was never connected");
	dup = file_getfd(s, s->fd, err);
	if (dup < 0)
		return dup;
	return read_unread(s, f, dup, err);
}

/* --- image --- */

static void codec_pair(struct codec *c, struct open_file *f)
{
	codec_u32(c, &f->unix_pair.type);
	codec_u32(c, &f->unix_pair.peer);
	codec_u32(c, &f->unix_pair.shutdown);
	codec_array(c, &f->unix_pair.unread, &f->unix_pair.nunread, sizeof(*f->unix_pair.unread), 4,
		    FILES_MESSAGES_MAX);
	for (size_t i = 0; i < f->unix_pair.nunread && !c->bad; i++)
		codec_blob(c, &f->unix_pair.unread[i].data, &f->unix_pair.unread[i].len);
	sockets_codec_options(c, &f->unix_pair.options, &f->unix_pair.noptions);
}

static int validate_pair(const struct file_table *t, const struct open_file *f, struct err *err)
{
	uint32_t type = f->unix_pair.type, peer = f->unix_pair.peer;
	int fd = file_lowest_fd(t, f);

	if ((type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET) ||
	    f->unix_pair.shutdown > 3 ||
	    !sockets_options_are_possible(f->unix_pair.options, f->unix_pair.noptions))
		return err_image(err, "files: fd %d: impossible socket", fd);
	for (size_t i = 0; i < f->unix_pair.nunread; i++)
		if (f->unix_pair.unread[i].len > MESSAGE_MAX)
			return err_image(err, "files: fd %d: impossible message", fd);
	if (peer == FILES_NO_PEER)
		return 0;
	if (peer >= t->nfiles || &t->files[peer] == f || t->files[peer].kind != FILE_UNIX_PAIR ||
	    t->files[peer].unix_pair.peer != file_index(t, f) ||
	    t->files[peer].unix_pair.type != type)
		return err_image(err, "files: fd %d: impossible other end", fd);
	return 0;
}

/* --- restart --- */

/* What `to` has not read yet is sent by its other end, sender. */
static void send_unread(struct file_restore *fr, const struct open_file *to, int sender)
{
	for (size_t i = 0; to && i < to->unix_pair.nunread; i++) {
		const struct file_message *m = &to->unix_pair.unread[i];
		uint64_t addr = program_data(fr->prog, m->data, m->len);

		program_call_want(fr->prog, (int64_t)m->len,
				  file_why(fr, to, "what it has not read yet"), SYS_sendto,
				  (unsigned)sender, addr, m->len, MSG_DONTWAIT | MSG_NOSIGNAL, 0,
				  0);
	}
}

/* What was sent over time fits in the buffers: give them all that may be had. */
static void widen(struct file_restore *fr, const struct open_file *to, int sender)
{
	if (to && to->unix_pair.nunread)
		sockets_set_int(fr, file_why(fr, to, "room for what it has not read yet"), sender,
				SOL_SOCKET, SO_SNDBUF, INT32_MAX / 2);
}

static void narrow(struct file_restore *fr, const struct open_file *to, int sender, uint32_t type)
{
	__cleanup_fd int fresh = -1;
	int size;
	socklen_t len = sizeof(size);

	if (!to || !to->unix_pair.nunread)
		return;
	fresh = socket(AF_UNIX, (int)type | SOCK_CLOEXEC, 0);
	if (fresh >= 0 && !getsockopt(fresh, SOL_SOCKET, SO_SNDBUF, &size, &len))
		sockets_set_int(fr, file_why(fr, to, "the usual room again"), sender, SOL_SOCKET,
				SO_SNDBUF, size / 2);
}

static void finish_end(struct file_restore *fr, const struct open_file *f, int fd)
{
	if (!f)
		return;
	sockets_restore_options(fr, f, fd, f->unix_pair.options, f->unix_pair.noptions);
	if (f->unix_pair.shutdown && f->unix_pair.peer != FILES_NO_PEER)
		program_call(fr->prog, file_why(fr, f, "one direction is shut"), SYS_shutdown,
			     (unsigned)fd, f->unix_pair.shutdown - 1, 0, 0, 0, 0)
			->expect = EXPECT_ANY; /* ENOTCONN: the other end did it */
	if (f->flags & O_NONBLOCK)
		program_call_want(fr->prog, 0, file_why(fr, f, "flags"), SYS_fcntl, (unsigned)fd,
				  F_SETFL, O_NONBLOCK, 0, 0, 0);
}

static int restore_pair(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	const struct open_file *peer = NULL;
	uint32_t type = f->unix_pair.type;
	int ends[2];

	(void)err;
	if (f->unix_pair.peer != FILES_NO_PEER) {
		peer = &fr->table->files[f->unix_pair.peer];
		if (peer < f)
			return 0; /* done with the other end */
	}
	file_take_pair(fr, ends);
	uint64_t addr = program_data(fr->prog, NULL, sizeof(ends));

	program_call_want(fr->prog, 0, file_why(fr, f, "a pair of sockets"), SYS_socketpair,
			  AF_UNIX, type | SOCK_CLOEXEC, 0, addr, 0, 0);
	widen(fr, f, ends[1]);
	widen(fr, peer, ends[0]);
	send_unread(fr, f, ends[1]);
	send_unread(fr, peer, ends[0]);
	narrow(fr, f, ends[1], type);
	narrow(fr, peer, ends[0], type);
	finish_end(fr, f, ends[0]);
	finish_end(fr, peer, ends[1]);
	file_place_pair(fr, f, ends[0], peer, ends[1]);
	return 0;
}

static void describe_pair(const struct file_table *t, const struct open_file *f, struct buf *out)
{
	static const char *const types[] = {"", "stream", "datagram", "", "", "seqpacket"};

	buf_printf(out, "%s", f->unix_pair.type < 6 ? types[f->unix_pair.type] : "");
	if (f->unix_pair.peer == FILES_NO_PEER)
		buf_printf(out, ", the other end is closed");
	else
		buf_printf(out, ", the other end is fd %d",
			   file_lowest_fd(t, &t->files[f->unix_pair.peer]));
	if (f->unix_pair.nunread)
		buf_printf(out, ", %zu message%s unread", f->unix_pair.nunread,
			   f->unix_pair.nunread == 1 ? "" : "s");
}

static void done_pair(struct open_file *f)
{
	for (size_t i = 0; i < f->unix_pair.nunread; i++)
		free(f->unix_pair.unread[i].data);
	free(f->unix_pair.unread);
	free(f->unix_pair.options);
}

const struct file_ops file_unix_pair = {
	.kind = FILE_UNIX_PAIR,
	.name = "socket pair",
	.kept = "stream, datagram, seqpacket: unread data, shutdown, buffer sizes and other "
		"options, "
		"where both ends are the program's or the other end is closed",
	.capture = capture_pair,
	.complete = complete_pair,
	.codec = codec_pair,
	.validate = validate_pair,
	.restore = restore_pair,
	.describe = describe_pair,
	.done = done_pair,
};
