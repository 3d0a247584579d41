/*
 * A checkpoint of a running program: see live.h, and track/track.h for why the
 * copy is right.
 *
 * Each page that was met has a place in the data area (slots.h); when it is met
 * again it is written there again.  At the stop the runs are what exists then:
 * those that are unchanged are in their places already.  Where the runs do not
 * simply follow each other in the file, a note says where they are.
 *
 * Where tracking is not possible there are no rounds: everything is copied at
 * the stop, and the person is told why.
 */
#include "checkpoint/live.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"
#include "checkpoint/lineage.h"
#include "checkpoint/pieces.h"
#include "checkpoint/slots.h"
#include "state/memory.h"
#include "track/keeper.h"
#include "track/track.h"

/* As much is copied within the pause: a fraction of a millisecond. */
#define SMALL_BYTES (1u << 20)
#define MAX_ROUNDS 30u
#define LAST_ROUNDS 2u

struct ranges {
	struct slot_range *v;
	size_t n, cap;
	struct err *err;
};

struct live {
	struct track *track; /* NULL: not possible here, or not yet */
	struct lineage lineage;
	struct slots slots;
	struct slot_list todo; /* where what is to be copied next is, and goes */
	struct slot_list now;  /* of it, what a snapshot has not */
	struct ranges ranges;
	int mem;
};

void live_done(struct live *l)
{
	if (!l)
		return;
	track_stop(l->track);
	lineage_done(&l->lineage);
	slots_done(&l->slots);
	slot_list_done(&l->todo);
	slot_list_done(&l->now);
	free(l->ranges.v);
	io_close_fd(&l->mem);
	free(l);
}

int live_begin(struct job *j, struct err *err)
{
	int ret;

	j->live = io_alloc(1, sizeof(*j->live), err);
	if (!j->live)
		return err->error;
	j->live->lineage.sock = -1;
	j->live->mem = remote_open_proc(j->o->pid, "mem", O_RDONLY);
	j->remote.speaker = remote_find_speaker(j->o->pid);
	if (!j->o->incremental || (j->o->parent && !*j->o->parent))
		keeper_end(j->o->pid);
	else if ((ret = lineage_open(j, &j->live->lineage, &j->live->track, err)))
		return ret;
	fault_point("image begun");
	return image_writer_open(j->o->image, &j->writer, err);
}

/* --- while it runs --- */

static void say_why_not(struct job *j, const struct err *err)
{
	capture_notice(&j->capture, "%s", err->what);
	capture_notice(&j->capture, "the program is stopped while its memory is copied (hint: %s)",
		       err->hint);
}

/* The first of two stops, a short one. */
int live_track(struct job *j, struct err *err)
{
	struct err why = ERR_INIT;
	int ret;

	if (j->live->track || j->o->pause != PAUSE_LIVE)
		return 0;
	if ((ret = job_stop(j, err)) || (ret = job_prepare(j, err)))
		return ret;
	ret = track_start(&j->remote, &j->live->track, &why);
	remote_release(&j->remote);
	j->first_pause_ns = io_now_ns() - j->stopped_ns;
	fault_point("tracking");
	free(j->proc->threads);
	j->proc->threads = NULL;
	j->proc->nthreads = 0;
	if (ret == -ENOTSUP) {
		say_why_not(j, &why);
		return 0;
	}
	if (ret)
		*err = why;
	return ret;
}

static int note_range(void *arg, uint64_t start, uint64_t end)
{
	struct ranges *r = arg;
	void *v = io_grow(r->v, &r->cap, r->n + 1, sizeof(*r->v), r->err);

	if (!v)
		return r->err->error;
	r->v = v;
	r->v[r->n++] = (struct slot_range){start, end};
	return 0;
}

static int copy_round(struct job *j, uint64_t *ret_bytes, struct err *err)
{
	struct live *l = j->live;
	int ret;

	l->ranges.n = l->todo.n = 0;
	l->ranges.err = err;
	if ((ret = track_round(l->track, note_range, &l->ranges, ret_bytes, err)) ||
	    (ret = slots_place(&l->slots, l->ranges.v, l->ranges.n, &l->todo, err)) ||
	    (ret = image_writer_reserve(j->writer, l->slots.end, err)))
		return ret;
	return pieces_copy(j, &l->todo, l->mem, true, err);
}

/* An incremental one is tracked anyway: what was written since the last may as well be copied
 * before it is stopped. */
static bool has_rounds(const struct job *j)
{
	return j->live->track &&
	       (j->o->pause == PAUSE_LIVE || (j->o->pause == PAUSE_COPY && j->o->incremental));
}

/* Ends when little is left, or when another round does not make it less: the
 * program writes as fast as we do. */
static int rounds(struct job *j, unsigned max, struct err *err)
{
	uint64_t bytes = 0, before = UINT64_MAX;
	unsigned stuck = 0;

	if (j->live->mem < 0)
		return err_sys(err, j->live->mem, "cannot open the memory of process %d",
			       j->o->pid);
	for (unsigned i = 0; i < max && stuck < 2; i++, before = bytes) {
		int ret = copy_round(j, &bytes, err);

		if (ret)
			return ret;
		j->rounds++;
		fault_point("round");
		if (bytes <= SMALL_BYTES)
			break;
		if (bytes > before / 4 * 3)
			stuck++;
	}
	return 0;
}

int live_rounds(struct job *j, struct err *err)
{
	return has_rounds(j) ? rounds(j, MAX_ROUNDS, err) : 0;
}

/* What was written during the last look from outside: 13 ms a GiB. */
int live_last_rounds(struct job *j, struct err *err)
{
	return has_rounds(j) ? rounds(j, LAST_ROUNDS, err) : 0;
}

/* --- stopped --- */

/* Nothing is known of the past any more: everything is copied now. */
static void forget_track(struct live *l)
{
	track_stop(l->track);
	l->track = NULL;
	lineage_done(&l->lineage);
}

/* May what was seen so far be believed? */
int live_last_look(struct job *j, struct err *err)
{
	struct err why = ERR_INIT;

	(void)err;
	if (j->live->track && track_check(j->live->track, &why)) {
		say_why_not(j, &why);
		forget_track(j->live);
	}
	j->capture.tracked = j->live->track != NULL;
	return 0;
}

/* For the next incremental checkpoint: what is written from now on. */
int live_arm(struct job *j, struct err *err)
{
	struct live *l = j->live;
	struct err why = ERR_INIT;
	int ret = 0;

	(void)err;
	if (!j->o->incremental || j->o->kill)
		return 0;
	if (!l->track)
		ret = track_start(&j->remote, &l->track, &why);
	fault_point("armed");
	if (!ret)
		ret = track_round_stopped(l->track, &why);
	if (!ret)
		return 0;
	capture_notice(&j->capture, "%s", why.what);
	capture_notice(&j->capture, "the next checkpoint will be complete as well (hint: %s)",
		       why.hint);
	track_stop(l->track);
	l->track = NULL;
	return 0;
}

int live_snapshot(struct job *j, struct err *err)
{
	return j->o->pause == PAUSE_SHORT && !j->o->kill ? short_snapshot(j, err) : 0;
}

/*
 * How many bytes from addr on, within an unchanged run, are there already: *in_slot
 * says whether in this image or in the parent.  0: nowhere.
 */
static uint64_t already_there(const struct live *l, const struct run *r, uint64_t addr,
			      bool *in_slot, size_t *slot)
{
	uint64_t len = r->start + r->len - addr;
	const struct slot *s;

	*slot = slots_find(&l->slots, addr);
	s = *slot < l->slots.n ? &l->slots.v[*slot] : NULL;
	*in_slot = s && s->start <= addr;
	if (*in_slot)
		return s->start + s->len - addr < len ? s->start + s->len - addr : len;
	if (s && s->start - addr < len)
		len = s->start - addr;
	return lineage_has(&l->lineage, addr, &len) ? len : 0;
}

/* What must be copied now, in the order of addresses. */
static int list_changed(struct job *j, struct err *err)
{
	struct live *l = j->live;

	l->ranges.n = l->todo.n = 0;
	l->ranges.err = err;
	for (size_t i = 0; i < j->proc->nruns; i++) {
		const struct run *r = &j->proc->runs[i];
		uint64_t at = r->start, end = r->start + r->len;

		if (r->flags & RUN_CLEAN)
			break;
		while (at < end) {
			bool changed = !(r->flags & RUN_UNCHANGED), in_slot;
			uint64_t len = end - at;
			size_t slot;

			if (!changed && !(len = already_there(l, r, at, &in_slot, &slot))) {
				changed = true;
				len = PAGE_SIZE_4K;
			}
			if (changed && note_range(&l->ranges, at, at + len))
				return err->error;
			at += len;
		}
	}
	return slots_place(&l->slots, l->ranges.v, l->ranges.n, &l->todo, err);
}

/* The runs anew, cut where their places do not follow each other. */
struct cutter {
	struct run *v;
	size_t n, cap;
	struct err *err;
};

static int cut_add(struct cutter *c, struct run r)
{
	struct run *last = c->n ? &c->v[c->n - 1] : NULL;
	void *v;

	if (last && last->mapping == r.mapping && last->flags == r.flags &&
	    last->start + last->len == r.start &&
	    (r.flags & RUN_PARENT || last->place + last->len == r.place)) {
		last->len += r.len;
		return 0;
	}
	v = io_grow(c->v, &c->cap, c->n + 1, sizeof(*c->v), c->err);
	if (!v)
		return c->err->error;
	c->v = v;
	c->v[c->n++] = r;
	return 0;
}

static int cut_run(struct cutter *c, const struct live *l, struct run r)
{
	const struct run whole = r;

	for (uint64_t at = r.start; at < whole.start + whole.len; at += r.len) {
		bool in_slot;
		size_t i;
		int ret;

		r = (struct run){.start = at, .mapping = whole.mapping};
		r.len = already_there(l, &whole, at, &in_slot, &i);
		if (in_slot)
			r.place = l->slots.v[i].off + (at - l->slots.v[i].start);
		else
			r.flags = RUN_PARENT;
		if (!r.len) /* list_changed has given a place to what is nowhere else */
			return err_set(c->err, -EPROTO, "memory without a place");
		if ((ret = cut_add(c, r)))
			return ret;
	}
	return 0;
}

/* A clean run: from a file, or like one of the parent's from the same file. */
static int cut_clean(struct cutter *c, const struct live *l, const struct process *p, struct run r,
		     uint64_t *end)
{
	const struct run whole = r;

	for (uint64_t at = r.start; at < whole.start + whole.len; at += r.len) {
		uint64_t len = whole.start + whole.len - at;
		bool below = lineage_has_clean(&l->lineage, p, &whole, at, &len);
		int ret;

		r = (struct run){at, len, whole.mapping, RUN_CLEAN, *end};
		if (below) {
			r.flags |= RUN_PARENT;
			r.place = 0;
		} else {
			*end += len;
		}
		if ((ret = cut_add(c, r)))
			return ret;
	}
	return 0;
}

static int place_runs(struct job *j, uint64_t *ret_end, struct err *err)
{
	struct live *l = j->live;
	struct process *p = j->proc;
	struct cutter c = {.err = err};
	int ret = 0;

	*ret_end = l->slots.end;
	for (size_t i = 0; i < p->nruns && !ret; i++)
		ret = p->runs[i].flags & RUN_CLEAN ? cut_clean(&c, l, p, p->runs[i], ret_end)
						   : cut_run(&c, l, p->runs[i]);
	if (ret) {
		free(c.v);
		return ret;
	}
	free(p->runs);
	p->runs = c.v;
	p->nruns = c.n;
	p->runs_cap = c.cap;
	memory_count_stored(p);
	return 0;
}

/* Do the runs follow each other as if there had been no rounds? */
static bool in_order(const struct process *p, uint64_t data_size)
{
	uint64_t at = 0;

	for (size_t i = 0; i < p->nruns; i++) {
		if (p->runs[i].flags & RUN_PARENT)
			continue;
		if (p->runs[i].place != at)
			return false;
		at += p->runs[i].len;
	}
	return at == data_size;
}

int live_plan(struct job *j, struct err *err)
{
	struct process *p = j->proc;
	uint64_t end;
	int ret;

	if ((ret = list_changed(j, err)) || (ret = place_runs(j, &end, err)))
		return ret;
	p->places_given = !in_order(p, end);
	if (p->places_given)
		image_writer_require(j->writer, IMAGE_NEEDS_PLACES);
	if ((ret = lineage_tell(j, &j->live->lineage, err)))
		return ret;
	if ((ret = job_plan_copy(j, err)))
		return ret;
	return image_writer_set_data_size(j->writer, end, err);
}

int live_copy_rest(struct job *j, struct err *err)
{
	struct live *l = j->live;
	int ret;

	if (j->has_snapshot) {
		if (!(ret = short_split(j, &l->todo, &l->now, err)))
			ret = pieces_copy(j, &l->now, l->mem, false, err);
		j->source = &j->snapshot;
		return ret;
	}
	return pieces_copy(j, &j->live->todo, j->live->mem, false, err);
}

/* --- it runs again --- */

int live_copy_snapshot(struct job *j, struct err *err)
{
	int ret;

	if (!j->has_snapshot)
		return 0;
	if ((ret = short_check(j, err)) ||
	    (ret = pieces_copy(j, &j->live->todo, j->snapshot.memfd, false, err)))
		return ret;
	short_end(j);
	return 0;
}

/* The kernel takes the protection off, which takes it a while. */
int live_untrack(struct job *j, struct err *err)
{
	(void)err;
	if (j->o->incremental && !j->o->kill)
		return 0;
	track_stop(j->live->track);
	j->live->track = NULL;
	return 0;
}

/* Clean runs are behind each other: written by the block. */
int live_copy_files(struct job *j, struct err *err)
{
	__cleanup_free uint8_t *buf = io_alloc(1, IMAGE_BLOCK, err);
	const struct process *p = j->proc;
	uint64_t at = 0;
	size_t len = 0;
	int ret = buf ? 0 : err->error;

	for (size_t i = 0; i <= p->nruns && !ret; i++) {
		const struct run *r = i < p->nruns ? &p->runs[i] : NULL;
		uint64_t skip = 0;

		if (r && (!(r->flags & RUN_CLEAN) || r->flags & RUN_PARENT))
			continue;
		do {
			size_t n = IMAGE_BLOCK - len;

			if (len && (!r || (at + len) % IMAGE_BLOCK == 0 || !n)) {
				if ((ret = image_writer_put(j->writer, at, buf, len)))
					return image_writer_fail(j->writer, ret, err);
				len = 0;
			}
			if (!r)
				break;
			if (!len)
				at = r->place + skip;
			n = IMAGE_BLOCK - (at + len) % IMAGE_BLOCK;
			if (n > IMAGE_BLOCK - len)
				n = IMAGE_BLOCK - len;
			if (n > r->len - skip)
				n = (size_t)(r->len - skip);
			if ((ret = job_read_run(j, r, skip, buf + len, n, err)))
				return ret;
			len += n;
			skip += n;
			if (job_is_cancelled(j))
				return err_set(err, -ECANCELED, "interrupted");
		} while (skip < r->len);
	}
	return ret;
}

int live_settle(struct job *j, struct err *err)
{
	return image_writer_settle(j->writer, err);
}

int live_keep(struct job *j, struct err *err)
{
	struct track *t = j->live->track;

	(void)err;
	j->live->track = NULL;
	if (t)
		lineage_keep(j, &j->live->lineage, t);
	return 0;
}
