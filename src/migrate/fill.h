/*
 * Filling the fresh memory of a process that is being built: by UFFDIO_COPY a page
 * comes into being with its content, in half the time that process_vm_writev(2) takes to
 * make it, clear it, find it and write to it.
 *
 * While it goes on, memory that was added and has no page yet can be written to in this way
 * only: for the process itself and for process_vm_writev(2) it is an error (EFAULT).
 */
#ifndef GODWIT_MIGRATE_FILL_H
#define GODWIT_MIGRATE_FILL_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct remote;

struct fill {
	int uffd; /* of the process; -1: not possible here, or not begun */
	int pid;
};

/* Takes a userfaultfd out of a prepared process (remote_prepare).  0 also where the kernel
 * or the container has none: then nothing is ever added. */
int fill_begin(struct fill *f, struct remote *remote, struct err *err) __must_check;
/* From now on [start, end), a whole mapping of anonymous memory without pages, is filled
 * so, where that is possible. */
void fill_add(const struct fill *f, uint64_t start, uint64_t end);
/* 0; -ENOENT: not begun; -EFAULT.  What was not added, or is there already, is written to
 * page by page. */
int fill_write(const struct fill *f, uint64_t addr, const void *data, size_t len) __must_check;
/* From now on the memory is like any other.  Accepts what was not begun. */
void fill_end(struct fill *f);

#endif
