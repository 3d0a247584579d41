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
 * What is not registered is taken up while the program stands still, for some 100 us:
 * beside it, a mapping that grows at that moment would be cut in two, and an mremap(2) of it
 * would fail, for ever.
 *
 * QUIRK: a mapping may lose its registration and keep its protection.  mremap(2) of an
 * untouched registered mapping to a place beside a registered one joins the two, and then
 * takes the registration off both (mm/userfaultfd.c, mremap_userfaultfd_prep); before
 * Linux 6.13 moved pages keep theirs, too.  The first write to such a page makes it
 * writable and leaves the mark of the protection there: registered again, it would look unwritten
 * for ever, and every later write would be lost.  So whatever is marked when it is registered is
 * unmarked before it is armed.  Test: a_neighbour_that_moves_in_hides_nothing.
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

#include "base/fault.h"
#include "base/io.h"
#include "proc/maps.h"
#include "proc/newer.h"
#include "proc/pagemap.h"
#include "remote/remote.h"

#define REGIONS 512
/* New mappings of less than this are not worth a stop. */
#define TAKE_UP_BYTES (1ULL << 20)
/* TASK_SIZE: what goes further the kernel refuses (PAGEMAP_SCAN: EFAULT). */
#define USER_END ((1ULL << 47) - PAGE_SIZE_4K)
/* Pages armed at a time: the target's mappings are locked meanwhile (0.6 ms). */
#define PAGES_AT_ONCE 16384

struct span {
	uint64_t start, end;
};

struct track {
	pid_t pid;
	int uffd, procfd, pagemap;
	struct buf text;    /* of the maps, kept for its room */
	struct span *fresh; /* nfresh: registered, and perhaps marked from before */
	size_t nfresh, cap;
	uint64_t not_ours; /* bytes that could not be registered the last time */
};

void track_stop(struct track *t)
{
	if (!t)
		return;
	io_close_fd(&t->uffd);
	io_close_fd(&t->procfd);
	io_close_fd(&t->pagemap);
	buf_done(&t->text);
	free(t->fresh);
	free(t);
}

static int open_proc(struct track *t, pid_t speaker)
{
	char path[64];

	io_close_fd(&t->procfd);
	snprintf(path, sizeof(path), "/proc/%d", speaker);
	t->procfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return t->procfd < 0 ? -errno : 0;
}

/* The thread whose /proc it is may have ended while the program runs: then another one's will do.
 */
#define LOOKS 100
static bool find_another(struct track *t)
{
	int error = open_proc(t, remote_find_speaker(t->pid));

	return !error || error == -ENOENT;
}

static int new_track(pid_t pid, pid_t speaker, int uffd, struct track **ret, struct err *err)
{
	struct track *t = io_alloc(1, sizeof(*t), err);

	if (!t) {
		close(uffd);
		return err->error;
	}
	*t = (struct track){.pid = pid, .uffd = uffd, .procfd = -1, .pagemap = -1};
	if (!open_proc(t, speaker))
		t->pagemap = openat(t->procfd, "pagemap", O_RDONLY | O_CLOEXEC);
	if (t->pagemap < 0) {
		err_sys(err, -errno, "cannot open /proc/%d/pagemap", pid);
		track_stop(t);
		return err->error;
	}
	*ret = t;
	return 0;
}

int track_adopt(pid_t pid, int uffd, struct track **ret, struct err *err)
{
	return new_track(pid, remote_find_speaker(pid), uffd, ret, err);
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
	int n = ioctl(t->pagemap, PAGEMAP_SCAN, &a);

	if (n < 0)
		return cannot(-errno, "PAGEMAP_SCAN", err);
	if (n == 0)
		return 0;
	err_refuse(err, "memory of process %d is tracked already, by itself or by another tool",
		   t->pid);
	return err_hint(err, "end the other one first");
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

static int open_fdinfo(struct track *t)
{
	int fd = -1;

	for (int i = 0; fd < 0 && i < LOOKS && (!i || find_another(t)); i++)
		fd = openat(t->procfd, "fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd;
}

int track_check(struct track *t, struct err *err)
{
	int fd = open_fdinfo(t);
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

/* Tells and arms the written pages of [start, end); what is not registered is passed over. */
static int arm(struct round *r, uint64_t start, uint64_t end)
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
			.category_mask = PAGE_IS_PFNZERO | PAGE_IS_WRITTEN,
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

static bool read_text(struct track *t)
{
	for (int i = 0; i < LOOKS && (!i || find_another(t)); i++)
		if (!io_read_file(t->procfd, "maps", &t->text) && t->text.len)
			return true;
	return false;
}

static int read_maps(struct track *t, struct proc_maps *maps, struct err *err)
{
	proc_maps_done(maps);
	if (!read_text(t))
		return err_set(err, -ESRCH, "process %d has ended", t->pid);
	return proc_parse_maps(t->text.p, maps, err);
}

/* --- registering: the target is stopped --- */

static int note_fresh(struct track *t, const struct proc_map *m, struct err *err)
{
	struct span *v = io_grow(t->fresh, &t->cap, t->nfresh + 1, sizeof(*v), err);

	if (!v)
		return err->error;
	t->fresh = v;
	v[t->nfresh++] = (struct span){m->start, m->end};
	return 0;
}

/* What is not registered, from now on is, if that can be; nothing is armed yet. */
static int take_up(struct track *t, struct err *err)
{
	struct proc_maps maps = {0};
	int ret = read_maps(t, &maps, err);

	t->not_ours = 0;
	for (size_t i = 0; i < maps.n && !ret; i++) {
		const struct proc_map *m = &maps.v[i];
		struct uffdio_register reg = {.range = {m->start, m->end - m->start},
					      .mode = UFFDIO_REGISTER_MODE_WP};

		if (!is_tracked_kind(m) || is_registered(t, m))
			continue;
		/* Tracked by the program itself; MAP_DROPPABLE. */
		if (ioctl(t->uffd, UFFDIO_REGISTER, &reg))
			t->not_ours += reg.range.len;
		else
			ret = note_fresh(t, m, err);
	}
	proc_maps_done(&maps);
	return ret;
}

static uint64_t new_bytes(const struct track *t, const struct proc_maps *maps)
{
	uint64_t n = 0;

	for (size_t i = 0; i < maps->n; i++)
		if (is_tracked_kind(&maps->v[i]) && !is_registered(t, &maps->v[i]))
			n += maps->v[i].end - maps->v[i].start;
	return n;
}

/* Little that is new is copied at the last stop; and all of it, if it cannot be stopped now. */
static int take_up_running(struct track *t, struct proc_maps *maps, struct err *err)
{
	struct err why = ERR_INIT;
	struct remote r;
	int ret;

	if (new_bytes(t, maps) < t->not_ours + TAKE_UP_BYTES)
		return 0;
	if (remote_seize(&r, t->pid, &why))
		return 0;
	ret = take_up(t, err);
	fault_point("taken up");
	remote_release(&r);
	return ret ? ret : read_maps(t, maps, err);
}

/* Takes the mark off.  What is not registered any more needs not. */
static int unmark(const struct track *t, uint64_t start, uint64_t end)
{
	struct uffdio_writeprotect w = {.range = {start, end - start}};

	if (!ioctl(t->uffd, UFFDIO_WRITEPROTECT, &w))
		return 0;
	if (errno != ENOENT)
		return -errno;
	if (end - start == PAGE_SIZE_4K)
		return 0;
	for (; start < end; start += PAGE_SIZE_4K) {
		int ret = unmark(t, start, start + PAGE_SIZE_4K);

		if (ret)
			return ret;
	}
	return 0;
}

/* Of registered pages that were never armed since, those that are marked: 0.8 ms a GiB. */
static int unmark_all(const struct track *t, uint64_t start, uint64_t end)
{
	while (start < end) {
		struct page_region v[16];
		struct pm_scan_arg a = {
			.size = sizeof(a),
			.start = start,
			.end = end,
			.vec = (uintptr_t)v,
			.vec_len = ARRAY_SIZE(v),
			.category_inverted = PAGE_IS_WRITTEN,
			.category_mask = PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN,
			.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
			.return_mask = PAGE_IS_WPALLOWED,
		};
		int ret, n = ioctl(t->pagemap, PAGEMAP_SCAN, &a);

		if (n < 0)
			return -errno;
		for (int i = 0; i < n; i++)
			if ((ret = unmark(t, v[i].start, v[i].end)))
				return ret;
		if (a.walk_end <= start)
			return -EPROTO;
		start = a.walk_end;
	}
	return 0;
}

static int visit(struct round *r, const struct proc_maps *maps)
{
	struct track *t = r->t;
	int ret;

	for (size_t i = 0; i < t->nfresh; i++)
		if ((ret = unmark_all(t, t->fresh[i].start, t->fresh[i].end)))
			return ret;
	t->nfresh = 0;
	for (size_t i = 0; i < maps->n; i++)
		if (is_tracked_kind(&maps->v[i]) &&
		    (ret = arm(r, maps->v[i].start, maps->v[i].end)))
			return ret;
	return tell(r);
}

static int run_round(struct track *t, bool is_running, track_fn fn, void *arg, uint64_t *ret_bytes,
		     struct err *err)
{
	struct round r = {.t = t, .fn = fn, .arg = arg};
	struct proc_maps maps = {0};
	int ret = is_running ? 0 : take_up(t, err);

	if (!ret)
		ret = read_maps(t, &maps, err);
	if (!ret && is_running)
		ret = take_up_running(t, &maps, err);
	if (!ret)
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

int track_round(struct track *t, track_fn fn, void *arg, uint64_t *ret_bytes, struct err *err)
{
	return run_round(t, true, fn, arg, ret_bytes, err);
}

int track_round_stopped(struct track *t, struct err *err)
{
	return run_round(t, false, NULL, NULL, NULL, err);
}

/* --- the beginning --- */

/*
 * The race: 1. one of us starts to track; 2. another one finds nothing tracked, and
 * starts, too; 3. both arm, and each takes from the other what was written.  So the
 * mappings are registered at once, while the program is stopped and nobody else can be
 * at step 2.
 */
static int claim(struct track *t, struct err *err)
{
	int ret = take_up(t, err);

	if (!ret && !t->nfresh)
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
	if (r->guarded) { /* remote/guarded.c: one call at a time */
		err_refuse(err, "written pages cannot be tracked: process %d has a seccomp filter",
			   r->pid);
		return err_hint(err, "use --pause=copy with it");
	}
	ret_code = remote_take_new_fd(r, SYS_userfaultfd, arg, err);
	if (err->error)
		return err->error;
	if (ret_code < 0)
		return cannot(ret_code, "userfaultfd in the program", err);
	if ((ret_code = new_track(r->pid, r->speaker, ret_code, &t, err)))
		return ret_code;
	if ((ret_code = refuse_tracked(t, err)) || (ret_code = set_up(t->uffd, err)) ||
	    (ret_code = track_check(t, err)) || (ret_code = claim(t, err))) {
		track_stop(t);
		return ret_code;
	}
	*ret = t;
	return 0;
}
