/* Streams and frames: see wire.h. */
#include "wire/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"

int64_t wire_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/*
 * A transfer that finds time enough before its deadline sleeps inside of the call,
 * which the kernel ends after this time: one system call where trying, polling and
 * trying again were three.  With less time left it is those three.
 */
#define PATIENCE_S 4

static bool is_patient(const struct wire *w)
{
	return !w->is_pipe && w->cancel_fd < 0 && !w->side &&
	       w->deadline - wire_now() > PATIENCE_S * 1000000000LL;
}

void wire_init(struct wire *w, int fd)
{
	struct timeval patience = {.tv_sec = PATIENCE_S};
	struct wire_addr a;
	int one = 1;

	memset(w, 0, offsetof(struct wire, rbuf));
	w->fd = fd;
	w->out_fd = w->cancel_fd = -1;
	w->magic = WIRE_MAGIC;
	w->is_pipe = false;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	if (wire_peer_addr(fd, &a) == 0) {
		wire_format(&a, w->peer);
		w->checked = !wire_is_loopback(&a);
	}
	wire_deadline(w, 10000);
}

void wire_init_pair(struct wire *w, int fd, int out, const char *peer)
{
	wire_init(w, fd);
	snprintf(w->peer, sizeof(w->peer), "%s", peer);
	w->checked = false; /* who made the pipe sees to that */
	w->is_pipe = true;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (out >= 0) {
		fcntl(out, F_SETFL, fcntl(out, F_GETFL) | O_NONBLOCK);
		fcntl(out, F_SETFD, FD_CLOEXEC);
		w->out_fd = out;
	}
}

void wire_done(struct wire *w)
{
	wire_tls_done(w);
	if (w->out_fd >= 0)
		close(w->out_fd);
	w->out_fd = -1;
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
}

void wire_deadline(struct wire *w, int ms)
{
	w->deadline = wire_now() + ms * 1000000LL;
}

int wire_wait(const struct wire *w, short events, struct err *err)
{
	bool out = events & POLLOUT && w->out_fd >= 0;
	struct pollfd p[3] = {{.fd = out ? w->out_fd : w->fd, .events = events},
			      {.fd = w->cancel_fd, .events = POLLIN | POLLRDHUP},
			      {.fd = w->side ? w->side_fd : -1, .events = POLLIN}};

	for (;;) {
		int64_t left = w->deadline - wire_now();
		int n;

		if (left <= 0)
			return err_set(err, -ETIMEDOUT, "%s does not answer in time", w->peer);
		n = poll(p, 3, (int)(left / 1000000) + 1);
		if (n > 0 && p[1].revents)
			return err_set(err, -ECANCELED, "interrupted");
		if (n > 0 && p[2].revents)
			w->side(w->side_arg);
		if (n > 0 && p[0].revents)
			return 0;
		if (n < 0 && errno != EINTR)
			return err_sys(err, -errno, "poll");
	}
}

static int gone(const struct wire *w, int error, struct err *err)
{
	if (error == 0)
		return err_set(err, -ECONNRESET, "%s closed the connection", w->peer);
	return err_sys(err, -error, "%s", w->peer);
}

ssize_t wire_raw_send(struct wire *w, struct iovec *iov, int n)
{
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = (size_t)n};

	if (w->out_fd >= 0)
		return writev(w->out_fd, iov, n);
	return sendmsg(w->fd, &m, MSG_NOSIGNAL | (is_patient(w) ? 0 : MSG_DONTWAIT));
}

ssize_t wire_raw_recv(struct wire *w, void *p, size_t len)
{
	if (w->is_pipe)
		return read(w->fd, p, len);
	return recv(w->fd, p, len, is_patient(w) ? 0 : MSG_DONTWAIT);
}

static int write_iov(struct wire *w, struct iovec *iov, int n, struct err *err)
{
	while (n) {
		ssize_t sent = wire_raw_send(w, iov, n);
		int ret;

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN) {
			ret = wire_wait(w, POLLOUT, err);
			if (ret)
				return ret;
			continue;
		}
		if (sent < 0)
			return gone(w, errno, err);
		for (; n && (size_t)sent >= iov->iov_len; iov++, n--)
			sent -= (ssize_t)iov->iov_len;
		if (n) {
			iov->iov_base = (char *)iov->iov_base + sent;
			iov->iov_len -= (size_t)sent;
		}
	}
	return 0;
}

int wire_write(struct wire *w, const void *p, size_t len, struct err *err)
{
	struct iovec v = {.iov_base = (void *)(uintptr_t)p, .iov_len = len};

	return w->tls ? wire_tls_write(w, p, len, err) : write_iov(w, &v, 1, err);
}

/* At least one byte. */
static ssize_t read_some(struct wire *w, void *p, size_t len, struct err *err)
{
	if (w->tls)
		return wire_tls_read(w, p, len, err);
	for (;;) {
		ssize_t n = wire_raw_recv(w, p, len);
		int ret;

		if (n > 0)
			return n;
		if (n == 0)
			return gone(w, 0, err);
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return gone(w, errno, err);
		ret = wire_wait(w, POLLIN, err);
		if (ret)
			return ret;
	}
}

int wire_await(struct wire *w, struct err *err)
{
	ssize_t n;

	if (w->rpos != w->rlen)
		return 0;
	n = read_some(w, w->rbuf, sizeof(w->rbuf), err);
	if (n < 0)
		return (int)n;
	w->rpos = 0;
	w->rlen = (size_t)n;
	return 0;
}

int wire_read(struct wire *w, void *buf, size_t len, struct err *err)
{
	char *p = buf;

	while (len) {
		size_t have = w->rlen - w->rpos;
		ssize_t n;

		if (have) {
			have = have < len ? have : len;
			memcpy(p, w->rbuf + w->rpos, have);
			w->rpos += have;
			p += have;
			len -= have;
			continue;
		}
		/* Small reads go through the buffer, large ones to their place. */
		bool direct = len >= sizeof(w->rbuf) || w->is_exact;

		n = direct ? read_some(w, p, len, err)
			   : read_some(w, w->rbuf, sizeof(w->rbuf), err);
		if (n < 0)
			return (int)n;
		if (direct) {
			p += n;
			len -= (size_t)n;
		} else {
			w->rpos = 0;
			w->rlen = (size_t)n;
		}
	}
	return 0;
}

int wire_skip(struct wire *w, uint64_t len, struct err *err)
{
	char drop[4096];

	while (len) {
		size_t n = len < sizeof(drop) ? (size_t)len : sizeof(drop);
		int ret = wire_read(w, drop, n, err);

		if (ret)
			return ret;
		len -= n;
	}
	return 0;
}

/* A TLS record costs a tag and a pass through OpenSSL: pieces share records, and
 * all records but the last are full ones. */
static int send_records(struct wire *w, const struct iovec *iov, int n, struct err *err)
{
	char gather[WIRE_RECORD];
	size_t have = 0;
	int i;

	for (i = 0; i < n; i++) {
		const char *p = iov[i].iov_base;
		size_t left = iov[i].iov_len;

		while (left) {
			/* Whole records go from where they are. */
			size_t take = have                    ? sizeof(gather) - have
				      : left < sizeof(gather) ? sizeof(gather)
							      : ALIGN_DOWN(left, sizeof(gather));
			bool direct = !have && left >= sizeof(gather);
			int ret = 0;

			take = take < left ? take : left;
			if (direct) {
				ret = wire_tls_put(w, p, take, err);
			} else {
				memcpy(gather + have, p, take);
				have += take;
			}
			if (!ret && have == sizeof(gather)) {
				ret = wire_tls_put(w, gather, have, err);
				have = 0;
			}
			if (ret)
				return ret;
			p += take;
			left -= take;
		}
	}
	return have ? wire_tls_write(w, gather, have, err) : wire_tls_flush(w, err);
}

int wire_send(struct wire *w, uint32_t type, const struct iovec *iov, int n, struct err *err)
{
	struct wire_head head = {.magic = w->magic, .type = type};
	struct iovec all[16];
	int i, k = 1;

	all[0] = (struct iovec){.iov_base = &head, .iov_len = sizeof(head)};
	for (i = 0; i < n; i++) {
		head.len += iov[i].iov_len;
		if (iov[i].iov_len)
			all[k++] = iov[i];
	}
	if (!w->tls)
		return write_iov(w, all, k, err);
	return send_records(w, all, k, err);
}

int wire_recv(struct wire *w, struct wire_head *head, uint64_t max, struct err *err)
{
	int ret = wire_read(w, head, sizeof(*head), err);

	if (ret)
		return ret;
	if (head->magic != w->magic)
		return err_set(err, -EPROTO, "%s does not speak %s protocol", w->peer,
			       w->magic == WIRE_MAGIC ? "the thread hop's" : "this");
	if (head->len > max)
		return err_set(err, -EMSGSIZE, "%s sent a frame of %llu bytes, more than %llu",
			       w->peer, (unsigned long long)head->len, (unsigned long long)max);
	return 0;
}

bool wire_idle_ok(const struct wire *w)
{
	char c;

	if (w->rpos != w->rlen)
		return false;
	if (w->tls && wire_tls_pending(w))
		return false;
	return recv(w->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

int wire_peek(struct wire *w, struct err *err)
{
	unsigned char c;
	ssize_t n;
	int ret = wire_wait(w, POLLIN, err);

	if (ret)
		return ret;
	n = recv(w->fd, &c, 1, MSG_PEEK);
	if (n <= 0)
		return gone(w, n ? errno : 0, err);
	return c;
}
