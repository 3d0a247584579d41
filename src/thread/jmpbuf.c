/*
 * setjmp before a hop, longjmp after it.
 *
 * glibc keeps three words of a jmp_buf mangled with a key of the process.  The
 * sender finds the jmp_bufs in what it ships, the receiver mangles them anew.
 *
 * Found is what decodes to an address in this stack and, beside it, one in a
 * module: by chance 2^-60.  But a dead jmp_buf, of a function that returned long
 * ago, decodes too, and its other words may be somebody's live data by now (a
 * double was corrupted so: tests/hop/hard.t, fp).  A living one was filled by a
 * function that is still active, so its stack pointer is that of a frame on this
 * stack, give or take arguments pushed for a call; or, where the frame has
 * changed size since (alloca), the function keeps a frame pointer, and the third
 * word decodes to an address in this stack as well.
 */
#include "thread/psu.h"

#include <unwind.h>

#define PUSHED 64 /* bytes of arguments on the stack: eight */

struct candidate {
	uint64_t at, sp, ip;
	bool alive;
};

struct search {
	uint64_t stack_lo, stack_hi;
	int n;
	struct candidate c[PSU_JMPBUFS];
};

static bool in_module(const struct module_table *t, uint64_t ip)
{
	uint32_t i;

	for (i = 0; i < t->n; i++)
		if (ip - t->m[i].lo < t->m[i].hi - t->m[i].lo)
			return true;
	return false;
}

static void look_at(struct search *k, const uint64_t *env, uint64_t guard)
{
	uint64_t sp = hop_demangle(env[HOP_JB_RSP], guard);
	uint64_t bp = hop_demangle(env[HOP_JB_RBP], guard);
	uint64_t span = k->stack_hi - k->stack_lo;

	if (sp - k->stack_lo > span)
		return;
	k->c[k->n++] = (struct candidate){
		.at = (uintptr_t)env,
		.sp = sp,
		.ip = hop_demangle(env[HOP_JB_RIP], guard),
		.alive = bp - k->stack_lo <= span,
	};
}

static _Unwind_Reason_Code frame(struct _Unwind_Context *c, void *arg)
{
	struct search *k = arg;
	/* The stack pointer as it is in this frame, after its callee returned. */
	uint64_t low = _Unwind_GetCFA(c);
	int i;

	for (i = 0; i < k->n; i++)
		if (low >= k->stack_lo && k->c[i].sp - low <= PUSHED)
			k->c[i].alive = true;
	return _URC_NO_REASON;
}

/* Drops what points into no module. */
static void check_code(struct search *k)
{
	struct err err = ERR_INIT;
	__cleanup_free struct module_table *t = io_alloc(1, sizeof(*t), &err);
	int i, n = 0;

	if (!t || modules_current(t, &err))
		return;
	for (i = 0; i < k->n; i++)
		if (in_module(t, k->c[i].ip))
			k->c[n++] = k->c[i];
	k->n = n;
}

int jmpbuf_find(const struct scan *scan, uint64_t *ret)
{
	struct search k = {.stack_lo = scan->stack_lo, .stack_hi = scan->stack_hi};
	int i, n = 0;

	for (i = 0; i < scan->njmpbufs; i++)
		look_at(&k, (const uint64_t *)scan->jmpbufs[i], hop_pointer_guard());
	if (!k.n)
		return 0;
	check_code(&k);
	_Unwind_Backtrace(frame, &k);
	for (i = 0; i < k.n; i++)
		if (k.c[i].alive)
			ret[n++] = k.c[i].at;
	return n;
}

static bool travelled(const struct fixup *f, uint64_t at)
{
	struct tls_head range[64];
	int i, n;

	if (at % 8)
		return false;
	if (at >= f->stack_lo && at + 8 * HOP_JB_WORDS <= f->stack_hi)
		return true;
	if (at >= f->arena_lo && at + 8 * HOP_JB_WORDS <= f->arena_hi)
		return true;
	n = carry_global_ranges(range, 64);
	for (i = 0; i < n; i++)
		if (at >= range[i].addr && at + 8 * HOP_JB_WORDS <= range[i].addr + range[i].len)
			return true;
	return false;
}

void jmpbuf_fix(const struct fixup *f, const uint64_t *list, int n)
{
	static const int words[] = {HOP_JB_RBP, HOP_JB_RSP, HOP_JB_RIP};
	size_t k;
	int i;

	for (i = 0; i < n; i++) {
		/* A registered global may lie elsewhere here. */
		uint64_t at = fixup_word(f->maps, list[i]), *env = (uint64_t *)at;

		for (k = 0; k < ARRAY_SIZE(words) && travelled(f, at); k++) {
			uint64_t v = hop_demangle(env[words[k]], f->guard_src);

			env[words[k]] = hop_mangle(fixup_word(f->maps, v), f->guard_dst);
		}
	}
}
