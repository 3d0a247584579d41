/*
 * Memory of huge pages: mmap(2) with MAP_HUGETLB, private or shared, in pages of 2 MiB.  (Those
 * that madvise(2) asks for are ordinary memory.)
 *
 * The pages are taken from a pool that root sizes (vm.nr_hugepages); a mapping reserves all that
 * it may ever need of it, unless it is MAP_NORESERVE.  So a restart first looks whether there are
 * enough: without them mmap() fails, or the program gets SIGBUS.
 *
 * A snapshot (--pause=short) does without them: the pool may be empty, and then the kernel takes
 * the child's page away when its parent writes (mm/hugetlb.c, unmap_ref_private).  Nor are they
 * tracked.  They are copied while the program stands still.
 */
#include "state/memory_huge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"

#define HUGE_PAGE (UINT64_C(2) << 20)
#define OF_2_MIB (21 << 26) /* MAP_HUGE_2MB, MFD_HUGE_2MB */
#define POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"

/* --- capture --- */

bool memory_huge_is(const struct proc_map *m)
{
	return !strncmp(m->name, "/anon_hugepage", 14);
}

static int refuse(const struct capture *c, uint64_t start, uint64_t end, const char *what,
		  struct err *err)
{
	return err_refuse_as(
		err, REFUSED_HUGE, "cannot save huge pages (memory %#llx-%#llx of process %d): %s",
		(unsigned long long)start, (unsigned long long)end, c->remote->pid, what);
}

/* Each size of pages has a file system, and so a device number, of its own. */
static bool is_of_2_mib(const struct proc_map *m)
{
	__cleanup_fd int fd = memfd_create("godwit", MFD_CLOEXEC | MFD_HUGETLB | OF_2_MIB);
	struct stat st;

	return fd >= 0 && !fstat(fd, &st) && st.st_dev == m->dev;
}

int memory_huge_classify(struct capture *c, const struct proc_map *m, struct mapping *ret,
			 struct err *err)
{
	ret->kind = MAPPING_HUGE;
	if (m->shared) {
		ret->flags |= MAPPING_HUGE_SHARED;
		ret->object = m->ino;
	}
	return is_of_2_mib(m) ? 0 : refuse(c, m->start, m->end, "they are not of 2 MiB", err);
}

/* A second mapping of one object cannot be made: mremap(2) makes none of huge pages. */
int memory_huge_capture(struct capture *c, const struct process *p, struct err *err)
{
	for (size_t i = 0; i < p->nmappings; i++) {
		const struct mapping *m = &p->mappings[i];

		if (m->kind != MAPPING_HUGE || !(m->flags & MAPPING_HUGE_SHARED))
			continue;
		if (m->offset)
			return refuse(c, m->start, m->end, "only a part of them is mapped", err);
		for (size_t k = 0; k < i; k++)
			if (p->mappings[k].kind == MAPPING_HUGE &&
			    p->mappings[k].object == m->object)
				return refuse(c, m->start, m->end, "they are mapped twice", err);
	}
	return 0;
}

/* Pages that the object has, whether they are mapped or not; negative: only root may see. */
static int64_t pages_of_object(const struct capture *c, const struct mapping *m)
{
	struct stat st;
	char name[64];

	snprintf(name, sizeof(name), "map_files/%llx-%llx", (unsigned long long)m->start,
		 (unsigned long long)m->end);
	if (fstatat(c->remote->procfd, name, &st, 0))
		return -1;
	return (int64_t)((uint64_t)st.st_blocks * 512 / HUGE_PAGE);
}

/* Which are in its page table, of those from `at` on: mincore(2) tells no more of such memory
 * (mm/mincore.c, mincore_hugetlb).  One byte for 4 KiB. */
static int ask_mincore(struct capture *c, uint64_t at, uint64_t len, uint8_t *vec, struct err *err)
{
	struct program prog;
	uint64_t out;
	int ret;

	program_init(&prog, c->remote->data, REMOTE_DATA_LEN, REMOTE_CALL_CAP, err);
	program_reserve(&prog, REMOTE_DATA_LEN / 2 + 64);
	out = program_data(&prog, NULL, REMOTE_DATA_LEN / 2);
	program_call(&prog, "look for huge pages", SYS_mincore, at, len, out, 0, 0, 0);
	ret = remote_run(c->remote, &prog, err);
	program_done(&prog);
	if (!ret && (ret = remote_read(c->remote, out, vec, len / PAGE_SIZE_4K)))
		err_sys(err, ret, "cannot read what mincore says");
	return ret;
}

/* Where some page of the object is in no page table, all of it is told: it reads as zeros where
 * there is none. */
int memory_huge_find_shared(struct capture *c, const struct mapping *m,
			    int (*found)(void *arg, uint64_t start, uint64_t end), void *arg,
			    struct err *err)
{
	uint64_t chunk = (REMOTE_DATA_LEN / 2) * PAGE_SIZE_4K, len = m->end - m->start;
	__cleanup_free uint8_t *vec = io_alloc(1, REMOTE_DATA_LEN / 2, err);
	__cleanup_free bool *is_there = io_alloc(len / HUGE_PAGE, sizeof(*is_there), err);
	int64_t n = 0;
	int ret = 0;

	if (!vec || !is_there)
		return err->error;
	for (uint64_t at = 0; at < len; at += chunk) {
		uint64_t now = len - at < chunk ? len - at : chunk;

		if ((ret = ask_mincore(c, m->start + at, now, vec, err)))
			return ret;
		for (uint64_t k = 0; k < now; k += HUGE_PAGE)
			n += is_there[(at + k) / HUGE_PAGE] = vec[k / PAGE_SIZE_4K] & 1;
	}
	if (pages_of_object(c, m) != n)
		return found(arg, m->start, m->end);
	for (uint64_t at = 0; at < len && !ret; at += HUGE_PAGE)
		if (is_there[at / HUGE_PAGE])
			ret = found(arg, m->start + at, m->start + at + HUGE_PAGE);
	return ret;
}

/* --- restart --- */

bool memory_huge_is_possible(const struct mapping *m)
{
	if (m->kind != MAPPING_HUGE)
		return !(m->flags & MAPPING_HUGE_SHARED);
	return m->start % HUGE_PAGE == 0 && m->end % HUGE_PAGE == 0 && !m->file;
}

static uint64_t of_pool(const char *name)
{
	__cleanup_buf struct buf b = {0};
	char path[96];

	snprintf(path, sizeof(path), POOL "%s", name);
	return io_read_file(AT_FDCWD, path, &b) ? 0 : strtoull(b.p, NULL, 10);
}

/* Which mapping takes pages from the pool at once, the stored ones or all of its own. */
static uint64_t pages_needed(const struct process *p)
{
	uint64_t n = 0;

	for (size_t i = 0; i < p->nmappings; i++) {
		const struct mapping *m = &p->mappings[i];

		if (m->kind == MAPPING_HUGE)
			n += m->flags & MAPPING_NORESERVE ? ALIGN_UP(m->stored, HUGE_PAGE)
							  : m->end - m->start;
	}
	return n / HUGE_PAGE;
}

int memory_huge_check(const struct process *p, struct err *err)
{
	uint64_t need = pages_needed(p), free_pages, reserved, surplus, more, have;

	if (!need)
		return 0;
	free_pages = of_pool("free_hugepages");
	reserved = of_pool("resv_hugepages");
	surplus = of_pool("surplus_hugepages");
	more = of_pool("nr_overcommit_hugepages");
	have = (free_pages > reserved ? free_pages - reserved : 0) +
	       (more > surplus ? more - surplus : 0);
	if (need <= have)
		return 0;
	err_refuse(err, "it needs %llu huge pages of 2 MiB, of which %llu are free here",
		   (unsigned long long)need, (unsigned long long)have);
	return err_hint(err, "reserve them, as root: echo %llu >" POOL "nr_hugepages",
			(unsigned long long)(of_pool("nr_hugepages") + need - have));
}

int memory_huge_flags(const struct mapping *m)
{
	return MAP_ANONYMOUS | MAP_HUGETLB | OF_2_MIB |
	       (m->flags & MAPPING_HUGE_SHARED ? MAP_SHARED : MAP_PRIVATE) |
	       (m->flags & MAPPING_NORESERVE ? MAP_NORESERVE : 0);
}
