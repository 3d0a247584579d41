/*
 * The store of pages, on the source: the program's copy stands still, and its pages go over
 * as they are needed there, and all others in the background.
 *
 * It knows nothing of the program but its process: what is missing is said by the
 * other side, in the beginning of every conversation.  So whoever settles can be the store,
 * long after the guardian is gone.
 *
 * A page that somebody waits for goes before all others.  What is on its way already
 * comes before it, so that is kept small: WINDOW bytes that the other side has not got.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fault.h"
#include "migrate/postcopy.h"

#define PUSH_FRAME (128u << 10)
#define WINDOW_FRAMES 8u
/* What goes along with a page that is waited for: its neighbours are likely next. */
#define NEED_FRAME (32u << 10)
/* So many of those are kept in mind. */
#define NEEDS_MAX 65536u

struct store {
	struct wire *w;
	struct proto_reader reader;
	struct sender sender;
	struct lazy_ranges want;
	uint64_t *first; /* [want.n]: number of its first page */
	uint64_t pages;  /* in all */
	uint64_t *sent;  /* a bit for each */
	size_t at;       /* the range, and the page in it, that is pushed next */
	uint64_t at_page;
	uint64_t left; /* pages that are not sent */
	uint64_t frames, got;
	uint64_t *need; /* addresses that somebody waits for, not served yet */
	size_t nneed, need_cap;
	pid_t pid;
	int memfd;
	int timeout_ms;
	struct store_stats *stats;
};

static int take_want(struct store *st, struct err *err)
{
	__cleanup_free uint8_t *buf = io_alloc(1, PROTO_LATER_FRAME, err);
	size_t len;
	int ret = 0;

	if (!buf)
		return err->error;
	while (!ret) {
		wire_deadline(st->w, st->timeout_ms);
		ret = proto_expect(st->w, &st->reader, FRAME_WANT, buf, PROTO_LATER_FRAME, &len,
				   err);
		if (!ret)
			ret = proto_take_ranges(buf, len, &st->want, err);
	}
	return ret < 0 ? ret : 0;
}

static int begin(struct store *st, struct err *err)
{
	int ret = take_want(st, err);

	if (ret)
		return ret;
	st->first = io_alloc(st->want.n + 1, sizeof(*st->first), err);
	if (!st->first)
		return err->error;
	for (size_t i = 0; i < st->want.n; i++) {
		st->first[i] = st->pages;
		st->pages += (st->want.v[i].end - st->want.v[i].start) / PAGE_SIZE_4K;
	}
	st->left = st->stats->all = st->pages;
	st->sent = io_alloc(st->pages / 64 + 1, sizeof(*st->sent), err);
	if (!st->sent)
		return err->error;
	st->memfd = remote_open_proc(st->pid, "mem", O_RDONLY);
	fault_point("want heard");
	return sender_init(&st->sender, st->w, st->timeout_ms, err);
}

static bool is_sent(const struct store *st, uint64_t page)
{
	return st->sent[page / 64] >> (page % 64) & 1;
}

/* The copy is gone: a person ended it, or the host was booted. */
static int lost(struct store *st, struct err *err)
{
	struct err ignored = ERR_INIT;
	uint8_t buf[16];
	size_t len;

	wire_deadline(st->w, st->timeout_ms);
	/* Closed at once, with frames of the other side unread, it might never come. */
	if (!proto_send(st->w, FRAME_LOST, NULL, 0, &ignored))
		while (proto_recv(st->w, &st->reader, buf, sizeof(buf), &len, &ignored) >= 0)
			;
	err_set(err, -ESRCH, "the copy of the program here, which has the pages, is gone");
	return STORE_LOST;
}

/* Unsent pages from this one on, in one range, at most max bytes, as one frame.  1: lost. */
static int send_from(struct store *st, size_t range, uint64_t page, size_t max, bool asked,
		     struct err *err)
{
	const struct lazy_range *r = &st->want.v[range];
	uint64_t all = (r->end - r->start) / PAGE_SIZE_4K, n = 0;
	uint64_t addr = r->start + page * PAGE_SIZE_4K;
	struct iovec to = {st->sender.data, 0}, from = {(void *)(uintptr_t)addr, 0};
	ssize_t got;
	int ret;

	while (page + n < all && n < max / PAGE_SIZE_4K &&
	       !is_sent(st, st->first[range] + page + n))
		n++;
	to.iov_len = from.iov_len = n * PAGE_SIZE_4K;
	got = process_vm_readv(st->pid, &to, 1, &from, 1, 0);
	/* Memory that its own protection hides has to be moved as well. */
	if (got != (ssize_t)to.iov_len &&
	    io_pread_all(st->memfd, st->sender.data, to.iov_len, addr))
		return lost(st, err);
	if ((ret = sender_add(&st->sender, addr, to.iov_len, err)) ||
	    (ret = sender_flush(&st->sender, err)))
		return ret;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t number = st->first[range] + page + i;

		st->sent[number / 64] |= UINT64_C(1) << (number % 64);
	}
	st->frames++;
	st->left -= n;
	st->stats->asked += asked ? 1 : 0;
	st->stats->pushed += asked ? n - 1 : n;
	st->stats->sent_bytes = st->sender.sent_bytes;
	return 0;
}

static int push(struct store *st, struct err *err)
{
	int ret;

	for (;; st->at_page++) {
		const struct lazy_range *r;

		if (st->at == st->want.n)
			st->at = st->at_page = 0;
		r = &st->want.v[st->at];
		if (st->at_page >= (r->end - r->start) / PAGE_SIZE_4K) {
			st->at++;
			st->at_page = UINT64_MAX; /* 0, after the increment */
			continue;
		}
		if (!is_sent(st, st->first[st->at] + st->at_page))
			break;
	}
	ret = send_from(st, st->at, st->at_page, PUSH_FRAME, false, err);
	fault_point("page pushed");
	return ret;
}

/* The page, and what follows it; the background goes on from there. */
static int serve_need(struct store *st, uint64_t addr, struct err *err)
{
	size_t lo = 0, hi = st->want.n;
	uint64_t page;
	int ret;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (st->want.v[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == st->want.n || st->want.v[lo].start > addr || addr % PAGE_SIZE_4K)
		return err_set(err, -EPROTO, "%s needs a page that was not missing", st->w->peer);
	page = (addr - st->want.v[lo].start) / PAGE_SIZE_4K;
	if (is_sent(st, st->first[lo] + page))
		return 0;
	ret = send_from(st, lo, page, NEED_FRAME, true, err);
	st->at = lo;
	st->at_page = page;
	fault_point("page asked for");
	return ret;
}

static int add_need(struct store *st, uint64_t addr, struct err *err)
{
	void *v;

	if (st->nneed == NEEDS_MAX)
		return 0; /* they come in the background */
	v = io_grow(st->need, &st->need_cap, st->nneed + 1, sizeof(*st->need), err);

	if (!v)
		return err->error;
	st->need = v;
	st->need[st->nneed++] = addr;
	return 0;
}

/* 1: nothing is missing any more. */
static int take_frame(struct store *st, struct err *err)
{
	uint8_t buf[16];
	struct codec c;
	uint64_t v = 0;
	size_t len = 0;
	int ret;

	wire_deadline(st->w, st->timeout_ms);
	ret = proto_recv(st->w, &st->reader, buf, sizeof(buf), &len, err);
	if (ret < 0)
		return ret;
	if (ret == FRAME_ALL && !len)
		return STORE_ALL;
	c = codec_reader(buf, len);
	codec_u64(&c, &v);
	if (!codec_ended(&c) || (ret != FRAME_NEED && ret != FRAME_GOT))
		return err_set(err, -EPROTO, "%s sent a frame that does not belong here",
			       st->w->peer);
	if (ret == FRAME_NEED)
		return add_need(st, v, err);
	if (v > st->frames || v <= st->got)
		return err_set(err, -EPROTO, "%s has got more than was sent, or nothing",
			       st->w->peer);
	st->got = v;
	return 0;
}

static bool has_input(const struct wire *w)
{
	struct pollfd p = {.fd = w->fd, .events = POLLIN};

	return w->rpos < w->rlen || (w->tls && wire_tls_pending(w)) || poll(&p, 1, 0) > 0;
}

static int one_step(struct store *st, struct err *err)
{
	if (has_input(st->w))
		return take_frame(st, err);
	if (st->nneed)
		return serve_need(st, st->need[--st->nneed], err);
	if (st->left && st->frames - st->got < WINDOW_FRAMES)
		return push(st, err);
	return take_frame(st, err); /* waits */
}

int store_serve(struct wire *w, pid_t pid, int timeout_ms, struct store_stats *stats,
		void (*progress)(void *arg, uint64_t done, uint64_t all), void *arg,
		struct err *err)
{
	struct store st = {.w = w,
			   .pid = remote_find_speaker(pid),
			   .memfd = -1,
			   .timeout_ms = timeout_ms,
			   .stats = stats};
	int ret = begin(&st, err);

	while (!ret) {
		ret = one_step(&st, err);
		if (progress)
			progress(arg, (st.pages - st.left) * PAGE_SIZE_4K, st.pages * PAGE_SIZE_4K);
	}
	io_close_fd(&st.memfd);
	lazy_ranges_done(&st.want);
	free(st.first);
	free(st.sent);
	free(st.need);
	sender_done(&st.sender);
	return ret;
}
