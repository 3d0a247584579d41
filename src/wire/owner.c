/*
 * Who holds the other end of a loopback connection: see wire.h.
 *
 * The kernel is asked for that one socket.  Reading /proc/net/tcp would do as
 * well, but costs milliseconds where many connections were closed lately, and,
 * being read a page at a time, may leave out a socket while others come and go;
 * it is the way only where the kernel has no socket diagnosis.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "wire/wire.h"

static const struct in6_addr *v6(const struct wire_addr *a)
{
	return &((const struct sockaddr_in6 *)(const void *)&a->ss)->sin6_addr;
}

static const struct in_addr *v4(const struct wire_addr *a)
{
	return &((const struct sockaddr_in *)(const void *)&a->ss)->sin_addr;
}

/* The IPv6 form of an address, which is what a dual-stack socket has. */
static struct in6_addr wide_address(const struct wire_addr *a)
{
	struct in6_addr w = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

	if (a->ss.ss_family == AF_INET6)
		return *v6(a);
	memcpy(&w.s6_addr[12], v4(a), 4);
	return w;
}

static void fill_id(struct inet_diag_sockid *id, bool wide, const struct wire_addr *own,
		    const struct wire_addr *peer)
{
	struct in6_addr from = wide_address(peer), to = wide_address(own);

	id->idiag_sport = htons((uint16_t)wire_port(peer));
	id->idiag_dport = htons((uint16_t)wire_port(own));
	memcpy(id->idiag_src, wide ? (void *)&from : (void *)v4(peer), wide ? 16 : 4);
	memcpy(id->idiag_dst, wide ? (void *)&to : (void *)v4(own), wide ? 16 : 4);
	id->idiag_cookie[0] = id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
}

/* The established socket whose own end is peer and whose far end is own. */
static int ask_kernel(bool wide, const struct wire_addr *own, const struct wire_addr *peer,
		      uid_t *ret_uid)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 body;
	} ask = {
		.head = {.nlmsg_len = sizeof(ask),
			 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			 .nlmsg_flags = NLM_F_REQUEST},
		.body = {.sdiag_family = wide ? AF_INET6 : AF_INET,
			 .sdiag_protocol = IPPROTO_TCP,
			 .idiag_states = 1U << TCP_ESTABLISHED},
	};
	union {
		struct nlmsghdr head;
		char room[4096];
	} answer;
	const struct inet_diag_msg *m = NLMSG_DATA(&answer.head);
	__cleanup_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	ssize_t n;

	fill_id(&ask.body.id, wide, own, peer);
	if (fd < 0 || send(fd, &ask, sizeof(ask), 0) != (ssize_t)sizeof(ask))
		return -EOPNOTSUPP;
	do
		n = recv(fd, &answer, sizeof(answer), MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(int)))
		return -EOPNOTSUPP;
	if (answer.head.nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *e = NLMSG_DATA(&answer.head);

		return e->error == -ENOENT ? -ENOENT : -EOPNOTSUPP;
	}
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(*m)) || m->idiag_state != TCP_ESTABLISHED ||
	    m->id.idiag_sport != ask.body.id.idiag_sport ||
	    m->id.idiag_dport != ask.body.id.idiag_dport)
		return -ENOENT;
	*ret_uid = m->idiag_uid;
	return 0;
}

/* An endpoint as /proc/net/tcp (wide: tcp6) prints it. */
static void proc_name(const struct wire_addr *a, bool wide, char out[48])
{
	struct in6_addr w = wide_address(a);
	int n = 0, i;

	for (i = wide ? 0 : 3; i < 4; i++)
		n += snprintf(out + n, 48 - (size_t)n, "%08X", w.s6_addr32[i]);
	snprintf(out + n, 48 - (size_t)n, ":%04X", wire_port(a));
}

static int read_proc(bool wide, const struct wire_addr *own, const struct wire_addr *peer,
		     uid_t *ret_uid)
{
	char want_local[48], want_remote[48], local[64], remote[64];
	__cleanup_buf struct buf b = {0};
	char *line, *save = NULL;

	proc_name(peer, wide, want_local);
	proc_name(own, wide, want_remote);
	if (io_read_file(-1, wide ? "/proc/net/tcp6" : "/proc/net/tcp", &b))
		return -ENOENT;
	for (line = strtok_r(b.p, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned int state, uid;

		if (sscanf(line, " %*d: %63s %63s %x %*x:%*x %*x:%*x %*x %u", local, remote, &state,
			   &uid) != 4)
			continue;
		if (state == TCP_ESTABLISHED && !strcmp(local, want_local) &&
		    !strcmp(remote, want_remote)) {
			*ret_uid = uid;
			return 0;
		}
	}
	return -ENOENT;
}

static int find(bool wide, const struct wire_addr *own, const struct wire_addr *peer,
		uid_t *ret_uid)
{
	int e = ask_kernel(wide, own, peer, ret_uid);

	return e == -EOPNOTSUPP ? read_proc(wide, own, peer, ret_uid) : e;
}

int wire_loopback_uid(int fd, uid_t *ret_uid)
{
	struct wire_addr peer, own;

	if (wire_peer_addr(fd, &peer) || wire_own_addr(fd, &own))
		return -ENOENT;
	if (peer.ss.ss_family == AF_INET && own.ss.ss_family == AF_INET &&
	    find(false, &own, &peer, ret_uid) == 0)
		return 0;
	/* IPv6, or an IPv4 connection made from an IPv6 socket. */
	return find(true, &own, &peer, ret_uid);
}
