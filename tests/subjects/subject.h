/*
 * What all subjects share.  A subject builds some state, calls subject_wait(),
 * and then verifies itself with check() and subject_done():
 *
 *     subject CTL [ARGS]      CTL: absolute path of the control directory
 *
 * subject_wait() prints `ready` and polls: when CTL/ping appears it removes it
 * (a sign of life), when CTL/release appears it returns.  Both work uncut, across
 * a checkpoint and in a restarted process, without any descriptor kept open.
 *
 * A comment "test: ..." at the head of a subject says how it can be tried, see
 * tests/e2e/rounds.sh.
 */
#ifndef SUBJECT_H
#define SUBJECT_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static char subject_ping[512], subject_release[512];
static int subject_failures;
/* If set: called for each ping, before it is taken away. */
static void (*subject_on_ping)(void);
static pthread_mutex_t subject_lock = PTHREAD_MUTEX_INITIALIZER;

static inline void subject_say(const char *fmt, va_list ap)
{
	char line[600];
	int n = vsnprintf(line, sizeof(line) - 1, fmt, ap);

	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n] = '\n';
	if (write(1, line, n + 1) < 0)
		_exit(99);
}

/* State that cannot even be built is an error of the test, not of the restart. */
static inline void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	subject_say(fmt, ap);
	va_end(ap);
	_exit(2);
}

static inline void __attribute__((format(printf, 2, 3))) check(bool is_true, const char *fmt, ...)
{
	va_list ap;

	if (is_true)
		return;
	va_start(ap, fmt);
	pthread_mutex_lock(&subject_lock);
	subject_failures++;
	subject_say(fmt, ap);
	pthread_mutex_unlock(&subject_lock);
	va_end(ap);
}

#define must(x)                                                                                    \
	({                                                                                         \
		__typeof__(x) v_ = (x);                                                            \
		if ((intptr_t)v_ == -1)                                                            \
			die("%s:%d: %s: %s", __FILE__, __LINE__, #x, strerror(errno));             \
		v_;                                                                                \
	})

static inline void subject_init(int argc, char **argv)
{
	if (argc < 2)
		die("usage: %s CTL [ARGS]", argv[0]);
	snprintf(subject_ping, sizeof(subject_ping), "%s/ping", argv[1]);
	snprintf(subject_release, sizeof(subject_release), "%s/release", argv[1]);
}

static inline void nap(long ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	/* A handler that runs meanwhile (the doorbell) may cut it short. */
	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

/* The number of the system call in which a thread of ours sleeps, or -1. */
static inline long subject_call_of(pid_t tid)
{
	char path[64], b[32] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, b, sizeof(b) - 1) < 1)
		b[0] = 'r'; /* as for one that runs: "running" */
	if (fd >= 0)
		close(fd);
	return b[0] >= '0' && b[0] <= '9' ? atol(b) : -1;
}

/* One look at the control directory; true once released. */
static inline bool subject_poll(void)
{
	if (access(subject_ping, F_OK) == 0) {
		if (subject_on_ping)
			subject_on_ping();
		unlink(subject_ping);
	}
	return access(subject_release, F_OK) == 0;
}

static inline void subject_ready(void)
{
	if (write(1, "ready\n", 6) != 6)
		_exit(98);
}

static inline void subject_wait(void)
{
	subject_ready();
	while (!subject_poll())
		nap(3);
}

static inline int subject_done(void)
{
	if (subject_failures)
		return 1;
	if (write(1, "ok\n", 3) != 3)
		return 1;
	return 0;
}

/* A byte pattern that differs from page to page and from seed to seed. */
static inline void fill(void *p, size_t n, uint64_t seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15ULL + 1;
	unsigned char *b = p;

	for (size_t i = 0; i < n; i++) {
		if (i % 8 == 0) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
		b[i] = x >> (i % 8 * 8);
	}
}

static inline bool is_filled(const void *p, size_t n, uint64_t seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15ULL + 1;
	const unsigned char *b = p;

	for (size_t i = 0; i < n; i++) {
		if (i % 8 == 0) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
		if (b[i] != (unsigned char)(x >> (i % 8 * 8)))
			return false;
	}
	return true;
}

static inline bool is_zero(const void *p, size_t n)
{
	const unsigned char *b = p;

	for (size_t i = 0; i < n; i++)
		if (b[i])
			return false;
	return true;
}

#endif
