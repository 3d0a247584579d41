/*
 * The pager: the destination's guardian, after it has let a program go whose pages come
 * later; and its keeper.
 *
 * The kernel gives zeros to whoever waits for a page when the last descriptor of the
 * userfaultfd is closed.  So there are always two processes that hold it:
 *
 * - the pager has the conversation, or waits for the source to connect again;
 * - the keeper sleeps.  When the pager dies it makes a keeper of its own and becomes the pager;
 *   when the keeper dies the pager makes another.
 *
 * What they must both know is in memory that they share (restart/lazy.h).  A connection is
 * nothing that could be handed on: the source makes a new one, by way of the
 * destination that waits for connections, which carries its frames to the pager's door.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "migrate/lacks.h"
#include "migrate/late.h"
#include "migrate/postcopy.h"

#define LOOK_MS 500 /* has a space ended?  Nobody tells that */
#define NEEDS_MAX 1024

struct pager {
	struct feed *f;
	struct lazy lazy;
	struct wire *w; /* NULL: cut */
	struct wire own;
	int door, keeper, program; /* program: pidfd, -1: it has ended */
	int asked;                 /* where it is asked what is missing */
	pid_t keeper_pid, pid;
	pid_t *tids; /* of the program's threads, [nthreads] */
	size_t nthreads;
	uint64_t frames;         /* taken in this conversation */
	uint64_t taken, missing; /* pages: since they were counted, and what there was */
	uint64_t may_come;       /* bytes of pages, in this conversation: what is wanted */
	int64_t heard;           /* when the last pages came */
	uint64_t need[NEEDS_MAX];
	size_t nneed;
};

/* What the process of the connection says of it. */
static void tell(const struct pager *p, char how)
{
	struct arrival a = p->f->arrival;

	a.how = how;
	if (p->f->done_fd >= 0 && write(p->f->done_fd, &a, sizeof(a)) != sizeof(a))
		return; /* nobody listens any more */
}

/* --- the keeper --- */

static void share(void *arg, unsigned space, int uffd)
{
	struct pager *p = arg;
	struct iovec v = {&space, sizeof(space)};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct msghdr h = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &uffd, sizeof(int));
	if (sendmsg(p->keeper, &h, MSG_NOSIGNAL) < 0)
		return; /* it has died: the next one inherits it */
}

/* A message of the pager's; false: it has ended. */
static bool take_share(struct pager *p)
{
	unsigned space = 0;
	struct iovec v = {&space, sizeof(space)};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr h = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	ssize_t n = recvmsg(p->keeper, &h, MSG_CMSG_CLOEXEC);
	int fd;

	if (n < 0 && errno == EINTR)
		return true;
	if (n <= 0)
		return false;
	c = CMSG_FIRSTHDR(&h);
	if (n != sizeof(space) || !c || c->cmsg_type != SCM_RIGHTS || space >= LAZY_SPACES)
		return true;
	memcpy(&fd, CMSG_DATA(c), sizeof(int));
	lazy_keep(&p->lazy, space, fd);
	return true;
}

static void take_over(struct pager *p, int pager_pidfd);

/* In the keeper.  Never returns. */
static void keep(struct pager *p, pid_t pager)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pager, 0);

	prctl(PR_SET_NAME, "godwit-keeper");
	fault_point("keeper waits");
	while (take_share(p))
		;
	if (lazy_phase(&p->lazy) != LAZY_GOING)
		_exit(0); /* done; or the process never ran, and ends with its guardian */
	take_over(p, pidfd);
	_exit(0);
}

static void drop_wire(struct pager *p)
{
	if (p->w)
		wire_done(p->w);
	p->w = NULL;
	p->nneed = 0;
}

static int start_keeper(struct pager *p, struct err *err)
{
	pid_t me = getpid();
	int pair[2];

	io_close_fd(&p->keeper);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return err_sys(err, -errno, "cannot make a socket pair");
	p->keeper_pid = fork();
	if (p->keeper_pid < 0) {
		close(pair[0]);
		close(pair[1]);
		return err_sys(err, -errno, "cannot start a process");
	}
	if (p->keeper_pid == 0) {
		close(pair[0]);
		p->keeper = pair[1];
		/* The connection, and the record's lock, end with the pager. */
		io_close_fd(&p->f->w->fd);
		if (p->f->w->out_fd >= 0)
			io_close_fd(&p->f->w->out_fd);
		io_close_fd(&p->own.fd);
		journal_close(p->f->journal);
		keep(p, me);
	}
	close(pair[1]);
	p->keeper = pair[0];
	return 0;
}

/* --- the conversation --- */

static void need(void *arg, uint64_t was)
{
	struct pager *p = arg;

	/* Without a connection it is told again when there is one; beyond the limit they come in
	 * the background. */
	if (p->w && p->nneed < NEEDS_MAX)
		p->need[p->nneed++] = was;
}

static void serve_side(void *arg)
{
	lazy_serve(&((struct pager *)arg)->lazy);
}

static int say_needs(struct pager *p, struct err *err)
{
	while (p->w && p->nneed) {
		uint64_t was = p->need[--p->nneed];
		int ret;

		wire_deadline(p->w, p->f->timeout_ms);
		if ((ret = proto_send(p->w, FRAME_NEED, &was, sizeof(was), err)))
			return ret;
	}
	return 0;
}

struct wanted {
	struct lazy_ranges ranges;
	uint64_t bytes;
};

static int add_wanted(void *arg, uint64_t start, uint64_t end)
{
	struct err ignored = ERR_INIT;
	struct wanted *w = arg;

	w->bytes += end - start;
	return lazy_ranges_add(&w->ranges, start, end, &ignored);
}

/* A new connection: says what is missing; who waits tells again for what. */
static int begin_talk(struct pager *p, struct wire *w, struct err *err)
{
	struct wanted want = {0};
	int ret;

	p->w = w;
	w->side = serve_side;
	w->side_arg = p;
	w->side_fd = p->lazy.epoll;
	p->frames = 0;
	p->nneed = 0;
	p->heard = wire_now();
	ret = lazy_each_missing(&p->lazy, add_wanted, &want);
	wire_deadline(w, p->f->timeout_ms);
	if (!ret)
		ret = proto_send_ranges(w, FRAME_WANT, &want.ranges, err);
	p->may_come = want.bytes;
	lazy_ranges_done(&want.ranges);
	fault_point("want said");
	lazy_wake_all(&p->lazy);
	return ret;
}

static int put_pages(struct pager *p, size_t len, struct err *err)
{
	struct feed *f = p->f;
	const uint8_t *data;
	int ret = proto_pages_decode(f->frame, len, f->unpacked, f->pages, err);

	data = f->pages->data;
	for (size_t i = 0; i < f->pages->n && !ret; i++) {
		const struct proto_range *r = &f->pages->range[i];

		if (r->len > p->may_come)
			return err_set(err, -EPROTO, "%s sends more pages than are wanted",
				       p->w->peer);
		p->may_come -= r->len;
		ret = lazy_put(&p->lazy, r->addr, r->is_zero ? NULL : data, r->len, err);
		data += r->is_zero ? 0 : r->len;
		p->taken += r->len / PAGE_SIZE_4K;
	}
	fault_point("pages put");
	return ret;
}

/* SIGNALS, or MEANWHILE: what came to the copy over there. */
static int take_signals(struct pager *p, size_t len, struct err *err)
{
	struct codec c = codec_reader(p->f->frame, len);
	struct late_signal *v = NULL;
	size_t n = 0;
	int ret = 0;

	late_codec(&c, &v, &n);
	if (!codec_ended(&c) || !late_is_possible(v, n, p->nthreads))
		ret = err_set(err, -EPROTO, "malformed list of signals");
	else if (p->program >= 0)
		late_send(v, n, p->program, p->pid, p->tids);
	free(v);
	return ret;
}

static int take_frame(struct pager *p, struct err *err)
{
	size_t len = 0;
	int ret;

	wire_deadline(p->w, p->f->timeout_ms);
	ret = proto_recv(p->w, &p->f->reader, p->f->frame, LATE_FRAME_MAX, &len, err);
	if (ret < 0)
		return ret;
	/* Signals alone bring nothing nearer. */
	if (ret == FRAME_PAGES)
		p->heard = wire_now();
	if (ret == FRAME_MEANWHILE)
		return take_signals(p, len, err);
	if (ret == FRAME_LOST) {
		tell(p, 'x');
		return err_set(err, -ESRCH, "the pages are lost");
	}
	if (ret != FRAME_PAGES)
		return err_set(err, -EPROTO, "a frame of type %d came that does not belong there",
			       ret);
	if ((ret = put_pages(p, len, err)))
		return ret;
	p->frames++;
	wire_deadline(p->w, p->f->timeout_ms);
	return proto_send(p->w, FRAME_GOT, &p->frames, sizeof(p->frames), err);
}

/* The source has connected again. */
static void take_connection(struct pager *p)
{
	int fd = accept4(p->door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct err err = ERR_INIT;

	if (fd < 0 || !postcopy_is_ours(fd)) {
		io_close_fd(&fd);
		return;
	}
	drop_wire(p);
	wire_init_pair(&p->own, fd, -1, "the source");
	p->own.magic = PROTO_MAGIC;
	if (begin_talk(p, &p->own, &err))
		drop_wire(p);
}

/* --- the loop --- */

static bool is_full(struct pager *p)
{
	/* Counting takes its time: not before as many have come. */
	if (p->taken < p->missing)
		return false;
	p->taken = 0;
	p->missing = lazy_missing(&p->lazy);
	return !p->missing;
}

static bool has_frame(const struct pager *p)
{
	return p->w && (p->w->rpos < p->w->rlen || (p->w->tls && wire_tls_pending(p->w)));
}

/* Who looks after this host wants to know. */
static void say_missing(struct pager *p)
{
	struct lacks what = {
		.missing = lazy_missing(&p->lazy) * PAGE_SIZE_4K,
		.all = lazy_pages(&p->lazy) * PAGE_SIZE_4K,
		.is_connected = p->w != NULL,
	};

	lacks_answer(p->asked, p->pid, &what);
}

static void wait_and_work(struct pager *p)
{
	struct pollfd v[] = {{.fd = p->w ? p->w->fd : -1, .events = POLLIN},
			     {.fd = p->door, .events = POLLIN},
			     {.fd = p->keeper, .events = POLLIN},
			     {.fd = p->program, .events = POLLIN},
			     {.fd = p->lazy.epoll, .events = POLLIN},
			     {.fd = p->asked, .events = POLLIN}};
	struct err err = ERR_INIT;
	int ret, n = poll(v, ARRAY_SIZE(v),
			  has_frame(p)             ? 0
			  : lazy_is_busy(&p->lazy) ? 1
						   : LOOK_MS);

	lazy_serve(&p->lazy);
	ret = say_needs(p, &err);
	if (!ret && p->w && (has_frame(p) || (n > 0 && v[0].revents)))
		ret = take_frame(p, &err);
	if (!ret && p->w && wire_now() - p->heard > p->f->timeout_ms * INT64_C(1000000))
		ret = -ETIMEDOUT; /* there is always something to be said, until all is here */
	if (ret) {
		drop_wire(p);
		tell(p, 'c');
	}
	if (n > 0 && v[1].revents)
		take_connection(p);
	if (n > 0 && v[5].revents)
		say_missing(p);
	if (n > 0 && v[2].revents) {
		while (waitpid(p->keeper_pid, NULL, 0) < 0 && errno == EINTR)
			;
		if (start_keeper(p, &err))
			io_close_fd(&p->keeper); /* then without */
	}
	if (n > 0 && v[3].revents)
		io_close_fd(&p->program);
	if (n == 0 || (n > 0 && v[3].revents)) {
		lazy_look(&p->lazy);
		p->missing = 0; /* count again */
	}
}

/* ALL was said: the last signals come when the copy over there is gone. */
static void take_last(struct pager *p)
{
	struct err err = ERR_INIT;
	size_t len;
	int ret;

	do {
		ret = proto_recv(p->w, &p->f->reader, p->f->frame, LATE_FRAME_MAX, &len, &err);
		if ((ret == FRAME_MEANWHILE || ret == FRAME_SIGNALS) && take_signals(p, len, &err))
			return;
	} while (ret >= 0 && ret != FRAME_SIGNALS);
}

static int note(struct pager *p, enum journal_state state)
{
	struct err ignored = ERR_INIT;
	struct journal_record r;
	int ret = journal_lock(p->f->journal, 2000);

	if (!ret)
		ret = journal_read(p->f->journal, &r, &ignored);
	r.state = state;
	if (!ret)
		ret = journal_write(p->f->journal, &r, &ignored);
	journal_unlock(p->f->journal);
	return ret;
}

static void finish(struct pager *p)
{
	struct err ignored = ERR_INIT;

	fault_point("all here");
	if (note(p, STATE_TAKEN))
		return; /* who asks finds that it lacks pages, and nobody who takes them */
	fault_point("all noted");
	lazy_set_phase(&p->lazy, LAZY_FULL);
	io_close_fd(&p->keeper);
	while (waitpid(p->keeper_pid, NULL, 0) < 0 && errno == EINTR)
		;
	lazy_close(&p->lazy);
	if (p->w) {
		p->w->side = NULL;
		wire_deadline(p->w, p->f->timeout_ms);
		if (proto_send(p->w, FRAME_ALL, NULL, 0, &ignored))
			ignored = ERR_INIT; /* it will ask */
		else
			take_last(p);
	}
	fault_point("all said");
	tell(p, 't');
	drop_wire(p);
}

static void loop(struct pager *p)
{
	while (!is_full(p)) {
		wait_and_work(p);
		if (lazy_failed(&p->lazy)) {
			tell(p, 'f');
			/* Rather none than one with holes: the source has what it was. */
			if (p->program >= 0)
				syscall(SYS_pidfd_send_signal, p->program, SIGKILL, NULL, 0);
			lazy_set_phase(&p->lazy, LAZY_FULL);
			return;
		}
	}
	finish(p);
}

/* --- in the keeper: the pager has died --- */

static bool status_has_kill(const char *status, const char *key)
{
	const char *v = strstr(status, key);

	return v && strtoull(v + strlen(key), NULL, 16) >> (SIGKILL - 1) & 1;
}

/* Its guardian had not let all of it go: then it dies now (PTRACE_O_EXITKILL). */
static bool is_dying(const struct pager *p)
{
	__cleanup_buf struct buf b = {0};
	struct pollfd ended = {.fd = p->program, .events = POLLIN};
	char path[64];

	if (poll(&ended, 1, 100) > 0)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/status", p->pid);
	return io_read_file(AT_FDCWD, path, &b) || status_has_kill(b.p, "SigPnd:") ||
	       status_has_kill(b.p, "ShdPnd:") || poll(&ended, 1, 100) > 0;
}

static void take_over(struct pager *p, int pager_pidfd)
{
	struct pollfd ended = {.fd = pager_pidfd, .events = POLLIN};
	struct err err = ERR_INIT;
	struct journal_record r;

	/* Its descriptors go first, what it traces last. */
	poll(&ended, 1, 10000);
	fault_off();
	prctl(PR_SET_NAME, GUARDIAN_COMM);
	io_close_fd(&p->keeper);
	if (start_keeper(p, &err))
		err = ERR_INIT;
	p->f->journal->fd = open(p->f->journal->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (journal_lock(p->f->journal, 2000) || journal_read(p->f->journal, &r, &err))
		r.state = STATE_LACKS;
	journal_unlock(p->f->journal);
	if (r.state == STATE_GOING && is_dying(p)) {
		lazy_set_phase(&p->lazy, LAZY_FULL);
		return; /* who waits for it notes that */
	}
	if (r.state == STATE_GOING) {
		if (note(p, STATE_LACKS))
			return;
		tell(p, 'l');
	}
	p->w = NULL;
	p->taken = p->missing = 0;
	if (lazy_take_over(&p->lazy, &err))
		return;
	loop(p);
}

/* --- the beginning, in the guardian --- */

int pager_begin(struct feed *f, const struct process *proc, struct remote *remote, struct err *err)
{
	struct pager *p = io_alloc(1, sizeof(*p), err);
	int ret;

	if (!p)
		return err->error;
	*p = (struct pager){
		.f = f, .door = -1, .asked = -1, .keeper = -1, .own = {.fd = -1, .out_fd = -1}};
	f->pager = p;
	p->pid = remote->pid;
	p->tids = io_alloc(remote->n + 1, sizeof(*p->tids), err);
	if (!p->tids)
		return err->error;
	for (p->nthreads = 0; p->nthreads < remote->n; p->nthreads++)
		p->tids[p->nthreads] = remote->threads[p->nthreads].tid;
	p->program = fcntl(remote->pidfd, F_DUPFD_CLOEXEC, 3);
	if (p->program < 0)
		return err_sys(err, -errno, "cannot watch the new process");
	ret = lazy_open(&p->lazy, proc, remote, &f->later, err);
	fault_point("pages missing");
	p->lazy.ask = need;
	p->lazy.share = share;
	p->lazy.arg = p;
	if (ret)
		return ret;
	p->door = postcopy_door(&f->id, "pages", true);
	p->asked = p->door < 0 ? -1 : lacks_open(&f->id);
	if (p->door < 0 || p->asked < 0)
		return err_sys(err, p->door < 0 ? p->door : p->asked, "cannot make a socket");
	ret = start_keeper(p, err);
	fault_point("keeper made");
	return ret;
}

void pager_run(struct feed *f)
{
	struct pager *p = f->pager;
	struct err err = ERR_INIT;

	if (begin_talk(p, f->w, &err))
		drop_wire(p);
	loop(p);
}

void pager_going(struct feed *f)
{
	lazy_set_phase(&f->pager->lazy, LAZY_GOING);
}

void pager_drop(struct feed *f)
{
	struct pager *p = f->pager;

	if (!p)
		return;
	io_close_fd(&p->keeper);
	lazy_close(&p->lazy);
	io_close_fd(&p->door);
	io_close_fd(&p->asked);
}
