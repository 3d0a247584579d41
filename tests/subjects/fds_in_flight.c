/*
 * Descriptors in flight (SCM_RIGHTS), which nobody has received yet: of files that the program
 * has, and of files that are nowhere else; among data of a stream, in datagrams and packets, in
 * a socket that is in flight itself, and from an end that is closed.  And credentials.
 */
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include "subject.h"

static void send_fds(int to, const char *data, size_t len, const int *fds, size_t n)
{
	char control[CMSG_SPACE(16 * sizeof(int))] = "";
	struct iovec v = {(void *)(uintptr_t)data, len};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = CMSG_SPACE(n * sizeof(int))};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(h), fds, n * sizeof(int));
	must(sendmsg(to, &m, 0));
}

/* Bytes of data; the descriptors to fds, -1 where there is none. */
static ssize_t get(int from, char *data, size_t len, int fds[3], struct ucred *ucred)
{
	char control[512];
	struct iovec v = {data, len};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(from, &m, MSG_DONTWAIT);

	fds[0] = fds[1] = fds[2] = -1;
	if (n < 0)
		return n;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		size_t size = h->cmsg_len - CMSG_LEN(0);

		if (h->cmsg_type == SCM_RIGHTS)
			memcpy(fds, CMSG_DATA(h), size < 12 ? size : 12);
		if (h->cmsg_type == SCM_CREDENTIALS && ucred)
			memcpy(ucred, CMSG_DATA(h), sizeof(*ucred));
	}
	return n;
}

static void expect(const char *what, int from, const char *data, size_t max, int fds[3], size_t n)
{
	char buf[64] = "";
	ssize_t got = get(from, buf, max, fds, NULL);

	check(got == (ssize_t)strlen(data) && !strcmp(buf, data), "%s: '%s' (%zd), not '%s'", what,
	      buf, got, data);
	for (size_t i = 0; i < 3; i++)
		check((fds[i] >= 0) == (i < n), "%s: descriptor %zu is %d", what, i, fds[i]);
}

static bool is_same_file(int a, int b)
{
	return syscall(SYS_kcmp, getpid(), getpid(), 0 /* KCMP_FILE */, a, b) == 0;
}

static bool is_locked(const char *name)
{
	int fd = must(open(name, O_RDWR));
	bool locked = flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;

	close(fd);
	return locked;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

int main(int argc, char **argv)
{
	int stream[2], dgram[2], seq[2], inner[2], orphan[2], creds[2], pipes[2], other[2];
	int fds[3], got[3], on = 1;
	bool was_open[256];
	uint64_t count;
	struct ucred who = {0};
	struct stat st;
	char buf[64];

	subject_init(argc, argv);
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, stream));
	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, dgram));
	must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, seq));
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, inner));
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, orphan));
	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, creds));
	int kept = must(open("kept", O_CREAT | O_RDWR, 0600));
	must(write(kept, "kept", 4));

	/* A stream: data, a file that is nowhere else with its lock, data, two at once, data. */
	must(write(stream[0], "be", 2));
	must(write(stream[0], "fore", 4));
	fds[0] = must(open("gone", O_CREAT | O_RDWR, 0600));
	must(write(fds[0], "0123456789", 10));
	must(lseek(fds[0], 4, SEEK_SET));
	must(flock(fds[0], LOCK_EX));
	send_fds(stream[0], "file", 4, fds, 1);
	close(fds[0]);
	must(write(stream[0], "between", 7));
	fds[0] = kept;
	fds[1] = must(eventfd(42, 0));
	send_fds(stream[0], "two", 3, fds, 2);
	close(fds[1]);
	must(write(stream[0], "after", 5));
	must(write(stream[1], "x", 1));
	send_fds(stream[1], "y", 1, &kept, 1);
	/* A pipe of which the program has one end, the same file twice, and a timer. */
	must(pipe(pipes));
	must(write(pipes[1], "in the pipe", 11));
	send_fds(dgram[1], "pipe", 4, &pipes[1], 1);
	close(pipes[1]);
	fds[0] = must(open("twice", O_CREAT | O_RDWR, 0600));
	fds[1] = fds[0];
	fds[2] = must(timerfd_create(CLOCK_MONOTONIC, 0));
	send_fds(dgram[1], "twice", 5, fds, 3);
	must(write(dgram[1], "plain", 5));
	/* A socket in flight, with a descriptor in flight in it; its other end stays. */
	send_fds(inner[1], "deep", 4, &fds[0], 1);
	close(fds[0]), close(fds[2]);
	send_fds(seq[0], "socket", 6, &inner[0], 1);
	close(inner[0]);
	/* Both ends of a pair are in flight, in packets of either direction. */
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, other));
	must(write(other[0], "hello", 5));
	send_fds(seq[0], "one end", 7, &other[0], 1);
	send_fds(seq[1], "the other", 9, &other[1], 1);
	close(other[0]), close(other[1]);
	/* The last words of an end that is closed. */
	fds[0] = must(open("/dev/null", O_WRONLY));
	send_fds(orphan[1], "will", 4, &fds[0], 1);
	close(orphan[1]), close(fds[0]);
	must(setsockopt(creds[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
	must(write(creds[1], "me", 2));
	for (int fd = 0; fd < 256; fd++)
		was_open[fd] = is_open(fd);
	subject_wait();

	for (int fd = 0; fd < 256; fd++)
		check(is_open(fd) == was_open[fd], "descriptor %d is %s", fd,
		      is_open(fd) ? "open" : "closed");
	expect("stream", stream[1], "bef", 3, got, 0);
	expect("stream", stream[1], "ore", 3, got, 0);
	check(is_locked("gone"), "the lock of what is in flight is lost");
	expect("file", stream[1], "f", 1, got, 1);
	check(read(got[0], buf, 3) == 3 && !memcmp(buf, "456", 3), "the offset is lost");
	close(got[0]);
	check(!is_locked("gone"), "somebody else has it, too");
	expect("stream", stream[1], "ile", 3, got, 0);
	expect("stream", stream[1], "between", 7, got, 0);
	expect("two", stream[1], "two", 60, got, 2);
	check(is_same_file(got[0], kept), "it is not the program's own");
	check(read(got[1], &count, 8) == 8 && count == 42, "the eventfd's counter");
	expect("stream", stream[1], "after", 60, got, 0);
	expect("the other way", stream[0], "x", 1, got, 0);
	expect("the other way", stream[0], "y", 60, got, 1);
	check(is_same_file(got[0], kept), "the other way: not the program's own");
	expect("pipe", dgram[0], "pipe", 60, got, 1);
	must(write(got[0], "!", 1));
	close(got[0]);
	check(read(pipes[0], buf, 60) == 12 && !memcmp(buf, "in the pipe!", 12), "the pipe");
	check(read(pipes[0], buf, 60) == 0, "the pipe's end does not come");
	expect("twice", dgram[0], "twice", 60, got, 3);
	check(is_same_file(got[0], got[1]), "two files, not one twice");
	int twice = got[0];
	expect("plain", dgram[0], "plain", 60, got, 0);
	expect("socket", seq[1], "socket", 60, got, 1);
	int in = got[0];
	expect("deep", in, "deep", 60, got, 1);
	check(is_same_file(got[0], twice), "deep in flight: another file");
	must(write(inner[1], "alive", 5));
	expect("the socket in flight", in, "alive", 60, got, 0);
	expect("one end", seq[1], "one end", 60, got, 1);
	other[0] = got[0];
	expect("the other", seq[0], "the other", 60, got, 1);
	expect("in the pair", got[0], "hello", 60, got, 0);
	must(send(other[0], "x", 1, MSG_NOSIGNAL));
	expect("will", orphan[0], "will", 60, got, 1);
	check(!fstat(got[0], &st) && S_ISCHR(st.st_mode), "it is not /dev/null");
	check(get(orphan[0], buf, 60, got, NULL) == 0, "the orphan's end");
	check(get(creds[0], buf, 60, got, &who) == 2, "the datagram");
	check(who.pid == getpid() && who.uid == getuid() && who.gid == getgid(),
	      "it is from process %d of user %d", who.pid, (int)who.uid);
	return subject_done();
}
