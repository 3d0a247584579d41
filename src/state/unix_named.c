/*
 * Unix sockets with a name that wait: for connections, or (datagram) for whoever
 * sends.  The name is a file, or abstract: the kernel's alone.
 *
 * The file of a socket whose program is gone is of no use to anybody: a restart
 * removes it and makes it anew, unless somebody answers there.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "state/sockets.h"

bool unix_named_is_abstract(const struct open_file *f)
{
	return !f->unix_named.name_len || !((const char *)f->unix_named.name)[0];
}

unsigned unix_named_address(const struct open_file *f, struct sockaddr_un *a)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path, f->unix_named.name, f->unix_named.name_len);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + f->unix_named.name_len +
			   !unix_named_is_abstract(f));
}

static const char *name_text(const struct open_file *f, char out[128])
{
	const char *name = f->unix_named.name;

	snprintf(out, 128, "%s%.*s", unix_named_is_abstract(f) ? "@" : "",
		 (int)f->unix_named.name_len - unix_named_is_abstract(f),
		 name + unix_named_is_abstract(f));
	return out;
}

/* --- capture --- */

int unix_named_copy(const struct sockaddr_un *a, size_t len, void **ret, size_t *ret_len,
		    struct err *err)
{
	size_t n = len - offsetof(struct sockaddr_un, sun_path);

	if (n > sizeof(a->sun_path))
		n = sizeof(a->sun_path);
	if (a->sun_path[0])
		n = strnlen(a->sun_path, n);
	*ret = io_alloc(n, 1, err);
	if (!*ret)
		return err->error;
	memcpy(*ret, a->sun_path, n);
	*ret_len = n;
	return 0;
}

static int capture_name(struct file_scan *s, struct open_file *f, int dup, struct err *err)
{
	struct sockaddr_un a = {0};
	socklen_t len = sizeof(a);

	if (getsockname(dup, (struct sockaddr *)&a, &len))
		return err_sys(err, -errno, "cannot look at '%s' (fd %d)", s->link, s->fd);
	return unix_named_copy(&a, len, &f->unix_named.name, &f->unix_named.name_len, err);
}

/* Is the file of that name still this socket's? */
static int capture_file(struct file_scan *s, struct open_file *f, const struct unix_diag *diag,
			struct err *err)
{
	const char *name = f->unix_named.name;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];
	struct stat st;

	snprintf(path, sizeof(path), "%s%.*s", name[0] == '/' ? "" : "cwd/",
		 (int)f->unix_named.name_len, name);
	if (fstatat(s->c->remote->procfd, path, &st, AT_SYMLINK_NOFOLLOW) ||
	    !S_ISSOCK(st.st_mode) || (diag->file_ino && diag->file_ino != (uint32_t)st.st_ino))
		return file_refuse_as(
			s, err, REFUSED_UNIX_GONE,
			"the file of Unix socket '%.*s' is gone, or is seen from another "
			"directory than when it was made",
			(int)f->unix_named.name_len, name);
	f->unix_named.mode = st.st_mode & 07777;
	return 0;
}

static int capture_waiting(struct file_scan *s, struct open_file *f, int dup, struct err *err)
{
	struct unix_diag diag;
	int e = sockets_unix_diag(s, f->ino, &diag);

	if (e)
		return file_refuse(s, err,
				   "the kernel needs CONFIG_UNIX_DIAG (modprobe unix_diag); in "
				   "another network namespace, run as root",
				   "cannot look at this Unix socket (%s)", strerror(-e));
	f->unix_named.is_listening = f->unix_named.type != SOCK_DGRAM;
	f->unix_named.backlog = f->unix_named.is_listening ? diag.backlog : 0;
	if (f->unix_named.is_listening && diag.waiting)
		return file_refuse_as(s, err, REFUSED_UNIX_WAITING,
				      "%u connections that it has not accepted yet", diag.waiting);
	if (!unix_named_is_abstract(f) && (e = capture_file(s, f, &diag, err)))
		return e;
	return sockets_capture_options(s, dup, &f->unix_named.options, &f->unix_named.noptions,
				       err);
}

static int capture_named(struct file_scan *s, struct open_file *f, struct err *err)
{
	__cleanup_fd int dup = file_getfd(s, s->fd, err);
	int e;

	if (dup < 0)
		return dup;
	f->unix_named.type = (uint32_t)s->sock_type;
	e = capture_name(s, f, dup, err);
	return e ? e : capture_waiting(s, f, dup, err);
}

int unix_named_read(struct file_scan *s, uint32_t index, struct err *err)
{
	struct open_file *f = &s->table->files[index];
	__cleanup_fd int dup = -1;
	int e;

	if (f->unix_named.is_read || f->unix_named.type != SOCK_DGRAM)
		return 0;
	s->fd = file_lowest_fd(s->table, f);
	snprintf(s->link, sizeof(s->link), "%s", f->path);
	dup = file_getfd(s, s->fd, err);
	if (dup < 0)
		return dup;
	f->unix_named.is_read = true;
	e = unix_unread_capture(s, index, dup, err);
	return e ? e : 1;
}

static bool has_name(const struct open_file *f, const struct file_message *m)
{
	return f->kind == FILE_UNIX_NAMED && f->unix_named.type == SOCK_DGRAM &&
	       f->unix_named.name_len == m->name_len &&
	       !memcmp(f->unix_named.name, m->name, m->name_len);
}

/* Which socket of the program has sent it?  Sockets without a name are all the same. */
static int find_sender(struct file_scan *s, struct file_message *m, struct err *err)
{
	const struct file_table *t = s->table;
	const char *name = m->name;

	if (!name)
		return 0;
	for (size_t i = 0; i < t->nfiles; i++)
		if (has_name(&t->files[i], m)) {
			m->sender = (uint32_t)i;
			return 0;
		}
	return file_refuse_as(s, err, REFUSED_UNIX_UNREAD,
			      "a datagram that it has not read yet, of the socket '%s%.*s', which "
			      "is not the program's",
			      *name ? "" : "@", (int)m->name_len - !*name, name + !*name);
}

static int complete_named(struct file_scan *s, struct open_file *f, struct err *err)
{
	int e = 0;

	for (size_t i = 0; i < f->unix_named.queue.n && !e; i++)
		e = find_sender(s, &f->unix_named.queue.v[i], err);
	return e;
}

/* --- image --- */

static void codec_named(struct codec *c, struct open_file *f)
{
	codec_u32(c, &f->unix_named.type);
	codec_bool(c, &f->unix_named.is_listening);
	codec_u32(c, &f->unix_named.backlog);
	codec_u32(c, &f->unix_named.mode);
	codec_blob(c, &f->unix_named.name, &f->unix_named.name_len);
	sockets_codec_options(c, &f->unix_named.options, &f->unix_named.noptions);
}

static int validate_named(const struct file_table *t, const struct open_file *f, struct err *err)
{
	uint32_t type = f->unix_named.type;
	const char *name = f->unix_named.name;
	size_t len = f->unix_named.name_len, max = sizeof(((struct sockaddr_un *)0)->sun_path);

	if ((type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET) ||
	    f->unix_named.is_listening != (type != SOCK_DGRAM) || !name || !len || len > max ||
	    (name[0] && (len == max || memchr(name, 0, len))) || f->unix_named.mode & ~07777u ||
	    f->unix_named.backlog > INT32_MAX ||
	    !sockets_options_are_possible(f->unix_named.options, f->unix_named.noptions))
		return err_image(err, "files: fd %d: impossible socket", file_lowest_fd(t, f));
	return 0;
}

/* --- restart --- */

/* The name as seen from here: the program's directory is not ours. */
static void full_path(const struct process *p, const struct open_file *f, char *out, size_t size)
{
	const char *name = f->unix_named.name;

	snprintf(out, size, "%s%s%.*s", name[0] != '/' && p && p->cwd ? p->cwd : "",
		 name[0] != '/' ? "/" : "", (int)f->unix_named.name_len, name);
}

/* Has a socket here the name?  For a file that we may not write to, and so not connect to. */
static bool is_listed(const struct open_file *f)
{
	__cleanup_buf struct buf text = {0};
	size_t len = f->unix_named.name_len;

	/* Num RefCount Protocol Flags Type St Inode Path */
	if (io_read_file(AT_FDCWD, "/proc/net/unix", &text))
		return true;
	for (char *line = text.p, *end; line && (end = strchr(line, '\n')); line = end + 1)
		if ((size_t)(end - line) > len && end[-(long)len - 1] == ' ' &&
		    !memcmp(end - len, f->unix_named.name, len))
			return true;
	return false;
}

/* Somebody takes what is sent there. */
static bool is_alive(const struct open_file *f, const char *path)
{
	__cleanup_fd int fd =
		socket(AF_UNIX, (int)f->unix_named.type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	__cleanup_fd int place = -1;
	struct sockaddr_un a;
	socklen_t len = unix_named_address(f, &a);
	const char *base = strrchr(path, '/');

	if (fd < 0)
		return false;
	if (!unix_named_is_abstract(f)) {
		/* A path may be longer than sun_path: by way of its directory. */
		char dir[FILES_PATH_MAX + 1];

		snprintf(dir, sizeof(dir), "%.*s", (int)(base - path + 1), path);
		place = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (place < 0 ||
		    (size_t)snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", place,
				     base + 1) >= sizeof(a.sun_path))
			return false;
		len = sizeof(a);
	}
	if (!connect(fd, (struct sockaddr *)&a, len))
		return true;
	if (errno == EACCES)
		return is_listed(f);
	return errno != ECONNREFUSED && errno != ENOENT && errno != EPROTOTYPE;
}

static int refuse_name(const struct file_table *t, const struct open_file *f, int error,
		       const char *hint, struct err *err)
{
	char text[128];

	err_sys(err, error, "cannot have the Unix socket '%s' for the program (fd %d)",
		name_text(f, text), file_lowest_fd(t, f));
	return err_hint(err, "%s", hint);
}

/* A socket takes that many datagrams, and one more (net/unix/af_unix.c, unix_recvq_full). */
static int check_room(const struct file_table *t, const struct open_file *f, struct err *err)
{
	static const char path[] = "/proc/sys/net/unix/max_dgram_qlen";
	__cleanup_buf struct buf text = {0};
	unsigned long most =
		io_read_file(AT_FDCWD, path, &text) ? ULONG_MAX : strtoul(text.p, NULL, 10);

	if (f->unix_named.queue.n <= most || f->unix_named.queue.n - most <= 1)
		return 0;
	err_set(err, -ENOBUFS,
		"no room for the %zu datagrams that the program has not read (fd %d)",
		f->unix_named.queue.n, file_lowest_fd(t, f));
	return err_hint(err, "raise %s to %zu", path, f->unix_named.queue.n);
}

static int check_named(struct restore *r, const struct file_table *t, const struct open_file *f,
		       struct err *err)
{
	char path[FILES_PATH_MAX + 128];
	struct stat st;
	int e = check_room(t, f, err);

	if (e)
		return e;
	full_path(r->proc, f, path, sizeof(path));
	if (r->still_runs)
		return 0;
	if (is_alive(f, path))
		return refuse_name(t, f, -EADDRINUSE,
				   "end the program that has it (perhaps the one that was "
				   "checkpointed): ss -lxp",
				   err);
	if (unix_named_is_abstract(f))
		return 0;
	if (!lstat(path, &st) && !S_ISSOCK(st.st_mode))
		return refuse_name(t, f, -EEXIST, "something else has that name now: move it away",
				   err);
	*strrchr(path, '/') = '\0';
	if (access(path[0] ? path : "/", W_OK | X_OK))
		return refuse_name(t, f, -errno, "make its directory as it was, and writable", err);
	return 0;
}

static int act_named(struct restore *r, const struct open_file *f, struct err *err)
{
	char path[FILES_PATH_MAX + 128];
	struct stat st;

	if (unix_named_is_abstract(f))
		return 0;
	full_path(r->proc, f, path, sizeof(path));
	if (!lstat(path, &st) && S_ISSOCK(st.st_mode) && unlink(path) && errno != ENOENT)
		return err_sys(err, -errno, "cannot remove the old socket '%s'", path);
	return 0;
}

static void bind_it(struct file_restore *fr, const struct open_file *f, int fd)
{
	struct sockaddr_un a;
	socklen_t len = unix_named_address(f, &a);
	char text[128];
	uint64_t addr;

	if (!unix_named_is_abstract(f) && a.sun_path[0] != '/')
		program_call_want(fr->prog, 0, file_why(fr, f, "the name is seen from there"),
				  SYS_chdir, program_str(fr->prog, fr->p->cwd), 0, 0, 0, 0, 0);
	addr = program_data(fr->prog, &a, len);
	program_call_want(fr->prog, 0,
			  file_why(fr, f, program_why(fr->prog, "%s", name_text(f, text))),
			  SYS_bind, (unsigned)fd, addr, len, 0, 0, 0);
	if (unix_named_is_abstract(f))
		return;
	addr = program_data(fr->prog, a.sun_path, f->unix_named.name_len + 1);
	program_call_want(fr->prog, 0, file_why(fr, f, "who may connect"), SYS_chmod, addr,
			  f->unix_named.mode, 0, 0, 0, 0);
}

static int restore_named(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	unsigned cloexec = file_cloexec(fr, f);
	int fd = program_fd_call(fr->prog, file_why(fr, f, "a Unix socket"), SYS_socket, AF_UNIX,
				 f->unix_named.type | (f->flags & O_NONBLOCK) | cloexec, 0, 0, 0);

	(void)err;
	if (f->unix_named.type != SOCK_DGRAM || !unix_queue_is_any(fr->table))
		sockets_restore_options(fr, f, fd, f->unix_named.options, f->unix_named.noptions);
	bind_it(fr, f, fd);
	if (f->unix_named.is_listening)
		program_call_want(fr->prog, 0, file_why(fr, f, "listen again"), SYS_listen,
				  (unsigned)fd, f->unix_named.backlog, 0, 0, 0, 0);
	file_place(fr, f, fd, cloexec);
	return 0;
}

static void describe_named(const struct file_table *t, const struct open_file *f, struct buf *out)
{
	char text[128];

	(void)t;
	buf_printf(out, "%s, %s", name_text(f, text),
		   f->unix_named.is_listening ? "listening" : "bound");
	if (f->unix_named.queue.n)
		buf_printf(out, ", %zu datagram%s unread", f->unix_named.queue.n,
			   f->unix_named.queue.n == 1 ? "" : "s");
}

static void done_named(struct open_file *f)
{
	unix_queue_done(&f->unix_named.queue);
	free(f->unix_named.name);
	free(f->unix_named.options);
}

const struct file_ops file_unix_named = {
	.kind = FILE_UNIX_NAMED,
	.name = "Unix socket with a name",
	.kept = "that listens, or a datagram socket that is bound: name (the file is made anew), "
		"its "
		"mode, backlog, options; unread datagrams, with their senders that are the "
		"program's or have no name",
	.capture = capture_named,
	.complete = complete_named,
	.codec = codec_named,
	.validate = validate_named,
	.check = check_named,
	.act = act_named,
	.restore = restore_named,
	.describe = describe_named,
	.done = done_named,
};
