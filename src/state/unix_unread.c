/*
 * What lies unread in the ends of socket pairs, with the descriptors (SCM_RIGHTS) and the
 * credentials (SCM_CREDENTIALS) that came with it (unix(7)).
 *
 * Messages are peeked at, from outside.  SO_PEEK_OFF is needed to see more than the first one
 * and is put back.  (Killed between the two we leave it at an offset: only a program that itself
 * uses MSG_PEEK there would notice.)  Peeking gives duplicates of the descriptors
 * (net/unix/af_unix.c, unix_peek_fds).
 *
 * QUIRK: an empty datagram that was peeked at once is passed over when it is
 * peeked at again with SO_PEEK_OFF (net/core/datagram.c,
 * __skb_try_recv_from_queue): a second checkpoint that finds it still unread
 * does not see it.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "state/flight.h"
#include "state/sockets.h"

#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif
#define SHUT_READ 1u
#define NO_ID ((uid_t)65534) /* of a message that came without credentials */

void unix_queue_done(struct unix_queue *q)
{
	for (size_t i = 0; i < q->n; i++) {
		free(q->v[i].data);
		free(q->v[i].files);
		free(q->v[i].name);
	}
	free(q->v);
}

/* --- capture --- */

/* An end that is being read. */
struct reader {
	struct file_scan *s;
	struct unix_queue *queue;
	bool is_stream, is_named, is_shut;
	int dup;
	char *room; /* UNIX_MESSAGE_MAX bytes, with a page behind that nobody may write to */
	char *data; /* in it: what was peeked at */
	struct ucred ucred;
	bool has_ucred, is_cut, has_pidfd;
	int rights[FLIGHT_RIGHTS_MAX];
	size_t nrights;
	struct sockaddr_un from;
	socklen_t from_len;
};

static void drop_rights(struct reader *r)
{
	for (size_t i = 0; i < r->nrights; i++)
		close(r->rights[i]);
	r->nrights = 0;
}

static void take_rights(struct reader *r, const struct cmsghdr *h)
{
	size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	int fd;

	for (size_t i = 0; i < n; i++) {
		memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
		if (r->nrights < FLIGHT_RIGHTS_MAX)
			r->rights[r->nrights++] = fd;
		else
			close(fd);
	}
}

static void take_control(struct reader *r, struct msghdr *m)
{
	int fd;

	r->has_ucred = r->has_pidfd = false;
	r->is_cut = m->msg_flags & MSG_CTRUNC;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		if (h->cmsg_level != SOL_SOCKET)
			continue;
		if (h->cmsg_type == SCM_RIGHTS)
			take_rights(r, h);
		if (h->cmsg_type == SCM_CREDENTIALS && h->cmsg_len >= CMSG_LEN(sizeof(r->ucred))) {
			memcpy(&r->ucred, CMSG_DATA(h), sizeof(r->ucred));
			r->has_ucred = true;
		}
		if (h->cmsg_type == SCM_PIDFD) {
			memcpy(&fd, CMSG_DATA(h), sizeof(fd));
			if (fd >= 0)
				close(fd);
			r->has_pidfd = true;
		}
	}
}

/*
 * recvmsg() of at most max bytes, which takes nothing away; r->data shows them.
 *
 * QUIRK: a stream that is peeked at goes on to the next buffers of its queue when it has given
 * all that was asked for, and so comes with the descriptors of bytes that it did not give
 * (net/unix/af_unix.c, unix_stream_read_generic).  So more is asked for than there is room: a
 * buffer that does not fit is given not at all, and what comes ends where one ends that was
 * sent at once.
 */
static ssize_t peek(struct reader *r, size_t max)
{
	char control[CMSG_SPACE(FLIGHT_RIGHTS_MAX * sizeof(int)) + 512] __attribute__((aligned(8)));
	bool stream = r->is_stream;
	struct iovec iov = {r->room + UNIX_MESSAGE_MAX - max, max + stream};
	struct msghdr m = {.msg_name = &r->from,
			   .msg_namelen = sizeof(r->from),
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	ssize_t n;

	drop_rights(r);
	r->data = iov.iov_base;
	n = recvmsg(r->dup, &m,
		    MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC | (stream ? 0 : MSG_TRUNC));
	if (n < 0)
		return -errno;
	take_control(r, &m);
	r->from_len = m.msg_namelen;
	return n;
}

static int seek(const struct reader *r, int at)
{
	return setsockopt(r->dup, SOL_SOCKET, SO_PEEK_OFF, &at, sizeof(at)) ? -errno : 0;
}

static int where(const struct reader *r)
{
	socklen_t len = sizeof(int);
	int at = -1;

	return getsockopt(r->dup, SOL_SOCKET, SO_PEEK_OFF, &at, &len) ? -errno : at;
}

static int refuse(const struct reader *r, enum refusal kind, const char *what, struct err *err)
{
	return file_refuse_as(r->s, err, kind, "%s", what);
}

static int take_credentials(const struct reader *r, struct file_message *m, struct err *err)
{
	const struct process *p = r->s->p;
	uint32_t uid = r->ucred.uid, gid = r->ucred.gid;

	if (!r->has_ucred || (!r->ucred.pid && uid == NO_ID))
		return 0;
	if (r->ucred.pid != r->s->c->remote->pid || (uid != p->uid && uid != p->euid) ||
	    (gid != p->gid && gid != p->egid))
		return refuse(r, REFUSED_CREDENTIALS,
			      "an unread message with the credentials (SCM_CREDENTIALS) of another "
			      "process or user",
			      err);
	m->creds = 1;
	m->uid = uid;
	m->gid = gid;
	return 0;
}

static int add_message(struct reader *r, size_t len, struct err *err)
{
	struct unix_queue *q = r->queue;
	struct file_message *v = reallocarray(q->v, q->n + 1, sizeof(*v)), *m;

	if (!v)
		return err_set(err, -ENOMEM, "out of memory");
	q->v = v;
	m = &v[q->n++];
	*m = (struct file_message){.data = io_alloc(len, 1, err), .len = len, .sender = FILES_NONE};
	m->files = r->nrights ? io_alloc(r->nrights, sizeof(*m->files), err) : NULL;
	if (!m->data || (r->nrights && !m->files))
		return err->error;
	memcpy(m->data, r->data, len);
	for (size_t i = 0; i < r->nrights; i++)
		m->files[i] = (uint32_t)r->rights[i];
	m->nfiles = r->nrights;
	r->nrights = 0;
	if (r->is_named && r->from_len > sizeof(sa_family_t) &&
	    unix_named_copy(&r->from, r->from_len, &m->name, &m->name_len, err))
		return err->error;
	return take_credentials(r, m, err);
}

static int check(const struct reader *r, ssize_t n, struct err *err)
{
	if (r->is_cut)
		return refuse(r, REFUSED_IN_FLIGHT,
			      "more comes with an unread message than can be seen", err);
	if (r->has_pidfd)
		return refuse(r, REFUSED_IN_FLIGHT, "an unread message with a pidfd (SCM_PIDFD)",
			      err);
	if (n > (ssize_t)UNIX_MESSAGE_MAX)
		return file_refuse_as(r->s, err, REFUSED_LARGE_MESSAGE,
				      "an unread message of %zd bytes; up to %u can be saved", n,
				      UNIX_MESSAGE_MAX);
	if (r->queue->n >= FILES_MESSAGES_MAX)
		return file_refuse(r->s, err, NULL, "too many unread messages");
	return 0;
}

/*
 * A stream joins what was sent before a message with descriptors to it.  Who reads less at once
 * gets them with the first byte of that message: so what comes before is a message of its own.
 */
static int split(struct reader *r, int at, ssize_t *n, struct err *err)
{
	ssize_t before = seek(r, at) ? -EIO : peek(r, (size_t)*n - 1);

	if (before == -EFAULT) /* there is nothing before */
		before = seek(r, at) ? -EIO : peek(r, (size_t)*n);
	else if (r->nrights)
		before = -EIO;
	if (before <= 0)
		return file_refuse(r->s, err, "try again", "its content changed while it was read");
	*n = before;
	return 0;
}

/* The next message that was not peeked at yet: 1, or 0 when there is none. */
static int next(struct reader *r, struct err *err)
{
	bool stream = r->is_stream;
	int at = where(r), e;
	ssize_t n = peek(r, UNIX_MESSAGE_MAX);

	if (n == -EFAULT)
		return file_refuse_as(r->s, err, REFUSED_LARGE_MESSAGE,
				      "more than %u bytes that were sent at once",
				      UNIX_MESSAGE_MAX);
	if (n < 0)
		return n == -EAGAIN || n == -ENOTCONN || n == -ECONNRESET
			       ? 0
			       : err_sys(err, (int)n, "cannot look into '%s' (fd %d)", r->s->link,
					 r->s->fd);
	if ((e = check(r, n, err)))
		return e;
	if (n == 0 && !r->nrights && (stream || r->is_shut))
		return 0;
	if (stream && r->nrights && (e = split(r, at, &n, err)))
		return e;
	return add_message(r, (size_t)n, err) ? err->error : 1;
}

static int read_all(struct reader *r, struct err *err)
{
	int old = where(r), e;

	if (old < -1 || seek(r, 0))
		return err_sys(err, -errno, "cannot look into '%s' (fd %d)", r->s->link, r->s->fd);
	while ((e = next(r, err)) > 0)
		;
	drop_rights(r);
	if (seek(r, old) && !e)
		e = err_sys(err, -errno, "cannot look into '%s' (fd %d)", r->s->link, r->s->fd);
	return e;
}

/* The descriptors of ours become files of the table, which may move. */
static int intern_rights(struct file_scan *s, uint32_t index, struct err *err)
{
	struct unix_queue *q = unix_queue_of(&s->table->files[index]);
	struct file_message *messages = q->v;
	size_t n = q->n;
	int e = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t *v = messages[i].files;

		for (size_t k = 0; k < messages[i].nfiles; k++) {
			int fd = (int)v[k];

			v[k] = 0;
			if (e)
				close(fd);
			else
				e = flight_intern(s, fd, &v[k], err);
		}
	}
	return e;
}

static char *make_room(struct err *err)
{
	char *p = mmap(NULL, UNIX_MESSAGE_MAX + PAGE_SIZE_4K, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p + UNIX_MESSAGE_MAX, PAGE_SIZE_4K, PROT_NONE)) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	return p;
}

int unix_unread_capture(struct file_scan *s, uint32_t index, int dup, struct err *err)
{
	struct pollfd p = {.fd = dup, .events = POLLIN};
	const struct open_file *f = &s->table->files[index];
	bool is_pair = f->kind == FILE_UNIX_PAIR;
	struct reader r = {.s = s,
			   .queue = unix_queue_of(f),
			   .is_stream = is_pair && f->unix_pair.type == SOCK_STREAM,
			   .is_named = !is_pair,
			   .is_shut = is_pair && f->unix_pair.shutdown & SHUT_READ,
			   .dup = dup};
	int e;

	if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLIN))
		return 0;
	r.room = make_room(err);
	if (!r.room)
		return err->error;
	e = read_all(&r, err);
	munmap(r.room, UNIX_MESSAGE_MAX + PAGE_SIZE_4K);
	if (!e)
		return intern_rights(s, index, err);
	for (size_t i = 0; i < r.queue->n; i++)
		for (size_t k = 0; k < r.queue->v[i].nfiles; k++)
			close((int)r.queue->v[i].files[k]);
	return e;
}

/* --- restart --- */

/* The control data of a message; returns its length. */
static size_t control_of(const struct file_restore *fr, const struct file_message *m, char *out,
			 size_t size)
{
	struct ucred ucred = {.pid = fr->r->new_pid, .uid = m->uid, .gid = m->gid};
	struct msghdr h = {.msg_control = out, .msg_controllen = size};
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);
	size_t len = 0;

	memset(out, 0, size);
	if (m->nfiles) {
		*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(m->nfiles * sizeof(int)),
				      .cmsg_level = SOL_SOCKET,
				      .cmsg_type = SCM_RIGHTS};
		for (size_t i = 0; i < m->nfiles; i++) {
			int fd = file_lowest_fd(fr->table, &fr->table->files[m->files[i]]);

			memcpy(CMSG_DATA(c) + i * sizeof(fd), &fd, sizeof(fd));
		}
		len += CMSG_SPACE(m->nfiles * sizeof(int));
		c = (struct cmsghdr *)(out + len);
	}
	if (m->creds) {
		*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(ucred)),
				      .cmsg_level = SOL_SOCKET,
				      .cmsg_type = SCM_CREDENTIALS};
		memcpy(CMSG_DATA(c), &ucred, sizeof(ucred));
		len += CMSG_SPACE(sizeof(ucred));
	}
	return len;
}

static void send_whole(struct file_restore *fr, const struct file_message *m, const char *why,
		       int sender, const struct sockaddr_un *to, unsigned to_len)
{
	char control[CMSG_SPACE(FLIGHT_RIGHTS_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))]
		__attribute__((aligned(8)));
	size_t len = control_of(fr, m, control, sizeof(control));
	struct {
		uint64_t base, len;
	} iov = {.len = m->len};
	struct {
		uint64_t name, namelen, iov, iovlen, control, controllen, flags;
	} h = {.namelen = to_len, .iovlen = 1, .controllen = len};

	program_reserve(fr->prog, PROGRAM_PIECE(m->len) + PROGRAM_PIECE(len) +
					  PROGRAM_PIECE(to_len) + PROGRAM_PIECE(sizeof(iov)) +
					  PROGRAM_PIECE(sizeof(h)));
	iov.base = program_data(fr->prog, m->data, m->len);
	if (len)
		h.control = program_data(fr->prog, control, len);
	if (to_len)
		h.name = program_data(fr->prog, to, to_len);
	h.iov = program_data(fr->prog, &iov, sizeof(iov));
	uint64_t at = program_data(fr->prog, &h, sizeof(h));

	program_call_want(fr->prog, (int64_t)m->len, why, SYS_sendmsg, (unsigned)sender, at,
			  MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0, 0);
}

void unix_message_send(struct file_restore *fr, const struct file_message *m, const char *why,
		       int sender, const struct sockaddr_un *to, unsigned len)
{
	uint64_t addr;

	if (m->nfiles || m->creds || len) {
		send_whole(fr, m, why, sender, to, len);
		return;
	}
	addr = program_data(fr->prog, m->data, m->len);
	program_call_want(fr->prog, (int64_t)m->len, why, SYS_sendto, (unsigned)sender, addr,
			  m->len, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
}

void unix_unread_send(struct file_restore *fr, const struct open_file *to, int sender)
{
	for (size_t i = 0; to && i < to->unix_pair.queue.n; i++) {
		const struct file_message *m = &to->unix_pair.queue.v[i];
		const char *why = file_why(fr, to,
					   m->nfiles ? "descriptors that it has not received yet"
						     : "what it has not read yet");

		unix_message_send(fr, m, why, sender, NULL, 0);
	}
}
