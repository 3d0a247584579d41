/*
 * UDP sockets: bound, connected, neither; v4 and v6; options.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include "subject.h"

static int udp4(struct sockaddr_in *own)
{
	socklen_t n = sizeof(*own);
	int fd = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));

	*own = (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	must(bind(fd, (void *)own, sizeof(*own)));
	must(getsockname(fd, (void *)own, &n));
	return fd;
}

static bool takes(int fd, const char *what)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char now[16] = "";

	return poll(&p, 1, 5000) == 1 && read(fd, now, sizeof(now)) == (ssize_t)strlen(what) &&
	       !memcmp(now, what, strlen(what));
}

static void talk(int a, const struct sockaddr_in *to, int b, int c)
{
	check(sendto(c, "one", 3, 0, (const void *)to, sizeof(*to)) == 3 && takes(a, "one"),
	      "to the bound one");
	check(send(b, "two", 3, 0) == 3 && takes(a, "two"), "from the connected one");
}

int main(int argc, char **argv)
{
	struct sockaddr_in bound, other, now;
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	socklen_t n = sizeof(now);
	int one = 1, v = 0;

	subject_init(argc, argv);
	int a = udp4(&bound), b = udp4(&other), c = must(socket(AF_INET, SOCK_DGRAM, 0));
	must(connect(b, (void *)&bound, sizeof(bound)));
	must(setsockopt(a, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one)));
	int six_fd = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	if (six_fd >= 0 && bind(six_fd, (void *)&six, sizeof(six))) {
		close(six_fd);
		six_fd = -1;
	}
	talk(a, &bound, b, c);
	subject_wait();

	must(getsockname(a, (void *)&now, &n));
	check(!memcmp(&now, &bound, n), "the address differs");
	must(getsockname(b, (void *)&now, &n));
	check(!memcmp(&now, &other, n), "the connected one's address differs");
	n = sizeof(now);
	check(!getpeername(b, (void *)&now, &n) && !memcmp(&now, &bound, n), "its peer differs");
	n = sizeof(v);
	check(!getsockopt(a, SOL_SOCKET, SO_BROADCAST, &v, &n) && v, "SO_BROADCAST is lost");
	check(fcntl(a, F_GETFD) == FD_CLOEXEC && !fcntl(c, F_GETFD), "close-on-exec");
	talk(a, &bound, b, c);
	if (six_fd >= 0) {
		check(fcntl(six_fd, F_GETFL) & O_NONBLOCK, "O_NONBLOCK is lost");
		n = sizeof(six);
		check(!getsockname(six_fd, (void *)&six, &n) && six.sin6_port, "v6 address");
		check(sendto(six_fd, "six", 3, 0, (void *)&six, n) == 3 && takes(six_fd, "six"),
		      "v6 talk");
	}
	return subject_done();
}
