/* Descriptors in flight: see flight.h. */
#include "state/flight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state/sockets.h"

bool flight_has(const struct file_table *t, int fd)
{
	return t->flight_from && fd >= t->flight_from;
}

/* --- capture --- */

/* Refuses what could only be captured in the program itself. */
static int check_kind(const struct file_scan *s, const struct open_file *f, int ours,
		      struct err *err)
{
	static const uint32_t kinds[] = {
		FILE_REGULAR, FILE_DIRECTORY, FILE_DEVICE,    FILE_PIPE,       FILE_EVENTFD,
		FILE_TIMERFD, FILE_SIGNALFD,  FILE_UNIX_PAIR, FILE_TCP_LISTEN, FILE_KERNEL,
		FILE_FIFO,    FILE_PATH,      FILE_UDP,       FILE_UNIX_NAMED};
	struct f_owner_ex o = {0};

	if (f->flags & O_ASYNC || (!fcntl(ours, F_GETOWN_EX, &o) && o.pid))
		return file_refuse_as(s, err, REFUSED_IN_FLIGHT,
				      "a descriptor in flight (SCM_RIGHTS), with an owner "
				      "(F_SETOWN)");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (f->kind == kinds[i])
			return 0;
	return file_refuse_as(s, err, REFUSED_IN_FLIGHT,
			      "a descriptor in flight (SCM_RIGHTS) of the kind: %s",
			      files_kind_name(f->kind));
}

int flight_intern(struct file_scan *s, int ours, uint32_t *ret, struct err *err)
{
	struct file_table *t = s->table;
	int fd = t->flight_from + (int)s->nheld;
	size_t before = t->nfiles;
	int *v = io_grow(s->held, &s->held_cap, s->nheld + 1, sizeof(*v), err);
	int e;

	if (!v) {
		close(ours);
		return err->error;
	}
	s->held = v;
	v[s->nheld++] = ours;
	if ((e = files_add_fd(s, fd, ret, err)))
		return e;
	if (t->nfiles > before)
		return check_kind(s, &t->files[*ret], ours, err);
	/* The program has it as well: no number is needed. */
	t->nfds--;
	s->nheld--;
	close(ours);
	return 0;
}

void flight_release(struct file_scan *s)
{
	for (size_t i = 0; i < s->nheld; i++)
		close(s->held[i]);
	free(s->held);
	s->held = NULL;
	s->nheld = 0;
}

int flight_capture(struct file_scan *s, struct err *err)
{
	struct file_table *t = s->table;
	bool more = true;

	t->flight_from = t->nfds ? t->fds[t->nfds - 1].fd + 1 : 0;
	if (t->flight_from < 3)
		t->flight_from = 3;
	/* A socket whose other end is in flight is read when that has been found. */
	while (more) {
		more = false;
		for (size_t i = 0; i < t->nfiles; i++) {
			int e = unix_queue_read(s, (uint32_t)i, err);

			if (e < 0)
				return e;
			more |= e > 0;
		}
	}
	if (!s->nheld)
		t->flight_from = 0;
	return 0;
}

/* --- image --- */

struct record {
	uint32_t socket, message;
	uint32_t *files;
	size_t nfiles;
	uint32_t creds, uid, gid;
};

static bool is_worth(const struct file_message *m)
{
	return m->nfiles || m->creds;
}

static size_t messages_of(const struct open_file *f)
{
	const struct unix_queue *q = unix_queue_of(f);

	return q ? q->n : 0;
}

/* The records of the model, or their number alone. */
static size_t collect(const struct file_table *t, struct record *v)
{
	size_t n = 0;

	for (size_t i = 0; t && i < t->nfiles; i++)
		for (size_t k = 0; k < messages_of(&t->files[i]); k++) {
			const struct file_message *m = &unix_queue_of(&t->files[i])->v[k];

			if (!is_worth(m))
				continue;
			if (v)
				v[n] = (struct record){(uint32_t)i, (uint32_t)k, m->files,
						       m->nfiles,   m->creds,    m->uid,
						       m->gid};
			n++;
		}
	return n;
}

static bool is_needed(const struct process *p)
{
	return p->files && (p->files->flight_from || collect(p->files, NULL));
}

static bool is_behind(const struct record *a, const struct record *b)
{
	return a->socket < b->socket || (a->socket == b->socket && a->message < b->message);
}

/* Puts what was read into the model. */
static bool attach(struct file_table *t, struct record *r)
{
	struct file_message *m;

	if (r->socket >= t->nfiles || r->message >= messages_of(&t->files[r->socket]))
		return false;
	m = &unix_queue_of(&t->files[r->socket])->v[r->message];
	if (!r->nfiles && !r->creds)
		return false;
	m->files = r->files;
	m->nfiles = r->nfiles;
	m->creds = r->creds;
	m->uid = r->uid;
	m->gid = r->gid;
	r->files = NULL;
	return true;
}

static void codec_record(struct codec *c, struct record *r)
{
	codec_u32(c, &r->socket);
	codec_u32(c, &r->message);
	codec_array(c, &r->files, &r->nfiles, sizeof(*r->files), 4, FLIGHT_RIGHTS_MAX);
	for (size_t i = 0; i < r->nfiles && !c->bad; i++)
		codec_u32(c, &r->files[i]);
	codec_u32(c, &r->creds);
	codec_u32(c, &r->uid);
	codec_u32(c, &r->gid);
}

static void codec(struct codec *c, struct process *p)
{
	size_t n = c->writing ? collect(p->files, NULL) : 0;
	struct record *v = n ? calloc(n, sizeof(*v)) : NULL;

	if (!p->files || (n && !v)) {
		c->bad = true;
		return;
	}
	if (n)
		collect(p->files, v);
	codec_i32(c, &p->files->flight_from);
	codec_array(c, &v, &n, sizeof(*v), 24, FILES_MAX);
	for (size_t i = 0; i < n && !c->bad; i++) {
		codec_record(c, &v[i]);
		if (!c->writing && !c->bad)
			c->bad = (i && !is_behind(&v[i - 1], &v[i])) || !attach(p->files, &v[i]);
	}
	for (size_t i = 0; !c->writing && i < n; i++)
		free(v[i].files);
	free(v);
}

static int validate(const struct process *p, struct err *err)
{
	const struct file_table *t = p->files;

	if (!t)
		return 0;
	if (t->flight_from < 0 || (t->flight_from && t->flight_from < 3))
		return err_image(err, "files: descriptors in flight from number %d on",
				 t->flight_from);
	for (size_t i = 0; i < t->nfds; i++)
		if (flight_has(t, t->fds[i].fd) &&
		    file_lowest_fd(t, &t->files[t->fds[i].file]) != t->fds[i].fd)
			return err_image(err, "files: descriptor %d is not only in flight",
					 t->fds[i].fd);
	for (size_t i = 0; i < t->nfiles; i++)
		for (size_t k = 0; k < messages_of(&t->files[i]); k++) {
			const struct file_message *m = &unix_queue_of(&t->files[i])->v[k];

			for (size_t j = 0; j < m->nfiles; j++)
				if (m->files[j] >= t->nfiles)
					return err_image(err, "files: no such file in flight");
			if (m->creds > 1)
				return err_image(err, "files: impossible credentials");
		}
	return 0;
}

const struct state_ops state_flight = {
	.name = "descriptors in flight",
	.note = NOTE_FLIGHT,
	.optional = true,
	.is_needed = is_needed,
	.codec = codec,
	.validate = validate,
};

/* --- restart --- */

static bool has_rights(const struct open_file *f)
{
	for (size_t i = 0; i < f->unix_pair.queue.n; i++)
		if (f->unix_pair.queue.v[i].nfiles)
			return true;
	return false;
}

bool flight_waits(const struct file_table *t, const struct open_file *f)
{
	return has_rights(f) ||
	       (f->unix_pair.peer != FILES_NO_PEER && has_rights(&t->files[f->unix_pair.peer]));
}

int flight_restore(struct file_restore *fr, struct err *err)
{
	const struct file_table *t = fr->table;
	int e;

	for (size_t i = 0; i < t->nfiles; i++) {
		const struct file_ops *ops = file_ops_of(t->files[i].kind);

		if (flight_has(t, file_lowest_fd(t, &t->files[i])) && ops->restore_late &&
		    (e = ops->restore_late(fr, &t->files[i], err)))
			return e;
	}
	for (size_t i = 0; i < t->nfiles; i++)
		if (t->files[i].kind == FILE_UNIX_PAIR && flight_waits(t, &t->files[i]))
			unix_pair_send(fr, &t->files[i]);
	if ((e = unix_queue_restore(fr, err)))
		return e;
	for (size_t i = 0; i < t->nfds; i++)
		if (flight_has(t, t->fds[i].fd))
			program_close(fr->prog, "it is in flight by now", t->fds[i].fd);
	return 0;
}
