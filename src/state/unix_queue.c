/*
 * Datagrams that wait in the program's Unix sockets with a name: the note UNIX UNREAD, and how
 * they are sent again.  How they are read: unix_unread.c.
 *
 * A message shows the address of its sender.  That is a socket of the program's, which sends it
 * again, or one without a name: any will do then.  A name of somebody else's is refused
 * (unix_named.c): it is in use, or whoever answers would reach nobody.
 *
 * The receiver's options come last: with SO_PASSCRED set, messages that came before it was would
 * get credentials.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <stdlib.h>

#include "state/flight.h"
#include "state/sockets.h"

struct unix_queue *unix_queue_of(const struct open_file *f)
{
	struct open_file *mutable = (struct open_file *)(uintptr_t)f;

	switch (f->kind) {
	case FILE_UNIX_PAIR:
		return &mutable->unix_pair.queue;
	case FILE_UNIX_NAMED:
		return &mutable->unix_named.queue;
	default:
		return NULL;
	}
}

int unix_queue_read(struct file_scan *s, uint32_t index, struct err *err)
{
	switch (s->table->files[index].kind) {
	case FILE_UNIX_PAIR:
		return unix_pair_read(s, index, err);
	case FILE_UNIX_NAMED:
		return unix_named_read(s, index, err);
	default:
		return 0;
	}
}

static bool is_named(const struct open_file *f)
{
	return f->kind == FILE_UNIX_NAMED && f->unix_named.type == SOCK_DGRAM;
}

static bool has_unread(const struct open_file *f)
{
	return is_named(f) && f->unix_named.queue.n;
}

bool unix_queue_is_any(const struct file_table *t)
{
	for (size_t i = 0; t && i < t->nfiles; i++)
		if (has_unread(&t->files[i]))
			return true;
	return false;
}

/* --- image --- */

static bool is_needed(const struct process *p)
{
	return unix_queue_is_any(p->files);
}

static void codec_queue(struct codec *c, struct unix_queue *q)
{
	codec_array(c, &q->v, &q->n, sizeof(*q->v), 8, FILES_MESSAGES_MAX);
	for (size_t i = 0; i < q->n && !c->bad; i++) {
		codec_blob(c, &q->v[i].data, &q->v[i].len);
		codec_u32(c, &q->v[i].sender);
	}
}

/* The queue of the next file, from *index on; NULL: impossible. */
static struct unix_queue *next_queue(struct codec *c, const struct file_table *t, uint32_t *index)
{
	uint32_t least = *index;

	while (c->writing && *index < t->nfiles && !has_unread(&t->files[*index]))
		++*index;
	codec_u32(c, index);
	if (c->bad || *index < least || *index >= t->nfiles || !is_named(&t->files[*index]))
		return NULL;
	return unix_queue_of(&t->files[*index]);
}

static void codec(struct codec *c, struct process *p)
{
	uint32_t n = 0, index = 0;

	for (size_t i = 0; c->writing && i < p->files->nfiles; i++)
		n += has_unread(&p->files->files[i]);
	codec_u32(c, &n);
	for (uint32_t i = 0; i < n && !c->bad; i++) {
		struct unix_queue *q = p->files ? next_queue(c, p->files, &index) : NULL;

		if (!q)
			c->bad = true;
		else
			codec_queue(c, q);
		index++;
	}
}

static int validate(const struct process *p, struct err *err)
{
	const struct file_table *t = p->files;

	for (size_t i = 0; t && i < t->nfiles; i++)
		for (size_t k = 0; is_named(&t->files[i]) && k < t->files[i].unix_named.queue.n;
		     k++) {
			const struct file_message *m = &t->files[i].unix_named.queue.v[k];

			if (m->len > UNIX_MESSAGE_MAX ||
			    (m->sender != FILES_NONE &&
			     (m->sender >= t->nfiles || !is_named(&t->files[m->sender]))))
				return err_image(err, "files: fd %d: impossible datagram",
						 file_lowest_fd(t, &t->files[i]));
		}
	return 0;
}

const struct state_ops state_unix_unread = {
	.name = "datagrams of Unix sockets",
	.note = NOTE_UNIX_UNREAD,
	.optional = true,
	.is_needed = is_needed,
	.codec = codec,
	.validate = validate,
};

/* --- restart --- */

static void set_mode(struct file_restore *fr, const struct open_file *f,
		     const struct sockaddr_un *a, unsigned mode)
{
	uint64_t at;

	/* Who may not write to a socket's file may not send there. */
	if (unix_named_is_abstract(f) || f->unix_named.mode & S_IWUSR)
		return;
	at = program_data(fr->prog, a->sun_path, f->unix_named.name_len + 1);
	program_call_want(fr->prog, 0, file_why(fr, f, "who may send to it"), SYS_chmod, at, mode,
			  0, 0, 0, 0);
}

static void send_one(struct file_restore *fr, const struct open_file *to,
		     const struct file_message *m, const struct sockaddr_un *a, unsigned len)
{
	const struct file_table *t = fr->table;
	bool is_ours = m->sender != FILES_NONE && t->files[m->sender].kind == FILE_UNIX_NAMED;
	int sender =
		is_ours ? file_lowest_fd(t, &t->files[m->sender])
			: program_fd_call(fr->prog, file_why(fr, to, "somebody without a name"),
					  SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, 0, 0);

	sockets_set_int(fr, file_why(fr, to, "room for what it has not read yet"), sender,
			SOL_SOCKET, SO_SNDBUF, INT32_MAX / 2);
	unix_message_send(fr, m, file_why(fr, to, "what it has not read yet"), sender, a, len);
	if (!is_ours)
		program_close(fr->prog, "it has sent", sender);
}

static void send_queue(struct file_restore *fr, const struct open_file *f)
{
	struct sockaddr_un a;
	unsigned len = unix_named_address(f, &a);

	if (!unix_named_is_abstract(f) && a.sun_path[0] != '/')
		program_call_want(fr->prog, 0, file_why(fr, f, "the name is seen from there"),
				  SYS_chdir, program_str(fr->prog, fr->p->cwd), 0, 0, 0, 0, 0);
	set_mode(fr, f, &a, f->unix_named.mode | S_IWUSR);
	for (size_t i = 0; i < f->unix_named.queue.n; i++)
		send_one(fr, f, &f->unix_named.queue.v[i], &a, len);
	set_mode(fr, f, &a, f->unix_named.mode);
}

void unix_usual_room(struct file_restore *fr, const struct open_file *f, int fd, uint32_t type)
{
	__cleanup_fd int fresh = socket(AF_UNIX, (int)type | SOCK_CLOEXEC, 0);
	int size;
	socklen_t len = sizeof(size);

	if (fresh >= 0 && !getsockopt(fresh, SOL_SOCKET, SO_SNDBUF, &size, &len))
		sockets_set_int(fr, file_why(fr, f, "the usual room again"), fd, SOL_SOCKET,
				SO_SNDBUF, size / 2);
}

static bool is_sender(const struct file_table *t, const struct open_file *f)
{
	for (size_t i = 0; i < t->nfiles; i++)
		for (size_t k = 0; has_unread(&t->files[i]) && k < t->files[i].unix_named.queue.n;
		     k++)
			if (t->files[i].unix_named.queue.v[k].sender == file_index(t, f))
				return true;
	return false;
}

int unix_queue_restore(struct file_restore *fr, struct err *err)
{
	const struct file_table *t = fr->table;

	(void)err;
	if (!unix_queue_is_any(t))
		return 0;
	for (size_t i = 0; i < t->nfiles; i++)
		if (has_unread(&t->files[i]))
			send_queue(fr, &t->files[i]);
	for (size_t i = 0; i < t->nfiles; i++) {
		const struct open_file *f = &t->files[i];
		int fd = file_lowest_fd(t, f);

		if (!is_named(f))
			continue;
		if (is_sender(t, f))
			unix_usual_room(fr, f, fd, SOCK_DGRAM);
		sockets_restore_options(fr, f, fd, f->unix_named.options, f->unix_named.noptions);
	}
	return 0;
}
