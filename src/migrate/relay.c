/* Frames OUTPUT, INPUT and EXIT: see relay.h. */
#include "migrate/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE 4096u
#define FOREVER_MS (1000 * 3600 * 24)

int relay_open(int io[3], int relay[3], struct err *err)
{
	for (int i = 0; i < 3; i++) {
		int pair[2];

		if (pipe2(pair, O_CLOEXEC))
			return err_sys(err, -errno, "cannot make a pipe");
		io[i] = i ? pair[1] : pair[0];
		relay[i] = i ? pair[0] : pair[1];
	}
	return 0;
}

/* A frame with a descriptor's number in front.  False: the wire has ended. */
static bool send_piece(struct wire *w, uint32_t type, uint8_t fd, const void *p, size_t len)
{
	struct err ignored = ERR_INIT;
	struct iovec v[2] = {{&fd, 1}, {(void *)(uintptr_t)p, len}};

	wire_deadline(w, FOREVER_MS);
	return !wire_send(w, type, v, 2, &ignored);
}

/* Output of the program; it never gets SIGPIPE because of us. */
static void take_output(struct wire *w, int *fd, uint8_t which, bool *up)
{
	char buf[PIECE];
	ssize_t n = read(*fd, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		io_close_fd(fd);
		return;
	}
	*up = *up && send_piece(w, FRAME_OUTPUT, which, buf, (size_t)n);
}

static void take_input(struct wire *w, int *fd, bool *up)
{
	struct proto_reader reader = {0};
	struct err ignored = ERR_INIT;
	char buf[PIECE];
	size_t len = 0;
	int ret;

	wire_deadline(w, 10000);
	ret = proto_recv(w, &reader, buf, sizeof(buf), &len, &ignored);
	*up = ret == FRAME_INPUT;
	if (!*up || !len) {
		io_close_fd(fd);
		return;
	}
	if (*fd >= 0 && io_write_all(*fd, buf, len))
		io_close_fd(fd);
}

void relay_serve(struct wire *w, int relay[3], pid_t pid, int *ret_status)
{
	bool up = true, ended = false;

	signal(SIGPIPE, SIG_IGN);
	for (int rest = 0; !ended || rest;) {
		struct pollfd p[3] = {{.fd = relay[1], .events = POLLIN},
				      {.fd = relay[2], .events = POLLIN},
				      {.fd = up ? w->fd : -1, .events = POLLIN}};

		/* The program may leave children that hold the pipe: what it wrote
		 * itself is there when it has ended. */
		rest = poll(p, 3, ended ? 0 : 200);
		if (rest < 0)
			rest = 0;
		if (p[0].revents)
			take_output(w, &relay[1], 1, &up);
		if (p[1].revents)
			take_output(w, &relay[2], 2, &up);
		if (!ended && up && (p[2].revents || w->rpos < w->rlen))
			take_input(w, &relay[0], &up);
		if (ended && !p[0].revents && !p[1].revents)
			break;
		ended = ended || waitpid(pid, ret_status, WNOHANG) == pid;
	}
	if (up) {
		uint32_t status = (uint32_t)*ret_status;

		send_piece(w, FRAME_EXIT, 0, &status, sizeof(status));
	}
}

static int take_frame(struct wire *w, int *ret_status, struct err *err)
{
	struct proto_reader reader = {0};
	char buf[PIECE + 1];
	size_t len = 0;
	uint32_t status;
	int ret;

	wire_deadline(w, FOREVER_MS);
	ret = proto_recv(w, &reader, buf, sizeof(buf), &len, err);
	if (ret < 0)
		return ret;
	if (ret == FRAME_OUTPUT && len > 1 && (buf[0] == 1 || buf[0] == 2)) {
		ret = io_write_all(buf[0], buf + 1, len - 1);
		return ret ? err_sys(err, ret, "cannot write what the program writes") : 0;
	}
	if (ret != FRAME_EXIT || len != 1 + sizeof(status))
		return err_set(err, -EPROTO, "%s sent a frame that does not belong here", w->peer);
	memcpy(&status, buf + 1, sizeof(status));
	*ret_status = (int)status;
	return 1;
}

int relay_follow(struct wire *w, int *ret_status, struct err *err)
{
	bool open = true;

	for (;;) {
		struct pollfd p[2] = {{.fd = w->fd, .events = POLLIN},
				      {.fd = open ? 0 : -1, .events = POLLIN}};
		char buf[PIECE];
		ssize_t n;
		int ret;

		if (w->rpos == w->rlen && poll(p, 2, -1) < 0 && errno != EINTR)
			return err_sys(err, -errno, "poll");
		if (p[0].revents || w->rpos < w->rlen) {
			ret = take_frame(w, ret_status, err);
			if (ret)
				return ret < 0 ? ret : 0;
		}
		if (!p[1].revents)
			continue;
		n = read(0, buf, sizeof(buf));
		open = n > 0;
		if (n >= 0 && proto_send(w, FRAME_INPUT, buf, (size_t)n, err))
			return err->error;
	}
}
