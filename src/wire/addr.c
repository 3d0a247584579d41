/* Addresses, connecting, listening, the shared key's file: see wire.h. */
#include "wire/wire.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

static struct sockaddr_in *v4(const struct wire_addr *a)
{
	return (struct sockaddr_in *)(uintptr_t)&a->ss;
}

static struct sockaddr_in6 *v6(const struct wire_addr *a)
{
	return (struct sockaddr_in6 *)(uintptr_t)&a->ss;
}

/* An IPv4 address that a dual-stack socket shows as IPv6 is plain IPv4 here. */
static void unmap_v4(struct wire_addr *a)
{
	struct sockaddr_in in = {.sin_family = AF_INET};

	if (a->ss.ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&v6(a)->sin6_addr))
		return;
	memcpy(&in.sin_addr, &v6(a)->sin6_addr.s6_addr[12], 4);
	in.sin_port = v6(a)->sin6_port;
	memset(&a->ss, 0, sizeof(a->ss));
	memcpy(&a->ss, &in, sizeof(in));
	a->len = sizeof(in);
}

int wire_port(const struct wire_addr *a)
{
	return ntohs(a->ss.ss_family == AF_INET6 ? v6(a)->sin6_port : v4(a)->sin_port);
}

void wire_set_port(struct wire_addr *a, int port)
{
	if (a->ss.ss_family == AF_INET6)
		v6(a)->sin6_port = htons((uint16_t)port);
	else
		v4(a)->sin_port = htons((uint16_t)port);
}

void wire_format_ip(const struct wire_addr *a, char out[WIRE_NAME])
{
	if (getnameinfo((const struct sockaddr *)&a->ss, a->len, out, WIRE_NAME, NULL, 0,
			NI_NUMERICHOST))
		snprintf(out, WIRE_NAME, "?");
}

void wire_format(const struct wire_addr *a, char out[WIRE_NAME])
{
	char ip[WIRE_NAME];

	wire_format_ip(a, ip);
	snprintf(out, WIRE_NAME, strchr(ip, ':') ? "[%.70s]:%d" : "%.70s:%d", ip, wire_port(a));
}

bool wire_is_loopback(const struct wire_addr *a)
{
	if (a->ss.ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&v6(a)->sin6_addr);
	return ntohl(v4(a)->sin_addr.s_addr) >> 24 == 127;
}

static bool is_wildcard(const struct wire_addr *a)
{
	if (a->ss.ss_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&v6(a)->sin6_addr);
	return v4(a)->sin_addr.s_addr == 0;
}

bool wire_to_loopback(struct wire_addr *a)
{
	bool local = wire_is_loopback(a) || is_wildcard(a);

	if (!local) {
		/* Only an address of this machine can be bound to. */
		struct wire_addr probe = *a;
		__cleanup_fd int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

		wire_set_port(&probe, 0);
		local = fd >= 0 && bind(fd, (struct sockaddr *)&probe.ss, probe.len) == 0;
	}
	if (!local)
		return false;
	if (a->ss.ss_family == AF_INET6) {
		v6(a)->sin6_addr = in6addr_loopback;
		v6(a)->sin6_scope_id = 0;
	} else {
		v4(a)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	}
	return true;
}

/* Splits "host:port" and "[v6]:port"; a bare IPv6 address has several colons. */
static int split(const char *in, int *port, char host[256], struct err *err)
{
	const char *colon = strrchr(in, ':'), *end = in + strlen(in), *tail = NULL;

	if (in[0] == '[') {
		const char *close = strchr(in, ']');

		if (!close || (close[1] && close[1] != ':'))
			return err_set(err, -EINVAL, "'%s' is no address", in);
		tail = close[1] ? close + 2 : NULL;
		in++;
		end = close;
	} else if (colon && strchr(in, ':') == colon) {
		tail = colon + 1;
		end = colon;
	}
	if (end - in >= 256)
		return err_set(err, -ENAMETOOLONG, "host name too long");
	memcpy(host, in, (size_t)(end - in));
	host[end - in] = '\0';
	if (tail) {
		char *stop;
		long n = strtol(tail, &stop, 10);

		if (*stop || stop == tail || n < 1 || n > 65535)
			return err_set(err, -EINVAL, "'%s' is no port (1-65535)", tail);
		*port = (int)n;
	}
	return 0;
}

int wire_resolve(const char *name, int port, struct wire_addr *out, int max, struct err *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
	struct addrinfo *list, *ai;
	char host[256];
	int n = 0, ret = split(name, &port, host, err);

	if (ret)
		return ret;
	if (!host[0])
		strcpy(host, "127.0.0.1");
	ret = getaddrinfo(host, NULL, &hints, &list);
	if (ret == EAI_NONAME) {
		hints.ai_flags = 0;
		ret = getaddrinfo(host, NULL, &hints, &list);
	}
	if (ret)
		return err_set(err, -EHOSTUNREACH, "cannot find host '%s': %s", host,
			       gai_strerror(ret));
	for (ai = list; ai && n < max; ai = ai->ai_next) {
		struct wire_addr *a = &out[n];

		if (ai->ai_family != AF_INET && ai->ai_family != AF_INET6)
			continue;
		memset(a, 0, sizeof(*a));
		memcpy(&a->ss, ai->ai_addr, ai->ai_addrlen);
		a->len = ai->ai_addrlen;
		wire_set_port(a, port);
		unmap_v4(a);
		n++;
	}
	freeaddrinfo(list);
	return n ? n : err_set(err, -EHOSTUNREACH, "host '%s' has no IP address", host);
}

int wire_peer_addr(int fd, struct wire_addr *ret)
{
	ret->len = sizeof(ret->ss);
	if (getpeername(fd, (struct sockaddr *)&ret->ss, &ret->len))
		return -errno;
	if (ret->ss.ss_family != AF_INET && ret->ss.ss_family != AF_INET6)
		return -EAFNOSUPPORT;
	unmap_v4(ret);
	return 0;
}

int wire_own_addr(int fd, struct wire_addr *ret)
{
	ret->len = sizeof(ret->ss);
	if (getsockname(fd, (struct sockaddr *)&ret->ss, &ret->len))
		return -errno;
	if (ret->ss.ss_family != AF_INET && ret->ss.ss_family != AF_INET6)
		return -EAFNOSUPPORT;
	unmap_v4(ret);
	return 0;
}

int wire_connect(const struct wire_addr *a, int64_t deadline, struct err *err)
{
	int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct wire w = {.fd = fd, .out_fd = -1, .cancel_fd = -1, .deadline = deadline};
	int ret = 0, why = 0;
	socklen_t len = sizeof(why);

	wire_format(a, w.peer);
	if (fd < 0)
		return err_sys(err, -errno, "socket");
	if (connect(fd, (const struct sockaddr *)&a->ss, a->len)) {
		ret = -errno;
		if (ret == -EINPROGRESS) {
			ret = wire_wait(&w, POLLOUT, err);
			if (!ret && !getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len))
				ret = -why;
		}
	}
	if (!ret)
		return fd;
	close(fd);
	if (err->error)
		return err_prepend(err, "cannot connect to %s", w.peer);
	return err_sys(err, ret, "cannot connect to %s", w.peer);
}

int wire_listen_on(struct wire_addr *a, bool v6only, struct err *err)
{
	int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1, both = v6only;
	char name[WIRE_NAME];
	int ret;

	if (fd < 0)
		return err_sys(err, -errno, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a->ss.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &both, sizeof(both));
	if (bind(fd, (struct sockaddr *)&a->ss, a->len) == 0 && listen(fd, 128) == 0) {
		getsockname(fd, (struct sockaddr *)&a->ss, &a->len);
		return fd;
	}
	ret = -errno;
	close(fd);
	wire_format(a, name);
	err_sys(err, ret, "cannot listen on %s", name);
	if (ret == -EADDRINUSE)
		return err_hint(err, "something listens there already ('ss -ltnp' shows what): "
				     "choose another port");
	if (ret == -EADDRNOTAVAIL)
		return err_hint(err, "no address of this machine ('ip addr' shows them); :PORT is "
				     "all of them");
	if (ret == -EACCES)
		return err_hint(err, "ports below 1024 are root's: choose a higher one");
	return ret;
}

int wire_listen(bool everywhere, int port, int fds[2], int *ret_port, struct err *err)
{
	struct wire_addr a4 = {.len = sizeof(struct sockaddr_in)};
	struct wire_addr a6 = {.len = sizeof(struct sockaddr_in6)};
	struct err ignored = ERR_INIT;

	a4.ss.ss_family = AF_INET;
	a6.ss.ss_family = AF_INET6;
	v4(&a4)->sin_addr.s_addr = htonl(everywhere ? INADDR_ANY : INADDR_LOOPBACK);
	v6(&a6)->sin6_addr = everywhere ? in6addr_any : in6addr_loopback;
	wire_set_port(&a4, port);
	fds[0] = wire_listen_on(&a4, false, err);
	fds[1] = -1;
	if (fds[0] < 0)
		return fds[0];
	*ret_port = wire_port(&a4);
	/* Same port; a machine without IPv6, or a port taken there, is no error. */
	wire_set_port(&a6, *ret_port);
	fds[1] = wire_listen_on(&a6, true, &ignored);
	return 0;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int wire_load_key(const char *path, uint8_t key[WIRE_KEY_BYTES], struct err *err)
{
	__cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char text[2 * WIRE_KEY_BYTES + 3];
	struct stat st;
	ssize_t n;
	int i;

	if (fd < 0 || fstat(fd, &st)) {
		int ret = err_sys(err, -errno, "key file '%s'", path);

		return ret == -ENOENT ? err_hint(err,
						 "'godwit key %s' makes one; then copy it to the "
						 "other host",
						 path)
				      : ret;
	}
	if (!S_ISREG(st.st_mode) || (st.st_mode & 077))
		return err_perm(err,
				"key file '%s' has mode %04o, others could read it: chmod 600 '%s'",
				path, st.st_mode & 07777, path);
	n = read(fd, text, sizeof(text));
	while (n > 0 && isspace((unsigned char)text[n - 1]))
		n--;
	if (n != 2 * WIRE_KEY_BYTES)
		return err_set(err, -EINVAL, "key file '%s' must hold 64 hex digits", path);
	for (i = 0; i < WIRE_KEY_BYTES; i++) {
		int hi = hex(text[2 * i]), lo = hex(text[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return err_set(err, -EINVAL, "key file '%s' must hold 64 hex digits", path);
		key[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}
