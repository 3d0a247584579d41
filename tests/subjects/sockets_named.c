/*
 * Unix sockets with a name that wait: listening (stream, seqpacket) and bound
 * (datagram); of a file, absolute and relative, and abstract.
 */
#include <stddef.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "subject.h"

static socklen_t name(struct sockaddr_un *a, const char *path, bool abstract)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	strcpy(a->sun_path + abstract, path);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + abstract + strlen(path) +
			   !abstract);
}

static int waiter(int type, const struct sockaddr_un *a, socklen_t len)
{
	int fd = must(socket(AF_UNIX, type, 0));

	if (a->sun_path[0])
		unlink(a->sun_path);
	must(bind(fd, (const void *)a, len));
	if ((type & 15) != SOCK_DGRAM)
		must(listen(fd, 5));
	return fd;
}

static void talk(int fd, int type, const struct sockaddr_un *a, socklen_t len)
{
	int client = must(socket(AF_UNIX, type, 0)), server = fd;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char c = 0;

	check(!connect(client, (const void *)a, len), "connect: %s", strerror(errno));
	if (type != SOCK_DGRAM) {
		check(poll(&p, 1, 5000) == 1, "nobody to accept");
		server = accept(fd, NULL, NULL);
		check(server >= 0, "accept: %s", strerror(errno));
	}
	check(write(client, "q", 1) == 1 && read(server, &c, 1) == 1 && c == 'q', "no talk");
	close(client);
	if (server != fd)
		close(server);
}

int main(int argc, char **argv)
{
	struct sockaddr_un full, rel, abs, dgram, now;
	char cwd[80], path[100], secret[40];
	struct stat st;
	socklen_t lens[4], n = sizeof(now);

	subject_init(argc, argv);
	if (!getcwd(cwd, sizeof(cwd)))
		die("the directory's name is too long");
	snprintf(path, sizeof(path), "%s/full", cwd);
	snprintf(secret, sizeof(secret), "godwit-test-%d", getpid());
	lens[0] = name(&full, path, false);
	lens[1] = name(&rel, "relative", false);
	lens[2] = name(&abs, secret, true);
	lens[3] = name(&dgram, "dgram", false);
	int a = waiter(SOCK_STREAM | SOCK_NONBLOCK, &full, lens[0]);
	must(chmod("full", 0640));
	int b = waiter(SOCK_SEQPACKET, &rel, lens[1]);
	int c = waiter(SOCK_STREAM | SOCK_CLOEXEC, &abs, lens[2]);
	int d = waiter(SOCK_DGRAM, &dgram, lens[3]);
	subject_wait();

	check(!getsockname(b, (void *)&now, &n) && !strcmp(now.sun_path, "relative"),
	      "its own name");
	check(!stat("full", &st) && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0640,
	      "the file's mode");
	check(fcntl(a, F_GETFL) & O_NONBLOCK, "O_NONBLOCK is lost");
	check(fcntl(c, F_GETFD) == FD_CLOEXEC, "close-on-exec is lost");
	talk(a, SOCK_STREAM, &full, lens[0]);
	talk(b, SOCK_SEQPACKET, &rel, lens[1]);
	talk(c, SOCK_STREAM, &abs, lens[2]);
	talk(d, SOCK_DGRAM, &dgram, lens[3]);
	return subject_done();
}
