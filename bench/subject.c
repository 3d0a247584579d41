/*
 * The program that is checkpointed while it measures itself.
 *
 *     subject MIB THREADS [CONTROL-FILE]
 *
 * fills MIB mebibytes with random bytes, starts THREADS - 1 threads that wait,
 * and reads CLOCK_MONOTONIC in a loop: the longest time between two readings is
 * the pause that it saw.  It writes one byte to stdout when it is ready, and
 * one after each gap of more than GAP_NS; so the first byte of a restarted
 * subject comes as soon as it runs.
 *
 * With a control file (bench/control.h) it does what it is told there.
 * Without, for use by hand, it prints the longest gap of each second instead:
 *     build/bench/subject 1024 1 & build/godwit checkpoint $! -o /dev/shm/image
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "control.h"

#define GAP_NS 300000 /* above what the scheduler of an idle machine does */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void fail(const char *what)
{
	fprintf(stderr, "subject: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *fresh_memory(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	return p;
}

static void fill(uint64_t *p, size_t words)
{
	uint64_t x = 88172645463325252;

	for (size_t i = 0; i < words; i++) { /* xorshift64 */
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = x;
	}
}

static uint64_t sum(const uint64_t *p, size_t words)
{
	uint64_t s = 0;

	for (size_t i = 0; i < words; i++)
		s = (s ^ p[i]) * 0x9e3779b97f4a7c15;
	return s;
}

/* The floors: what the machine itself does with the same bytes. */
static int timed_write(struct control *c, const char *p, size_t len)
{
	int fd = open(c->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint64_t start = now_ns();

	if (fd < 0)
		return errno;
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, p + done, len - done);

		if (n <= 0)
			return n ? errno : EIO;
		done += (size_t)n;
	}
	c->took_ns = now_ns() - start;
	return close(fd) ? errno : 0;
}

static int timed_read(struct control *c, size_t len)
{
	int fd = open(c->path, O_RDONLY | O_CLOEXEC);
	uint64_t start = now_ns();
	char *p = fresh_memory(len);

	if (fd < 0)
		return errno;
	for (size_t done = 0; done < len;) {
		ssize_t n = read(fd, p + done, len - done);

		if (n <= 0)
			return n ? errno : EIO;
		done += (size_t)n;
	}
	c->took_ns = now_ns() - start;
	munmap(p, len);
	return close(fd) ? errno : 0;
}

/* Writes to pages all over the memory, so many bytes of pages a second as is asked for. */
static void write_some(const struct control *c, char *p, size_t len, uint64_t now)
{
	static uint64_t due_from, written, x = 88172645463325252;
	static uint64_t rate;

	if (c->rate != rate) {
		rate = c->rate;
		due_from = now;
		written = 0;
	}
	/* At most so many at once: after a pause nobody catches up. */
	for (int i = 0; i < 64 && written < (now - due_from) / 1000 * rate / 1000000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[x % (len / 4096) * 4096] = (char)x;
		written += 4096;
	}
}

/* One word in each of the first c->count pages of c->step. */
static void touch(struct control *c, char *p, size_t len)
{
	uint64_t start = now_ns();

	for (uint64_t i = 0; i < c->count && i * c->step < len / 4096; i++)
		p[i * c->step * 4096] ^= 1;
	c->took_ns = now_ns() - start;
}

static int timed_fork(struct control *c)
{
	uint64_t start = now_ns();
	pid_t child = fork();

	if (!child)
		_exit(0);
	c->took_ns = now_ns() - start;
	return child < 0 || waitpid(child, NULL, 0) != child ? errno : 0;
}

static void obey(struct control *c, void *p, size_t len)
{
	c->error = 0;
	switch (c->order) {
	case ORDER_RESET:
		c->longest_ns = 0;
		c->pid = (uint64_t)getpid(); /* another one after each move */
		break;
	case ORDER_WRITE:
		c->error = timed_write(c, p, len);
		break;
	case ORDER_READ:
		c->error = timed_read(c, len);
		break;
	case ORDER_SUM:
		c->sum = sum(p, len / sizeof(uint64_t));
		break;
	case ORDER_TOUCH:
		touch(c, p, len);
		break;
	case ORDER_FORK:
		c->error = timed_fork(c);
		break;
	default:
		exit(0);
	}
	c->order = ORDER_NONE;
}

static void *wait_for_ever(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return NULL;
}

static void start_threads(long n)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	for (long i = 1; i < n; i++)
		if ((errno = pthread_create(&t, &attr, wait_for_ever, NULL)))
			fail("pthread_create");
}

static struct control *map_control(const char *path)
{
	int fd = open(path, O_RDWR);
	void *p;

	if (fd < 0)
		fail(path);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		fail(path);
	close(fd); /* the mapping is enough */
	return p;
}

static void by_hand(struct control *c, uint64_t now)
{
	static uint64_t second;

	if (now / 1000000000 == second)
		return;
	second = now / 1000000000;
	printf("longest gap %.3f ms\n", (double)c->longest_ns / 1e6);
	fflush(stdout);
	c->longest_ns = 0;
}

int main(int argc, char **argv)
{
	static struct control own;
	struct control *c = argc == 4 ? map_control(argv[3]) : &own;
	long mib = argc > 2 ? atol(argv[1]) : -1, threads = argc > 2 ? atol(argv[2]) : 0;
	size_t len = (size_t)(mib > 0 ? mib : 0) << 20;
	uint64_t last, now;
	void *p;

	if (argc > 4 || mib < 0 || threads < 1) {
		fprintf(stderr, "usage: %s MIB THREADS [CONTROL-FILE]\n", argv[0]);
		return 2;
	}
	p = fresh_memory(len ? len : 4096);
	fill(p, len / sizeof(uint64_t));
	start_threads(threads);
	if (c != &own && write(1, "", 1) != 1)
		return 1;
	for (last = now_ns();; last = now) {
		now = now_ns();
		c->samples++;
		if (c->rate && len)
			write_some(c, p, len, now);
		if (now - last > c->longest_ns)
			c->longest_ns = now - last;
		if (c->nap_us)
			usleep((useconds_t)c->nap_us);
		if (c == &own)
			by_hand(c, now);
		else if (!c->nap_us && now - last > GAP_NS && write(1, "", 1) != 1)
			return 1;
		if (c->order != ORDER_NONE) {
			obey(c, p, len);
			now = now_ns(); /* the order's time is no gap */
		}
	}
}
