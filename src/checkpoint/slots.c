/* Places of pages in a growing data area: see slots.h. */
#include "checkpoint/slots.h"

#include <stdlib.h>
#include <string.h>

#include "base/io.h"

void slots_done(struct slots *s)
{
	free(s->v);
	*s = (struct slots){0};
}

void slot_list_done(struct slot_list *l)
{
	free(l->v);
	*l = (struct slot_list){0};
}

int slot_list_add(struct slot_list *l, struct slot piece, struct err *err)
{
	struct slot *last = l->n ? &l->v[l->n - 1] : NULL;
	void *v;

	if (last && last->start + last->len == piece.start && last->off + last->len == piece.off) {
		last->len += piece.len;
		return 0;
	}
	v = io_grow(l->v, &l->cap, l->n + 1, sizeof(*l->v), err);
	if (!v)
		return err->error;
	l->v = v;
	l->v[l->n++] = piece;
	return 0;
}

size_t slots_find(const struct slots *s, uint64_t addr)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->v[mid].start + s->v[mid].len <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The parts of one range, from slot *at on. */
static int place_range(struct slots *s, struct slot_range r, size_t *at, struct slot_list *fresh,
		       struct slot_list *pieces, struct err *err)
{
	while (r.start < r.end) {
		struct slot part = {.start = r.start, .len = r.end - r.start};
		const struct slot *have;
		int ret;

		while (*at < s->n && s->v[*at].start + s->v[*at].len <= r.start)
			++*at;
		have = *at < s->n && s->v[*at].start < r.end ? &s->v[*at] : NULL;
		if (have && have->start <= r.start) {
			uint64_t skip = r.start - have->start;

			part.off = have->off + skip;
			if (have->len - skip < part.len)
				part.len = have->len - skip;
		} else {
			if (have)
				part.len = have->start - r.start;
			part.off = s->end;
			s->end += part.len;
			if ((ret = slot_list_add(fresh, part, err)))
				return ret;
		}
		if ((ret = slot_list_add(pieces, part, err)))
			return ret;
		r.start += part.len;
	}
	return 0;
}

/* Joins the old slots and the new ones, both sorted. */
static int merge(struct slots *s, const struct slot_list *fresh, struct err *err)
{
	struct slot_list all = {0};
	size_t i = 0, k = 0;
	int ret = 0;

	if (!fresh->n)
		return 0;
	while (!ret && (i < s->n || k < fresh->n)) {
		bool old = k == fresh->n || (i < s->n && s->v[i].start < fresh->v[k].start);

		ret = slot_list_add(&all, old ? s->v[i++] : fresh->v[k++], err);
	}
	if (ret) {
		slot_list_done(&all);
		return ret;
	}
	free(s->v);
	s->v = all.v;
	s->n = all.n;
	s->cap = all.cap;
	return 0;
}

int slots_place(struct slots *s, const struct slot_range *v, size_t n, struct slot_list *pieces,
		struct err *err)
{
	struct slot_list fresh = {0};
	size_t at = 0;
	int ret = 0;

	for (size_t i = 0; i < n && !ret; i++)
		ret = place_range(s, v[i], &at, &fresh, pieces, err);
	if (!ret)
		ret = merge(s, &fresh, err);
	slot_list_done(&fresh);
	return ret;
}
