/* Whole reads and writes, growing buffers: see io.h. */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The kernel moves at most 2 GiB - 4 KiB a call (read(2), NOTES). */
#define MOVE_MAX (1UL << 30)

int io_write_all(int fd, const void *buf, size_t len)
{
	const char *p = buf;

	while (len) {
		ssize_t n = write(fd, p, len < MOVE_MAX ? len : MOVE_MAX);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_pwrite_all(int fd, const void *buf, size_t len, uint64_t off)
{
	const char *p = buf;

	while (len) {
		ssize_t n = pwrite(fd, p, len < MOVE_MAX ? len : MOVE_MAX, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int io_read_all(int fd, void *buf, size_t len)
{
	char *p = buf;

	while (len) {
		ssize_t n = read(fd, p, len < MOVE_MAX ? len : MOVE_MAX);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_pread_all(int fd, void *buf, size_t len, uint64_t off)
{
	char *p = buf;

	while (len) {
		ssize_t n = pread(fd, p, len < MOVE_MAX ? len : MOVE_MAX, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

void buf_done(struct buf *b)
{
	free(b->p);
	*b = (struct buf){0};
}

static bool buf_reserve(struct buf *b, size_t more)
{
	size_t cap = b->cap ? b->cap : 256;
	char *p;

	if (b->failed)
		return false;
	if (b->len + more + 1 <= b->cap)
		return true;
	while (cap < b->len + more + 1)
		cap *= 2;
	p = realloc(b->p, cap);
	if (!p) {
		b->failed = true;
		return false;
	}
	b->p = p;
	b->cap = cap;
	return true;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	if (!buf_reserve(b, len))
		return;
	if (len)
		memcpy(b->p + b->len, data, len);
	b->len += len;
	b->p[b->len] = '\0';
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || !buf_reserve(b, (size_t)n))
		return;
	va_start(ap, fmt);
	vsnprintf(b->p + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

int io_read_file(int dirfd, const char *path, struct buf *b)
{
	__cleanup_fd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	b->len = 0;
	for (;;) {
		ssize_t n;

		if (!buf_reserve(b, 16384))
			return -ENOMEM;
		/* Proc files hand out a page or so a call, whatever is asked for. */
		n = read(fd, b->p + b->len, b->cap - b->len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		b->len += (size_t)n;
	}
	b->p[b->len] = '\0';
	return 0;
}

int io_readlink(int dirfd, const char *path, char *out, size_t cap)
{
	ssize_t n = readlinkat(dirfd, path, out, cap);

	if (n < 0)
		return -errno;
	if ((size_t)n >= cap)
		return -ENAMETOOLONG;
	out[n] = '\0';
	return 0;
}

void *io_alloc(size_t n, size_t size, struct err *err)
{
	void *p = calloc(n ? n : 1, size);

	if (!p)
		err_set(err, -ENOMEM, "out of memory (%zu bytes wanted)", n * size);
	return p;
}

void *io_grow(void *array, size_t *cap, size_t want, size_t size, struct err *err)
{
	size_t n = *cap ? *cap : 16;
	void *p;

	if (want <= *cap)
		return array;
	while (n < want)
		n *= 2;
	p = reallocarray(array, n, size);
	if (!p) {
		err_set(err, -ENOMEM, "out of memory (%zu bytes wanted)", n * size);
		return NULL;
	}
	*cap = n;
	return p;
}

void io_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void io_free_ptr(void *pp)
{
	void **p = pp;

	free(*p);
	*p = NULL;
}

void io_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
	*f = NULL;
}

uint64_t io_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}
