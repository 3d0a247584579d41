/* Sockets: see sockets.h. */
#include "state/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define TCP_STATE_ESTABLISHED 1 /* include/net/tcp_states.h */
#define TCP_STATE_LISTEN 10

/* --- options --- */

/* What a program may have set, and what is worth keeping. */
static const struct {
	int level, name;
} kept_options[] = {
	{SOL_SOCKET, SO_REUSEADDR},
	{SOL_SOCKET, SO_REUSEPORT},
	{SOL_SOCKET, SO_KEEPALIVE},
	{SOL_SOCKET, SO_BROADCAST},
	{SOL_SOCKET, SO_OOBINLINE},
	{SOL_SOCKET, SO_LINGER},
	{SOL_SOCKET, SO_RCVTIMEO},
	{SOL_SOCKET, SO_SNDTIMEO},
	{SOL_SOCKET, SO_RCVBUF},
	{SOL_SOCKET, SO_SNDBUF},
	{SOL_SOCKET, SO_RCVLOWAT},
	{SOL_SOCKET, SO_PASSCRED},
	{SOL_SOCKET, SO_PASSSEC},
	{SOL_SOCKET, SO_PRIORITY},
	{SOL_SOCKET, SO_TIMESTAMP},
	{SOL_SOCKET, SO_TIMESTAMPNS},
	{SOL_SOCKET, SO_PEEK_OFF},
	{SOL_SOCKET, SO_MARK},
	{IPPROTO_TCP, TCP_NODELAY},
	{IPPROTO_TCP, TCP_DEFER_ACCEPT},
	{IPPROTO_TCP, TCP_KEEPIDLE},
	{IPPROTO_TCP, TCP_KEEPINTVL},
	{IPPROTO_TCP, TCP_KEEPCNT},
	{IPPROTO_TCP, TCP_USER_TIMEOUT},
	{IPPROTO_TCP, TCP_FASTOPEN},
	{IPPROTO_TCP, TCP_SYNCNT},
	{IPPROTO_IP, IP_TOS},
	{IPPROTO_IP, IP_TTL},
	{IPPROTO_IP, IP_FREEBIND},
	{IPPROTO_IP, IP_TRANSPARENT},
	{IPPROTO_IPV6, IPV6_V6ONLY},
	{IPPROTO_IPV6, IPV6_TCLASS},
	{IPPROTO_IPV6, IPV6_UNICAST_HOPS},
};

static bool is_kept(int level, int name)
{
	for (size_t i = 0; i < ARRAY_SIZE(kept_options); i++)
		if (kept_options[i].level == level && kept_options[i].name == name)
			return true;
	return false;
}

/* The option of fd, or false when a socket of its kind has none such. */
static bool get_option(int fd, int level, int name, struct file_option *ret)
{
	socklen_t len = sizeof(ret->value);

	*ret = (struct file_option){.level = level, .name = name};
	if (getsockopt(fd, level, name, ret->value, &len) || len > sizeof(ret->value))
		return false;
	ret->len = len;
	return true;
}

int sockets_capture_options(const struct file_scan *s, int dup, struct file_option **ret,
			    size_t *ret_n, struct err *err)
{
	__cleanup_fd int fresh =
		socket(s->sock_domain, s->sock_type | SOCK_CLOEXEC, s->sock_protocol);
	struct file_option *v = io_alloc(ARRAY_SIZE(kept_options), sizeof(*v), err);
	size_t n = 0;

	if (!v)
		return err->error;
	for (size_t i = 0; i < ARRAY_SIZE(kept_options); i++) {
		int level = kept_options[i].level, name = kept_options[i].name;
		struct file_option def;

		if (level != SOL_SOCKET && s->sock_domain == AF_UNIX)
			continue;
		if (level == IPPROTO_IPV6 && s->sock_domain != AF_INET6)
			continue;
		if (!get_option(dup, level, name, &v[n]))
			continue;
		if (fresh >= 0 && get_option(fresh, level, name, &def) && def.len == v[n].len &&
		    !memcmp(def.value, v[n].value, def.len))
			continue;
		n++;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

void sockets_codec_options(struct codec *c, struct file_option **v, size_t *n)
{
	codec_array(c, v, n, sizeof(**v), 28, FILES_OPTIONS_MAX);
	for (size_t i = 0; i < *n && !c->bad; i++) {
		codec_i32(c, &(*v)[i].level);
		codec_i32(c, &(*v)[i].name);
		codec_u32(c, &(*v)[i].len);
		codec_bytes(c, (*v)[i].value, sizeof((*v)[i].value));
	}
}

bool sockets_options_are_possible(const struct file_option *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].len > sizeof(v[i].value) || !is_kept(v[i].level, v[i].name))
			return false;
	return true;
}

bool sockets_has_option(const struct file_option *v, size_t n, int level, int name)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].level == level && v[i].name == name)
			return true;
	return false;
}

static bool is_buffer_size(const struct file_option *o)
{
	return o->level == SOL_SOCKET && (o->name == SO_RCVBUF || o->name == SO_SNDBUF) &&
	       o->len == sizeof(int);
}

void sockets_restore_options(struct file_restore *fr, const struct open_file *f, int fd,
			     const struct file_option *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct file_option o = v[i];
		int size;

		if (is_buffer_size(&o)) {
			/* The kernel doubles what it is told (socket(7), SO_RCVBUF). */
			memcpy(&size, o.value, sizeof(size));
			size /= 2;
			memcpy(o.value, &size, sizeof(size));
		}
		uint64_t addr = program_data(fr->prog, o.value, o.len);

		program_call_want(fr->prog, 0, file_why(fr, f, "an option of the socket"),
				  SYS_setsockopt, (unsigned)fd, (unsigned)o.level, (unsigned)o.name,
				  addr, o.len, 0);
	}
}

void sockets_set_int(struct file_restore *fr, const char *why, int fd, int level, int name,
		     int value)
{
	uint64_t addr = program_data(fr->prog, &value, sizeof(value));

	program_call_want(fr->prog, 0, why, SYS_setsockopt, (unsigned)fd, (unsigned)level,
			  (unsigned)name, addr, sizeof(value), 0);
}

/* --- words --- */

const char *sockets_addr_text(const void *addr, char *out, size_t size)
{
	const struct sockaddr_in *in = addr;
	const struct sockaddr_in6 *in6 = addr;
	char ip[INET6_ADDRSTRLEN] = "?";

	switch (in->sin_family) {
	case AF_INET:
		inet_ntop(AF_INET, &in->sin_addr, ip, sizeof(ip));
		snprintf(out, size, "%s:%u", ip, ntohs(in->sin_port));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof(ip));
		snprintf(out, size, "[%s]:%u", ip, ntohs(in6->sin6_port));
		break;
	default:
		snprintf(out, size, "nothing");
	}
	return out;
}

static void describe_tcp(struct file_scan *s, int dup)
{
	struct sockaddr_storage peer = {0};
	socklen_t len = sizeof(peer);
	struct tcp_info info = {0};
	socklen_t info_len = sizeof(info);
	char text[80];

	if (getsockopt(dup, IPPROTO_TCP, TCP_INFO, &info, &info_len))
		return;
	if (info.tcpi_state == TCP_STATE_LISTEN)
		snprintf(s->detail, sizeof(s->detail), "listening TCP socket");
	else if (!getpeername(dup, (struct sockaddr *)&peer, &len))
		snprintf(s->detail, sizeof(s->detail), "%s TCP connection to %s",
			 info.tcpi_state == TCP_STATE_ESTABLISHED ? "established" : "closing",
			 sockets_addr_text(&peer, text, sizeof(text)));
	else
		snprintf(s->detail, sizeof(s->detail),
			 "TCP socket that is neither connected nor "
			 "listening");
}

static void describe_unix(struct file_scan *s, int dup)
{
	struct sockaddr_un own = {0}, peer = {0};
	socklen_t own_len = sizeof(own), peer_len = sizeof(peer);
	const struct sockaddr_un *named;
	int listening = 0;
	socklen_t len = sizeof(listening);
	bool connected;

	if (getsockname(dup, (struct sockaddr *)&own, &own_len))
		return;
	connected = !getpeername(dup, (struct sockaddr *)&peer, &peer_len);
	(void)getsockopt(dup, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len);
	named = own_len > sizeof(sa_family_t) ? &own : &peer;
	if (own_len <= sizeof(sa_family_t) && (!connected || peer_len <= sizeof(sa_family_t)))
		return; /* no name: perhaps one of a pair */
	snprintf(s->detail, sizeof(s->detail), "%s Unix socket '%s%.100s'",
		 listening   ? "listening"
		 : connected ? "connected"
			     : "bound",
		 named->sun_path[0] ? "" : "@", named->sun_path + !named->sun_path[0]);
}

int sockets_look(struct file_scan *s, int dup, struct err *err)
{
	socklen_t len = sizeof(int);

	if (getsockopt(dup, SOL_SOCKET, SO_DOMAIN, &s->sock_domain, &len) ||
	    getsockopt(dup, SOL_SOCKET, SO_TYPE, &s->sock_type, &len) ||
	    getsockopt(dup, SOL_SOCKET, SO_PROTOCOL, &s->sock_protocol, &len))
		return err_sys(err, -errno, "cannot look at '%s' (fd %d of process %d)", s->link,
			       s->fd, s->c->remote->pid);
	if (s->sock_domain == AF_UNIX)
		describe_unix(s, dup);
	else if (s->sock_type == SOCK_STREAM && s->sock_protocol == IPPROTO_TCP)
		describe_tcp(s, dup);
	return 0;
}

/* --- sock_diag --- */

static bool is_same_namespace(const struct file_scan *s)
{
	struct stat a, b;

	return fstatat(s->c->remote->procfd, "ns/net", &a, 0) || stat("/proc/self/ns/net", &b) ||
	       (a.st_dev == b.st_dev && a.st_ino == b.st_ino);
}

/* A netlink socket in the target's network namespace, or -errno. */
static int open_diag(const struct file_scan *s)
{
	__cleanup_fd int ours = -1, theirs = -1;
	int fd, e = 0;

	if (is_same_namespace(s)) {
		fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
		return fd < 0 ? -errno : fd;
	}
	ours = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	theirs = openat(s->c->remote->procfd, "ns/net", O_RDONLY | O_CLOEXEC);
	if (ours < 0 || theirs < 0 || setns(theirs, CLONE_NEWNET))
		return -errno;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	e = -errno;
	if (setns(ours, CLONE_NEWNET))
		abort(); /* in a namespace that is not ours: nothing may go on from here */
	return fd < 0 ? e : fd;
}

static void read_attributes(const struct nlmsghdr *h, struct unix_diag *ret)
{
	struct unix_diag_msg *m = NLMSG_DATA(h);
	int left = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(*m)));

	for (struct rtattr *a = (struct rtattr *)(m + 1); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == UNIX_DIAG_PEER && RTA_PAYLOAD(a) >= sizeof(uint32_t))
			ret->peer = *(uint32_t *)RTA_DATA(a);
		if (a->rta_type == UNIX_DIAG_SHUTDOWN && RTA_PAYLOAD(a) >= 1)
			ret->shutdown = *(uint8_t *)RTA_DATA(a);
		if (a->rta_type == UNIX_DIAG_NAME)
			ret->has_name = RTA_PAYLOAD(a) > 0;
		if (a->rta_type == UNIX_DIAG_VFS && RTA_PAYLOAD(a) >= sizeof(struct unix_diag_vfs))
			ret->file_ino = ((struct unix_diag_vfs *)RTA_DATA(a))->udiag_vfs_ino;
		if (a->rta_type == UNIX_DIAG_RQLEN &&
		    RTA_PAYLOAD(a) >= sizeof(struct unix_diag_rqlen)) {
			ret->waiting = ((struct unix_diag_rqlen *)RTA_DATA(a))->udiag_rqueue;
			ret->backlog = ((struct unix_diag_rqlen *)RTA_DATA(a))->udiag_wqueue;
		}
	}
}

int sockets_unix_diag(const struct file_scan *s, uint64_t ino, struct unix_diag *ret)
{
	struct {
		struct nlmsghdr h;
		struct unix_diag_req r;
	} req = {.h = {.nlmsg_len = sizeof(req),
		       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST},
		 .r = {.sdiag_family = AF_UNIX,
		       .udiag_states = UINT32_MAX,
		       .udiag_ino = (uint32_t)ino,
		       .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_VFS |
				     UDIAG_SHOW_RQLEN,
		       .udiag_cookie = {UINT32_MAX, UINT32_MAX}}};
	char answer[4096] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *h = (const struct nlmsghdr *)answer;
	__cleanup_fd int fd = open_diag(s);
	ssize_t n;

	*ret = (struct unix_diag){0};
	if (fd < 0)
		return fd;
	if (send(fd, &req, sizeof(req), 0) < 0 || (n = recv(fd, answer, sizeof(answer), 0)) < 0)
		return -errno;
	if (!NLMSG_OK(h, (size_t)n))
		return -EPROTO;
	if (h->nlmsg_type == NLMSG_ERROR)
		return ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
	if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    h->nlmsg_len < NLMSG_LENGTH(sizeof(struct unix_diag_msg)))
		return -EPROTO;
	read_attributes(h, ret);
	return 0;
}

/* --- multicast --- */

static bool is_member(int dup, int level, uint32_t interface, const void *addr, size_t len)
{
	struct group_filter filter = {.gf_interface = interface};
	socklen_t size = sizeof(filter);

	memcpy(&filter.gf_group, addr, len);
	return !getsockopt(dup, level, MCAST_MSFILTER, &filter, &size);
}

/* /proc/net/igmp: a line for an interface, "1 lo : ...", and, indented, one for
 * each of its groups: the address in hexadecimal, as it lies in memory. */
static bool is_in_v4_group(int dup, const char *line, uint32_t *interface)
{
	struct sockaddr_in a = {.sin_family = AF_INET};

	if (line[0] != '\t') {
		(void)sscanf(line, "%u", interface);
		return false;
	}
	return sscanf(line, " %8x", &a.sin_addr.s_addr) == 1 &&
	       is_member(dup, IPPROTO_IP, *interface, &a, sizeof(a));
}

/* /proc/net/igmp6: "1    lo   ff020000000000000000000000000001     1 0000000C 0" */
static bool is_in_v6_group(int dup, const char *line)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6};
	uint32_t interface;
	char hex[33];

	if (sscanf(line, "%u %*s %32[0-9a-f]", &interface, hex) != 2 || strlen(hex) != 32)
		return false;
	for (int i = 0; i < 16; i++)
		if (sscanf(hex + 2 * (size_t)i, "%2hhx", &a.sin6_addr.s6_addr[i]) != 1)
			return false;
	return is_member(dup, IPPROTO_IPV6, interface, &a, sizeof(a));
}

bool sockets_is_in_a_group(const struct file_scan *s, int dup)
{
	bool v6 = s->sock_domain == AF_INET6;
	__cleanup_buf struct buf text = {0};
	uint32_t interface = 0;
	const char *line;

	/* The kernel tells for a group whether a socket is in it (net/ipv4/igmp.c,
	 * ip_mc_gsfget), not for a socket in which groups it is. */
	if (io_read_file(s->c->remote->procfd, v6 ? "net/igmp6" : "net/igmp", &text) || !text.len)
		return false;
	for (line = text.p; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
		if (v6 ? is_in_v6_group(dup, line) : is_in_v4_group(dup, line, &interface))
			return true;
	return false;
}
