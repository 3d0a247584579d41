/*
 * Tracking of written pages: see track.h.
 *
 * The kernel's side (Linux 6.7): a userfaultfd of the target with WP_ASYNC, on
 * which ranges are registered for write protection.  A write to an armed page
 * takes the protection off, without a message.  PAGEMAP_SCAN from outside
 * tells which pages are not protected ("written"), and protects them again in the
 * same step.  fs/proc/task_mmu.c, pagemap_scan_test_walk and the functions
 * around it; mm/userfaultfd.c.
 *
 * A range is trusted only while the kernel says that it is registered
 * (PAGE_IS_WPALLOWED).  So nothing depends on comparing /proc/PID/maps: memory
 * that was mapped, moved or replaced is not registered, whatever stands there in the
 * maps, and counts as written.
 *
 * Order for a range that is not registered: 1. it is found to be so; 2. it is
 * registered; 3. all its pages are told and armed.  What is moved to its
 * place between 1 and 3 is not registered again, and found by the next round.
 */
#include "track/track.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "proc/maps.h"
#include "proc/newer.h"
#include "proc/pagemap.h"
#include "remote/remote.h"

#define REGIONS 512
#define USER_END (1ULL << 47)
/* Pages armed at a time: the target's mappings are locked meanwhile (0.6 ms). */
#define PAGES_AT_ONCE 16384

struct track {
	pid_t pid;
	int uffd, procfd, pagemap;
	int maps;        /* for PROCMAP_QUERY */
	bool moves_bare; /* see moves_bare() */
	struct buf text; /* of the maps, kept for its room */
};

void track_stop(struct track *t)
{
	if (!t)
		return;
	io_close_fd(&t->uffd);
	io_close_fd(&t->procfd);
	io_close_fd(&t->pagemap);
	io_close_fd(&t->maps);
	buf_done(&t->text);
	free(t);
}

static bool moves_bare(void);

static int new_track(pid_t pid, int uffd, struct track **ret, struct err *err)
{
	struct track *t = io_alloc(1, sizeof(*t), err);
	char path[64];

	if (!t) {
		close(uffd);
		return err->error;
	}
	*t = (struct track){.pid = pid, .uffd = uffd, .procfd = -1, .pagemap = -1, .maps = -1};
	t->moves_bare = moves_bare();
	snprintf(path, sizeof(path), "/proc/%d", pid);
	t->procfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	t->pagemap = openat(t->procfd, "pagemap", O_RDONLY | O_CLOEXEC);
	t->maps = openat(t->procfd, "maps", O_RDONLY | O_CLOEXEC);
	if (t->procfd < 0 || t->pagemap < 0 || t->maps < 0) {
		err_sys(err, -errno, "cannot open /proc/%d/pagemap", pid);
		track_stop(t);
		return err->error;
	}
	*ret = t;
	return 0;
}

int track_adopt(pid_t pid, int uffd, struct track **ret, struct err *err)
{
	return new_track(pid, uffd, ret, err);
}

int track_uffd(const struct track *t)
{
	return t->uffd;
}

/* --- may it be tracked? --- */

static int cannot(int error, const char *call, struct err *err)
{
	err_refuse(err, "written pages cannot be tracked: %s: %s", call, strerror(-error));
	if (error == -ENOSYS || error == -EINVAL || error == -ENOTTY)
		return err_hint(err, "it needs Linux 6.7 with CONFIG_USERFAULTFD, and a container "
				     "that allows userfaultfd; see: godwit doctor");
	if (error == -EMFILE)
		return err_hint(err, "the program has no free descriptor: raise its limit "
				     "(prlimit --nofile)");
	return err_hint(err, "a container's filter may forbid it (docker run --security-opt "
			     "seccomp=unconfined); see: godwit doctor");
}

static int tracked_already(const struct track *t, struct err *err)
{
	err_refuse(err, "memory of process %d is tracked already, by itself or by another tool",
		   t->pid);
	return err_hint(err, "end the other one first");
}

/* Is anything of the process tracked, by the program itself or by another tool?  Our
 * arming would blind them. */
static int refuse_tracked(const struct track *t, struct err *err)
{
	struct page_region v;
	struct pm_scan_arg a = {
		.size = sizeof(a),
		.end = USER_END,
		.vec = (uintptr_t)&v,
		.vec_len = 1,
		.max_pages = 1,
		.category_mask = PAGE_IS_WPALLOWED,
		.return_mask = PAGE_IS_WPALLOWED,
	};

	if (ioctl(t->pagemap, PAGEMAP_SCAN, &a) <= 0)
		return 0;
	return tracked_already(t, err);
}

static int set_up(int uffd, struct err *err)
{
	struct uffdio_api api = {.api = UFFD_API,
				 .features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED};

	return ioctl(uffd, UFFDIO_API, &api) ? cannot(-errno, "userfaultfd with WP_ASYNC", err) : 0;
}

int track_probe(struct err *err)
{
	__cleanup_fd int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	__cleanup_fd int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return cannot(-errno, "userfaultfd", err);
	if (!pagemap_has_scan(pagemap))
		return cannot(-ENOTTY, "PAGEMAP_SCAN", err);
	return set_up(fd, err);
}

/* 1 or 0: has the page the category?  Arms it, too, when it has, with PM_SCAN_WP_MATCHING. */
static int scan_page(int pagemap, const uint8_t *page, uint64_t category, uint64_t flags)
{
	struct page_region v;
	struct pm_scan_arg a = {
		.size = sizeof(a),
		.flags = flags,
		.start = (uintptr_t)page,
		.end = (uintptr_t)page + PAGE_SIZE_4K,
		.vec = (uintptr_t)&v,
		.vec_len = 1,
		.category_mask = category,
		.return_mask = category,
	};

	return ioctl(pagemap, PAGEMAP_SCAN, &a);
}

/*
 * Does a page that is moved (mremap) leave its protection behind?  Since Linux 6.13
 * (mm/mremap.c, "clear uffd-wp PTE/PMD state on mremap()"); before it counts as
 * unwritten in its new place, too, as soon as that is registered.  On two pages of ours.
 */
static bool moves_bare(void)
{
	__cleanup_fd int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	__cleanup_fd int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint8_t *p = mmap(NULL, 2 * PAGE_SIZE_4K, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *to = p + PAGE_SIZE_4K;
	struct uffdio_register reg = {.range = {(uintptr_t)p, PAGE_SIZE_4K},
				      .mode = UFFDIO_REGISTER_MODE_WP};
	struct err ignored = ERR_INIT;
	bool ret;

	if (p == MAP_FAILED)
		return false;
	*(volatile uint8_t *)p = 1;
	ret = fd >= 0 && !set_up(fd, &ignored) && !ioctl(fd, UFFDIO_REGISTER, &reg) &&
	      scan_page(pagemap, p, PAGE_IS_WRITTEN, PM_SCAN_WP_MATCHING) == 1 &&
	      mremap(p, PAGE_SIZE_4K, PAGE_SIZE_4K, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to &&
	      scan_page(pagemap, to, PAGE_IS_WRITTEN, 0) == 1;
	munmap(p, 2 * PAGE_SIZE_4K);
	return ret;
}

/* From the lines "flags:" of /proc/PID/fdinfo/N: octal, O_* of open(2). */
static bool is_direct(const struct track *t, const char *fd)
{
	__cleanup_buf struct buf b = {0};
	char path[300];
	const char *p;

	snprintf(path, sizeof(path), "fdinfo/%s", fd);
	return !io_read_file(t->procfd, path, &b) && (p = strstr(b.p, "flags:")) &&
	       (strtoul(p + 6, NULL, 8) & O_DIRECT);
}

int track_check(const struct track *t, struct err *err)
{
	int fd = openat(t->procfd, "fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (!dir) {
		io_close_fd(&fd);
		return err_set(err, -ESRCH, "process %d has ended", t->pid);
	}
	while (!err->error && (d = readdir(dir))) {
		char name[64], to[256] = "";

		if (*d->d_name == '.' || !is_direct(t, d->d_name))
			continue;
		snprintf(name, sizeof(name), "fd/%.40s", d->d_name);
		if (!io_readlink(t->procfd, name, to, sizeof(to)) && *to != '/')
			continue; /* of a pipe it means packet mode */
		err_refuse(err,
			   "written pages cannot be tracked: '%s' (fd %s of process %d) is open "
			   "with O_DIRECT",
			   to, d->d_name, t->pid);
		err_hint(err, "a device writes to memory unseen: let the program open the file "
			      "without O_DIRECT");
	}
	closedir(dir);
	return err->error;
}

bool track_is_alive(const struct track *t)
{
	/* Nothing is mapped there: the answer is EINVAL, or ENOMEM when the memory that
	 * this userfaultfd is of has gone. */
	struct uffdio_register reg = {.range = {PAGE_SIZE_4K, PAGE_SIZE_4K},
				      .mode = UFFDIO_REGISTER_MODE_WP};

	return !ioctl(t->uffd, UFFDIO_REGISTER, &reg) || (errno != ESRCH && errno != ENOMEM);
}

/* --- a round --- */

struct round {
	struct track *t;
	track_fn fn;
	void *arg;
	uint64_t start, end; /* told next: ranges that touch are joined */
	uint64_t bytes;
};

static int tell(struct round *r)
{
	uint64_t start = r->start, end = r->end;

	r->start = r->end = 0;
	r->bytes += end - start;
	return end > start && r->fn ? r->fn(r->arg, start, end) : 0;
}

static int add(struct round *r, uint64_t start, uint64_t end)
{
	int ret = 0;

	if (r->end != start || r->end == r->start) {
		ret = tell(r);
		r->start = start;
	}
	r->end = end;
	return ret;
}

/* Tells and arms pages of [start, end), which is registered: all, or the written ones. */
static int arm(struct round *r, uint64_t start, uint64_t end, bool all)
{
	struct page_region v[REGIONS];

	while (start < end) {
		struct pm_scan_arg a = {
			.size = sizeof(a),
			.flags = PM_SCAN_WP_MATCHING,
			.start = start,
			.end = end,
			.vec = (uintptr_t)v,
			.vec_len = REGIONS,
			.max_pages = PAGES_AT_ONCE,
			.category_inverted = PAGE_IS_PFNZERO,
			.category_mask = PAGE_IS_PFNZERO | (all ? 0 : PAGE_IS_WRITTEN),
			.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
			.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		};
		int n = ioctl(r->t->pagemap, PAGEMAP_SCAN, &a);

		if (n < 0)
			return -errno;
		for (int i = 0; i < n; i++) {
			int ret = add(r, v[i].start, v[i].end);

			if (ret)
				return ret;
		}
		if (a.walk_end <= start)
			return -EPROTO;
		start = a.walk_end;
	}
	return 0;
}

/*
 * Private anonymous memory.  QUIRK: not the changed pages of private file mappings.
 * A page of these that is dropped (MADV_DONTNEED) while it is armed leaves a
 * marker that looks like an unwritten page in swap, and between the two faults of
 * the write that follows the file's page stands there, not the one that was copied, and
 * armed (mm/memory.c, zap_install_uffd_wp_if_needed and set_pte_range).
 * Test: unchanged_pages_are_as_they_were_copied.
 */
static bool is_tracked_kind(const struct proc_map *m)
{
	/* [vdso], [vvar], [vsyscall], [uprobes] are the kernel's. */
	return !m->shared && !m->ino && strncmp(m->name, "[v", 2) && strcmp(m->name, "[uprobes]") &&
	       strncmp(m->name, "anon_inode:", 11);
}

/* 1 or 0; the kernel tells it by skipping what is registered. */
static int is_registered(const struct track *t, const struct proc_map *m)
{
	struct page_region v;
	struct pm_scan_arg a = {
		.size = sizeof(a),
		.start = m->start,
		.end = m->end,
		.vec = (uintptr_t)&v,
		.vec_len = 1,
		.max_pages = 1,
		.category_inverted = PAGE_IS_WPALLOWED,
		.category_mask = PAGE_IS_WPALLOWED,
		.return_mask = PAGE_IS_PRESENT,
	};
	int n = ioctl(t->pagemap, PAGEMAP_SCAN, &a);

	return n < 0 ? -errno : n == 0;
}

/* --- registering beside a running program --- */

/*
 * The race: 1. /proc/PID/maps says that [start, end) is a mapping; 2. the program
 * replaces it by a larger one; 3. we register [start, end), and the kernel cuts that in
 * two.  Once both parts have pages of their own they never become one again, and an
 * mremap(2) of the program's mapping fails, for ever.  So not the mapping is registered but
 * all the room it is in, gaps included, up to the next thing that cannot be tracked:
 * whatever has taken its place lies within.  Only where that border itself has moved
 * meanwhile something can be cut: the kernel is asked again right before and right
 * after, and what was cut is given back at once, while the kernel still joins it.
 * Test: mremap_never_fails_while_tracked.
 */
struct room {
	uint64_t start, end;
	size_t first, last; /* its mappings: [first, last) of the maps */
};

/* The room that begins with mapping i, which is of a tracked kind. */
static struct room room_at(const struct proc_maps *maps, size_t i)
{
	struct room r = {.start = i ? maps->v[i - 1].end : maps->v[i].start, .first = i, .last = i};

	while (r.last < maps->n && is_tracked_kind(&maps->v[r.last]))
		r.last++;
	r.end = r.last < maps->n ? maps->v[r.last].start : maps->v[r.last - 1].end;
	if (r.end > USER_END) /* [vsyscall] is the next */
		r.end = maps->v[r.last - 1].end;
	return r;
}

/* What is mapped right below and right above a room, and its outermost pages. */
struct around {
	struct procmap_query v[4]; /* 0 to 0: none */
};

/* False: this kernel (before 6.11) does not tell. */
static bool look_around(const struct track *t, const struct room *r, struct around *a)
{
	const uint64_t at[4] = {r->start ? r->start - 1 : 0, r->start, r->end - 1, r->end};

	for (int i = 0; i < 4; i++) {
		a->v[i] = (struct procmap_query){.size = sizeof(a->v[i]), .query_addr = at[i]};
		if (!ioctl(t->maps, PROCMAP_QUERY, &a->v[i]))
			continue;
		if (errno == ENOTTY)
			return false;
		a->v[i].vma_start = a->v[i].vma_end = 0;
	}
	return true;
}

/* Does a mapping lie across the border of a room? */
static bool reaches_across(const struct room *r, const struct around *a)
{
	for (int i = 0; i < 4; i++)
		if ((a->v[i].vma_start < r->start && a->v[i].vma_end > r->start) ||
		    (a->v[i].vma_start < r->end && a->v[i].vma_end > r->end))
			return true;
	return false;
}

static bool is_same(const struct procmap_query *a, const struct procmap_query *b)
{
	return a->vma_start == b->vma_start && a->vma_end == b->vma_end;
}

/* Is there a mapping now on the other side of a border that was not there before?  Then
 * the one on our side is let go; the others of the room stay: while one is registered no other
 * tracker begins. */
static bool give_back_cut(const struct track *t, const struct room *r, const struct around *before,
			  const struct around *after)
{
	const struct procmap_query *ours[2] = {&after->v[1], &after->v[2]};
	bool cut[2] = {after->v[0].vma_end == r->start && !is_same(&before->v[0], &after->v[0]),
		       after->v[3].vma_start == r->end && !is_same(&before->v[3], &after->v[3])};
	bool any = false;

	for (int i = 0; i < 2; i++) {
		struct uffdio_range range = {ours[i]->vma_start,
					     ours[i]->vma_end - ours[i]->vma_start};

		if (cut[i] && range.len)
			any |= !ioctl(t->uffd, UFFDIO_UNREGISTER, &range);
	}
	return any;
}

/* 1: it is registered; 0: not now: then it is copied at the stop; -EINVAL: something in it
 * can never be (MAP_DROPPABLE); -ESRCH. */
static int register_running(const struct track *t, const struct room *r)
{
	struct uffdio_register reg = {.range = {r->start, r->end - r->start},
				      .mode = UFFDIO_REGISTER_MODE_WP};
	struct around before, after;
	bool tells = look_around(t, r, &before);

	if (tells && reaches_across(r, &before))
		return 0;
	/* Other errors: gone meanwhile, tracked by the program itself. */
	if (ioctl(t->uffd, UFFDIO_REGISTER, &reg))
		return errno == ESRCH || errno == EINVAL ? -errno : 0;
	if (tells && look_around(t, r, &after))
		return !give_back_cut(t, r, &before, &after);
	return 1;
}

static bool has_new(const struct track *t, const struct proc_maps *maps, const struct room *room)
{
	for (size_t i = room->first; i < room->last; i++)
		if (!is_registered(t, &maps->v[i]))
			return true;
	return false;
}

/* One by one.  Pages that were armed elsewhere and moved here may be armed still (Linux
 * before 6.13): so all pages of what is new are told. */
static int visit_each(struct round *r, const struct proc_maps *maps, const struct room *room)
{
	for (size_t i = room->first; i < room->last; i++) {
		const struct proc_map *m = &maps->v[i];
		const struct room own = {.start = m->start, .end = m->end};
		bool is_new = !is_registered(r->t, m);
		int ret = is_new ? register_running(r->t, &own) : 1;

		if (ret == -ESRCH)
			return ret;
		if (ret == 1 && (ret = arm(r, m->start, m->end, is_new)))
			return ret;
	}
	return 0;
}

static int visit_room(struct round *r, const struct proc_maps *maps, const struct room *room)
{
	if (has_new(r->t, maps, room)) {
		int ret = r->t->moves_bare ? register_running(r->t, room) : -EINVAL;

		if (ret == -EINVAL)
			return visit_each(r, maps, room);
		if (ret < 0)
			return ret;
	}
	/* What is registered and was not armed counts as written. */
	return arm(r, room->start, room->end, false);
}

static int visit(struct round *r, const struct proc_maps *maps)
{
	for (size_t i = 0; i < maps->n; i++) {
		struct room room;
		int ret;

		if (!is_tracked_kind(&maps->v[i]))
			continue;
		room = room_at(maps, i);
		if ((ret = visit_room(r, maps, &room)))
			return ret;
		i = room.last - 1;
	}
	return tell(r);
}

static int read_maps(struct track *t, struct proc_maps *maps, struct err *err)
{
	if (io_read_file(t->procfd, "maps", &t->text) || !t->text.len)
		return err_set(err, -ESRCH, "process %d has ended", t->pid);
	return proc_parse_maps(t->text.p, maps, err);
}

int track_round(struct track *t, track_fn fn, void *arg, uint64_t *ret_bytes, struct err *err)
{
	struct round r = {.t = t, .fn = fn, .arg = arg};
	struct proc_maps maps = {0};
	int ret = read_maps(t, &maps, err);

	if (ret)
		return ret;
	ret = visit(&r, &maps);
	proc_maps_done(&maps);
	if (ret_bytes)
		*ret_bytes = r.bytes;
	if (ret == -ESRCH)
		return err_set(err, ret, "process %d has ended", t->pid);
	if (ret < 0 && !err->error)
		return err_sys(err, ret, "cannot track the memory of process %d", t->pid);
	return ret;
}

/* --- the beginning --- */

/*
 * The race: 1. one of us starts to track; 2. another one finds nothing tracked, and
 * starts, too; 3. both arm, and each takes from the other what was written.  So the
 * mappings are registered at once, while the program is stopped and nobody else can be
 * at step 2; and it cannot change them meanwhile (register_running).  Nothing is armed:
 * the first round finds all of their pages written.
 */
static int claim(struct track *t, struct err *err)
{
	struct proc_maps maps = {0};
	int ret = read_maps(t, &maps, err);
	bool done = false;

	for (size_t i = 0; i < maps.n && !ret; i++) {
		struct uffdio_register reg = {
			.range = {maps.v[i].start, maps.v[i].end - maps.v[i].start},
			.mode = UFFDIO_REGISTER_MODE_WP};

		if (!is_tracked_kind(&maps.v[i]))
			continue;
		if (!ioctl(t->uffd, UFFDIO_REGISTER, &reg))
			done = true;
		else if (errno == EBUSY)
			ret = tracked_already(t, err);
	}
	proc_maps_done(&maps);
	if (!ret && !done)
		return cannot(-EINVAL, "UFFDIO_REGISTER", err);
	return ret;
}

int track_start(struct remote *r, struct track **ret, struct err *err)
{
	const uint64_t arg[6] = {O_CLOEXEC | UFFD_USER_MODE_ONLY};
	struct track *t;
	int ret_code;

	/* First on ourselves: the target is not bothered where it cannot work. */
	if ((ret_code = track_probe(err)))
		return ret_code;
	ret_code = remote_take_new_fd(r, SYS_userfaultfd, arg, err);
	if (err->error)
		return err->error;
	if (ret_code < 0)
		return cannot(ret_code, "userfaultfd in the program", err);
	if ((ret_code = new_track(r->pid, ret_code, &t, err)))
		return ret_code;
	if ((ret_code = refuse_tracked(t, err)) || (ret_code = set_up(t->uffd, err)) ||
	    (ret_code = track_check(t, err)) || (ret_code = claim(t, err))) {
		track_stop(t);
		return ret_code;
	}
	*ret = t;
	return 0;
}
