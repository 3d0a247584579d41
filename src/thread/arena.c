/*
 * psu_malloc: memory inside the thread's slot, so that it keeps its address on
 * every host.  All bookkeeping lies in the arena itself and travels with it.
 *
 * Blocks follow each other without gaps from ARENA_START to travel.arena_top.
 * Each begins with a 16-byte head: the size of the block before it, and its own
 * size with bit 0 set while it is in use.  Free neighbours are joined; free
 * blocks hang in doubly linked lists by the power of two of their size.
 */
#include "thread/psu.h"

#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

struct real_alloc real_alloc = {
	.malloc = malloc,
	.aligned_alloc = aligned_alloc,
	.realloc = realloc,
	.free = free,
	.usable_size = malloc_usable_size,
};

struct block {
	uint64_t before; /* size of the neighbour below, 0: none */
	uint64_t size;   /* with this head; multiple of 16; bit 0: in use */
	/* while free: */
	struct block *next, *prev;
};
#define HEAD 16UL
#define LEAST sizeof(struct block)
#define USED 1UL

static uint64_t size_of(const struct block *b)
{
	return b->size & ~15UL;
}

static struct block *after(const struct travel *t, const struct block *b)
{
	uintptr_t p = (uintptr_t)b + size_of(b);

	return p < (uintptr_t)t + t->arena_top ? (struct block *)p : NULL;
}

/* 0 to 31; blocks of class i have sizes in [2^(i+5), 2^(i+6)). */
static int class_of(uint64_t size)
{
	int i = 63 - __builtin_clzl(size) - 5;

	return i < 0 ? 0 : i > 31 ? 31 : i;
}

static void lock(struct travel *t)
{
	while (__atomic_exchange_n(&t->arena_lock, 1, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void unlock(struct travel *t)
{
	__atomic_store_n(&t->arena_lock, 0, __ATOMIC_RELEASE);
}

static void bin_add(struct travel *t, struct block *b)
{
	uint64_t *bin = &t->bins[class_of(size_of(b))];

	b->size &= ~USED;
	b->prev = NULL;
	b->next = (struct block *)*bin;
	if (b->next)
		b->next->prev = b;
	*bin = (uintptr_t)b;
}

static void bin_remove(struct travel *t, struct block *b)
{
	if (b->prev)
		b->prev->next = b->next;
	else
		t->bins[class_of(size_of(b))] = (uintptr_t)b->next;
	if (b->next)
		b->next->prev = b->prev;
}

static void set_size(struct travel *t, struct block *b, uint64_t size)
{
	struct block *n;

	b->size = size | (b->size & USED);
	n = after(t, b);
	if (n)
		n->before = size;
}

/* Cuts b, not in a list, to size; the rest becomes a free block. */
static void split(struct travel *t, struct block *b, uint64_t size)
{
	uint64_t rest = size_of(b) - size;
	struct block *r = (struct block *)((uintptr_t)b + size);

	if (rest < LEAST)
		return;
	r->size = 0;
	set_size(t, r, rest);
	r->before = size;
	b->size = size | (b->size & USED);
	bin_add(t, r);
}

static struct block *from_bins(struct travel *t, uint64_t size)
{
	int i;

	for (i = class_of(size); i < 32; i++) {
		struct block *b;

		for (b = (struct block *)t->bins[i]; b; b = b->next)
			if (size_of(b) >= size) {
				bin_remove(t, b);
				return b;
			}
	}
	return NULL;
}

/* The size of the topmost block is not recorded anywhere above it: keep it. */
static struct block *from_top(struct travel *t, uint64_t size)
{
	struct block *b = (struct block *)((uintptr_t)t + t->arena_top);

	if (size > PSU_ARENA_SIZE - t->arena_top)
		return NULL;
	b->before = t->top_size;
	b->size = size;
	t->top_size = size;
	t->arena_top += size;
	return b;
}

void arena_init(struct travel *t)
{
	memset(t, 0, sizeof(*t));
	t->magic = TRAVEL_MAGIC;
	t->arena_top = ARENA_START;
}

static void release(struct travel *t, struct block *b)
{
	struct block *n = after(t, b), *p;

	if (n && !(n->size & USED)) {
		bin_remove(t, n);
		set_size(t, b, size_of(b) + size_of(n));
	}
	p = b->before ? (struct block *)((uintptr_t)b - b->before) : NULL;
	if (p && !(p->size & USED)) {
		bin_remove(t, p);
		set_size(t, p, size_of(p) + size_of(b));
		b = p;
	}
	if (after(t, b)) {
		bin_add(t, b);
		return;
	}
	/* The topmost: what is above arena_top does not travel. */
	t->top_size = b->before;
	t->arena_top = (uintptr_t)b - (uintptr_t)t;
}

void *arena_alloc(struct travel *t, size_t align, size_t size)
{
	uint64_t want, total;
	struct block *b;
	uintptr_t p;

	if (size > PSU_ARENA_SIZE || align > 1UL << 20)
		return NULL;
	want = ALIGN_UP(size + HEAD, 16);
	want = want < LEAST ? LEAST : want;
	total = align > 16 ? want + align + LEAST : want;
	lock(t);
	b = from_bins(t, total);
	if (!b)
		b = from_top(t, total);
	if (!b) {
		unlock(t);
		return NULL;
	}
	b->size |= USED;
	p = ALIGN_UP((uintptr_t)b + HEAD, align > 16 ? align : 16);
	if (p != (uintptr_t)b + HEAD) {
		/* The gap in front must be large enough to be a block. */
		struct block *front = b;
		uint64_t whole = size_of(b), gap;

		while (p - HEAD - (uintptr_t)b < LEAST)
			p += align;
		gap = p - HEAD - (uintptr_t)b;
		b = (struct block *)(p - HEAD);
		b->size = USED;
		set_size(t, b, whole - gap);
		if ((uintptr_t)t + t->arena_top == (uintptr_t)b + size_of(b))
			t->top_size = whole - gap;
		b->before = gap;
		front->size = gap | USED;
		bin_add(t, front);
	}
	if (after(t, b))
		split(t, b, want);
	unlock(t);
	return (void *)p;
}

void arena_free(struct travel *t, void *p)
{
	lock(t);
	release(t, (struct block *)((uintptr_t)p - HEAD));
	unlock(t);
}

size_t arena_usable(const void *p)
{
	return size_of((const struct block *)((uintptr_t)p - HEAD)) - HEAD;
}

struct travel *arena_of(const void *p)
{
	struct slot *s = slot_of((uintptr_t)p);

	if (!s || (uintptr_t)p - s->addr >= PSU_ARENA_SIZE)
		return NULL;
	return slot_travel(s);
}

/* The calling thread's arena, unless the library itself is at work. */
static struct travel *own(void)
{
	struct slot *s = slot_current();

	return s && !s->in_library && s->state == SLOT_RUNNING ? slot_travel(s) : NULL;
}

PSU_PUBLIC void *psu_memalign(size_t align, size_t size)
{
	struct travel *t = own();
	void *p;

	if (!align || (align & (align - 1))) {
		errno = EINVAL;
		return NULL;
	}
	if (!t)
		return real_alloc.aligned_alloc(align < 16 ? 16 : align, size);
	p = arena_alloc(t, align, size);
	if (!p)
		errno = ENOMEM;
	return p;
}

PSU_PUBLIC void *psu_malloc(size_t size)
{
	return own() ? psu_memalign(16, size) : real_alloc.malloc(size);
}

PSU_PUBLIC void *psu_calloc(size_t n, size_t size)
{
	size_t total;
	void *p;

	if (__builtin_mul_overflow(n, size, &total)) {
		errno = ENOMEM;
		return NULL;
	}
	p = psu_malloc(total);
	/* A block may have been used before, here or on another host. */
	return p ? memset(p, 0, total) : NULL;
}

PSU_PUBLIC void psu_free(void *p)
{
	struct travel *t = arena_of(p);
	int saved = errno;

	if (t)
		arena_free(t, p);
	else
		real_alloc.free(p);
	errno = saved;
}

PSU_PUBLIC void *psu_realloc(void *p, size_t size)
{
	size_t old;
	void *q;

	if (!p)
		return psu_malloc(size);
	if (!arena_of(p))
		return real_alloc.realloc(p, size);
	if (!size) {
		psu_free(p);
		return NULL;
	}
	old = arena_usable(p);
	if (size <= old && size >= old / 2)
		return p;
	q = psu_malloc(size);
	if (q) {
		memcpy(q, p, old < size ? old : size);
		psu_free(p);
	}
	return q;
}

PSU_PUBLIC char *psu_strdup(const char *s)
{
	size_t n = strlen(s) + 1;
	char *p = psu_malloc(n);

	return p ? memcpy(p, s, n) : NULL;
}
