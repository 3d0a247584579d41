/*
 * Listening TCP sockets, v4 and v6, with options; they accept after the restart.
 * Also sockets that are not connected at all.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "subject.h"

static int option(int fd, int level, int name)
{
	int v = -1;
	socklen_t n = sizeof(v);

	getsockopt(fd, level, name, &v, &n);
	return v;
}

static void set(int fd, int level, int name, int v)
{
	must(setsockopt(fd, level, name, &v, sizeof(v)));
}

static void talk(int fd, int family, int port)
{
	struct sockaddr_in6 a6 = {
		.sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in a4 = {
		.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char c = 0;

	int client = must(socket(family, SOCK_STREAM, 0));
	int r = family == AF_INET ? connect(client, (void *)&a4, sizeof(a4))
				  : connect(client, (void *)&a6, sizeof(a6));
	check(r == 0, "connect: %s", strerror(errno));
	if (r)
		return;
	check(poll(&p, 1, 5000) == 1, "nobody to accept");
	int server = accept(fd, NULL, NULL);
	check(server >= 0, "accept: %s", strerror(errno));
	check(write(client, "q", 1) == 1 && read(server, &c, 1) == 1 && c == 'q', "no talk");
	/* The client closes first: the server's port is not left in TIME_WAIT. */
	close(client);
	close(server);
}

int main(int argc, char **argv)
{
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
	socklen_t n = sizeof(a4);

	subject_init(argc, argv);
	int v4 = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	set(v4, SOL_SOCKET, SO_REUSEADDR, 1);
	set(v4, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(v4, IPPROTO_TCP, TCP_NODELAY, 1);
	must(bind(v4, (void *)&a4, sizeof(a4)));
	must(listen(v4, 7));
	must(getsockname(v4, (void *)&a4, &n));
	int v6 = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (v6 >= 0) {
		set(v6, IPPROTO_IPV6, IPV6_V6ONLY, 1);
		if (bind(v6, (void *)&a6, sizeof(a6)) || listen(v6, 128)) {
			close(v6);
			v6 = -1;
		} else {
			n = sizeof(a6);
			must(getsockname(v6, (void *)&a6, &n));
		}
	}
	talk(v4, AF_INET, a4.sin_port);
	subject_wait();

	struct sockaddr_in now;
	n = sizeof(now);
	must(getsockname(v4, (void *)&now, &n));
	check(now.sin_port == a4.sin_port && now.sin_addr.s_addr == a4.sin_addr.s_addr,
	      "the address differs");
	check(option(v4, SOL_SOCKET, SO_REUSEADDR) == 1, "SO_REUSEADDR is lost");
	check(option(v4, SOL_SOCKET, SO_KEEPALIVE) == 1, "SO_KEEPALIVE is lost");
	check(option(v4, IPPROTO_TCP, TCP_NODELAY) != 0, "TCP_NODELAY is lost");
	check(option(v4, SOL_SOCKET, SO_ACCEPTCONN) == 1, "it does not listen");
	check(fcntl(v4, F_GETFD) & FD_CLOEXEC, "close-on-exec is lost");
	talk(v4, AF_INET, a4.sin_port);
	if (v6 >= 0) {
		check(option(v6, IPPROTO_IPV6, IPV6_V6ONLY) == 1, "IPV6_V6ONLY is lost");
		check(fcntl(v6, F_GETFL) & O_NONBLOCK, "O_NONBLOCK is lost");
		talk(v6, AF_INET6, a6.sin6_port);
	}
	return subject_done();
}
