/*
 * Post-copy, in the process of a connection on the destination: may pages come later?  And,
 * when the source has connected again, the way to the pager (pager.c), which has no
 * connection of its own: frames are carried as they are, by a socket of this host.
 */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "migrate/outcome.h"
#include "migrate/postcopy.h"

/* How long the pager may take to be there: its keeper becomes it at once. */
#define TRIES 20
#define FOREVER_MS (1000 * 3600 * 24)

int postcopy_answer(struct wire *w, const void *frame, size_t len, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct codec in = codec_reader(frame, len), out = codec_writer(&b);
	struct err why = ERR_INIT;
	uint32_t uid = 0;
	char *text;

	codec_u32(&in, &uid);
	if (!codec_ended(&in))
		return err_set(err, -EPROTO, "malformed frame");
	if (uid != geteuid())
		err_set(&why, -EPERM, "the destination runs as another user than the program");
	else if (lazy_probe(&why) > 0)
		why = (struct err)ERR_INIT;
	text = why.what;
	codec_str(&out, &text);
	return proto_send_buf(w, FRAME_MAY_LATER, &b, err);
}

/* --- the door --- */

int postcopy_door(const struct migration_id *id, const char *what, bool listens)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (listens ? SOCK_NONBLOCK : 0), 0);
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	char text[33];
	socklen_t len;
	int ret;

	/* A name that is in no file system (it begins with a NUL): it ends with the pager. */
	migration_id_text(id, text);
	len = (socklen_t)offsetof(struct sockaddr_un, sun_path) + 1 +
	      (socklen_t)snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "godwit-%s-%s", what,
				  text);
	if (fd < 0)
		return -errno;
	ret = listens ? bind(fd, (struct sockaddr *)&a, len) || listen(fd, 4)
		      : connect(fd, (struct sockaddr *)&a, len);
	if (ret) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

bool postcopy_is_ours(int fd)
{
	struct ucred c;
	socklen_t len = sizeof(c);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len) &&
	       (c.uid == geteuid() || c.uid == 0);
}

/* --- carrying --- */

/* What the pager says, to the wire. */
static int carry_out(struct wire *w, int fd, struct err *err)
{
	char buf[65536];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	return n <= 0 ? -ECONNRESET : wire_write(w, buf, (size_t)n, err);
}

static int carry_in(struct wire *w, int fd, struct err *err)
{
	int ret = wire_await(w, err);

	if (ret)
		return ret;
	ret = io_write_all(fd, w->rbuf + w->rpos, w->rlen - w->rpos);
	w->rpos = w->rlen = 0;
	return ret;
}

static void carry(struct wire *w, int fd, int timeout_ms)
{
	struct err ignored = ERR_INIT;
	int ret = 0;

	while (!ret) {
		bool has = w->rpos < w->rlen || (w->tls && wire_tls_pending(w));
		struct pollfd v[] = {{.fd = w->fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};

		if (poll(v, 2, has ? 0 : -1) < 0)
			continue;
		wire_deadline(w, timeout_ms);
		if (v[1].revents)
			ret = carry_out(w, fd, &ignored);
		if (!ret && (has || v[0].revents))
			ret = carry_in(w, fd, &ignored);
	}
}

static void pause_a_little(void)
{
	struct timespec t = {.tv_nsec = 100 * 1000 * 1000};

	nanosleep(&t, NULL);
}

int postcopy_carry(struct wire *w, const struct migration_id *id, int timeout_ms, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	__cleanup_fd int fd = -1;
	struct codec c = codec_writer(&b);
	uint32_t outcome = OUTCOME_PENDING;
	int ret;

	for (int i = 0; i < TRIES; i++) {
		outcome = outcome_decide(id, err);
		if (outcome != OUTCOME_LACKS)
			break;
		fd = postcopy_door(id, "pages", false);
		if (fd >= 0 && postcopy_is_ours(fd))
			break;
		io_close_fd(&fd);
		pause_a_little();
	}
	if (err->error)
		return err->error;
	/* It lacks pages, and nobody is there who would take them: all of ours were killed. */
	if (outcome == OUTCOME_LACKS && fd < 0)
		outcome = OUTCOME_UNKNOWN;
	codec_u32(&c, &outcome);
	if ((ret = proto_send_buf(w, FRAME_OUTCOME, &b, err)))
		return ret;
	if (fd >= 0)
		carry(w, fd, timeout_ms);
	return 0;
}
