/*
 * Which pages of a range exist.  PAGEMAP_SCAN where the kernel has it (Linux
 * 6.7; fs/proc/task_mmu.c, do_pagemap_scan), else /proc/PID/pagemap entry by
 * entry.
 */
#ifndef GODWIT_PROC_PAGEMAP_H
#define GODWIT_PROC_PAGEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/fs.h>
#include <linux/types.h>

#include "base/err.h"

#ifndef PAGEMAP_SCAN
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#define PAGE_IS_WPALLOWED (1 << 0)
#define PAGE_IS_WRITTEN (1 << 1)
#define PAGE_IS_FILE (1 << 2)
#define PAGE_IS_PRESENT (1 << 3)
#define PAGE_IS_SWAPPED (1 << 4)
#define PAGE_IS_PFNZERO (1 << 5)
#define PAGE_IS_HUGE (1 << 6)
#define PM_SCAN_WP_MATCHING (1 << 0)
#define PM_SCAN_CHECK_WPASYNC (1 << 1)
struct page_region {
	__u64 start, end, categories;
};
struct pm_scan_arg {
	__u64 size, flags, start, end, walk_end, vec, vec_len, max_pages;
	__u64 category_inverted, category_mask, category_anyof_mask, return_mask;
};
#endif

/* What the caller wants to be told of. */
enum pagemap_want {
	PAGEMAP_ANON,   /* private pages of the process: present or swapped, not the
			   zero page, not a page of the mapped file */
	PAGEMAP_PRESENT /* any page present or swapped: shared anonymous memory */
};

/* Called for each run of wanted pages, ascending, not touching; != 0 stops. */
typedef int (*pagemap_fn)(void *arg, uint64_t start, uint64_t end);

/*
 * Walks [start, end) (page-aligned) of the pagemap open as fd.  Time follows
 * the pages that exist, not the range, with PAGEMAP_SCAN.  0, the callback's
 * value, or a negative errno in *err.
 */
int pagemap_walk(int fd, uint64_t start, uint64_t end, enum pagemap_want want, pagemap_fn fn,
		 void *arg, struct err *err) __must_check;

/* Does this kernel have PAGEMAP_SCAN?  fd is any pagemap. */
bool pagemap_has_scan(int fd);

#endif
