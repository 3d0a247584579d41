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
#include "checkpoint/pieces.h"
#include "checkpoint/slots.h"
#include "state/memory.h"
#include "track/track.h"

/* As much is copied within the pause: a fraction of a millisecond. */
#define SMALL_BYTES (1u << 20)
#define MAX_ROUNDS 30u

struct ranges {
	struct slot_range *v;
	size_t n, cap;
	struct err *err;
};

struct live {
	struct track *track; /* NULL: not possible here */
	struct slots slots;
	struct slot_list todo; /* where what is to be copied next is, and goes */
	struct ranges ranges;
	uint64_t rest_from; /* of the data area: from here on it comes from files */
	int mem;
};

void live_done(struct live *l)
{
	if (!l)
		return;
	track_stop(l->track);
	slots_done(&l->slots);
	slot_list_done(&l->todo);
	free(l->ranges.v);
	io_close_fd(&l->mem);
	free(l);
}

int live_begin(struct job *j, struct err *err)
{
	char path[64];

	j->live = io_alloc(1, sizeof(*j->live), err);
	if (!j->live)
		return err->error;
	snprintf(path, sizeof(path), "/proc/%d/mem", j->o->pid);
	j->live->mem = open(path, O_RDONLY | O_CLOEXEC);
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

	if ((ret = job_stop(j, err)) || (ret = job_prepare(j, err)))
		return ret;
	ret = track_start(&j->remote, &j->live->track, &why);
	remote_release(&j->remote);
	j->first_pause_ns = now_ns() - j->stopped_ns;
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

/* Ends when little is left, or when another round does not make it less: the
 * program writes as fast as we do. */
int live_rounds(struct job *j, struct err *err)
{
	uint64_t bytes = 0, before = UINT64_MAX;
	unsigned stuck = 0;

	if (!j->live->track)
		return 0;
	for (j->rounds = 0; j->rounds < MAX_ROUNDS && stuck < 2; before = bytes) {
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

/* --- stopped --- */

/* May what was seen so far be believed? */
int live_last_look(struct job *j, struct err *err)
{
	struct err why = ERR_INIT;

	(void)err;
	if (j->live->track && track_check(j->live->track, &why)) {
		say_why_not(j, &why);
		return 0;
	}
	j->capture.tracked = j->live->track != NULL;
	return 0;
}

static bool is_copied(const struct run *r)
{
	return r->flags & RUN_UNCHANGED;
}

/* Is every page of the run in a slot?  An unchanged page was met by a round. */
static bool has_slots(const struct slots *s, const struct run *r)
{
	uint64_t at = r->start, end = r->start + r->len;

	for (size_t i = slots_find(s, at); i < s->n && s->v[i].start <= at; i++)
		if ((at = s->v[i].start + s->v[i].len) >= end)
			return true;
	return false;
}

/* What must be copied now, in the order of addresses. */
static int list_changed(struct job *j, struct err *err)
{
	struct live *l = j->live;

	l->ranges.n = l->todo.n = 0;
	l->ranges.err = err;
	for (size_t i = 0; i < j->proc->nruns; i++) {
		struct run *r = &j->proc->runs[i];

		if (r->flags & RUN_CLEAN)
			break;
		if (is_copied(r) && !has_slots(&l->slots, r))
			r->flags &= ~(uint32_t)RUN_UNCHANGED;
		if (!is_copied(r) && note_range(&l->ranges, r->start, r->start + r->len))
			return err->error;
	}
	return slots_place(&l->slots, l->ranges.v, l->ranges.n, &l->todo, err);
}

/* Cuts the runs where their places do not follow each other. */
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
	    last->start + last->len == r.start && last->place + last->len == r.place) {
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

static int cut_run(struct cutter *c, const struct slots *s, struct run r)
{
	uint64_t at = r.start, end = r.start + r.len;

	r.flags = 0;
	for (size_t i = slots_find(s, at); at < end; i++) {
		const struct slot *slot = &s->v[i];
		uint64_t skip = at - slot->start;
		int ret;

		r.start = at;
		r.len = slot->len - skip < end - at ? slot->len - skip : end - at;
		r.place = slot->off + skip;
		if ((ret = cut_add(c, r)))
			return ret;
		at += r.len;
	}
	return 0;
}

static int place_runs(struct job *j, struct err *err)
{
	struct live *l = j->live;
	struct process *p = j->proc;
	struct cutter c = {.err = err};
	uint64_t clean = l->slots.end;
	int ret = 0;

	l->rest_from = clean;
	for (size_t i = 0; i < p->nruns && !ret; i++) {
		struct run r = p->runs[i];

		if (r.flags & RUN_CLEAN) {
			r.place = clean;
			clean += r.len;
			ret = cut_add(&c, r);
		} else {
			ret = cut_run(&c, &l->slots, r);
		}
	}
	if (ret) {
		free(c.v);
		return ret;
	}
	free(p->runs);
	p->runs = c.v;
	p->nruns = c.n;
	p->runs_cap = c.cap;
	return image_writer_set_data_size(j->writer, clean, err);
}

/* Do the runs follow each other as if there had been no rounds? */
static bool in_order(const struct process *p, uint64_t data_size)
{
	uint64_t at = 0;

	for (size_t i = 0; i < p->nruns; i++) {
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

	if ((ret = list_changed(j, err)) || (ret = place_runs(j, err)))
		return ret;
	if ((ret = job_plan_copy(j, err)))
		return ret;
	for (size_t i = 0; i < p->nruns; i++) {
		j->run_at[i] = p->runs[i].place;
		if (!(p->runs[i].flags & RUN_CLEAN))
			j->first_gathered = i + 1;
	}
	end = p->nruns ? p->runs[p->nruns - 1].place + p->runs[p->nruns - 1].len : 0;
	if (j->first_gathered == p->nruns)
		end = j->live->slots.end;
	j->run_at[p->nruns] = end;
	p->places_given = !in_order(p, end);
	if (p->places_given)
		image_writer_require(j->writer, IMAGE_NEEDS_PLACES);
	return 0;
}

int live_copy_rest(struct job *j, struct err *err)
{
	return pieces_copy(j, &j->live->todo, j->live->mem, false, err);
}

/* --- it runs again --- */

/* The kernel takes the protection off, which takes it a while. */
int live_untrack(struct job *j, struct err *err)
{
	(void)err;
	track_stop(j->live->track);
	j->live->track = NULL;
	return 0;
}

int live_copy_files(struct job *j, struct err *err)
{
	__cleanup_free uint8_t *buf = io_alloc(1, IMAGE_BLOCK, err);
	uint64_t at = j->live->rest_from, end = j->run_at[j->proc->nruns];

	while (buf && at < end) {
		size_t len = IMAGE_BLOCK - at % IMAGE_BLOCK;
		int ret;

		if (len > end - at)
			len = (size_t)(end - at);
		if ((ret = job_gather(j, at, len, buf, err)))
			return ret;
		if ((ret = image_writer_put(j->writer, at, buf, len)))
			return image_writer_fail(j->writer, ret, err);
		if (job_is_cancelled(j))
			return err_set(err, -ECANCELED, "interrupted");
		at += len;
	}
	return buf ? 0 : err->error;
}

int live_settle(struct job *j, struct err *err)
{
	return image_writer_settle(j->writer, err);
}
