/*
 * Tracking of written pages, against a mirror: a child changes its memory in every
 * way there is while its written pages are copied round by round; at the end the
 * copy must be the memory, page by page.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "proc/maps.h"
#include "proc/pagemap.h"
#include "remote/remote.h"
#include "track/track.h"
#include "tap.h"

#define BASE 0x300000000000ULL /* the playground: nothing else is there */
#define PAGES 4096u
#define LEN (PAGES * PAGE_SIZE_4K)
/* Mappings apart from each other, from which untouched memory moves to the playground. */
#define ISLANDS 16u
#define ISLAND_AT(i) (2 * PAGES + 64 * (i)) /* in pages */

static struct shared {
	_Atomic int go_on, steps;
} * shared;

static uint64_t rnd(uint64_t *x)
{
	*x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
	return *x;
}

/* --- the child --- */

static void *at(uint64_t page)
{
	return (void *)(uintptr_t)(BASE + page * PAGE_SIZE_4K);
}

static void map(uint64_t page, uint64_t n)
{
	if (mmap(at(page), n * PAGE_SIZE_4K, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		_exit(3);
}

/* Swaps two pages by moving them, so that the maps look as before.  (A move of
 * several mappings at once, Linux 6.17, is refused where one is tracked.) */
static void swap(uint64_t a, uint64_t b)
{
	size_t len = PAGE_SIZE_4K;
	void *t = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mremap(at(a), len, len, MREMAP_MAYMOVE | MREMAP_FIXED, t) == MAP_FAILED ||
	    mremap(at(b), len, len, MREMAP_MAYMOVE | MREMAP_FIXED, at(a)) == MAP_FAILED ||
	    mremap(t, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, at(b)) == MAP_FAILED)
		_exit(4);
}

/* An island comes into being, or moves next to pages that have been written to: there
 * the kernel may join it with them. */
static void island(uint64_t *x, uint64_t page)
{
	static uint64_t pages[ISLANDS];
	uint64_t i = rnd(x) % ISLANDS;
	size_t len = pages[i] * PAGE_SIZE_4K;

	if (!len)
		map(ISLAND_AT(i), pages[i] = rnd(x) % 4 + 1);
	else if (mremap(at(ISLAND_AT(i)), len, len, MREMAP_MAYMOVE | MREMAP_FIXED, at(page)) ==
		 MAP_FAILED)
		_exit(7);
	else
		pages[i] = 0;
}

static void one_step(uint64_t *x, int zero, int file)
{
	uint64_t n = rnd(x) % 16 + 1, page = rnd(x) % (PAGES / 2 - n), other;
	size_t len = n * PAGE_SIZE_4K;

	switch (rnd(x) % 13) {
	case 0:
		map(page, n);
		break;
	case 1: /* replaced, and written at once */
		map(page, n);
		memset(at(page), (int)rnd(x), len);
		break;
	case 2:
		madvise(at(page), len, MADV_DONTNEED);
		break;
	case 3: /* dropped and written again */
		madvise(at(page), len, MADV_DONTNEED);
		mprotect(at(page), len, PROT_READ | PROT_WRITE);
		*(uint64_t *)at(page) = rnd(x);
		break;
	case 4: /* from one half of the playground to the other, without a seam */
		other = PAGES / 2 + page;
		swap(page, other);
		break;
	case 5:
		mprotect(at(page), len, PROT_READ);
		break;
	case 6: /* the kernel writes */
		mprotect(at(page), len, PROT_READ | PROT_WRITE);
		if (pread(zero, at(page), len, (off_t)(rnd(x) % 4096)) < 0)
			_exit(5);
		break;
	case 7: /* a private mapping of a file, part of it changed */
		if (mmap(at(page), len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, 0) ==
		    MAP_FAILED)
			_exit(6);
		*(uint64_t *)at(page + n / 2) = rnd(x);
		break;
	case 8:
		if (!fork())
			_exit(0);
		break;
	case 9:
		island(x, page);
		break;
	default:
		mprotect(at(page), len, PROT_READ | PROT_WRITE);
		for (uint64_t i = 0; i < n; i++)
			*(uint64_t *)at(page + i) = rnd(x);
	}
}

static void child(uint64_t seed)
{
	int zero = open("/proc/self/exe", O_RDONLY), file = open("/proc/self/exe", O_RDONLY);
	uint64_t x = seed * 0x9e3779b97f4a7c15ULL + 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_IGN);
	map(0, PAGES);
	for (;;) {
		one_step(&x, zero, file);
		atomic_fetch_add(&shared->steps, 1);
		while (!atomic_load(&shared->go_on))
			usleep(100);
	}
}

/* --- the tracker --- */

static uint8_t *mirror;
static uint8_t known[PAGES]; /* has a copy */
static pid_t pid;

static bool read_page(uint64_t addr, void *to)
{
	static int mem = -1;
	static pid_t of;

	if (of != pid) {
		char path[64];

		if (mem >= 0)
			close(mem);
		snprintf(path, sizeof(path), "/proc/%d/mem", pid);
		mem = open(path, O_RDONLY | O_CLOEXEC);
		of = pid;
	}
	return pread(mem, to, PAGE_SIZE_4K, (off_t)addr) == PAGE_SIZE_4K;
}

static void copy(uint64_t start, uint64_t end)
{
	for (; start < end; start += PAGE_SIZE_4K) {
		uint64_t page = (start - BASE) / PAGE_SIZE_4K;

		if (start < BASE || page >= PAGES)
			continue;
		known[page] = read_page(start, mirror + page * PAGE_SIZE_4K);
	}
}

struct range {
	uint64_t start, end;
};
static struct range list[65536];
static size_t nlist;

static int note_range(void *arg, uint64_t start, uint64_t end)
{
	(void)arg;
	if (nlist < ARRAY_SIZE(list))
		list[nlist++] = (struct range){start, end};
	return 0;
}

static struct buf text;
static struct proc_maps maps;

static int stop(struct remote *r, struct err *err)
{
	char path[64];
	int ret = remote_seize(r, pid, err);

	if (ret)
		return ret;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	if ((ret = io_read_file(AT_FDCWD, path, &text)))
		return err_sys(err, ret, "maps");
	proc_maps_done(&maps);
	if ((ret = proc_parse_maps(text.p, &maps, err)) || (ret = remote_check(r, &maps, err)))
		return ret;
	return remote_prepare(r, &maps, err);
}

struct last {
	uint64_t exist, unchanged, wrong;
	uint64_t at;
};

static int last_look(void *arg, uint64_t start, uint64_t end, bool unchanged)
{
	struct last *l = arg;
	uint8_t now[PAGE_SIZE_4K];

	for (; start < end; start += PAGE_SIZE_4K) {
		uint64_t page = (start - BASE) / PAGE_SIZE_4K;

		l->exist++;
		if (!unchanged)
			continue;
		l->unchanged++;
		if (!known[page] || !read_page(start, now) ||
		    memcmp(now, mirror + page * PAGE_SIZE_4K, PAGE_SIZE_4K)) {
			l->wrong++;
			l->at = page;
		}
	}
	return 0;
}

static int descriptors(void)
{
	char path[64];
	int n = 0;

	for (int i = 0; i < 64; i++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, i);
		n += !access(path, F_OK) || errno == EACCES;
	}
	return n;
}

static int rounds(struct track *t, struct err *err)
{
	struct timespec step = {.tv_nsec = 300 * 1000};

	for (int i = 0; i < 60; i++) {
		uint64_t bytes;
		int ret;

		nlist = 0;
		if ((ret = track_round(t, note_range, NULL, &bytes, err)))
			return ret;
		for (size_t k = 0; k < nlist; k++)
			copy(list[k].start, list[k].end);
		if (i % 3 == 0)
			nanosleep(&step, NULL);
	}
	return 0;
}

/* One child, from start to end: true, or what went wrong has been printed. */
static bool life(uint64_t seed, struct last *l)
{
	struct err err = ERR_INIT;
	struct remote r;
	struct track *t = NULL;
	char path[64];
	int ret, fds, pagemap;

	shared->go_on = 1;
	shared->steps = 0;
	memset(known, 0, sizeof(known));
	pid = fork();
	if (!pid)
		child(seed);
	while (atomic_load(&shared->steps) < 500 && waitpid(pid, NULL, WNOHANG) == 0)
		usleep(100);
	fds = descriptors();
	if ((ret = stop(&r, &err)) || (ret = track_start(&r, &t, &err)))
		printf("# %d: %s\n", ret, err.what);
	remote_release(&r);
	if (!ret && descriptors() != fds)
		printf("# a descriptor was left in the program\n"), ret = -1;
	if (!ret && (ret = rounds(t, &err)))
		printf("# %d: %s\n", ret, err.what);
	if (!ret && (ret = stop(&r, &err)))
		printf("# %d: %s\n", ret, err.what);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	/* As state/memory_runs.c does: of a file, nothing is ever unchanged. */
	for (size_t i = 0; i < maps.n && !ret; i++) {
		const struct proc_map *m = &maps.v[i];

		if (m->start >= BASE && m->end <= BASE + LEN && !m->ino &&
		    (ret = pagemap_walk(pagemap, m->start, m->end, PAGEMAP_TRACKED, last_look, l,
					&err)))
			printf("# %d: %s\n", ret, err.what);
	}
	close(pagemap);
	remote_release(&r);
	track_stop(t);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return !ret;
}

static void need_tracking(void)
{
	struct err err = ERR_INIT;

	if (track_probe(&err)) {
		printf("%s: %s", err.what, err.hint);
		fflush(stdout);
		_exit(TAP_SKIP);
	}
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void lives(uint64_t first, uint64_t end)
{
	struct last l = {0};
	bool good = true;

	need_tracking();
	mirror = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (uint64_t seed = first; seed < end && good; seed++)
		good = life(seed, &l);
	printf("# %llu pages at the stops, %llu of them unchanged, %llu wrongly so (%llu)\n",
	       (unsigned long long)l.exist, (unsigned long long)l.unchanged,
	       (unsigned long long)l.wrong, (unsigned long long)l.at);
	fflush(stdout);
	CHECK(good);
	CHECK_INT(l.wrong, 0);
	/* Else it would be no test of anything. */
	CHECK(l.unchanged > l.exist / 4);
	CHECK(l.exist > 600 * (end - first));
}

static void unchanged_pages_are_as_they_were_copied(void)
{
	lives(1, 5);
}

/* In parts, since each test has a minute, and the machine may be crowded. */
static void unchanged_pages_of_other_lives(void)
{
	lives(5, 9);
}

static void unchanged_pages_of_more_lives(void)
{
	lives(9, 13);
}

/* --- what mremap() does to a neighbour: the QUIRK of track/track.c --- */

#define OF_ONE 512u

static void wait_for_step(int n)
{
	while (atomic_load(&shared->go_on) < n)
		usleep(100);
}

static void neighbour(void)
{
	uint8_t *one = at(0);
	size_t len = 4 * PAGE_SIZE_4K;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	map(0, OF_ONE);
	map(PAGES / 2, 4); /* never touched */
	memset(one, 1, OF_ONE * PAGE_SIZE_4K);
	atomic_store(&shared->steps, 1);
	wait_for_step(2);
	if (mremap(at(PAGES / 2), len, len, MREMAP_MAYMOVE | MREMAP_FIXED, at(OF_ONE)) ==
	    MAP_FAILED)
		_exit(4);
	*one = 2;
	atomic_store(&shared->steps, 2);
	wait_for_step(3);
	*one = 3;
	atomic_store(&shared->steps, 3);
	for (;;)
		pause();
}

static bool starts_again(void)
{
	struct err err = ERR_INIT;
	struct track *t = NULL;
	struct remote r;
	int ret;

	CHECK_INT(stop(&r, &err), 0);
	ret = track_start(&r, &t, &err);
	remote_release(&r);
	track_stop(t);
	return !ret || !strstr(err.what, "tracked already");
}

/* Does a round tell the first page?  After the child has taken step n. */
static bool tells_first_page(struct track *t, int n)
{
	struct err err = ERR_INIT;

	atomic_store(&shared->go_on, n);
	while (atomic_load(&shared->steps) < n && waitpid(pid, NULL, WNOHANG) == 0)
		usleep(100);
	nlist = 0;
	CHECK_INT(track_round(t, note_range, NULL, NULL, &err), 0);
	for (size_t i = 0; i < nlist; i++)
		if (list[i].start <= BASE && list[i].end > BASE)
			return true;
	return false;
}

static void a_neighbour_that_moves_in_hides_nothing(void)
{
	struct err err = ERR_INIT;
	struct track *t = NULL;
	struct remote r;

	need_tracking();
	pid = fork();
	if (!pid)
		neighbour();
	while (!atomic_load(&shared->steps))
		usleep(100);
	CHECK_INT(stop(&r, &err), 0);
	CHECK_INT(track_start(&r, &t, &err), 0);
	remote_release(&r);
	CHECK(tells_first_page(t, 1));
	CHECK(!tells_first_page(t, 1));
	CHECK(tells_first_page(t, 2));
	CHECK(tells_first_page(t, 3));
	/* Two would take from each other what was written. */
	CHECK(!starts_again());
	track_stop(t);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(unchanged_pages_are_as_they_were_copied),
		TEST(unchanged_pages_of_other_lives),
		TEST(unchanged_pages_of_more_lives),
		TEST(a_neighbour_that_moves_in_hides_nothing),
	};

	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
