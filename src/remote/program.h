/*
 * A syscall program: a list of system calls that a stopped target is made to
 * run, each with the result expected and the reason.
 *
 * Built beforehand, so that it can be printed (godwit restart --explain),
 * counted and tested; run batch by batch by the engine (remote/remote.h), one
 * ptrace round trip a batch.  All addresses and descriptor numbers are known
 * while it is built: the scratch mapping's address is given, and the lowest
 * free descriptor is a matter of counting.
 */
#ifndef GODWIT_REMOTE_PROGRAM_H
#define GODWIT_REMOTE_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* What a result must be for the program to go on. */
enum expect {
	EXPECT_ANY,   /* anything: the caller looks */
	EXPECT_OK,    /* >= 0 */
	EXPECT_VALUE, /* exactly call.want */
};

struct call {
	int64_t nr;
	uint64_t arg[6];
	int64_t ret;     /* filled in when run: value, or -errno */
	uint64_t expect; /* enum expect; EXPECT_OK unless the builder says otherwise */
	int64_t want;
	/* Not seen by the target: */
	const char *why;  /* static text or owned by the program */
	uint8_t pointers; /* bit i: arg[i] points into the data of the batch */
};

/* Calls of one thread that are run in one go, with the data they point to. */
struct batch {
	uint32_t thread; /* index in the process: 0 is the first (leader) */
	struct call *calls;
	size_t n, cap;
	uint8_t *data;              /* copied to the scratch mapping's data area before the run */
	size_t data_len, data_size; /* bytes in use, bytes allocated */
};

struct program {
	uint64_t data_base; /* target address of the scratch data area, 16-aligned */
	size_t data_cap;    /* its size, bytes */
	size_t call_cap;    /* calls that fit in one batch */
	struct batch *batches;
	size_t n, cap;
	uint32_t thread;   /* of the calls added next */
	bool flushed;      /* the next call starts a batch */
	bool pending;      /* data were added that no call has taken yet */
	uint64_t *fd_used; /* bitmap of the target's descriptors, PROGRAM_FD_MAX bits */
	char **whys;       /* texts of program_why */
	size_t nwhys, whys_cap;
	struct call sink; /* what callers get to write to after a failure */
	struct err *err;  /* sticky: first failure while building */
	bool failed;
};

#define PROGRAM_FD_MAX (1u << 20)

/*
 * Failures (out of memory, data that cannot fit, no free descriptor) are
 * sticky: *err is filled, p->failed is set, and everything added later is
 * dropped.  So the builder looks once, at the end; remote_run refuses a
 * program that failed.
 */
void program_init(struct program *p, uint64_t data_base, size_t data_cap, size_t call_cap,
		  struct err *err);
/* Frees everything.  Accepts a zeroed program. */
void program_done(struct program *p);
/* Fails the program from outside: the builder met something impossible. */
void program_fail(struct program *p, int error, const char *fmt, ...) __printf_like(3, 4);

/* Calls added from now on are run by thread number `index`. */
void program_thread(struct program *p, uint32_t index);
/* Ends the current batch: the next call starts a new one. */
void program_flush(struct program *p);
/* Calls in all batches. */
size_t program_calls(const struct program *p);

/*
 * Bytes that the next call shall point to.  Returns their address in the
 * target, a multiple of 16.  A call with one piece of data needs nothing else.
 * A call with several (an iovec and its buffers, a struct that points to
 * another) says their whole length first with program_reserve: the sum of
 * PROGRAM_PIECE(len), so that they get into one batch.
 * NULL data means zeroed room for a result.
 * Data stay valid for every later call of the same batch, but only the next
 * call is certain to be in it.
 */
#define PROGRAM_PIECE(len) (((size_t)(len) + 15) & ~(size_t)15)
void program_reserve(struct program *p, size_t len);
uint64_t program_data(struct program *p, const void *data, size_t len);
uint64_t program_str(struct program *p, const char *s);

/*
 * Adds a call; it must give >= 0 unless the builder changes what is returned:
 *	program_call(...)->expect = EXPECT_ANY;
 * The pointer is good until the next call is added; it is never NULL.
 * `why` must outlive the program (a literal), or come from program_why.
 */
struct call *program_call(struct program *p, const char *why, long nr, uint64_t a0, uint64_t a1,
			  uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5);
/* The same, and the result must be exactly `want`. */
struct call *program_call_want(struct program *p, int64_t want, const char *why, long nr,
			       uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
			       uint64_t a5);
/* printf-style reason, owned by the program; a fixed text when memory is exhausted. */
const char *program_why(struct program *p, const char *fmt, ...) __printf_like(2, 3);

/* Descriptor bookkeeping.  program_fd_* keep the picture of the target's
 * descriptor table; the calls emitted expect exactly that picture.  Numbers
 * from PROGRAM_FD_MAX on are never free and never used. */
void program_fd_mark(struct program *p, int fd, bool used);
bool program_fd_is_used(const struct program *p, int fd);
/* Lowest free descriptor >= from, or -1. */
int program_fd_lowest(const struct program *p, int from);
/* Adds a call that returns the lowest free descriptor; expects and marks it. */
int program_fd_call(struct program *p, const char *why, long nr, uint64_t a0, uint64_t a1,
		    uint64_t a2, uint64_t a3, uint64_t a4);
/* openat(AT_FDCWD, path, flags, mode). */
int program_openat(struct program *p, const char *why, const char *path, int flags, unsigned mode);
void program_close(struct program *p, const char *why, int fd);
/* dup3(old, new, cloexec ? O_CLOEXEC : 0); old == new sets or clears FD_CLOEXEC by fcntl. */
void program_dup(struct program *p, const char *why, int old, int fd, bool cloexec);
/* fcntl(old, F_DUPFD_CLOEXEC, from): the lowest free descriptor >= from. */
int program_dup_above(struct program *p, const char *why, int old, int from);

#endif
