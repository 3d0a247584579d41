/* Choosing again on another CPU: see code_choose_again() in code.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "code/internal.h"

#define JUMP_LEN 5u
#define LEAVES_MAX 32u

/* glibc's struct cpuid_feature, which it publishes: <sys/platform/x86.h>. */
struct leaf {
	uint32_t cpuid[4], active[4]; /* eax, ebx, ecx, edx */
};

/* Which of its leaves has which of our words. */
static const struct {
	uint8_t leaf, reg;
} leaf_of[CPU_WORDS] = {
	[CPU_1_ECX] = {0, 2},   [CPU_1_EDX] = {0, 3},  [CPU_7_EBX] = {1, 1},
	[CPU_7_ECX] = {1, 2},   [CPU_7_EDX] = {1, 3},  [CPU_7_1_EAX] = {6, 0},
	[CPU_7_1_EDX] = {6, 3}, [CPU_X1_ECX] = {2, 2}, [CPU_X1_EDX] = {2, 3},
	[CPU_D_1_EAX] = {3, 0}, [CPU_X8_EBX] = {5, 1},
};

struct choice {
	uint64_t old, new; /* addresses of functions */
};

struct chooser {
	struct code c;
	const struct process *p;
	struct remote *r;
	const struct arch_features *missing;
	struct choice *v; /* [c.nresolvers], then those that changed, each old one once */
	size_t n;
	struct err *err;
};

static int call(struct chooser *h, uint64_t addr, uint64_t arg, uint64_t *ret)
{
	return remote_call_function(h->r, addr, h->p->threads[0].regs.fs_base, arg, ret, h->err);
}

/* A resolver takes no argument here, and its answer is an address, or 0. */
static int ask_resolvers(struct chooser *h, bool anew)
{
	for (size_t i = 0; i < h->c.nresolvers; i++) {
		int ret = call(h, h->c.resolvers[i], 0, anew ? &h->v[i].new : &h->v[i].old);

		if (ret)
			return ret;
	}
	return 0;
}

/* --- what the C library remembers of the CPU --- */

/* The leaves stand in a row; asked for one more, it points elsewhere. */
static int find_leaves(struct chooser *h, uint64_t function, uint64_t *ret, size_t *ret_n)
{
	int e = call(h, function, 0, ret);

	for (*ret_n = 1; !e && *ret_n < LEAVES_MAX; ++*ret_n) {
		uint64_t at;

		e = call(h, function, *ret_n, &at);
		if (!e && at != *ret + *ret_n * sizeof(struct leaf))
			break;
	}
	return e;
}

static uint32_t bit_of(unsigned feature, unsigned *ret_leaf, unsigned *ret_reg)
{
	unsigned word = arch_feature_word(feature);

	*ret_leaf = leaf_of[word].leaf;
	*ret_reg = leaf_of[word].reg;
	return arch_feature_bit(feature);
}

/* Is that what the C library must have seen on the CPU that the program comes from? */
static bool is_plausible(const struct chooser *h, const struct leaf *v, size_t n)
{
	struct arch_features had = arch_cpu_features(&h->p->cpu);
	unsigned leaf, reg, found = 0;

	for (unsigned f = 0; f < FEATURES; f++) {
		uint32_t bit = bit_of(f, &leaf, &reg);

		if (leaf >= n || !(v[leaf].active[reg] & bit))
			continue;
		if (!arch_feature_in(&had, f))
			return false;
		found++;
	}
	return found > 3;
}

/* Behind the leaves: what is preferred, and the levels (bits from 0 on). */
static int correct_levels(struct chooser *h, uint64_t at)
{
	struct arch_features had = arch_cpu_features(&h->p->cpu), has;
	uint32_t v[2];
	int ret = remote_read_force(h->r, at, v, sizeof(v));

	has = arch_features_minus(&had, h->missing);
	/* Preferences are for what AVX can do; without any, the plainest is chosen. */
	if (arch_feature_in(h->missing, FEATURE_avx) || arch_feature_in(h->missing, FEATURE_avx2))
		v[0] = 0;
	v[1] &= (1u << arch_features_has_level(&has)) - 1;
	return ret ? ret : remote_write_force(h->r, at, v, sizeof(v));
}

static int correct_memory(struct chooser *h, uint64_t function)
{
	struct leaf v[LEAVES_MAX];
	uint64_t at;
	size_t n;
	int ret = find_leaves(h, function, &at, &n);

	if (ret)
		return ret;
	if ((ret = remote_read_force(h->r, at, v, n * sizeof(*v))))
		return err_sys(h->err, ret, "cannot read what the C library knows of the CPU");
	if (!is_plausible(h, v, n)) {
		err_refuse(h->err,
			   "what its C library knows of the CPU is not what this godwit knows");
		return err_hint(h->err, "start it with GLIBC_TUNABLES=glibc.cpu.hwcaps=...: see "
					"LIMITS in godwit(1)");
	}
	for (unsigned f = 0; f < FEATURES; f++) {
		unsigned leaf, reg;
		uint32_t bit = bit_of(f, &leaf, &reg);

		if (!arch_feature_in(h->missing, f) || leaf >= n)
			continue;
		v[leaf].cpuid[reg] &= ~bit;
		v[leaf].active[reg] &= ~bit;
	}
	if ((ret = remote_write_force(h->r, at, v, n * sizeof(*v))) ||
	    (ret = correct_levels(h, at + n * sizeof(*v))))
		return err_sys(h->err, ret, "cannot correct what the C library knows of the CPU");
	return 0;
}

/* --- the changes --- */

static int by_old(const void *a, const void *b)
{
	const struct choice *x = a, *y = b;

	return x->old < y->old ? -1 : x->old > y->old;
}

/* Of the answers, those that changed; each old function has one new one. */
static int keep_changes(struct chooser *h)
{
	size_t n = 0;

	for (size_t i = 0; i < h->c.nresolvers; i++)
		if (h->v[i].old != h->v[i].new)
			h->v[h->n++] = h->v[i];
	qsort(h->v, h->n, sizeof(*h->v), by_old);
	for (size_t i = 0; i < h->n; i++) {
		if (n && h->v[n - 1].old == h->v[i].old) {
			if (h->v[n - 1].new == h->v[i].new)
				continue;
			return err_refuse(h->err, "one function was chosen for two that this CPU "
						  "would choose different ones for");
		}
		h->v[n++] = h->v[i];
	}
	h->n = n;
	return 0;
}

/*
 * Saving the registers around a first call by name: the loader has chosen one way.  Where
 * XSAVEC is missing, XSAVE does, if the room that was computed for the other is enough.
 */
static int change_trampoline(struct chooser *h)
{
	struct arch_cpu here;
	const struct code_fn *plain = NULL;
	uint32_t compact = 576, end = 576;
	struct choice *to = &h->v[h->n];

	if (!arch_feature_in(h->missing, FEATURE_xsavec))
		return 0;
	to->old = 0;
	for (size_t i = 0; i < h->c.nfns; i++) {
		const struct code_fn *f = &h->c.fns[i];
		struct arch_features xsave = {{0}}, rest;

		if (!code_is_trampoline(&h->c, f))
			continue;
		arch_feature_add(&xsave, FEATURE_xsave);
		rest = arch_features_minus(&f->needs, &xsave);
		if (arch_features_empty(&rest))
			plain = plain ? &h->c.fns[h->c.nfns] : f; /* two: none */
		if (f->flags & FN_SLOT && arch_feature_in(&f->needs, FEATURE_xsavec))
			to->old = f->start;
	}
	if (!to->old)
		return 0;
	arch_cpu_here(&here);
	for (unsigned i = 2; i < 8; i++) {
		compact += h->p->cpu.part[i].len;
		if (here.part[i].len && here.part[i].off + here.part[i].len > end)
			end = here.part[i].off + here.part[i].len;
	}
	if (!plain || plain == &h->c.fns[h->c.nfns] || end > compact)
		return err_refuse(h->err, "its loader saves registers with XSAVEC, which this CPU "
					  "lacks, and in no other way that fits");
	to->new = plain->start;
	h->n++;
	return 0;
}

static const struct choice *find_choice(const struct chooser *h, uint64_t old)
{
	struct choice key = {.old = old};

	return bsearch(&key, h->v, h->n, sizeof(*h->v), by_old);
}

static int write_slots(struct chooser *h)
{
	for (size_t i = 0; i < h->c.nslots; i++) {
		const struct choice *ch;
		uint64_t v;
		int ret;

		if (code_peek(&h->c, h->c.slots[i], &v, sizeof(v)) || !(ch = find_choice(h, v)))
			continue;
		if ((ret = remote_write_force(h->r, h->c.slots[i], &ch->new, 8)))
			return err_sys(h->err, ret, "cannot write to a table of functions");
	}
	return 0;
}

/* Whoever has kept the old one's address is led to the new one. */
static int turn_old(struct chooser *h)
{
	for (size_t i = 0; i < h->n; i++) {
		struct code_fn *old = code_fn_starts(&h->c, h->v[i].old);
		struct code_fn *new = code_fn_at(&h->c, h->v[i].new);
		int64_t far = (int64_t)(h->v[i].new - h->v[i].old - JUMP_LEN);
		uint8_t jump[JUMP_LEN] = {0xe9};
		int32_t near = (int32_t)far;
		int ret;

		if (new)
			new->flags |= FN_EXPORT;
		if (!old || old->end - old->start < JUMP_LEN || near != far)
			continue; /* if it is still in use, that is found out now */
		memcpy(jump + 1, &near, 4);
		if ((ret = remote_write_force(h->r, old->start, jump, sizeof(jump))))
			return err_sys(h->err, ret, "cannot write to a function of the program");
		old->flags |= FN_TURNED;
	}
	return 0;
}

static int choose(struct chooser *h)
{
	uint64_t function = h->c.leaf_function;
	int ret;

	if ((ret = code_refuse(&h->c, h->missing, false, h->err)))
		return ret;
	/* The C library is another, or glibc before 2.33: nothing to be corrected is known. */
	if (!function)
		return code_refuse(&h->c, h->missing, true, h->err);
	h->v = io_alloc(h->c.nresolvers + 1, sizeof(*h->v), h->err);
	if (!h->v)
		return h->err->error;
	if ((ret = ask_resolvers(h, false)) || (ret = correct_memory(h, function)) ||
	    (ret = ask_resolvers(h, true)) || (ret = keep_changes(h)) ||
	    (ret = change_trampoline(h)))
		return ret;
	qsort(h->v, h->n, sizeof(*h->v), by_old);
	code_forget_windows(&h->c);
	if ((ret = write_slots(h)) || (ret = turn_old(h)) || (ret = code_judge(&h->c, h->err)))
		return ret;
	return code_refuse(&h->c, h->missing, true, h->err);
}

int code_choose_again(const struct process *p, struct remote *r,
		      const struct arch_features *missing, size_t *ret_n, struct err *err)
{
	struct chooser h = {.p = p, .r = r, .missing = missing, .err = err};
	struct code_memory m;
	int ret;

	*ret_n = 0;
	if (arch_features_empty(missing))
		return 0;
	code_memory_remote(p, r, &m);
	if ((ret = code_read(&m, &h.c, err)))
		return ret;
	ret = choose(&h);
	*ret_n = h.n;
	free(h.v);
	code_done(&h.c);
	return ret;
}
