/*
 * Whole reads and writes, whole files, growing buffers, cleanup attributes.
 * Depends on nothing but libc.
 */
#ifndef GODWIT_BASE_IO_H
#define GODWIT_BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define PAGE_SIZE_4K 4096ULL
#define ALIGN_UP(x, a) (((x) + (a)-1) & ~((uint64_t)(a)-1))
#define ALIGN_DOWN(x, a) ((x) & ~((uint64_t)(a)-1))

/* Transfer exactly len bytes, through EINTR and short transfers.  0, or a
 * negative errno; a read that meets end of file early gives -ENODATA. */
int io_write_all(int fd, const void *buf, size_t len) __must_check;
int io_pwrite_all(int fd, const void *buf, size_t len, uint64_t off) __must_check;
int io_read_all(int fd, void *buf, size_t len) __must_check;
int io_pread_all(int fd, void *buf, size_t len, uint64_t off) __must_check;

/* CLOCK_MONOTONIC, in ns. */
uint64_t io_now_ns(void);

/* A growing byte buffer on the heap.  Zero-initialised is empty. */
struct buf {
	char *p;
	size_t len, cap;
	bool failed; /* an allocation failed; sticky */
};

void buf_done(struct buf *b);
/* Append; on allocation failure set b->failed and drop the data. */
void buf_add(struct buf *b, const void *data, size_t len);
void buf_printf(struct buf *b, const char *fmt, ...) __printf_like(2, 3);

/* Reads a whole (proc) file to a NUL-terminated buffer; b is emptied first.
 * dirfd as for openat(2).  0 or a negative errno. */
int io_read_file(int dirfd, const char *path, struct buf *b) __must_check;
/* readlinkat(2) into a NUL-terminated buffer of size cap; -ENAMETOOLONG when it does not fit. */
int io_readlink(int dirfd, const char *path, char *out, size_t cap) __must_check;

/* Heap memory or -ENOMEM in *err. */
void *io_alloc(size_t n, size_t size, struct err *err) __must_check;
/* Grows an array to hold at least want elements (doubling); returns the new
 * pointer or NULL with *err set and the old array untouched. */
void *io_grow(void *array, size_t *cap, size_t want, size_t size, struct err *err) __must_check;

void io_close_fd(int *fd);
void io_free_ptr(void *pp);
void io_fclose(FILE **f);

#define __cleanup_fd __attribute__((cleanup(io_close_fd)))
#define __cleanup_free __attribute__((cleanup(io_free_ptr)))
#define __cleanup_buf __attribute__((cleanup(buf_done)))
#define __cleanup_file __attribute__((cleanup(io_fclose)))

#endif
