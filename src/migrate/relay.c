/*
 * Frames OUTPUT, INPUT and EXIT: see relay.h.
 *
 * Neither side may wait for the other while the other waits for it:
 * - the source sends input only when its socket has room for a whole frame, so it
 *   always comes back to take output;
 * - the destination keeps what the program has not read yet, one frame, and takes no
 *   other until that is gone: a program that never reads holds nobody up.
 */
#include "migrate/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE 4096u
#define FOREVER_MS (1000 * 3600 * 24)
#define PIPE_MOST (1u << 20) /* what a pipe can hold: fs.pipe-max-size */

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

/* --- the destination --- */

struct relay {
	struct wire *w; /* closed, fd -1: nobody listens any more */
	int *fd;        /* input, output, error */
	int pidfd;
	char input[PIECE]; /* that the program has not taken yet: from at to len */
	size_t at, len;
};

/* A frame with a descriptor's number in front. */
static void send_piece(struct relay *r, uint32_t type, uint8_t fd, const void *p, size_t len)
{
	struct err ignored = ERR_INIT;
	struct iovec v[2] = {{&fd, 1}, {(void *)(uintptr_t)p, len}};

	if (r->w->fd < 0)
		return;
	wire_deadline(r->w, FOREVER_MS);
	if (wire_send(r->w, type, v, 2, &ignored))
		wire_done(r->w);
}

/* Output of the program, which is taken even if nobody listens: it never gets SIGPIPE
 * because of us.  Returns how much it was. */
static size_t take_output(struct relay *r, uint8_t which)
{
	char buf[PIECE];
	ssize_t n = read(r->fd[which], buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0) {
		io_close_fd(&r->fd[which]);
		return 0;
	}
	send_piece(r, FRAME_OUTPUT, which, buf, (size_t)n);
	return (size_t)n;
}

static void pass_input(struct relay *r)
{
	ssize_t n = write(r->fd[0], r->input + r->at, r->len - r->at);

	if (n > 0)
		r->at += (size_t)n;
	else if (n < 0 && errno != EINTR && errno != EAGAIN)
		io_close_fd(&r->fd[0]); /* it reads no more */
}

static void take_input(struct relay *r)
{
	struct proto_reader reader = {0};
	struct err ignored = ERR_INIT;

	r->at = r->len = 0;
	wire_deadline(r->w, 10000);
	if (proto_recv(r->w, &reader, r->input, sizeof(r->input), &r->len, &ignored) !=
	    FRAME_INPUT) {
		wire_done(r->w);
		r->len = 0;
	}
	if (!r->len)
		io_close_fd(&r->fd[0]); /* its end */
}

/* The program may leave children that hold the pipes and write for ever: what it wrote
 * itself is there when it has ended, and is no more than they can hold. */
static void take_rest(struct relay *r)
{
	for (uint8_t which = 1; which <= 2; which++) {
		size_t all = 0, n = 1;

		for (; r->fd[which] >= 0 && n && all < PIPE_MOST; all += n)
			n = take_output(r, which);
	}
}

static void carry(struct relay *r)
{
	for (;;) {
		bool waits = r->fd[0] >= 0 && r->at < r->len;
		bool hears = r->w->fd >= 0 && !waits;
		bool has = hears && r->w->rpos < r->w->rlen;
		struct pollfd p[] = {{.fd = r->pidfd, .events = POLLIN},
				     {.fd = r->fd[1], .events = POLLIN},
				     {.fd = r->fd[2], .events = POLLIN},
				     {.fd = waits ? r->fd[0] : -1, .events = POLLOUT},
				     {.fd = hears ? r->w->fd : -1, .events = POLLIN}};

		if (r->w->fd < 0 && !waits)
			io_close_fd(&r->fd[0]);
		if (poll(p, ARRAY_SIZE(p), has ? 0 : -1) < 0)
			continue;
		if (p[0].revents)
			return;
		if (p[1].revents)
			take_output(r, 1);
		if (p[2].revents)
			take_output(r, 2);
		if (p[3].revents)
			pass_input(r);
		/* Its wire may have been found closed a line ago. */
		if (r->w->fd >= 0 && (p[4].revents || has))
			take_input(r);
	}
}

void relay_serve(struct wire *w, int relay[3], pid_t pid, int *ret_status)
{
	struct relay r = {.w = w, .fd = relay, .pidfd = (int)syscall(SYS_pidfd_open, pid, 0)};
	uint32_t status;

	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < 3; i++)
		if (relay[i] >= 0)
			fcntl(relay[i], F_SETFL, fcntl(relay[i], F_GETFL) | O_NONBLOCK);
	if (r.pidfd >= 0)
		carry(&r);
	while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
		;
	take_rest(&r);
	io_close_fd(&r.pidfd);
	status = (uint32_t)*ret_status;
	send_piece(&r, FRAME_EXIT, 0, &status, sizeof(status));
}

/* --- the source --- */

/* Our own descriptors may be somebody's without O_NONBLOCK, or with. */
static int write_out(int fd, const char *p, size_t len, struct err *err)
{
	struct pollfd wait = {.fd = fd, .events = POLLOUT};

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EAGAIN)
			poll(&wait, 1, -1);
		else if (n < 0 && errno != EINTR)
			return err_sys(err, -errno, "cannot write what the program writes");
		p += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
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
	if (ret == FRAME_OUTPUT && len > 1 && (buf[0] == 1 || buf[0] == 2))
		return write_out(buf[0], buf + 1, len - 1, err);
	if (ret != FRAME_EXIT || len != 1 + sizeof(status))
		return err_set(err, -EPROTO, "%s sent a frame that does not belong here", w->peer);
	memcpy(&status, buf + 1, sizeof(status));
	*ret_status = (int)status;
	return 1;
}

/* False: no more will come. */
static bool take_own_input(struct wire *w)
{
	struct err ignored = ERR_INIT;
	char buf[PIECE];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	wire_deadline(w, FOREVER_MS);
	/* A wire that has ended may still hold what the program wrote last. */
	return !proto_send(w, FRAME_INPUT, buf, n > 0 ? (size_t)n : 0, &ignored) && n > 0;
}

static bool has_room(const struct wire *w)
{
	/* A unix socket says so when three quarters of its room are free. */
	struct pollfd p = {.fd = w->fd, .events = POLLOUT};

	return poll(&p, 1, 0) > 0;
}

static int follow(struct wire *w, int *ret_status, struct err *err)
{
	bool open = true, full = false;

	for (;;) {
		bool has = w->rpos < w->rlen;
		struct pollfd p[] = {{.fd = w->fd, .events = full ? POLLIN | POLLOUT : POLLIN},
				     {.fd = open && !full ? STDIN_FILENO : -1, .events = POLLIN}};
		int ret;

		if (poll(p, ARRAY_SIZE(p), has ? 0 : -1) < 0)
			continue;
		if (p[0].revents & ~POLLOUT || has) {
			ret = take_frame(w, ret_status, err);
			if (ret)
				return ret < 0 ? ret : 0;
		}
		full = (full || p[1].revents) && !has_room(w);
		if (p[1].revents && !full)
			open = take_own_input(w);
	}
}

int relay_follow(struct wire *w, int *ret_status, struct err *err)
{
	struct err why = ERR_INIT;
	/* After a handover that had to be asked about there is no wire any more. */
	int ret = w->fd < 0 ? err_set(&why, -ENOTCONN, "the connection was cut")
			    : follow(w, ret_status, &why);

	if (!ret)
		return 0;
	err_set(err, ret, "the program goes on over there, but its input and output are lost: %s",
		why.what);
	err->exit = EXIT_AFTER_COMMIT;
	return err_hint(err, "its input is at its end, and what it writes is dropped");
}
