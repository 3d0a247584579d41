/*
 * Building syscall programs: see program.h.
 *
 * The one rule that everything here serves: a call and the data it points to
 * are in the same batch, since the data area is filled anew for each batch.
 * Addresses are given out before the call is added, so a batch may not be
 * closed between program_data and the call that takes it (p->pending).
 */
#include "remote/program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/io.h"

#define WORD_BITS 64

void program_init(struct program *p, uint64_t data_base, size_t data_cap, size_t call_cap,
		  struct err *err)
{
	*p = (struct program){
		.data_base = data_base, .data_cap = data_cap, .call_cap = call_cap, .err = err};
	p->fd_used = io_alloc(PROGRAM_FD_MAX / WORD_BITS, sizeof(uint64_t), err);
	p->failed = !p->fd_used;
}

void program_done(struct program *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->batches[i].calls);
		free(p->batches[i].data);
	}
	for (size_t i = 0; i < p->nwhys; i++)
		free(p->whys[i]);
	free(p->batches);
	free(p->whys);
	free(p->fd_used);
	*p = (struct program){0};
}

void program_fail(struct program *p, int error, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p->failed = true;
	err_set(p->err, error, "%s", text);
}

void program_thread(struct program *p, uint32_t index)
{
	if (p->pending && index != p->thread)
		program_fail(p, -EINVAL, "syscall program: data of one thread's call for another");
	p->thread = index;
}

void program_flush(struct program *p)
{
	if (p->pending)
		program_fail(p, -EINVAL, "syscall program: batch ended before its call");
	p->flushed = true;
}

size_t program_calls(const struct program *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		n += p->batches[i].n;
	return n;
}

static bool batch_has_room(const struct program *p, const struct batch *b, size_t len)
{
	return !p->flushed && b->thread == p->thread && b->n < p->call_cap &&
	       len <= p->data_cap - b->data_len;
}

/* The batch in which the next call goes, with room for len more bytes of data. */
static struct batch *open_batch(struct program *p, size_t len)
{
	struct batch *b = p->n ? &p->batches[p->n - 1] : NULL;

	if (p->failed)
		return NULL;
	if (b && batch_has_room(p, b, len))
		return b;
	if (len > p->data_cap || (p->pending && b)) {
		program_fail(p, -E2BIG, "syscall program: %zu bytes of data do not fit in a batch",
			     len);
		return NULL;
	}
	b = io_grow(p->batches, &p->cap, p->n + 1, sizeof(*b), p->err);
	if (!b) {
		p->failed = true;
		return NULL;
	}
	p->batches = b;
	b += p->n++;
	*b = (struct batch){.thread = p->thread};
	p->flushed = false;
	return b;
}

void program_reserve(struct program *p, size_t len)
{
	open_batch(p, PROGRAM_PIECE(len));
}

uint64_t program_data(struct program *p, const void *data, size_t len)
{
	size_t padded = PROGRAM_PIECE(len ? len : 1);
	struct batch *b = open_batch(p, padded);
	uint64_t addr;

	if (!b)
		return 0;
	if (b->data_len + padded > b->data_size) {
		uint8_t *d = io_grow(b->data, &b->data_size, b->data_len + padded, 1, p->err);

		if (!d) {
			p->failed = true;
			return 0;
		}
		b->data = d;
	}
	addr = p->data_base + b->data_len;
	memset(b->data + b->data_len, 0, padded);
	if (data && len)
		memcpy(b->data + b->data_len, data, len);
	b->data_len += padded;
	p->pending = true;
	return addr;
}

uint64_t program_str(struct program *p, const char *s)
{
	return program_data(p, s, strlen(s) + 1);
}

struct call *program_call(struct program *p, const char *why, long nr, uint64_t a0, uint64_t a1,
			  uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
	struct batch *b = open_batch(p, 0);
	struct call *c;

	p->sink = (struct call){0};
	if (!b)
		return &p->sink;
	c = io_grow(b->calls, &b->cap, b->n + 1, sizeof(*c), p->err);
	if (!c) {
		p->failed = true;
		return &p->sink;
	}
	b->calls = c;
	c += b->n++;
	*c = (struct call){
		.nr = nr, .arg = {a0, a1, a2, a3, a4, a5}, .expect = EXPECT_OK, .why = why};
	for (int i = 0; i < 6; i++)
		if (c->arg[i] >= p->data_base && c->arg[i] - p->data_base < b->data_len)
			c->pointers |= (uint8_t)(1u << i);
	p->pending = false;
	return c;
}

struct call *program_call_want(struct program *p, int64_t want, const char *why, long nr,
			       uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
			       uint64_t a5)
{
	struct call *c = program_call(p, why, nr, a0, a1, a2, a3, a4, a5);

	c->expect = EXPECT_VALUE;
	c->want = want;
	return c;
}

const char *program_why(struct program *p, const char *fmt, ...)
{
	char **list, *text;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		return "(out of memory)";
	list = io_grow(p->whys, &p->whys_cap, p->nwhys + 1, sizeof(*list), p->err);
	if (!list) {
		p->failed = true;
		free(text);
		return "(out of memory)";
	}
	p->whys = list;
	list[p->nwhys++] = text;
	return text;
}

void program_fd_mark(struct program *p, int fd, bool used)
{
	uint64_t bit = 1ULL << ((unsigned)fd % WORD_BITS);

	if (fd < 0 || (unsigned)fd >= PROGRAM_FD_MAX || !p->fd_used)
		return;
	if (used)
		p->fd_used[(unsigned)fd / WORD_BITS] |= bit;
	else
		p->fd_used[(unsigned)fd / WORD_BITS] &= ~bit;
}

bool program_fd_is_used(const struct program *p, int fd)
{
	if (fd < 0 || (unsigned)fd >= PROGRAM_FD_MAX || !p->fd_used)
		return false;
	return p->fd_used[(unsigned)fd / WORD_BITS] >> ((unsigned)fd % WORD_BITS) & 1;
}

int program_fd_lowest(const struct program *p, int from)
{
	unsigned fd = from > 0 ? (unsigned)from : 0;

	while (p->fd_used && fd < PROGRAM_FD_MAX) {
		uint64_t rest = ~p->fd_used[fd / WORD_BITS] >> (fd % WORD_BITS);

		if (rest)
			return (int)(fd + (unsigned)__builtin_ctzll(rest));
		fd = (fd / WORD_BITS + 1) * WORD_BITS;
	}
	return -1;
}

/* The descriptor that a call is going to return, marked as used; -1 when there is none. */
static int take_lowest(struct program *p, int from)
{
	int fd = program_fd_lowest(p, from);

	if (fd < 0 && !p->failed)
		program_fail(p, -EMFILE, "syscall program: no free descriptor from %d on", from);
	program_fd_mark(p, fd, true);
	return fd;
}

int program_fd_call(struct program *p, const char *why, long nr, uint64_t a0, uint64_t a1,
		    uint64_t a2, uint64_t a3, uint64_t a4)
{
	int fd = take_lowest(p, 0);

	program_call_want(p, fd, why, nr, a0, a1, a2, a3, a4, 0);
	return fd;
}

int program_openat(struct program *p, const char *why, const char *path, int flags, unsigned mode)
{
	uint64_t addr = program_str(p, path);

	return program_fd_call(p, why, SYS_openat, (uint64_t)AT_FDCWD, addr, (unsigned)flags, mode,
			       0);
}

void program_close(struct program *p, const char *why, int fd)
{
	program_call_want(p, 0, why, SYS_close, (unsigned)fd, 0, 0, 0, 0, 0);
	program_fd_mark(p, fd, false);
}

void program_dup(struct program *p, const char *why, int old, int fd, bool cloexec)
{
	if (old == fd) {
		program_call_want(p, 0, why, SYS_fcntl, (unsigned)fd, F_SETFD,
				  cloexec ? FD_CLOEXEC : 0, 0, 0, 0);
		return;
	}
	program_call_want(p, fd, why, SYS_dup3, (unsigned)old, (unsigned)fd,
			  cloexec ? O_CLOEXEC : 0, 0, 0, 0);
	program_fd_mark(p, fd, true);
}

int program_dup_above(struct program *p, const char *why, int old, int from)
{
	int fd = take_lowest(p, from);

	program_call_want(p, fd, why, SYS_fcntl, (unsigned)old, F_DUPFD_CLOEXEC, (unsigned)from, 0,
			  0, 0);
	return fd;
}
