/* Which pages exist: see pagemap.h. */
#include "proc/pagemap.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/io.h"

#define REGIONS 512

/* Joins runs that touch, so that the callback sees each run once. */
struct joiner {
	pagemap_fn fn;
	void *arg;
	uint64_t start, end;
	bool unchanged;
};

static int join(struct joiner *j, uint64_t start, uint64_t end, bool unchanged)
{
	int ret = 0;

	if (j->end == start && j->end != j->start && j->unchanged == unchanged) {
		j->end = end;
		return 0;
	}
	if (j->end > j->start)
		ret = j->fn(j->arg, j->start, j->end, j->unchanged);
	j->start = start;
	j->unchanged = unchanged;
	j->end = end;
	return ret;
}

/* Memory that is not tracked, or not any more, has changed. */
static bool is_unchanged(uint64_t categories)
{
	return (categories & PAGE_IS_WPALLOWED) && !(categories & PAGE_IS_WRITTEN);
}

static int scan(int fd, uint64_t start, uint64_t end, enum pagemap_want want, struct joiner *j)
{
	struct page_region v[REGIONS];

	while (start < end) {
		struct pm_scan_arg a = {
			.size = sizeof(a),
			.start = start,
			.end = end,
			.vec = (uintptr_t)v,
			.vec_len = REGIONS,
			.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
			.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		};
		int n, ret;

		if (want != PAGEMAP_PRESENT) {
			a.category_mask = PAGE_IS_PFNZERO;
			if (want == PAGEMAP_PRIVATE)
				a.category_mask |= PAGE_IS_FILE;
			a.category_inverted = a.category_mask;
		}
		if (want == PAGEMAP_TRACKED)
			a.return_mask = PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN;
		n = ioctl(fd, PAGEMAP_SCAN, &a);
		if (n < 0)
			return -errno;
		for (int i = 0; i < n; i++)
			if ((ret = join(j, v[i].start, v[i].end,
					want == PAGEMAP_TRACKED && is_unchanged(v[i].categories))))
				return ret;
		if (a.walk_end <= start)
			return -EPROTO;
		start = a.walk_end;
	}
	return 0;
}

/*
 * Without PAGEMAP_SCAN.  Bits of an entry: 63 present, 62 swapped, 61 file page
 * or shared anonymous (Documentation/admin-guide/mm/pagemap.rst).  The zero
 * page cannot be told from others without its frame number, so it is stored.
 */
static int entries(int fd, uint64_t start, uint64_t end, enum pagemap_want want, struct joiner *j)
{
	uint64_t v[4096];

	while (start < end) {
		uint64_t pages = (end - start) / PAGE_SIZE_4K;
		size_t n = pages < ARRAY_SIZE(v) ? (size_t)pages : ARRAY_SIZE(v);
		int ret = io_pread_all(fd, v, n * 8, start / PAGE_SIZE_4K * 8);

		if (ret)
			return ret;
		for (size_t i = 0; i < n; i++, start += PAGE_SIZE_4K) {
			if (!(v[i] >> 62) || (want != PAGEMAP_PRESENT && (v[i] >> 61 & 1)))
				continue;
			if ((ret = join(j, start, start + PAGE_SIZE_4K, false)))
				return ret;
		}
	}
	return 0;
}

bool pagemap_has_scan(int fd)
{
	struct pm_scan_arg a = {.size = sizeof(a), .return_mask = PAGE_IS_PRESENT};

	return ioctl(fd, PAGEMAP_SCAN, &a) >= 0;
}

int pagemap_walk(int fd, uint64_t start, uint64_t end, enum pagemap_want want, pagemap_fn fn,
		 void *arg, struct err *err)
{
	struct joiner j = {.fn = fn, .arg = arg};
	int ret = scan(fd, start, end, want, &j);

	if (ret == -ENOTTY || ret == -EINVAL) {
		j.start = j.end = 0;
		ret = entries(fd, start, end, want, &j);
	}
	if (!ret && j.end > j.start)
		ret = fn(arg, j.start, j.end, j.unchanged);
	if (ret < 0)
		return err_sys(err, ret, "cannot read the page map of %#llx-%#llx",
			       (unsigned long long)start, (unsigned long long)end);
	return ret;
}
