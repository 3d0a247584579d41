/*
 * One pass over all that a leaving thread may have left somewhere as a word in
 * memory: locks that it holds, the live registers of an interrupted function,
 * jmp_bufs.  One, since for a big stack looking costs as much as sending.
 *
 * What is known of a held lock: glibc notes the owner, as a thread id, in each
 * mutex of any type, and in a read-write lock held for writing.  Who reads, who
 * holds a spin lock or a semaphore, is written nowhere.
 */
#include "thread/psu.h"

/* More data of the program than this is not looked at: it would cost more than
 * the hop, and touch pages that the program never touched. */
#define DATA_MAX (8UL << 20)

/* A mutex: {int lock; unsigned count; int owner; unsigned users; int kind; ...}.
 * users counts who waits for a condition with it, too.  lock is 1, or 2 when others
 * wait; with priority inheritance, or robust, the owner and two flags.  A priority
 * ceiling (PTHREAD_PRIO_PROTECT) is not known here. */
static bool is_mutex(const uint64_t *owner, const uint64_t *lo, const uint64_t *hi)
{
	const uint64_t *m = owner - 1;
	uint32_t lock, kind;

	if (m < lo || m + 5 > hi || !(*owner >> 32))
		return false;
	lock = (uint32_t)m[0];
	kind = (uint32_t)m[2];
	return kind < 1024 && m[0] >> 32 < 100000 &&
	       (lock == 1 || lock == 2 || (lock & 0x3fffffff) == (uint32_t)*owner);
}

/* A read-write lock: {unsigned readers, writers, wrphase, writers_futex, 0, 0;
 * int writer; int shared; ...}: readers has two bits for a writer at work. */
static bool is_rwlock(const uint64_t *writer, const uint64_t *lo, const uint64_t *hi)
{
	const uint64_t *l = writer - 3;
	uint64_t futexes;

	if (l < lo || l + 7 > hi || *writer >> 32 > 1 || l[2] || (l[0] & 3) != 3)
		return false;
	futexes = l[1] & ~0x200000002ULL; /* bit 1: somebody sleeps there */
	return futexes == 0x100000001ULL;
}

/* The saved segment registers cs and ss; and the magic of the vector state, which
 * is where the next word but four points. */
static bool is_signal_frame(const uint64_t *segments, const uint64_t *hi, const struct scan *k)
{
	uint64_t fp;

	if (segments + 6 >= hi)
		return false;
	fp = segments[5];
	return fp >= k->stack_lo && fp + 512 <= k->stack_hi && !(fp & 63) &&
	       *(const uint32_t *)(fp + 464) == 0x46505853;
}

enum { LOCKS = 1, JMPBUFS = 2, FRAMES = 4 };

static void look(struct scan *k, uintptr_t from, uintptr_t to, int what)
{
	const uint64_t *lo = (const uint64_t *)ALIGN_UP(from, 8);
	const uint64_t *hi = (const uint64_t *)ALIGN_DOWN(to, 8), *w;
	struct hop_pattern p[3] = {
		what & LOCKS ? k->owner : HOP_NO_PATTERN,
		what & JMPBUFS ? k->jmpbuf_sp : HOP_NO_PATTERN,
		what & FRAMES ? (struct hop_pattern){0xffff00000000ffff, 0x002b000000000033}
			      : HOP_NO_PATTERN,
	};

	for (w = hop_find(lo, hi, p); w < hi; w = hop_find(w + 1, hi, p)) {
		const uint64_t *env = w - HOP_JB_RSP;

		if ((*w & p[0].mask) == p[0].value && !k->lock &&
		    (is_mutex(w, lo, hi) || is_rwlock(w, lo, hi))) {
			k->is_rwlock = !is_mutex(w, lo, hi);
			k->lock = w - (k->is_rwlock ? 3 : 1);
		}
		if ((*w & p[1].mask) == p[1].value && env >= lo && env + HOP_JB_WORDS <= hi &&
		    k->njmpbufs < PSU_JMPBUFS)
			k->jmpbufs[k->njmpbufs++] = (uintptr_t)env;
		if ((*w & p[2].mask) == p[2].value && is_signal_frame(w, hi, k))
			k->has_signal_frame = true;
	}
}

void scan_thread(const struct slot *s, const struct hop_regs *regs, struct scan *k)
{
	uintptr_t stack = s->addr + PSU_SLOT_SIZE - PSU_STACK_SIZE, data[8][2];
	uint64_t guard = hop_pointer_guard(), high = ~(PSU_STACK_SIZE - 1);
	int i, n = modules_exe_data(data, 8), jmpbufs = psu.jmpbuf_known ? JMPBUFS : 0;
	struct tls_head range[64];
	size_t budget = DATA_MAX;

	_Static_assert(!(PSU_SLOT_SIZE % PSU_STACK_SIZE), "a stack is one block of addresses");
	k->lock = NULL;
	k->has_signal_frame = false;
	k->njmpbufs = 0;
	k->stack_lo = regs->rsp;
	k->stack_hi = s->st.base_sp;
	k->owner = (struct hop_pattern){0xffff0000ffffffff, (uint32_t)s->tid};
	/* Both sides of "decodes to an address in this stack", as it is mangled. */
	k->jmpbuf_sp =
		(struct hop_pattern){hop_mangle(high, 0), hop_mangle(stack ^ (guard & high), 0)};
	look(k, regs->rsp, s->st.base_sp, LOCKS | jmpbufs | FRAMES);
	look(k, s->addr + ARENA_START, s->addr + slot_travel(s)->arena_top, LOCKS | jmpbufs);
	for (i = 0; i < n; i++) {
		if (data[i][1] - data[i][0] > budget)
			continue;
		budget -= data[i][1] - data[i][0];
		look(k, data[i][0], data[i][1], LOCKS);
	}
	n = jmpbufs ? carry_global_ranges(range, 64) : 0;
	for (i = 0; i < n; i++)
		look(k, range[i].addr, range[i].addr + range[i].len, JMPBUFS);
}
