/*
 * Pairs of Unix sockets (socketpair(2)) with both ends in the program, or one
 * end whose other end is closed everywhere.
 * What lies unread in them: unix_unread.c; descriptors among that: flight.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state/flight.h"
#include "state/sockets.h"

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

/* How the kernel shows it; asked once. */
static int look(const struct file_scan *s, struct open_file *f)
{
	if (!f->unix_pair.is_looked_at)
		f->unix_pair.look_error = sockets_unix_diag(s, f->ino, &f->unix_pair.diag);
	f->unix_pair.is_looked_at = true;
	return f->unix_pair.look_error;
}

static bool is_unconnected(const struct open_file *f)
{
	return !f->unix_pair.diag.peer && f->unix_pair.type == SOCK_STREAM &&
	       f->unix_pair.diag.shutdown != 3;
}

int unix_pair_read(struct file_scan *s, uint32_t index, struct err *err)
{
	struct open_file *f = &s->table->files[index];
	__cleanup_fd int dup = -1;
	int e;

	if (f->kind != FILE_UNIX_PAIR || f->unix_pair.is_read || look(s, f) || is_unconnected(f) ||
	    (f->unix_pair.diag.peer &&
	     find_peer(s->table, f, f->unix_pair.diag.peer) == FILES_NO_PEER))
		return 0;
	s->fd = file_lowest_fd(s->table, f);
	snprintf(s->link, sizeof(s->link), "%s", f->path);
	dup = file_getfd(s, s->fd, err);
	if (dup < 0)
		return dup;
	f->unix_pair.is_read = true;
	f->unix_pair.shutdown = f->unix_pair.diag.shutdown & 3;
	e = unix_unread_capture(s, index, dup, err);
	return e ? e : 1;
}

static int complete_pair(struct file_scan *s, struct open_file *f, struct err *err)
{
	int e = look(s, f);

	if (e && s->fd < 3)
		return to_inherited(s, f, err);
	if (e)
		return file_refuse(s, err,
				   "the kernel needs CONFIG_UNIX_DIAG (modprobe unix_diag); in "
				   "another network namespace, run as root",
				   "cannot find the other end of this Unix socket (%s)",
				   strerror(-e));
	f->unix_pair.peer = find_peer(s->table, f, f->unix_pair.diag.peer);
	f->unix_pair.shutdown = f->unix_pair.diag.shutdown & 3;
	if (f->unix_pair.diag.peer && f->unix_pair.peer == FILES_NO_PEER)
		return to_inherited(s, f, err);
	if (is_unconnected(f))
		return file_refuse_as(s, err, REFUSED_UNIX_LONE,
				      "a Unix socket that was never connected");
	return 0;
}

/* --- image --- */

static void codec_pair(struct codec *c, struct open_file *f)
{
	codec_u32(c, &f->unix_pair.type);
	codec_u32(c, &f->unix_pair.peer);
	codec_u32(c, &f->unix_pair.shutdown);
	codec_array(c, &f->unix_pair.queue.v, &f->unix_pair.queue.n, sizeof(*f->unix_pair.queue.v),
		    4, FILES_MESSAGES_MAX);
	for (size_t i = 0; i < f->unix_pair.queue.n && !c->bad; i++)
		codec_blob(c, &f->unix_pair.queue.v[i].data, &f->unix_pair.queue.v[i].len);
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
	for (size_t i = 0; i < f->unix_pair.queue.n; i++)
		if (f->unix_pair.queue.v[i].len > UNIX_MESSAGE_MAX)
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

/* What was sent over time fits in the buffers: give them all that may be had. */
static void widen(struct file_restore *fr, const struct open_file *to, int sender)
{
	if (to && to->unix_pair.queue.n)
		sockets_set_int(fr, file_why(fr, to, "room for what it has not read yet"), sender,
				SOL_SOCKET, SO_SNDBUF, INT32_MAX / 2);
}

static void narrow(struct file_restore *fr, const struct open_file *to, int sender, uint32_t type)
{
	if (to && to->unix_pair.queue.n)
		unix_usual_room(fr, to, sender, type);
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

/* What both have not read yet, then what is set: ends[0] is f, ends[1] its peer. */
static void send_and_finish(struct file_restore *fr, const struct open_file *f,
			    const struct open_file *peer, const int ends[2])
{
	uint32_t type = f->unix_pair.type;

	widen(fr, f, ends[1]);
	widen(fr, peer, ends[0]);
	unix_unread_send(fr, f, ends[1]);
	unix_unread_send(fr, peer, ends[0]);
	narrow(fr, f, ends[1], type);
	narrow(fr, peer, ends[0], type);
	finish_end(fr, f, ends[0]);
	finish_end(fr, peer, ends[1]);
}

static const struct open_file *peer_of(const struct file_table *t, const struct open_file *f)
{
	return f->unix_pair.peer == FILES_NO_PEER ? NULL : &t->files[f->unix_pair.peer];
}

void unix_pair_send(struct file_restore *fr, const struct open_file *f)
{
	const struct open_file *peer = peer_of(fr->table, f);
	int sender = fr->senders[file_index(fr->table, f)];

	if (peer && peer < f)
		return; /* done with the other end */
	send_and_finish(fr, f, peer,
			(int[]){file_lowest_fd(fr->table, f),
				peer ? file_lowest_fd(fr->table, peer) : sender});
	if (!peer)
		program_close(fr->prog, file_why(fr, f, "the other end was closed"), sender);
}

static int restore_pair(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	const struct open_file *peer = peer_of(fr->table, f);
	int ends[2];

	(void)err;
	if (peer && peer < f)
		return 0; /* done with the other end */
	file_take_pair(fr, ends);
	uint64_t addr = program_data(fr->prog, NULL, sizeof(ends));

	program_call_want(fr->prog, 0, file_why(fr, f, "a pair of sockets"), SYS_socketpair,
			  AF_UNIX, f->unix_pair.type | SOCK_CLOEXEC, 0, addr, 0, 0);
	if (!flight_waits(fr->table, f))
		send_and_finish(fr, f, peer, ends);
	else if (!peer)
		fr->senders[file_index(fr->table, f)] = program_dup_above(
			fr->prog, file_why(fr, f, "to send what it has not read yet"), ends[1],
			fr->above);
	file_place_pair(fr, f, ends[0], peer, ends[1]);
	return 0;
}

static void describe_pair(const struct file_table *t, const struct open_file *f, struct buf *out)
{
	static const char *const types[] = {"", "stream", "datagram", "", "", "seqpacket"};
	size_t rights = 0;

	buf_printf(out, "%s", f->unix_pair.type < 6 ? types[f->unix_pair.type] : "");
	if (f->unix_pair.peer == FILES_NO_PEER)
		buf_printf(out, ", the other end is closed");
	else
		buf_printf(out, ", the other end is fd %d",
			   file_lowest_fd(t, &t->files[f->unix_pair.peer]));
	for (size_t i = 0; i < f->unix_pair.queue.n; i++)
		rights += f->unix_pair.queue.v[i].nfiles;
	if (f->unix_pair.queue.n)
		buf_printf(out, ", %zu message%s unread", f->unix_pair.queue.n,
			   f->unix_pair.queue.n == 1 ? "" : "s");
	if (rights)
		buf_printf(out, ", %zu descriptor%s in flight", rights, rights == 1 ? "" : "s");
}

static void done_pair(struct open_file *f)
{
	unix_queue_done(&f->unix_pair.queue);
	free(f->unix_pair.options);
}

const struct file_ops file_unix_pair = {
	.kind = FILE_UNIX_PAIR,
	.name = "socket pair",
	.kept = "stream, datagram, seqpacket: unread data, descriptors and credentials in it, "
		"shutdown, buffer sizes and other "
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
