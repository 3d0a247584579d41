/* Listening TCP sockets.  Connections that nobody accepted yet are lost: the clients see a reset.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state/sockets.h"

static socklen_t addr_len(const struct open_file *f)
{
	return f->listen.family == AF_INET ? sizeof(struct sockaddr_in)
					   : sizeof(struct sockaddr_in6);
}

static int capture_listen(struct file_scan *s, struct open_file *f, struct err *err)
{
	__cleanup_fd int dup = file_getfd(s, s->fd, err);
	struct tcp_info info = {0};
	socklen_t len = sizeof(info), alen = sizeof(f->listen.addr);

	if (dup < 0)
		return dup;
	f->listen.family = (uint32_t)s->sock_domain;
	if (getsockopt(dup, IPPROTO_TCP, TCP_INFO, &info, &len) ||
	    getsockname(dup, (struct sockaddr *)f->listen.addr, &alen))
		return err_sys(err, -errno, "cannot look at '%s' (fd %d)", s->link, s->fd);
	/* On a listening socket these two are the queue and its limit
	 * (net/ipv4/tcp.c, tcp_get_info). */
	f->listen.backlog = info.tcpi_sacked;
	if (info.tcpi_unacked)
		file_notice(s,
			    "%u connections that the program has not accepted yet (fd %d) are not "
			    "saved",
			    info.tcpi_unacked, s->fd);
	return sockets_capture_options(s, dup, &f->listen.options, &f->listen.noptions, err);
}

static void codec_listen(struct codec *c, struct open_file *f)
{
	codec_u32(c, &f->listen.family);
	codec_u32(c, &f->listen.backlog);
	codec_bytes(c, f->listen.addr, sizeof(f->listen.addr));
	sockets_codec_options(c, &f->listen.options, &f->listen.noptions);
}

static int validate_listen(const struct file_table *t, const struct open_file *f, struct err *err)
{
	sa_family_t family;

	memcpy(&family, f->listen.addr, sizeof(family));
	if ((f->listen.family != AF_INET && f->listen.family != AF_INET6) ||
	    family != f->listen.family || f->listen.backlog > INT32_MAX ||
	    !sockets_options_are_possible(f->listen.options, f->listen.noptions))
		return err_image(err, "files: fd %d: impossible socket", file_lowest_fd(t, f));
	return 0;
}

/* Can the address be had?  Bound for a moment, without listening. */
static int check_listen(struct restore *r, const struct file_table *t, const struct open_file *f,
			struct err *err)
{
	__cleanup_fd int fd = socket((int)f->listen.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[80];
	int one = 1, e;

	(void)r;
	sockets_addr_text(f->listen.addr, text, sizeof(text));
	if (fd < 0)
		return err_sys(err, -errno, "cannot make a socket for %s (fd %d)", text,
			       file_lowest_fd(t, f));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	for (size_t i = 0; i < f->listen.noptions; i++)
		(void)setsockopt(fd, f->listen.options[i].level, f->listen.options[i].name,
				 f->listen.options[i].value, f->listen.options[i].len);
	if (!bind(fd, (const struct sockaddr *)f->listen.addr, addr_len(f)))
		return 0;
	e = -errno;
	err_sys(err, e, "cannot listen on %s for the program (fd %d)", text, file_lowest_fd(t, f));
	if (e == -EADDRINUSE)
		err_hint(err, "end the program that listens there (perhaps the one that was "
			      "checkpointed): ss -ltnp");
	if (e == -EADDRNOTAVAIL)
		err_hint(err, "the program listened on an address that this host does not have");
	if (e == -EACCES)
		err_hint(err, "ports below net.ipv4.ip_unprivileged_port_start need "
			      "CAP_NET_BIND_SERVICE");
	return e;
}

static int restore_listen(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	const struct file_option *options = f->listen.options;
	bool reuse = sockets_has_option(options, f->listen.noptions, SOL_SOCKET, SO_REUSEADDR);
	unsigned cloexec = file_cloexec(fr, f);
	char text[80];
	int fd = program_fd_call(fr->prog, file_why(fr, f, "a listening socket"), SYS_socket,
				 f->listen.family, SOCK_STREAM | cloexec, IPPROTO_TCP, 0, 0);
	uint64_t addr;

	(void)err;
	sockets_restore_options(fr, f, fd, options, f->listen.noptions);
	if (!reuse)
		sockets_set_int(fr, file_why(fr, f, "old connections do not matter"), fd,
				SOL_SOCKET, SO_REUSEADDR, 1);
	addr = program_data(fr->prog, f->listen.addr, addr_len(f));
	program_call_want(fr->prog, 0,
			  file_why(fr, f, sockets_addr_text(f->listen.addr, text, sizeof(text))),
			  SYS_bind, (unsigned)fd, addr, addr_len(f), 0, 0, 0);
	program_call_want(fr->prog, 0, file_why(fr, f, "listen again"), SYS_listen, (unsigned)fd,
			  f->listen.backlog, 0, 0, 0, 0);
	if (!reuse)
		sockets_set_int(fr, file_why(fr, f, "as the program had it"), fd, SOL_SOCKET,
				SO_REUSEADDR, 0);
	if (f->flags & O_NONBLOCK)
		program_call_want(fr->prog, 0, file_why(fr, f, "flags"), SYS_fcntl, (unsigned)fd,
				  F_SETFL, O_NONBLOCK, 0, 0, 0);
	file_place(fr, f, fd, cloexec);
	return 0;
}

static void describe_listen(const struct file_table *t, const struct open_file *f, struct buf *out)
{
	char text[80];

	(void)t;
	buf_printf(out, "%s, backlog %u", sockets_addr_text(f->listen.addr, text, sizeof(text)),
		   f->listen.backlog);
}

static void done_listen(struct open_file *f)
{
	free(f->listen.options);
}

const struct file_ops file_tcp_listen = {
	.kind = FILE_TCP_LISTEN,
	.name = "listening TCP socket",
	.kept = "address, port, backlog, options; connections not accepted yet are lost",
	.capture = capture_listen,
	.codec = codec_listen,
	.validate = validate_listen,
	.check = check_listen,
	.restore = restore_listen,
	.describe = describe_listen,
	.done = done_listen,
};
