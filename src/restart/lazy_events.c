/*
 * Memory that comes later: what the kernel has to say of it.
 *
 * Who changes its memory waits until the message about it has been read; from the
 * beginning of the change until then the kernel takes no page (EAGAIN).  A fault may be
 * told before a change that came first: so an address is looked up again after each message,
 * until the kernel takes the answer.
 *
 * What follows from each:
 * - fault of a missing page: it is asked for;
 * - fault of any other: zeros, whatever the reason (never touched, dropped, or dropped in a
 *   way that is not told).  The kernel says EEXIST if it is there after all;
 * - REMOVE (madvise): what is missing there will be zeros;
 * - UNMAP: the same, and the area ends;  REMAP: the area is elsewhere now;
 * - FORK: the child's space, with the same areas, lacks what is missing here.
 */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"
#include "restart/lazy_internal.h"

#define USER_START 0x10000ULL
#define USER_END 0x7ffffffff000ULL

const struct lazy_area *lazy_area_of(const struct area_list *a, uint64_t was)
{
	for (uint32_t i = 0; i < a->n; i++)
		if (was >= a->v[i].was && was - a->v[i].was < a->v[i].end - a->v[i].start)
			return &a->v[i];
	return NULL;
}

static const struct lazy_area *area_at(const struct area_list *a, uint64_t at)
{
	uint32_t lo = 0, hi = a->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (a->v[mid].end <= at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < a->n && a->v[lo].start <= at ? &a->v[lo] : NULL;
}

static struct area_list *areas_of(struct lazy *l, unsigned space)
{
	struct lazy_space *sp = &l->shared->space[space];

	return &sp->list[sp->current];
}

/* The number of the page that is at this address now; -1: of none that was missing. */
static int64_t page_at(struct lazy *l, unsigned space, uint64_t at)
{
	const struct lazy_area *area = area_at(areas_of(l, space), at);
	const struct missing_range *r;
	uint64_t was;

	if (!area)
		return -1;
	was = area->was + (at - area->start);
	r = lazy_find_range(l->shared, was);
	return r && r->start <= was ? (int64_t)(r->first + (was - r->start) / PAGE_SIZE_4K) : -1;
}

/* --- changes --- */

/* Nothing of [start, end), as it is now, is wanted any more. */
static void forget_pages(struct lazy *l, unsigned space, uint64_t start, uint64_t end)
{
	const struct area_list *a = areas_of(l, space);

	for (uint32_t i = 0; i < a->n; i++) {
		uint64_t from = a->v[i].start > start ? a->v[i].start : start;
		uint64_t to = a->v[i].end < end ? a->v[i].end : end;

		for (; from < to; from += PAGE_SIZE_4K) {
			int64_t page = page_at(l, space, from);

			if (page >= 0)
				lazy_mark(l->shared, space, (uint64_t)page);
		}
	}
}

static void add_piece(struct area_list *a, uint64_t start, uint64_t end, uint64_t was)
{
	uint32_t i = a->n;

	if (start >= end)
		return;
	while (i > 0 && a->v[i - 1].start > start) {
		a->v[i] = a->v[i - 1];
		i--;
	}
	a->v[i] = (struct lazy_area){start, end, was};
	a->n++;
}

/*
 * Takes [start, end) away, and puts it at `to` where that is not 0.  False: too many parts.
 * Done twice it finds nothing the second time.
 */
static bool move_areas(struct lazy *l, unsigned space, uint64_t start, uint64_t end, uint64_t to)
{
	struct lazy_space *sp = &l->shared->space[space];
	const struct area_list *old = &sp->list[sp->current];
	struct area_list *new = &sp->list[!sp->current];

	if (old->n + 3 > AREAS_MAX)
		return false;
	new->n = 0;
	for (uint32_t i = 0; i < old->n; i++) {
		const struct lazy_area *v = &old->v[i];
		uint64_t from = v->start > start ? v->start : start;
		uint64_t till = v->end < end ? v->end : end;

		if (from >= till) {
			add_piece(new, v->start, v->end, v->was);
			continue;
		}
		if (new->n + 3 + (old->n - i) > AREAS_MAX)
			return false;
		add_piece(new, v->start, from, v->was);
		add_piece(new, till, v->end, v->was + (till - v->start));
		if (to)
			add_piece(new, to + (from - start), to + (till - start),
				  v->was + (from - v->start));
	}
	sp->current = !sp->current;
	return true;
}

static void on_remap(struct lazy *l, unsigned space, uint64_t from, uint64_t to, uint64_t len)
{
	if (move_areas(l, space, from, from + len, to))
		return;
	/* More parts than any program makes within seconds of what it moves. */
	l->shared->failed = LAZY_TOO_MANY_PARTS;
}

static void on_unmap(struct lazy *l, unsigned space, uint64_t start, uint64_t end)
{
	forget_pages(l, space, start, end);
	/* Kept where there is no room: what is new there is not registered. */
	move_areas(l, space, start, end, 0);
}

static void on_fork(struct lazy *l, unsigned parent, int uffd)
{
	struct lazy_shared *s = l->shared;
	const struct area_list *from = areas_of(l, parent);
	unsigned i = 0;

	while (i < LAZY_SPACES && s->space[i].state != SPACE_FREE)
		i++;
	if (i == LAZY_SPACES) {
		/* Left open: it waits for ever rather than find zeros. */
		s->failed = LAZY_TOO_MANY_CHILDREN;
		return;
	}
	s->space[i].list[0].n = from->n;
	memcpy(s->space[i].list[0].v, from->v, from->n * sizeof(*from->v));
	s->space[i].current = 0;
	memcpy(lazy_here(s, i), lazy_here(s, parent), s->words * 8);
	l->uffd[i] = uffd;
	s->space[i].state = SPACE_LIVES;
	s->top = i < s->top ? s->top : i + 1;
	s->forks++;
	if (lazy_watch(l, i))
		s->failed = LAZY_TOO_MANY_CHILDREN;
	if (l->share)
		l->share(l->arg, i, uffd);
	fault_point("child shared");
}

/* --- faults --- */

/* False: the kernel does not take it yet. */
static bool answer_zero(struct lazy *l, unsigned space, uint64_t at)
{
	struct uffdio_zeropage z = {.range = {at, PAGE_SIZE_4K}};

	if (!ioctl(l->uffd[space], UFFDIO_ZEROPAGE, &z))
		return true;
	if (errno == EAGAIN || errno == ENOMEM)
		return false;
	if (errno == ESRCH)
		lazy_end_space(l, space);
	else
		lazy_wake(l->uffd[space], at, PAGE_SIZE_4K);
	return true;
}

static bool answer(struct lazy *l, unsigned space, uint64_t at)
{
	int64_t page = page_at(l, space, at);

	if (page < 0 || lazy_is_here(l->shared, space, (uint64_t)page))
		return answer_zero(l, space, at);
	const struct lazy_area *area = area_at(areas_of(l, space), at);

	l->ask(l->arg, area->was + (at - area->start));
	return true;
}

/* Tried again when more messages have been read: a change has to come first. */
static void on_fault(struct lazy *l, unsigned space, uint64_t at)
{
	if (answer(l, space, at))
		return;
	if (l->ndeferred < LAZY_DEFERRED)
		l->deferred[l->ndeferred++] = (struct lazy_fault){space, at};
	else
		lazy_wake(l->uffd[space], at, PAGE_SIZE_4K); /* it faults again */
}

static void try_deferred(struct lazy *l)
{
	size_t n = l->ndeferred;

	l->ndeferred = 0;
	for (size_t i = 0; i < n; i++)
		if (l->uffd[l->deferred[i].space] >= 0)
			on_fault(l, l->deferred[i].space, l->deferred[i].at);
}

bool lazy_is_busy(const struct lazy *l)
{
	return l->ndeferred;
}

/* --- messages --- */

static void handle(struct lazy *l, unsigned space, const struct uffd_msg *m)
{
	switch (m->event) {
	case UFFD_EVENT_PAGEFAULT:
		on_fault(l, space, ALIGN_DOWN(m->arg.pagefault.address, PAGE_SIZE_4K));
		return;
	case UFFD_EVENT_FORK:
		on_fork(l, space, (int)m->arg.fork.ufd);
		return;
	case UFFD_EVENT_REMAP:
		on_remap(l, space, m->arg.remap.from, m->arg.remap.to, m->arg.remap.len);
		return;
	case UFFD_EVENT_REMOVE:
		forget_pages(l, space, m->arg.remove.start, m->arg.remove.end);
		return;
	case UFFD_EVENT_UNMAP:
		on_unmap(l, space, m->arg.remove.start, m->arg.remove.end);
		return;
	default:
		return;
	}
}

/* One message of a space.  False: there is none. */
static bool take_message(struct lazy *l, unsigned space)
{
	struct lazy_shared *s = l->shared;

	s->message_space = space;
	if (read(l->uffd[space], &s->message, sizeof(s->message)) != sizeof(s->message))
		return false;
	handle(l, space, &s->message);
	s->message.event = 0;
	return true;
}

void lazy_serve(struct lazy *l)
{
	bool any;

	do {
		any = false;
		for (unsigned i = 0; i < l->shared->top; i++)
			if (l->uffd[i] >= 0 && l->shared->space[i].state == SPACE_LIVES)
				any |= take_message(l, i);
	} while (any);
	try_deferred(l);
}

const char *lazy_failed(const struct lazy *l)
{
	switch (atomic_load(&l->shared->failed)) {
	case LAZY_TOO_MANY_PARTS:
		return "the program has moved its memory in too many parts";
	case LAZY_TOO_MANY_CHILDREN:
		return "the program has made too many children";
	default:
		return NULL;
	}
}

void lazy_wake_all(struct lazy *l)
{
	for (unsigned i = 0; i < LAZY_SPACES; i++)
		if (l->uffd[i] >= 0)
			lazy_wake(l->uffd[i], USER_START, USER_END - USER_START);
}

int lazy_take_over(struct lazy *l, struct err *err)
{
	struct lazy_shared *s = l->shared;

	io_close_fd(&l->epoll);
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	l->ndeferred = 0;
	for (unsigned i = 0; i < s->top; i++) {
		/* A child whose descriptor died with the other process has lost it. */
		if (s->space[i].state == SPACE_LIVES && l->uffd[i] < 0)
			s->space[i].state = SPACE_FREE;
		else if (s->space[i].state == SPACE_LIVES && lazy_watch(l, i))
			return err_sys(err, -errno, "cannot watch for missing pages");
	}
	/* The descriptor of a fork's message was the other process's; a fault is told again. */
	if (s->message.event && s->message.event != UFFD_EVENT_FORK &&
	    s->message.event != UFFD_EVENT_PAGEFAULT && l->uffd[s->message_space] >= 0)
		handle(l, s->message_space, &s->message);
	s->message.event = 0;
	lazy_wake_all(l);
	return 0;
}

void lazy_keep(struct lazy *l, unsigned space, int uffd)
{
	io_close_fd(&l->uffd[space]);
	l->uffd[space] = uffd;
}

void lazy_look(struct lazy *l)
{
	/* Nothing is mapped there: EINVAL, or ENOMEM when the memory is gone. */
	struct uffdio_register reg = {.range = {PAGE_SIZE_4K, PAGE_SIZE_4K},
				      .mode = UFFDIO_REGISTER_MODE_MISSING};

	for (unsigned i = 0; i < LAZY_SPACES; i++)
		if (l->uffd[i] >= 0 && ioctl(l->uffd[i], UFFDIO_REGISTER, &reg) &&
		    (errno == ENOMEM || errno == ESRCH))
			lazy_end_space(l, i);
}
