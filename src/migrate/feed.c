/* The destination's guardian: see feed.h. */
#include "migrate/feed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fault.h"
#include "state/memory.h"

#define IOV_MAX_PAGES PROTO_RANGES_MAX

/* The mapping that holds the address, or NULL. */
static const struct mapping *find_mapping(const struct process *p, uint64_t addr)
{
	size_t lo = 0, hi = p->nmappings;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (p->mappings[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < p->nmappings && p->mappings[lo].start <= addr ? &p->mappings[lo] : NULL;
}

/* Is all of it in mappings whose pages come by the wire?  Our own scratch area and
 * the kernel's mappings are not. */
static bool may_write(const struct process *p, const struct proto_range *r)
{
	uint64_t at = r->addr, end = r->addr + r->len;

	while (at < end) {
		const struct mapping *m = find_mapping(p, at);

		if (!m || (m->kind != MAPPING_ANON && m->kind != MAPPING_FILE &&
			   m->kind != MAPPING_SHMEM))
			return false;
		at = m->end;
	}
	return true;
}

static const uint8_t zeros[PROTO_PAGES_DATA];

int feed_write(const struct restore *r, const struct remote *remote, const struct proto_pages *p,
	       struct err *err)
{
	struct iovec to[IOV_MAX_PAGES], from[IOV_MAX_PAGES];
	const uint8_t *data = p->data;
	size_t all = 0;
	ssize_t n;

	for (size_t i = 0; i < p->n; i++) {
		const struct proto_range *g = &p->range[i];

		if (!may_write(r->proc, g)) {
			err_image(err, "pages came for %#llx, where no memory is to be filled",
				  (unsigned long long)g->addr);
			return err->error;
		}
		to[i] = (struct iovec){(void *)(uintptr_t)g->addr, g->len};
		from[i] = (struct iovec){(void *)(uintptr_t)(g->is_zero ? zeros : data), g->len};
		data += g->is_zero ? 0 : g->len;
		all += g->len;
	}
	n = process_vm_writev(remote->pid, from, p->n, to, p->n, 0);
	if (n == (ssize_t)all)
		return 0;
	if (n < 0 && errno == ESRCH)
		return err_set(err, -ESRCH, "the new process ended before it was built");
	return err_set(err, n < 0 && errno != EFAULT ? -errno : -ENOMEM,
		       "cannot fill the memory at %#llx of the new process: %s",
		       (unsigned long long)p->range[0].addr,
		       n < 0 ? strerror(errno) : "not all of it is there");
}

static int take_pages(struct feed *f, const struct restore *r, const struct remote *remote,
		      size_t len, struct err *err)
{
	int ret = proto_pages_decode(f->frame, len, f->unpacked, f->pages, err);

	return ret ? ret : feed_write(r, remote, f->pages, err);
}

static int pages(void *arg, const struct restore *r, struct remote *remote, struct err *err)
{
	struct feed *f = arg;

	f->times.mapping = (uint64_t)(wire_now() - f->begun);
	fault_point("mapped");
	for (;;) {
		size_t len;
		int ret;

		wire_deadline(f->w, f->timeout_ms);
		ret = proto_recv(f->w, &f->reader, f->frame, PROTO_PAGES_MAX, &len, err);
		if (ret == FRAME_PAGES)
			ret = take_pages(f, r, remote, len, err);
		else if (ret == FRAME_END)
			break;
		else if (ret >= 0)
			ret = err_set(err, -EPROTO, "%s sent a frame of type %d among the pages",
				      f->w->peer, ret);
		if (ret < 0)
			return ret;
		fault_point("pages taken");
	}
	f->begun = wire_now();
	return 0;
}

/*
 * COMMIT may have been overtaken by the question what became of the migration, and the
 * answer never: then nothing may be touched any more, files that grew among it.  From
 * here on such a question has to wait.
 */
static int claim(struct feed *f, struct err *err)
{
	int ret;

	if (journal_lock(f->journal, f->timeout_ms))
		return err_set(err, -EAGAIN, "'%s' stays locked", f->journal->path);
	if ((ret = journal_read(f->journal, &f->record, err)))
		return ret;
	if (f->record.state != STATE_READY)
		return err_set(err, -ECANCELED, "the migration was called off");
	return 0;
}

static int ready(void *arg, struct err *err)
{
	struct feed *f = arg;
	__cleanup_buf struct buf b = {0};
	struct codec c = codec_writer(&b);
	char none[1];
	size_t len;
	int ret;

	f->times.building = (uint64_t)(wire_now() - f->begun);
	proto_times_codec(&c, &f->times);
	fault_point("built");
	wire_deadline(f->w, f->timeout_ms);
	if ((ret = proto_send_buf(f->w, FRAME_READY, &b, err)))
		return ret;
	fault_point("ready said");
	ret = proto_expect(f->w, &f->reader, FRAME_COMMIT, none, 0, &len, err);
	if (ret)
		return ret;
	fault_point("commit heard");
	return claim(f, err);
}

/* The point of no return: after it the other side's copy never runs again. */
static int commit(void *arg, struct err *err)
{
	struct feed *f = arg;
	int ret;

	fault_point("files cut");
	f->record.state = STATE_GOING;
	if ((ret = journal_write(f->journal, &f->record, err)))
		return ret;
	f->decided = true;
	fault_point("going");
	f->begun = wire_now();
	return 0;
}

static void gone(void *arg)
{
	struct feed *f = arg;
	__cleanup_buf struct buf b = {0};
	struct codec c = codec_writer(&b);
	struct err ignored = ERR_INIT;
	struct journal_record r;

	f->times.releasing = (uint64_t)(wire_now() - f->begun);
	fault_point("let go");
	if (!journal_read(f->journal, &r, &ignored)) {
		r.state = STATE_TAKEN;
		if (journal_write(f->journal, &r, &ignored))
			ignored = ERR_INIT; /* a reader finds it alive, or its end recorded */
	}
	journal_unlock(f->journal);
	fault_point("taken");
	proto_times_codec(&c, &f->times);
	wire_deadline(f->w, f->timeout_ms);
	if (proto_send_buf(f->w, FRAME_DONE, &b, &ignored))
		ignored = ERR_INIT; /* it will ask */
	fault_point("done said");
	if (write(f->done_fd, "d", 1) != 1)
		return;
}

static void failed(void *arg, const struct err *why)
{
	struct feed *f = arg;
	struct err ignored = ERR_INIT;
	struct journal_record r;

	if (!f->decided && !journal_lock(f->journal, f->timeout_ms) &&
	    !journal_read(f->journal, &r, &ignored) && r.state == STATE_READY) {
		r.state = STATE_NEVER;
		if (journal_write(f->journal, &r, &ignored))
			ignored = ERR_INIT; /* who asks writes it */
	}
	journal_unlock(f->journal);
	wire_deadline(f->w, 1000);
	proto_refuse(f->w, why);
}

/* Processes that stay must not keep the connection up. */
static void leave(void *arg)
{
	struct feed *f = arg;

	io_close_fd(&f->w->fd);
	if (f->w->out_fd >= 0)
		io_close_fd(&f->w->out_fd);
	io_close_fd(&f->done_fd);
	journal_close(f->journal); /* a copy of the guardian's lock would outlive it */
}

int feed_init(struct feed *f, struct restart_feed *ret, struct err *err)
{
	f->frame = io_alloc(1, PROTO_PAGES_MAX, err);
	f->unpacked = io_alloc(1, PROTO_PAGES_DATA, err);
	f->pages = io_alloc(1, sizeof(*f->pages), err);
	if (!f->frame || !f->unpacked || !f->pages)
		return err->error;
	f->begun = wire_now();
	ret->arg = f;
	ret->leave = leave;
	ret->pages = pages;
	ret->ready = ready;
	ret->commit = commit;
	ret->gone = gone;
	ret->failed = failed;
	return 0;
}
