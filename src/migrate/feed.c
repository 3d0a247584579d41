/* The destination's guardian: see feed.h. */
#include "migrate/feed.h"
#include "migrate/files.h"
#include "migrate/late.h"
#include "migrate/postcopy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fault.h"
#include "state/memory_early.h"

#define IOV_MAX_PAGES PROTO_RANGES_MAX
/* FILES is the longest frame that comes among the pages. */
#define FEED_FRAME_MAX PROTO_FILES_MAX

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
			   m->kind != MAPPING_SHMEM && m->kind != MAPPING_HUGE))
			return false;
		at = m->end;
	}
	return true;
}

static const uint8_t zeros[PROTO_PAGES_DATA];

/* Zeros for memory that was never written to since it was mapped; early: where the first
 * model has no mapping, one was made for it just now. */
static void drop_zeros(const struct process *proc, bool early, struct proto_pages *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++) {
		const struct mapping *m = find_mapping(proc, p->range[i].addr);
		bool fresh =
			m ? m->kind == MAPPING_ANON && p->range[i].addr + p->range[i].len <= m->end
			  : early;

		if (!p->range[i].is_zero || !fresh)
			p->range[n++] = p->range[i];
	}
	p->n = n;
}

/* May any of it be of the kind that begin_filling() has added?  NULL: all is. */
static bool is_fresh(const struct process *proc, const struct proto_range *r)
{
	const struct mapping *m = proc ? find_mapping(proc, r->addr) : NULL;

	return !m || m->kind == MAPPING_ANON || m->end < r->addr + r->len;
}

int feed_write(const struct process *proc, const struct remote *remote, const struct fill *fill,
	       const struct proto_pages *p, struct err *err)
{
	struct iovec to[IOV_MAX_PAGES], from[IOV_MAX_PAGES];
	const uint8_t *data = p->data, *bytes;
	size_t all = 0, k = 0;
	ssize_t n;

	for (size_t i = 0; i < p->n; i++) {
		const struct proto_range *g = &p->range[i];

		if (proc && !may_write(proc, g)) {
			err_image(err, "pages came for %#llx, where no memory is to be filled",
				  (unsigned long long)g->addr);
			return err->error;
		}
		bytes = g->is_zero ? zeros : data;
		data += g->is_zero ? 0 : g->len;
		if (is_fresh(proc, g) && !fill_write(fill, g->addr, bytes, g->len))
			continue;
		to[k] = (struct iovec){(void *)(uintptr_t)g->addr, g->len};
		from[k++] = (struct iovec){(void *)(uintptr_t)bytes, g->len};
		all += g->len;
	}
	if (!k)
		return 0;
	n = process_vm_writev(remote->speaker, from, k, to, k, 0);
	if (n == (ssize_t)all)
		return 0;
	if (n < 0 && errno == ESRCH)
		return err_set(err, -ESRCH, "the new process ended before it was built");
	return err_set(err, n < 0 && errno != EFAULT ? -errno : -ENOMEM,
		       "cannot fill the memory at %#llx of the new process: %s",
		       (unsigned long long)p->range[0].addr,
		       n < 0 ? strerror(errno) : "not all of it is there");
}

/* What came before the last model goes to memory that is made as it is needed. */
static int make_room(const struct restore *r, struct remote *remote, const struct proto_pages *p,
		     struct err *err)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct proto_range *g = &p->range[i];
		int ret = memory_early_extend(r, remote, g->addr, g->addr + g->len, err);

		if (ret)
			return ret;
	}
	return 0;
}

/* A source sends a page once in a round: who sends more would never come to an end. */
static int count_pages(struct feed *f, struct err *err)
{
	for (size_t i = 0; i < f->pages->n; i++) {
		if (f->pages->range[i].len > f->may_come)
			return err_set(err, -EPROTO, "%s sends more pages than there are",
				       f->w->peer);
		f->may_come -= f->pages->range[i].len;
		f->arrival.bytes += f->pages->range[i].len;
	}
	return 0;
}

static int take_pages(struct feed *f, const struct restore *r, struct remote *remote, bool early,
		      size_t len, struct err *err)
{
	int ret = proto_pages_decode(f->frame, len, f->unpacked, f->pages, err);

	if (!ret)
		ret = count_pages(f, err);
	if (!ret && early) {
		memory_early_touch(r);
		ret = make_room(r, remote, f->pages, err);
	}
	if (!ret && f->round == 0)
		drop_zeros(r->proc, early, f->pages);
	return ret ? ret : feed_write(early ? NULL : r->proc, remote, &f->fill, f->pages, err);
}

/* While it runs, what was written to may be somewhere else than in the mappings of a moment
 * later. */
#define ROUND_SLACK (UINT64_C(64) << 20)

/* The mappings that its pages will be in, as they are on the source. */
static int take_round(struct feed *f, const struct restore *r, struct remote *remote, size_t len,
		      struct err *err)
{
	struct codec c = codec_reader(f->frame, len);
	__cleanup_free struct early_range *v = NULL;
	size_t n = 0;
	int ret = 0;

	codec_u32(&c, &f->round);
	f->arrival.rounds++;
	codec_array(&c, &v, &n, sizeof(*v), 16, PROTO_FILES_MAX / 16);
	for (size_t i = 0; i < n; i++) {
		codec_u64(&c, &v[i].start);
		codec_u64(&c, &v[i].end);
	}
	if (!codec_ended(&c) || f->arrival.rounds > PROTO_ROUNDS_MAX)
		return err_set(err, -EPROTO, "malformed frame, or too many rounds");
	for (size_t i = 0; i < n && !ret; i++)
		ret = v[i].end > PROTO_USER_END || v[i].start % PAGE_SIZE_4K ||
				      v[i].end % PAGE_SIZE_4K || v[i].start >= v[i].end
			      ? err_set(err, -EPROTO, "malformed frame")
			      : memory_early_extend(r, remote, v[i].start, v[i].end, err);
	if (f->round)
		fill_end(&f->fill);
	/* Perhaps the last one, and the program over there is about to be stopped. */
	if (!ret && !n && !(ret = memory_early_survey(r, remote, err)))
		ret = proto_send(f->w, FRAME_TAKEN, NULL, 0, err);
	fault_point("round taken");
	f->may_come = ROUND_SLACK;
	for (size_t i = 0; i < n && !ret; i++) {
		fill_add(&f->fill, v[i].start, v[i].end);
		f->may_come += 2 * (v[i].end - v[i].start);
	}
	carry_in_from_start(f->carry);
	return ret;
}

const char *feed_stand_in(void *arg, const char *path)
{
	return carry_in_stand_in(((struct feed *)arg)->carry, path);
}

int feed_send_verdict(struct wire *w, const bool *known, size_t n, const struct carry_in *carry,
		      struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct codec c = codec_writer(&b);
	size_t nlacks = carry->list.n;
	struct carry_in_file *file = carry->file;

	codec_array(&c, (void *)(uintptr_t)&known, &n, sizeof(*known), 1, PROTO_FILES_MAX / 8);
	for (size_t i = 0; i < n; i++)
		codec_bool(&c, (bool *)(uintptr_t)&known[i]);
	codec_array(&c, &file, &nlacks, sizeof(*file), 1, CARRY_MAX);
	for (size_t i = 0; i < nlacks; i++)
		codec_bool(&c, &file[i].lacks);
	return proto_send_buf(w, FRAME_VERDICT, &b, err);
}

/* The files of the last list: those that were not in the first are judged, and made. */
static int take_last_files(struct feed *f, struct err *err)
{
	bool is_new = false;
	int ret;

	if (!f->carry->is_used)
		return 1;
	if (!f->model.has_list)
		return err_set(err, -EPROTO, "%s forgot its files", f->w->peer);
	ret = carry_in_judge(f->carry, f->first, &is_new, err);
	wire_deadline(f->w, f->timeout_ms);
	if (!ret && is_new)
		ret = feed_send_verdict(f->w, NULL, 0, f->carry, err);
	if (!ret)
		ret = carry_in_prepare(f->carry, err);
	f->files_due = true;
	return ret;
}

static int take_model(struct feed *f, uint32_t type, size_t len, struct err *err)
{
	int ret = f->model.fd < 0 ? model_in_open(&f->model, err) : 0;

	if (!ret && f->carry->is_used)
		f->model.carry = f->carry;
	if (!ret)
		ret = model_in_frame(&f->model, type, f->frame, len, err);
	return ret == 1 ? take_last_files(f, err) : ret;
}

/* Of files that come along.  1: the last model was waiting for that. */
static int take_files(struct feed *f, uint32_t type, size_t len, struct err *err)
{
	int ret = type == FRAME_FILE ? carry_in_take(f->carry, f->frame, len, err)
		  : f->files_due && !len
			  ? carry_in_end(f->carry, true, err)
			  : err_set(err, -EPROTO, "%s has no files to end with", f->w->peer);

	return ret || type == FRAME_FILE ? ret : 1;
}

static int take_later(struct feed *f, size_t len, struct err *err)
{
	int ret = proto_take_ranges(f->frame, len, &f->later, err);

	f->later_ended = ret > 0;
	return ret < 0 ? ret : 0;
}

/* Pages, up to the last model (early) or the end.  1: that came. */
static int take_frame(struct feed *f, const struct restore *r, struct remote *remote, bool early,
		      struct err *err)
{
	size_t len;
	int ret;

	wire_deadline(f->w, f->timeout_ms);
	ret = proto_recv(f->w, &f->reader, f->frame, FEED_FRAME_MAX, &len, err);
	if (ret == FRAME_PAGES && f->model.fd < 0)
		ret = take_pages(f, r, remote, early, len, err);
	else if (ret == FRAME_ROUND && early && f->model.fd < 0)
		ret = take_round(f, r, remote, len, err);
	else if (ret == FRAME_LATER && !early && !f->later_ended)
		ret = take_later(f, len, err);
	else if (ret == FRAME_END && !early && !len)
		return 1;
	else if (early && f->carry->is_used && (ret == FRAME_FILE || ret == FRAME_CARRIED))
		ret = take_files(f, (uint32_t)ret, len, err);
	else if (ret >= 0 && early)
		ret = take_model(f, (uint32_t)ret, len, err);
	else if (ret >= 0)
		ret = err_set(err, -EPROTO, "%s sent a frame of type %d among the pages",
			      f->w->peer, ret);
	return ret;
}

/* What comes first comes to memory without pages. */
static int begin_filling(struct feed *f, const struct restore *r, struct remote *remote, bool early,
			 struct err *err)
{
	const struct process *p = r->proc;
	int ret = fill_begin(&f->fill, remote, err);

	for (size_t i = 0; !ret && !early && i < p->nmappings; i++)
		if (p->mappings[i].kind == MAPPING_ANON)
			fill_add(&f->fill, p->mappings[i].start, p->mappings[i].end);
	return ret;
}

static int pages(void *arg, const struct restore *r, struct remote *remote, int *ret_fd,
		 struct err *err)
{
	struct feed *f = arg;
	int ret = f->round ? 0 : begin_filling(f, r, remote, ret_fd, err);

	if (ret)
		return ret;
	/* What is in no run is not sent; early ones come by rounds, which say how much. */
	f->may_come = 0;
	for (size_t i = 0; !ret_fd && i < r->proc->nruns; i++)
		f->may_come += r->proc->runs[i].len;
	if (!ret_fd)
		f->times.mapping = (uint64_t)(wire_now() - f->begun);
	fault_point(ret_fd ? "mapped early" : "mapped");
	do {
		ret = take_frame(f, r, remote, ret_fd, err);
		fault_point("pages taken");
	} while (ret == 0);
	fill_end(&f->fill);
	if (ret < 0)
		return ret;
	f->begun = wire_now();
	if (!ret_fd)
		return 0;
	if (f->model.look != LOOK_LAST)
		return err_set(err, -EPROTO, "%s looks for ever", f->w->peer);
	f->round++; /* what comes now replaces what came */
	*ret_fd = f->model.fd;
	f->model.fd = -1;
	return 0;
}

void feed_know(void *arg, const struct process *p, bool *known)
{
	const struct feed *f = arg;

	files_carry(f->first, f->known, p, known);
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

/* COMMIT, SIGNALS or MEANWHILE: the signals that came to the program over there. */
static int take_late(struct feed *f, uint32_t type, size_t nthreads, struct late_signal **ret,
		     size_t *ret_n, struct err *err)
{
	size_t len;
	int e = proto_expect(f->w, &f->reader, type, f->frame, LATE_FRAME_MAX, &len, err);
	struct codec c = codec_reader(f->frame, len);

	if (e)
		return e;
	late_codec(&c, ret, ret_n);
	if (codec_ended(&c) && late_is_possible(*ret, *ret_n, nthreads))
		return 0;
	free(*ret);
	*ret = NULL;
	return err_set(err, -EPROTO, "malformed list of signals");
}

/* All is built but for the pages that come later. */
static int built(void *arg, const struct process *p, struct remote *remote, struct err *err)
{
	struct feed *f = arg;

	return f->later.n ? pager_begin(f, p, remote, err) : 0;
}

static int ready(void *arg, struct late_signal **ret_late, size_t *ret_n, struct err *err)
{
	struct feed *f = arg;
	__cleanup_buf struct buf b = {0};
	struct codec c = codec_writer(&b);
	int ret;

	f->times.building = (uint64_t)(wire_now() - f->begun);
	proto_times_codec(&c, &f->times);
	fault_point("built");
	wire_deadline(f->w, f->timeout_ms);
	if ((ret = proto_send_buf(f->w, FRAME_READY, &b, err)))
		return ret;
	fault_point("ready said");
	ret = take_late(f, FRAME_COMMIT, UINT32_MAX, ret_late, ret_n, err);
	if (ret)
		return ret;
	f->commit_heard = wire_now();
	fault_point("commit heard");
	return claim(f, err);
}

/* What came to the other copy until it was ended. */
static void take_last(struct feed *f, const struct restart_gone *to)
{
	struct late_signal *v = NULL;
	struct err ignored = ERR_INIT;
	size_t n = 0;

	/* What follows is for the process of the connection. */
	f->w->is_exact = true;
	wire_deadline(f->w, f->timeout_ms);
	if (!take_late(f, FRAME_SIGNALS, to->n, &v, &n, &ignored))
		late_send(v, n, to->pidfd, to->pid, to->tids);
	free(v);
}

/* The point of no return: after it the other side's copy never runs again. */
static int commit(void *arg, struct err *err)
{
	struct feed *f = arg;
	int ret;

	fault_point("files cut");
	if ((ret = carry_in_place(f->carry, err)))
		return ret;
	f->record.state = STATE_GOING;
	f->record.later = f->pager;
	if ((ret = journal_write(f->journal, &f->record, err)))
		return ret;
	f->decided = true;
	fault_point("going");
	if (f->pager)
		pager_going(f);
	f->times.releasing = (uint64_t)(wire_now() - f->commit_heard);
	return 0;
}

static void gone(void *arg, const struct restart_gone *to)
{
	struct feed *f = arg;
	__cleanup_buf struct buf b = {0};
	struct codec c = codec_writer(&b);
	struct err ignored = ERR_INIT;
	struct journal_record r;

	f->times.released = (uint64_t)(wire_now() - f->commit_heard);
	fault_point("let go");
	if (!journal_read(f->journal, &r, &ignored)) {
		r.state = f->pager ? STATE_LACKS : STATE_TAKEN;
		if (journal_write(f->journal, &r, &ignored))
			ignored = ERR_INIT; /* a reader finds it alive, or its end recorded */
	}
	journal_unlock(f->journal);
	carry_in_keep(f->carry);
	fault_point("taken");
	f->times.pid = (uint32_t)f->pid;
	f->times.answering = (uint64_t)(wire_now() - f->commit_heard);
	proto_times_codec(&c, &f->times);
	wire_deadline(f->w, f->timeout_ms);
	if (proto_send_buf(f->w, FRAME_DONE, &b, &ignored))
		ignored = ERR_INIT; /* it will ask */
	else if (!f->pager)
		take_last(f, to);
	fault_point("done said");
	f->arrival.how = f->pager ? 'l' : 'd';
	if (write(f->done_fd, &f->arrival, sizeof(f->arrival)) < 0)
		ignored = ERR_INIT; /* nobody listens */
	if (f->pager)
		pager_run(f);
}

static void failed(void *arg, const struct err *why)
{
	struct feed *f = arg;
	struct err ignored = ERR_INIT;
	struct journal_record r;

	pager_drop(f);
	if (!f->decided && !journal_lock(f->journal, f->timeout_ms) &&
	    !journal_read(f->journal, &r, &ignored) && r.state == STATE_READY) {
		r.state = STATE_NEVER;
		if (journal_write(f->journal, &r, &ignored))
			ignored = ERR_INIT; /* who asks writes it */
	}
	journal_unlock(f->journal);
	if (!f->decided)
		carry_in_undo(f->carry);
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
	carry_in_close(f->carry);
	journal_close(f->journal); /* a copy of the guardian's lock would outlive it */
}

int feed_init(struct feed *f, struct restart_feed *ret, struct err *err)
{
	f->frame = io_alloc(1, FEED_FRAME_MAX, err);
	f->unpacked = io_alloc(1, PROTO_PAGES_DATA, err);
	f->pages = io_alloc(1, sizeof(*f->pages), err);
	if (!f->frame || !f->unpacked || !f->pages)
		return err->error;
	f->begun = wire_now();
	f->model.fd = f->fill.uffd = -1;
	ret->know = feed_know;
	ret->stand_in = feed_stand_in;
	ret->arg = f;
	ret->leave = leave;
	ret->pages = pages;
	ret->built = built;
	ret->ready = ready;
	ret->commit = commit;
	ret->gone = gone;
	ret->failed = failed;
	return 0;
}
