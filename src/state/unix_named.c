/*
 * Unix sockets with a name that wait: for connections, or (datagram) for whoever
 * sends.  The name is a file, or abstract: the kernel's alone.
 *
 * The file of a socket whose program is gone is of no use to anybody: a restart
 * removes it and makes it anew, unless somebody answers there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/sockios.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "state/sockets.h"

static bool is_abstract(const struct open_file *f)
{
	return !f->unix_named.name_len || !((const char *)f->unix_named.name)[0];
}

/* struct sockaddr_un of the name; returns its length. */
static socklen_t address(const struct open_file *f, struct sockaddr_un *a)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path, f->unix_named.name, f->unix_named.name_len);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + f->unix_named.name_len +
			   !is_abstract(f));
}

static const char *name_text(const struct open_file *f, char out[128])
{
	const char *name = f->unix_named.name;

	snprintf(out, 128, "%s%.*s", is_abstract(f) ? "@" : "",
		 (int)f->unix_named.name_len - is_abstract(f), name + is_abstract(f));
	return out;
}

/* --- capture --- */

static int capture_name(struct file_scan *s, struct open_file *f, int dup, struct err *err)
{
	struct sockaddr_un a = {0};
	socklen_t len = sizeof(a);
	size_t n;

	if (getsockname(dup, (struct sockaddr *)&a, &len))
		return err_sys(err, -errno, "cannot look at '%s' (fd %d)", s->link, s->fd);
	n = len - offsetof(struct sockaddr_un, sun_path);
	if (n > sizeof(a.sun_path))
		n = sizeof(a.sun_path);
	if (a.sun_path[0])
		n = strnlen(a.sun_path, n);
	f->unix_named.name = io_alloc(n, 1, err);
	if (!f->unix_named.name)
		return err->error;
	memcpy(f->unix_named.name, a.sun_path, n);
	f->unix_named.name_len = n;
	return 0;
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
	int e = sockets_unix_diag(s, f->ino, &diag), unread = 0;

	if (e)
		return file_refuse(s, err,
				   "the kernel needs CONFIG_UNIX_DIAG (modprobe unix_diag); in "
				   "another network namespace, run as root",
				   "cannot look at this Unix socket (%s)", strerror(-e));
	f->unix_named.is_listening = f->unix_named.type != SOCK_DGRAM;
	f->unix_named.backlog = f->unix_named.is_listening ? diag.backlog : 0;
	if (f->unix_named.is_listening && diag.waiting)
		file_notice(s,
			    "%u connections that the program has not accepted yet (fd %d) are not "
			    "saved",
			    diag.waiting, s->fd);
	if (!f->unix_named.is_listening && !ioctl(dup, SIOCINQ, &unread) && unread)
		return file_refuse_as(
			s, err, REFUSED_UNIX_UNREAD,
			"datagrams that it has not read yet, of senders that cannot be "
			"saved");
	if (!is_abstract(f) && (e = capture_file(s, f, &diag, err)))
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

/* Somebody takes what is sent there. */
static bool is_alive(const struct open_file *f, const char *path)
{
	__cleanup_fd int fd =
		socket(AF_UNIX, (int)f->unix_named.type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	__cleanup_fd int place = -1;
	struct sockaddr_un a;
	socklen_t len = address(f, &a);
	const char *base = strrchr(path, '/');

	if (fd < 0)
		return false;
	if (!is_abstract(f)) {
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
	return !connect(fd, (struct sockaddr *)&a, len) ||
	       (errno != ECONNREFUSED && errno != ENOENT && errno != EPROTOTYPE);
}

static int refuse_name(const struct file_table *t, const struct open_file *f, int error,
		       const char *hint, struct err *err)
{
	char text[128];

	err_sys(err, error, "cannot have the Unix socket '%s' for the program (fd %d)",
		name_text(f, text), file_lowest_fd(t, f));
	return err_hint(err, "%s", hint);
}

static int check_named(struct restore *r, const struct file_table *t, const struct open_file *f,
		       struct err *err)
{
	char path[FILES_PATH_MAX + 128];
	struct stat st;

	full_path(r->proc, f, path, sizeof(path));
	if (r->still_runs)
		return 0;
	if (is_alive(f, path))
		return refuse_name(t, f, -EADDRINUSE,
				   "end the program that has it (perhaps the one that was "
				   "checkpointed): ss -lxp",
				   err);
	if (is_abstract(f))
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

	if (is_abstract(f))
		return 0;
	full_path(r->proc, f, path, sizeof(path));
	if (!lstat(path, &st) && S_ISSOCK(st.st_mode) && unlink(path) && errno != ENOENT)
		return err_sys(err, -errno, "cannot remove the old socket '%s'", path);
	return 0;
}

static void bind_it(struct file_restore *fr, const struct open_file *f, int fd)
{
	struct sockaddr_un a;
	socklen_t len = address(f, &a);
	char text[128];
	uint64_t addr;

	if (!is_abstract(f) && a.sun_path[0] != '/')
		program_call_want(fr->prog, 0, file_why(fr, f, "the name is seen from there"),
				  SYS_chdir, program_str(fr->prog, fr->p->cwd), 0, 0, 0, 0, 0);
	addr = program_data(fr->prog, &a, len);
	program_call_want(fr->prog, 0,
			  file_why(fr, f, program_why(fr->prog, "%s", name_text(f, text))),
			  SYS_bind, (unsigned)fd, addr, len, 0, 0, 0);
	if (is_abstract(f))
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
}

static void done_named(struct open_file *f)
{
	free(f->unix_named.name);
	free(f->unix_named.options);
}

const struct file_ops file_unix_named = {
	.kind = FILE_UNIX_NAMED,
	.name = "Unix socket with a name",
	.kept = "that listens, or a datagram socket that is bound: name (the file is made anew), "
		"its "
		"mode, backlog, options; connections not accepted yet are lost",
	.capture = capture_named,
	.codec = codec_named,
	.validate = validate_named,
	.check = check_named,
	.act = act_named,
	.restore = restore_named,
	.describe = describe_named,
	.done = done_named,
};
