/*
 * Datagrams that wait in Unix sockets with a name: whose senders have none, or are other sockets of
 * the program's, or the same; empty ones; with descriptors and credentials; one socket is full.
 */
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "subject.h"

struct name {
	struct sockaddr_un a;
	socklen_t len;
};

static struct name full, hidden, closed, crowded;
static char big[100000];

static int bound(struct name *n, const char *path, bool abstract)
{
	int fd = must(socket(AF_UNIX, SOCK_DGRAM, 0));

	n->a.sun_family = AF_UNIX;
	strcpy(n->a.sun_path + abstract, path);
	n->len = offsetof(struct sockaddr_un, sun_path) + abstract + strlen(path) + !abstract;
	if (!abstract)
		unlink(path);
	must(bind(fd, (void *)&n->a, n->len));
	return fd;
}

static void send_to(int from, const struct name *to, const void *data, size_t len, int passed)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
	struct iovec iov = {(void *)data, len};
	struct msghdr m = {.msg_name = (void *)&to->a,
			   .msg_namelen = to->len,
			   .msg_iov = &iov,
			   .msg_iovlen = 1};

	if (passed >= 0) {
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
						      .cmsg_level = SOL_SOCKET,
						      .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &passed, sizeof(int));
	}
	must(sendmsg(from, &m, 0));
}

/* The next message of fd: from that name (NULL: none), these bytes.  What came with it. */
static int takes(int fd, const struct name *from, const void *data, size_t len, struct ucred *ucred)
{
	static char got[200000];
	char control[256] __attribute__((aligned(8)));
	struct name n = {.len = 0};
	struct iovec iov = {got, sizeof(got)};
	struct msghdr m = {.msg_name = &n.a,
			   .msg_namelen = sizeof(n.a),
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	ssize_t size = recvmsg(fd, &m, MSG_DONTWAIT);
	int passed = -1;

	check(size == (ssize_t)len && !memcmp(got, data, len), "%zd bytes, not %zu", size, len);
	if (size < 0)
		return -1;
	check(from ? m.msg_namelen == from->len && !memcmp(&n.a, &from->a, from->len)
		   : m.msg_namelen <= sizeof(sa_family_t),
	      "the message '%.20s' has another sender", got);
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		if (h->cmsg_type == SCM_RIGHTS)
			memcpy(&passed, CMSG_DATA(h), sizeof(int));
		if (h->cmsg_type == SCM_CREDENTIALS && ucred)
			memcpy(ucred, CMSG_DATA(h), sizeof(*ucred));
	}
	return passed;
}

static bool is_empty(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

int main(int argc, char **argv)
{
	char cwd[80], path[100], secret[40], c = 0;
	int nobody, ends[2], on = 1, size = 9000, now, crowd = 0;
	struct ucred who = {0}, none = {.pid = 1};
	socklen_t len = sizeof(now);
	struct stat st;

	subject_init(argc, argv);
	if (!getcwd(cwd, sizeof(cwd)))
		die("the directory's name is too long");
	snprintf(path, sizeof(path), "%s/unread", cwd);
	snprintf(secret, sizeof(secret), "godwit-unread-%d", getpid());
	nobody = must(socket(AF_UNIX, SOCK_DGRAM, 0));
	int d = bound(&crowded, "crowded", false);
	int a = bound(&full, path, false), b = bound(&hidden, secret, true);
	int e = bound(&closed, "closed", false);
	must(pipe(ends));

	send_to(nobody, &full, "one", 3, -1);
	send_to(b, &full, "two", 3, -1);
	send_to(b, &full, "", 0, -1);
	send_to(e, &full, "a pipe", 6, ends[0]);
	send_to(a, &full, "to itself", 9, -1);
	must(write(ends[1], "p", 1));
	close(ends[0]);
	send_to(nobody, &hidden, "before", 6, -1);
	must(setsockopt(b, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
	send_to(e, &hidden, "with credentials", 16, -1);
	fill(big, sizeof(big), 3);
	send_to(nobody, &closed, big, sizeof(big), -1);
	must(setsockopt(e, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	if (getuid())
		must(chmod("closed", 0444));
	while (sendto(nobody, &crowd, sizeof(crowd), MSG_DONTWAIT, (void *)&crowded.a,
		      crowded.len) == sizeof(crowd))
		crowd++;
	close(nobody);
	subject_wait();

	takes(a, NULL, "one", 3, NULL);
	takes(a, &hidden, "two", 3, NULL);
	takes(a, &hidden, "", 0, NULL);
	int passed = takes(a, &closed, "a pipe", 6, NULL);
	check(passed >= 0 && read(passed, &c, 1) == 1 && c == 'p', "the pipe in flight");
	takes(a, &full, "to itself", 9, NULL);
	takes(b, NULL, "before", 6, &none);
	check(none.pid == 0, "credentials that were not sent: %d", none.pid);
	takes(b, &closed, "with credentials", 16, &who);
	check(who.pid == getpid() && who.uid == getuid() && who.gid == getgid(), "credentials");
	takes(e, NULL, big, sizeof(big), NULL);
	check(!getsockopt(e, SOL_SOCKET, SO_SNDBUF, &now, &len) && now == 2 * size, "SO_SNDBUF");
	check(!getsockopt(a, SOL_SOCKET, SO_SNDBUF, &now, &len) && now > 100000, "the usual room");
	check(!stat("closed", &st) && (getuid() == 0 || (st.st_mode & 0777) == 0444), "its mode");
	for (int i = 0; i < crowd; i++)
		takes(d, NULL, &i, sizeof(i), NULL);
	check(crowd && is_empty(a) && is_empty(b) && is_empty(d) && is_empty(e), "there is more");
	send_to(a, &hidden, "an answer", 9, -1);
	takes(b, &full, "an answer", 9, NULL);
	return subject_done();
}
