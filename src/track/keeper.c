/* The process that keeps a tracking: see keeper.h. */
#include "track/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"
#include "proc/status.h"

#define PATIENCE_S 10

/* --- its name --- */

/* A process id may come again: the time at which the program was started, too. */
static int address(pid_t pid, struct sockaddr_un *ret, socklen_t *ret_len, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	unsigned long long start = 0;
	char path[64];
	const char *p;
	int n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (io_read_file(AT_FDCWD, path, &b) || !(p = strrchr(b.p, ')')) ||
	    sscanf(p,
		   ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
		   "%llu",
		   &start) != 1)
		return err_set(err, -ESRCH, "process %d has ended", pid);
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(ret->sun_path + 1, sizeof(ret->sun_path) - 1, "godwit-keeper-%u-%d-%llu",
		     geteuid(), pid, start);
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
	return 0;
}

static bool is_friend(int sock)
{
	struct ucred c;
	socklen_t len = sizeof(c);

	return !getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &c, &len) &&
	       (c.uid == geteuid() || c.uid == 0);
}

/* --- messages: a note, and the userfaultfd with the first --- */

static int send_note(int sock, const void *note, size_t len, int fd)
{
	char room[CMSG_SPACE(sizeof(int))] = "";
	struct iovec v = {(void *)(uintptr_t)note, len};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};

	if (fd >= 0) {
		struct cmsghdr *c;

		m.msg_control = room;
		m.msg_controllen = sizeof(room);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(sock, &m, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -EPIPE;
}

/* Bytes of the note, 0 at the end; *fd is -1 when none came. */
static ssize_t receive_note(int sock, void *note, size_t cap, int *fd)
{
	char room[CMSG_SPACE(sizeof(int))];
	struct iovec v = {note, cap};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = room,
			   .msg_controllen = sizeof(room)};
	ssize_t n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

	*fd = -1;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(c), sizeof(int));
	if (n > 0 && m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return -EPROTO;
	return n;
}

/* --- the keeper itself --- */

struct keeper {
	int uffd, listener, pidfd;
	char note[KEEPER_NOTE_MAX];
	size_t len;
};

/* One who asks: has he given the tracking back? */
static bool serve(struct keeper *k, int sock)
{
	struct pollfd p[2] = {{.fd = sock, .events = POLLIN}, {.fd = k->pidfd, .events = POLLIN}};
	ssize_t n;
	int fd;

	if (!is_friend(sock))
		return true; /* he gets nothing, and has touched nothing */
	if (send_note(sock, k->note, k->len, k->uffd))
		return true; /* he had gone before */
	if (poll(p, 2, -1) < 0 || p[1].revents)
		return false;
	n = receive_note(sock, k->note, sizeof(k->note), &fd);
	io_close_fd(&fd);
	if (n <= 0)
		return false;
	k->len = (size_t)n;
	return send_note(sock, "kept", 4, -1) == 0;
}

static void close_all_but(struct keeper *k)
{
	int keep[3] = {k->uffd, k->listener, k->pidfd}, null;

	/* Above all that is kept, so that the three get numbers of their own. */
	for (int i = 0; i < 3; i++)
		keep[i] = fcntl(keep[i], F_DUPFD_CLOEXEC, 100);
	for (int fd = 0; fd < 100; fd++)
		close(fd);
	null = open("/dev/null", O_RDWR);
	dup2(null, 1);
	dup2(null, 2);
	k->uffd = dup2(keep[0], 3);
	k->listener = dup2(keep[1], 4);
	k->pidfd = dup2(keep[2], 5);
	syscall(SYS_close_range, 6, ~0U, 0);
}

static void __attribute__((noreturn)) be_keeper(struct keeper *k)
{
	sigset_t none;

	setsid();
	prctl(PR_SET_NAME, KEEPER_COMM);
	if (chdir("/"))
		_exit(1);
	close_all_but(k);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (;;) {
		struct pollfd p[2] = {{.fd = k->listener, .events = POLLIN},
				      {.fd = k->pidfd, .events = POLLIN}};
		int sock;

		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents)
			_exit(0); /* the program has ended */
		sock = accept4(k->listener, NULL, NULL, SOCK_CLOEXEC);
		if (sock < 0)
			continue;
		if (!serve(k, sock)) {
			/* Before the socket: who waits for its end may track anew at once. */
			close(k->uffd);
			_exit(0);
		}
		close(sock);
	}
}

static int listen_at(pid_t pid, struct err *err)
{
	struct sockaddr_un a;
	socklen_t len;
	int ret = address(pid, &a, &len, err), fd;

	if (ret)
		return ret;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) || listen(fd, 4)) {
		ret = err_sys(err, -errno, "cannot listen for the next checkpoint");
		io_close_fd(&fd);
		return ret;
	}
	return fd;
}

int keeper_start(pid_t pid, struct track *t, const void *note, size_t len, struct err *err)
{
	struct keeper *k = io_alloc(1, sizeof(*k), err);
	pid_t child = -1;
	int ret = k ? 0 : err->error;

	if (!ret && len > sizeof(k->note))
		ret = err_set(err, -EINVAL, "keeper_start: the note is too long");
	if (!ret) {
		memcpy(k->note, note, len);
		k->len = len;
		k->uffd = track_uffd(t);
		k->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		k->listener = ret = listen_at(pid, err);
	}
	if (ret >= 0) {
		child = fork();
		if (child == 0)
			be_keeper(k);
		ret = child < 0 ? err_sys(err, -errno, "cannot start a process") : 0;
		close(k->listener);
	}
	if (k)
		close(k->pidfd);
	free(k);
	track_stop(t);
	return ret;
}

/* --- who asks --- */

static int connect_to(pid_t pid, struct err *err)
{
	struct timeval patience = {.tv_sec = PATIENCE_S};
	struct sockaddr_un a;
	socklen_t len;
	int fd;

	if (address(pid, &a, &len, err))
		return err->error;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&a, len) || !is_friend(fd)) {
		close(fd);
		return -ENOENT;
	}
	return fd;
}

int keeper_take(pid_t pid, struct track **ret_track, void *note, size_t cap, int *ret_sock,
		struct err *err)
{
	int sock = connect_to(pid, err), uffd;
	ssize_t n;

	if (sock < 0)
		return err->error ? err->error : 0;
	n = receive_note(sock, note, cap, &uffd);
	if (n <= 0 || uffd < 0) {
		io_close_fd(&uffd);
		close(sock);
		return 0;
	}
	if (track_adopt(pid, uffd, ret_track, err)) {
		close(sock);
		return err->error;
	}
	*ret_sock = sock;
	return 1;
}

int keeper_give_back(int sock, struct track *t, const void *note, size_t len, struct err *err)
{
	char answer[8];
	int fd, ret = send_note(sock, note, len, -1);

	if (!ret && receive_note(sock, answer, sizeof(answer), &fd) != 4)
		ret = -EPIPE;
	close(sock);
	track_stop(t);
	return ret ? err_sys(err, ret, "the process that keeps the tracking has gone") : 0;
}

int keeper_check(pid_t pid, struct err *err)
{
	char note[KEEPER_NOTE_MAX];
	int sock = connect_to(pid, err), uffd, ret;
	struct track *t;
	ssize_t n;

	if (sock < 0)
		return err->error ? err->error : 0;
	n = receive_note(sock, note, sizeof(note), &uffd);
	if (n <= 0 || uffd < 0) {
		io_close_fd(&uffd);
		close(sock);
		return 0;
	}
	if ((ret = track_adopt(pid, uffd, &t, err))) {
		close(sock);
		return ret;
	}
	ret = track_check(t, err);
	if (keeper_give_back(sock, t, note, (size_t)n, err) && !ret)
		ret = err->error;
	return ret ? ret : 1;
}

void keeper_end(pid_t pid)
{
	struct err ignored = ERR_INIT;
	int sock = connect_to(pid, &ignored), uffd;
	char note[KEEPER_NOTE_MAX];
	struct track *t;

	if (sock < 0)
		return;
	if (receive_note(sock, note, sizeof(note), &uffd) > 0 && uffd >= 0 &&
	    !track_adopt(pid, uffd, &t, &ignored))
		track_stop(t); /* gently: the keeper's own end would be at once */
	shutdown(sock, SHUT_WR);
	/* Until it has gone. */
	while (recv(sock, note, sizeof(note), 0) > 0)
		;
	close(sock);
}
