/*
 * UDP sockets: address, peer, options.  Datagrams that were not read yet cannot be
 * given back, since who sent them cannot be pretended; a network may lose any, and
 * so may we, but we say it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state/sockets.h"

static socklen_t addr_len(const struct open_file *f)
{
	return f->udp.family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static bool has_port(const uint8_t addr[28])
{
	return addr[2] || addr[3]; /* the same place in sockaddr_in and sockaddr_in6 */
}

static int capture_udp(struct file_scan *s, struct open_file *f, struct err *err)
{
	__cleanup_fd int dup = file_getfd(s, s->fd, err);
	socklen_t len = sizeof(f->udp.own);
	int unread = 0;

	if (dup < 0)
		return dup;
	f->udp.family = (uint32_t)s->sock_domain;
	if (getsockname(dup, (struct sockaddr *)f->udp.own, &len))
		return err_sys(err, -errno, "cannot look at '%s' (fd %d)", s->link, s->fd);
	len = sizeof(f->udp.peer);
	f->udp.connected = !getpeername(dup, (struct sockaddr *)f->udp.peer, &len);
	if (!f->udp.connected)
		memset(f->udp.peer, 0, sizeof(f->udp.peer));
	if (sockets_is_in_a_group(s, dup))
		return file_refuse_as(s, err, REFUSED_MULTICAST,
				      "a UDP socket that is in a multicast group");
	if (!ioctl(dup, SIOCINQ, &unread) && unread)
		file_notice(s, "datagrams that the program has not read yet (fd %d) are not saved",
			    s->fd);
	return sockets_capture_options(s, dup, &f->udp.options, &f->udp.noptions, err);
}

static void codec_udp(struct codec *c, struct open_file *f)
{
	codec_u32(c, &f->udp.family);
	codec_bytes(c, f->udp.own, sizeof(f->udp.own));
	codec_bool(c, &f->udp.connected);
	codec_bytes(c, f->udp.peer, sizeof(f->udp.peer));
	sockets_codec_options(c, &f->udp.options, &f->udp.noptions);
}

static bool is_of_family(const uint8_t addr[28], uint32_t family)
{
	sa_family_t have;

	memcpy(&have, addr, sizeof(have));
	return have == family;
}

static int validate_udp(const struct file_table *t, const struct open_file *f, struct err *err)
{
	if ((f->udp.family != AF_INET && f->udp.family != AF_INET6) ||
	    !is_of_family(f->udp.own, f->udp.family) ||
	    (f->udp.connected && !is_of_family(f->udp.peer, f->udp.family)) ||
	    !sockets_options_are_possible(f->udp.options, f->udp.noptions))
		return err_image(err, "files: fd %d: impossible socket", file_lowest_fd(t, f));
	return 0;
}

static int check_udp(struct restore *r, const struct file_table *t, const struct open_file *f,
		     struct err *err)
{
	__cleanup_fd int fd = socket((int)f->udp.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char text[80];

	(void)r;
	if (fd < 0)
		return err_sys(err, -errno, "cannot make a UDP socket (fd %d)",
			       file_lowest_fd(t, f));
	if (!has_port(f->udp.own))
		return 0;
	for (size_t i = 0; i < f->udp.noptions; i++)
		(void)setsockopt(fd, f->udp.options[i].level, f->udp.options[i].name,
				 f->udp.options[i].value, f->udp.options[i].len);
	if (!bind(fd, (const struct sockaddr *)f->udp.own, addr_len(f)))
		return 0;
	err_sys(err, -errno, "cannot have the UDP address %s for the program (fd %d)",
		sockets_addr_text(f->udp.own, text, sizeof(text)), file_lowest_fd(t, f));
	return err_hint(err,
			"end the program that has it (ss -lunp), or give this host the address");
}

static int restore_udp(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	unsigned cloexec = file_cloexec(fr, f);
	char text[80];
	int fd = program_fd_call(fr->prog, file_why(fr, f, "a UDP socket"), SYS_socket,
				 f->udp.family, SOCK_DGRAM | (f->flags & O_NONBLOCK) | cloexec,
				 IPPROTO_UDP, 0, 0);
	uint64_t addr;

	(void)err;
	sockets_restore_options(fr, f, fd, f->udp.options, f->udp.noptions);
	if (has_port(f->udp.own)) {
		addr = program_data(fr->prog, f->udp.own, addr_len(f));
		program_call_want(
			fr->prog, 0,
			file_why(fr, f, sockets_addr_text(f->udp.own, text, sizeof(text))),
			SYS_bind, (unsigned)fd, addr, addr_len(f), 0, 0, 0);
	}
	if (f->udp.connected) {
		addr = program_data(fr->prog, f->udp.peer, addr_len(f));
		program_call_want(
			fr->prog, 0,
			file_why(fr, f, sockets_addr_text(f->udp.peer, text, sizeof(text))),
			SYS_connect, (unsigned)fd, addr, addr_len(f), 0, 0, 0);
	}
	file_place(fr, f, fd, cloexec);
	return 0;
}

static void describe_udp(const struct file_table *t, const struct open_file *f, struct buf *out)
{
	char text[80];

	(void)t;
	buf_printf(out, "%s",
		   has_port(f->udp.own) ? sockets_addr_text(f->udp.own, text, sizeof(text))
					: "not bound");
	if (f->udp.connected)
		buf_printf(out, ", to %s", sockets_addr_text(f->udp.peer, text, sizeof(text)));
}

static void done_udp(struct open_file *f)
{
	free(f->udp.options);
}

const struct file_ops file_udp = {
	.kind = FILE_UDP,
	.name = "UDP socket",
	.kept = "address, port, peer, options; datagrams not read yet are lost",
	.capture = capture_udp,
	.codec = codec_udp,
	.validate = validate_udp,
	.check = check_udp,
	.restore = restore_udp,
	.describe = describe_udp,
	.done = done_udp,
};
