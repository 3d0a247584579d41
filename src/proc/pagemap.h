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

#include "base/err.h"
#include "proc/newer.h"

/* What the caller wants to be told of. */
enum pagemap_want {
	PAGEMAP_PRIVATE, /* private pages of the process: present or swapped, not the
			    zero page, not a page of a mapped file */
	PAGEMAP_ANON,    /* the same where no file is mapped, many times faster: the
			    kernel need not look at each page.  Whatever lies between
			    mappings may be told as well */
	PAGEMAP_TRACKED, /* as PAGEMAP_ANON, and tells which are unchanged; needs
			    PAGEMAP_SCAN */
	PAGEMAP_PRESENT, /* any page present or swapped: shared anonymous memory */
};

/*
 * Called for each run of wanted pages, ascending; runs that touch differ in
 * `unchanged`.  != 0 stops.  unchanged (only PAGEMAP_TRACKED says it): the memory is
 * tracked (track/track.h), and nobody wrote to these pages since they were armed.
 */
typedef int (*pagemap_fn)(void *arg, uint64_t start, uint64_t end, bool unchanged);

/*
 * Walks [start, end) (page-aligned) of the pagemap open as fd.  Time follows
 * the pages that exist, not the range, with PAGEMAP_SCAN.  0, the callback's
 * value, or a negative errno in *err.
 */
int pagemap_walk(int fd, uint64_t start, uint64_t end, enum pagemap_want want, pagemap_fn fn,
		 void *arg, struct err *err) __must_check;

/*
 * The same by two threads, one for what lies below `middle` and one for the rest, whose runs are
 * kept until the first is done; fn is called by the caller's thread alone.  By one where there is
 * no PAGEMAP_SCAN.
 */
int pagemap_walk_halves(int fd, uint64_t start, uint64_t middle, uint64_t end,
			enum pagemap_want want, pagemap_fn fn, void *arg,
			struct err *err) __must_check;

/* Does this kernel have PAGEMAP_SCAN?  fd is any pagemap. */
bool pagemap_has_scan(int fd);

#endif
