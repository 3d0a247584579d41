/*
 * Memory that comes later: see lazy.h.  What is here: how it begins and ends, and pages
 * that are put.  What the kernel says is in lazy_events.c.
 *
 * QUIRK: a write that the kernel does for another process (process_vm_writev) would meet
 * the missing pages as well, and wait for ever for the one who writes.  So nothing of ours
 * touches such memory but by UFFDIO_COPY.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "proc/newer.h"
#include "proc/pagemap.h"
#include "restart/lazy_internal.h"

#define FEATURES                                                                                   \
	(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE |          \
	 UFFD_FEATURE_EVENT_UNMAP)

/* --- lists of ranges --- */

int lazy_ranges_add(struct lazy_ranges *r, uint64_t start, uint64_t end, struct err *err)
{
	void *v;

	if (r->n && r->v[r->n - 1].end == start) {
		r->v[r->n - 1].end = end;
		return 0;
	}
	v = io_grow(r->v, &r->cap, r->n + 1, sizeof(*r->v), err);
	if (!v)
		return err->error;
	r->v = v;
	r->v[r->n++] = (struct lazy_range){start, end};
	return 0;
}

void lazy_ranges_done(struct lazy_ranges *r)
{
	free(r->v);
	*r = (struct lazy_ranges){0};
}

/* --- is it possible? --- */

static int set_up(int uffd, struct err *err)
{
	struct uffdio_api api = {.api = UFFD_API, .features = FEATURES};

	if (!ioctl(uffd, UFFDIO_API, &api))
		return 0;
	if (errno == EPERM) {
		err_perm(err, "a child that the program makes meanwhile would lack pages: that "
			      "takes CAP_SYS_PTRACE");
		return err->error;
	}
	return err_refuse(err, "this kernel's userfaultfd does not tell what the program does "
			       "with its memory");
}

static int refuse_uffd(int error, struct err *err)
{
	if (error == -EPERM)
		return err_perm(err, "without CAP_SYS_PTRACE a system call that meets a page that "
				     "has not come would fail");
	return err_refuse(err, "userfaultfd: %s", strerror(-error));
}

int lazy_probe(struct err *err)
{
	__cleanup_fd int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? refuse_uffd(-errno, err) : set_up(fd, err);
}

/* --- the beginning --- */

static const struct mapping *find_mapping(const struct process *p, uint64_t at)
{
	for (size_t lo = 0, hi = p->nmappings; lo < hi;) {
		size_t mid = lo + (hi - lo) / 2;

		if (at < p->mappings[mid].start)
			hi = mid;
		else if (at >= p->mappings[mid].end)
			lo = mid + 1;
		else
			return &p->mappings[mid];
	}
	return NULL;
}

static size_t shared_len(uint64_t pages, size_t nranges)
{
	return ALIGN_UP(sizeof(struct lazy_shared), 64) +
	       LAZY_SPACES * ALIGN_UP((pages + 63) / 64 * 8, 64) +
	       nranges * sizeof(struct missing_range);
}

static struct lazy_shared *make_shared(const struct lazy_ranges *later, struct err *err)
{
	uint64_t pages = 0, at = 0;
	struct lazy_shared *s;
	size_t len;

	for (size_t i = 0; i < later->n; i++)
		pages += (later->v[i].end - later->v[i].start) / PAGE_SIZE_4K;
	len = shared_len(pages, later->n);
	s = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		 0);
	if (s == MAP_FAILED) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	s->len = len;
	s->pages = pages;
	s->words = ALIGN_UP((pages + 63) / 64 * 8, 64) / 8;
	s->nranges = later->n;
	for (size_t i = 0; i < later->n; i++) {
		lazy_missing_ranges(s)[i] =
			(struct missing_range){later->v[i].start, later->v[i].end, at};
		at += (later->v[i].end - later->v[i].start) / PAGE_SIZE_4K;
	}
	return s;
}

static int add_area(struct lazy_space *sp, const struct mapping *m, struct err *err)
{
	struct area_list *a = &sp->list[sp->current];

	if (a->n && a->v[a->n - 1].start == m->start)
		return 0;
	if (a->n == AREAS_MAX)
		return err_refuse(err, "its memory has too many parts to come later");
	a->v[a->n++] = (struct lazy_area){m->start, m->end, m->start};
	return 0;
}

/* The mappings that hold pages of the list, whole: cut in two they might never
 * become one again. */
static int plan_areas(struct lazy_shared *s, const struct process *p,
		      const struct lazy_ranges *later, struct err *err)
{
	for (size_t i = 0; i < later->n; i++)
		for (uint64_t at = later->v[i].start; at < later->v[i].end;) {
			const struct mapping *m = find_mapping(p, at);
			int ret;

			if (!m || m->kind != MAPPING_ANON || m->flags & MAPPING_GROWSDOWN)
				return err_image(err,
						 "pages at %#llx shall come later, where no such "
						 "memory is",
						 (unsigned long long)at);
			if ((ret = add_area(&s->space[0], m, err)))
				return ret;
			at = m->end;
		}
	return 0;
}

static int register_areas(int uffd, const struct area_list *a, struct err *err)
{
	for (uint32_t i = 0; i < a->n; i++) {
		struct uffdio_register reg = {
			.range = {a->v[i].start, a->v[i].end - a->v[i].start},
			.mode = UFFDIO_REGISTER_MODE_MISSING,
		};

		if (ioctl(uffd, UFFDIO_REGISTER, &reg))
			return err_sys(err, -errno, "cannot have the memory at %#llx come later",
				       (unsigned long long)a->v[i].start);
	}
	return 0;
}

static int is_there(void *arg, uint64_t start, uint64_t end, bool unchanged)
{
	(void)end;
	(void)unchanged;
	return err_image(arg, "the page at %#llx shall come later, and is there",
			 (unsigned long long)start);
}

/* A page that somebody has touched would never be asked for. */
static int check_empty(const struct remote *remote, const struct lazy_ranges *later,
		       struct err *err)
{
	__cleanup_fd int pagemap = openat(remote->procfd, "pagemap", O_RDONLY | O_CLOEXEC);
	int ret = 0;

	if (pagemap < 0)
		return err_sys(err, -errno, "cannot open the page map of the new process");
	for (size_t i = 0; i < later->n && !ret; i++)
		ret = pagemap_walk(pagemap, later->v[i].start, later->v[i].end, PAGEMAP_PRESENT,
				   is_there, err, err);
	return ret;
}

int lazy_open(struct lazy *l, const struct process *p, struct remote *remote,
	      const struct lazy_ranges *later, struct err *err)
{
	const uint64_t arg[6] = {O_CLOEXEC | O_NONBLOCK};
	int ret;

	*l = (struct lazy){.shared = make_shared(later, err)};
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned i = 0; i < LAZY_SPACES; i++)
		l->uffd[i] = -1;
	if (!l->shared || (ret = plan_areas(l->shared, p, later, err)))
		return err->error;
	ret = remote_take_new_fd(remote, SYS_userfaultfd, arg, err);
	if (ret < 0)
		return err->error ? ret : refuse_uffd(ret, err);
	l->uffd[0] = ret;
	l->shared->space[0].state = SPACE_LIVES;
	l->shared->top = 1;
	if (lazy_watch(l, 0))
		return err_sys(err, -errno, "cannot watch for missing pages");
	if ((ret = set_up(l->uffd[0], err)) ||
	    (ret = register_areas(l->uffd[0], &l->shared->space[0].list[0], err)))
		return ret;
	return check_empty(remote, later, err);
}

int lazy_watch(struct lazy *l, unsigned space)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = space};

	return epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->uffd[space], &e);
}

void lazy_close(struct lazy *l)
{
	io_close_fd(&l->epoll);
	for (unsigned i = 0; i < LAZY_SPACES; i++)
		io_close_fd(&l->uffd[i]);
	if (l->shared)
		munmap(l->shared, l->shared->len);
	l->shared = NULL;
}

enum lazy_phase lazy_phase(const struct lazy *l)
{
	return (enum lazy_phase)atomic_load(&l->shared->phase);
}

void lazy_set_phase(struct lazy *l, enum lazy_phase phase)
{
	atomic_store(&l->shared->phase, (int)phase);
}

/* --- pages --- */

struct missing_range *lazy_missing_ranges(const struct lazy_shared *s)
{
	char *p = (char *)(uintptr_t)s;

	return (struct missing_range *)(void *)(p + ALIGN_UP(sizeof(*s), 64) +
						LAZY_SPACES * s->words * 8);
}

uint64_t *lazy_here(const struct lazy_shared *s, unsigned space)
{
	char *p = (char *)(uintptr_t)s;

	return (uint64_t *)(void *)(p + ALIGN_UP(sizeof(*s), 64) + space * s->words * 8);
}

bool lazy_is_here(const struct lazy_shared *s, unsigned space, uint64_t page)
{
	return lazy_here(s, space)[page / 64] >> (page % 64) & 1;
}

void lazy_mark(struct lazy_shared *s, unsigned space, uint64_t page)
{
	lazy_here(s, space)[page / 64] |= UINT64_C(1) << (page % 64);
}

const struct missing_range *lazy_find_range(const struct lazy_shared *s, uint64_t was)
{
	const struct missing_range *v = lazy_missing_ranges(s);
	size_t lo = 0, hi = s->nranges;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (v[mid].end <= was)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < s->nranges ? &v[lo] : NULL;
}

static bool is_missing(const struct lazy_shared *s, uint64_t page)
{
	for (unsigned i = 0; i < s->top; i++)
		if (s->space[i].state == SPACE_LIVES && !lazy_is_here(s, i, page))
			return true;
	return false;
}

uint64_t lazy_missing(const struct lazy *l)
{
	const struct lazy_shared *s = l->shared;
	uint64_t n = 0;

	for (uint64_t w = 0; w * 64 < s->pages; w++) {
		uint64_t all =
			s->pages - w * 64 < 64 ? (UINT64_C(1) << (s->pages % 64)) - 1 : UINT64_MAX;
		uint64_t missing = 0;

		for (unsigned i = 0; i < s->top; i++)
			if (s->space[i].state == SPACE_LIVES)
				missing |= ~lazy_here(s, i)[w];
		n += (uint64_t)__builtin_popcountll(missing & all);
	}
	return n;
}

uint64_t lazy_pages(const struct lazy *l)
{
	return l->shared->pages;
}

int lazy_each_missing(const struct lazy *l, int (*fn)(void *arg, uint64_t start, uint64_t end),
		      void *arg)
{
	const struct lazy_shared *s = l->shared;

	for (size_t i = 0; i < s->nranges; i++) {
		const struct missing_range *r = &lazy_missing_ranges(s)[i];
		uint64_t n = (r->end - r->start) / PAGE_SIZE_4K, begun = 0;

		for (uint64_t k = 0; k <= n; k++) {
			if (k < n && is_missing(s, r->first + k))
				continue;
			int ret = begun < k ? fn(arg, r->start + begun * PAGE_SIZE_4K,
						 r->start + k * PAGE_SIZE_4K)
					    : 0;

			if (ret)
				return ret;
			begun = k + 1;
		}
	}
	return 0;
}

/* --- putting them --- */

static void pause_a_little(void)
{
	struct timespec t = {.tv_nsec = 20 * 1000};

	nanosleep(&t, NULL);
}

/* Bytes that went in at `at`, or what the kernel says. */
static int64_t copy_in(int uffd, uint64_t at, const uint8_t *data, uint64_t len)
{
	if (!data) {
		struct uffdio_zeropage z = {.range = {at, len}};

		if (!ioctl(uffd, UFFDIO_ZEROPAGE, &z))
			return (int64_t)len;
		return z.zeropage > 0 ? z.zeropage : -errno;
	}
	struct uffdio_copy c = {.dst = at, .src = (uintptr_t)data, .len = len};

	if (!ioctl(uffd, UFFDIO_COPY, &c))
		return (int64_t)len;
	return c.copy > 0 ? c.copy : -errno;
}

void lazy_wake(int uffd, uint64_t at, uint64_t len)
{
	struct uffdio_range r = {at, len};

	if (ioctl(uffd, UFFDIO_WAKE, &r))
		return; /* the space has ended */
}

void lazy_end_space(struct lazy *l, unsigned space)
{
	l->shared->space[space].state = SPACE_FREE;
	/* The keeper has it, too: closing it here would leave it in the epoll. */
	epoll_ctl(l->epoll, EPOLL_CTL_DEL, l->uffd[space], NULL);
	io_close_fd(&l->uffd[space]);
}

/*
 * One step towards having [was, was + len) of one space, whose pages begin with number
 * `page`: as many as lie together in one area and are missing.  Bytes that are settled.
 */
static int64_t put_some(struct lazy *l, unsigned space, uint64_t was, uint64_t page,
			const uint8_t *data, uint64_t len, struct err *err)
{
	struct lazy_shared *s = l->shared;
	const struct area_list *a = &s->space[space].list[s->space[space].current];
	const struct lazy_area *area = lazy_area_of(a, was);
	uint64_t n = 1;
	int64_t done;

	if (lazy_is_here(s, space, page))
		return PAGE_SIZE_4K;
	if (!area) { /* the program has unmapped it */
		lazy_mark(s, space, page);
		return PAGE_SIZE_4K;
	}
	while (n * PAGE_SIZE_4K < len &&
	       was + n * PAGE_SIZE_4K < area->was + area->end - area->start &&
	       !lazy_is_here(s, space, page + n))
		n++;
	done = copy_in(l->uffd[space], area->start + (was - area->was), data, n * PAGE_SIZE_4K);
	/* mprotect() may have made several mappings of it, and one call fills but one. */
	if (n > 1 && (done == -ENOENT || done == -EINVAL || done == -EFAULT))
		done = copy_in(l->uffd[space], area->start + (was - area->was), data, PAGE_SIZE_4K);
	switch (done) {
	case -EAGAIN: /* the program is about to change its memory: that comes first */
		lazy_serve(l);
		pause_a_little();
		return 0;
	case -EEXIST:
		lazy_wake(l->uffd[space], area->start + (was - area->was), PAGE_SIZE_4K);
		done = PAGE_SIZE_4K;
		break;
	case -ENOENT:
	case -EINVAL:
	case -EFAULT: /* it is not mapped so any more: what replaced it is not ours */
		done = PAGE_SIZE_4K;
		break;
	case -ESRCH:
		lazy_end_space(l, space);
		return (int64_t)len;
	case -ENOMEM:
		pause_a_little();
		return 0;
	default:
		if (done < 0)
			return err_sys(err, (int)done, "cannot put a page");
	}
	for (uint64_t i = 0; i < (uint64_t)done / PAGE_SIZE_4K; i++)
		lazy_mark(s, space, page + i);
	return done;
}

static int put_range(struct lazy *l, unsigned space, uint64_t was, uint64_t page,
		     const uint8_t *data, uint64_t len, struct err *err)
{
	for (uint64_t at = 0; at < len && l->shared->space[space].state == SPACE_LIVES;) {
		int64_t n = put_some(l, space, was + at, page + at / PAGE_SIZE_4K,
				     data ? data + at : NULL, len - at, err);

		if (n < 0)
			return (int)n;
		at += (uint64_t)n;
	}
	return 0;
}

/* A fork in the middle makes a space that lacks the page, too. */
static int put_everywhere(struct lazy *l, uint64_t was, uint64_t page, const uint8_t *data,
			  uint64_t len, struct err *err)
{
	uint64_t forks;
	int ret = 0;

	do {
		forks = l->shared->forks;
		for (unsigned i = 0; i < l->shared->top && !ret; i++)
			if (l->shared->space[i].state == SPACE_LIVES)
				ret = put_range(l, i, was, page, data, len, err);
	} while (!ret && forks != l->shared->forks);
	return ret;
}

int lazy_put(struct lazy *l, uint64_t was, const uint8_t *data, uint64_t len, struct err *err)
{
	while (len) {
		const struct missing_range *r = lazy_find_range(l->shared, was);
		uint64_t n;
		int ret;

		if (!r || r->start > was)
			return err_image(err, "a page came for %#llx, where none was missing",
					 (unsigned long long)was);
		n = r->end - was < len ? r->end - was : len;
		ret = put_everywhere(l, was, r->first + (was - r->start) / PAGE_SIZE_4K, data, n,
				     err);
		if (ret)
			return ret;
		was += n;
		data = data ? data + n : NULL;
		len -= n;
	}
	return 0;
}
