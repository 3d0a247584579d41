/* Functions, from the unwind tables: see code.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/insn.h"
#include "base/io.h"
#include "code/internal.h"

#define TABLE_OF_32_BITS 0x3b /* DW_EH_PE_datarel | DW_EH_PE_sdata4 */

const struct code_range *code_range_at(const struct code *c, uint64_t addr)
{
	size_t lo = 0, hi = c->nranges;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (c->ranges[mid].start + c->ranges[mid].len <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < c->nranges && c->ranges[lo].start <= addr ? &c->ranges[lo] : NULL;
}

struct code_fn *code_fn_at(const struct code *c, uint64_t addr)
{
	size_t lo = 0, hi = c->nfns;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (c->fns[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < c->nfns && c->fns[lo].start <= addr ? &c->fns[lo] : NULL;
}

struct code_fn *code_fn_starts(const struct code *c, uint64_t addr)
{
	struct code_fn *f = code_fn_at(c, addr);

	return f && f->start == addr && !(f->flags & FN_WHOLE) ? f : NULL;
}

static int add_fn(struct code *c, uint64_t start, uint64_t end, uint32_t range, uint32_t flags,
		  struct err *err)
{
	struct code_fn *v;

	if (c->nfns >= CODE_FNS_MAX)
		return err_set(err, -EFBIG, "its code has more than %u functions", CODE_FNS_MAX);
	v = io_grow(c->fns, &c->fns_cap, c->nfns + 1, sizeof(*v), err);
	if (!v)
		return err->error;
	c->fns = v;
	v[c->nfns++] = (struct code_fn){.start = start,
					.end = end,
					.module = c->ranges[range].module,
					.range = range,
					.flags = flags};
	return 0;
}

/* How long the function is whose record is there: 0 where that cannot be read. */
static uint64_t length_of(struct code *c, uint64_t fde, uint64_t start)
{
	struct {
		uint32_t len, cie;
		int32_t pc;
		uint32_t range;
	} r;

	if (code_peek(c, fde, &r, sizeof(r)) || r.len < 12 || r.len == UINT32_MAX ||
	    fde + 8 + (uint64_t)(int64_t)r.pc != start)
		return 0;
	return r.range;
}

/* Functions of a module, in the order of its table, which is that of addresses. */
static int read_table(struct code *c, struct code_module *m, struct err *err)
{
	struct {
		uint8_t version, frame_enc, count_enc, table_enc;
		int32_t frame;
		uint32_t count;
	} h;
	size_t before = c->nfns;
	int ret = 0;

	if (!m->eh_frame_hdr || code_peek(c, m->eh_frame_hdr, &h, sizeof(h)) || h.version != 1 ||
	    h.count_enc != 3 || h.table_enc != TABLE_OF_32_BITS || h.count > CODE_FNS_MAX)
		return 0;
	for (uint32_t i = 0; i < h.count && !ret; i++) {
		int32_t e[2];
		uint64_t start, len;
		const struct code_range *r;

		if (code_peek(c, m->eh_frame_hdr + sizeof(h) + i * 8ULL, e, sizeof(e)))
			break;
		start = m->eh_frame_hdr + (uint64_t)(int64_t)e[0];
		len = length_of(c, m->eh_frame_hdr + (uint64_t)(int64_t)e[1], start);
		r = code_range_at(c, start);
		if (!len || !r || len > r->start + r->len - start)
			continue;
		ret = add_fn(c, start, start + len, (uint32_t)(r - c->ranges), 0, err);
	}
	m->has_functions = c->nfns > before;
	return ret;
}

static int by_start(const void *a, const void *b)
{
	const struct code_fn *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* Sorted, and without overlaps: of two, the later begins where it says. */
static void tidy(struct code *c)
{
	size_t n = 0;

	qsort(c->fns, c->nfns, sizeof(*c->fns), by_start);
	for (size_t i = 0; i < c->nfns; i++) {
		if (n && c->fns[n - 1].start == c->fns[i].start)
			continue;
		if (n && c->fns[n - 1].end > c->fns[i].start)
			c->fns[n - 1].end = c->fns[i].start;
		c->fns[n++] = c->fns[i];
	}
	c->nfns = n;
}

int code_find_functions(struct code *c, struct err *err)
{
	int ret = 0;

	for (size_t i = 0; i < c->nmodules && !ret; i++)
		if (c->modules[i].is_elf)
			ret = read_table(c, &c->modules[i], err);
	for (size_t i = 0; i < c->nranges && !ret; i++)
		if (!c->modules[c->ranges[i].module].has_functions)
			ret = add_fn(c, c->ranges[i].start, c->ranges[i].start + c->ranges[i].len,
				     (uint32_t)i, FN_WHOLE, err);
	if (!ret && c->nfns)
		tidy(c);
	return ret;
}
