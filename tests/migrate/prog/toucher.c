/*
 * A program whose memory is still on its way: verifies all of it, in every way that
 * memory can be met.  As the counter, it writes 1, 2, 3, ... to a file until FILE.stop is there.
 *
 *   toucher FILE [MIB [THREADS]]
 *
 * The threads verify and rewrite pages at random, themselves and by system calls (a pipe
 * between missing pages).  When FILE.go is there the main thread forks, moves, unmaps, drops
 * and protects memory that nobody has touched since the start, says "done" in FILE.done, and
 * goes on doing so with what it has.
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

#define PAGE 4096u
#define WORDS (PAGE / 8)
#define CHUNK (2u << 20)

static uint64_t *mem;    /* the large area */
static uint64_t *rounds; /* of each page of it */
static size_t pages;
static int nthreads;
static volatile int stop;
/* Who changes pages reads it; who forks writes it, so that the child finds whole pages. */
static pthread_rwlock_t whole = PTHREAD_RWLOCK_INITIALIZER;

static void wrong(const char *what, size_t at)
{
	printf("wrong: %s at %zu\n", what, at);
	fflush(stdout);
	_exit(1);
}

static uint64_t word(uint64_t i, uint64_t round)
{
	return i / WORDS % 11 == 3 ? 0 : (i * 0x9e3779b97f4a7c15) ^ round;
}

static void fill(uint64_t *p, uint64_t first, uint64_t round)
{
	for (size_t i = 0; i < WORDS; i++)
		p[i] = word(first + i, round);
}

static void check(const uint64_t *p, uint64_t first, uint64_t round, const char *what)
{
	for (size_t i = 0; i < WORDS; i++)
		if (p[i] != word(first + i, round))
			wrong(what, (size_t)(first + i));
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

/* A page to another one by a pipe: the kernel reads the one and writes the other. */
static void by_system_calls(int io[2], size_t from, size_t to)
{
	if (write(io[1], mem + from * WORDS, PAGE) != PAGE ||
	    read(io[0], mem + to * WORDS, PAGE) != PAGE)
		wrong("a system call failed", (size_t)errno);
	check(mem + to * WORDS, from * WORDS, rounds[from], "page by pipe");
	fill(mem + to * WORDS, to * WORDS, rounds[to]);
}

static void *touch(void *arg)
{
	size_t me = (size_t)(uintptr_t)arg, share = pages / (size_t)nthreads;
	uint64_t state = me * 7919 + 1;
	int io[2];

	if (pipe(io))
		wrong("pipe", 0);
	while (!stop) {
		size_t a = me * share + next_random(&state) % share;
		size_t b = me * share + next_random(&state) % share;

		pthread_rwlock_rdlock(&whole);
		if (a != b && state % 3 == 0) {
			by_system_calls(io, a, b);
		} else {
			check(mem + a * WORDS, a * WORDS, rounds[a], "page");
			rounds[a]++;
			fill(mem + a * WORDS, a * WORDS, rounds[a]);
		}
		pthread_rwlock_unlock(&whole);
		nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
	}
	return NULL;
}

/* A child finds the memory as it was when it was made, and writes to its own. */
static void fork_and_verify(uint64_t *state)
{
	int status;
	pid_t child;

	pthread_rwlock_wrlock(&whole);
	child = fork();
	if (child == 0) {
		for (int i = 0; i < 300; i++) {
			size_t p = next_random(state) % pages;

			check(mem + p * WORDS, p * WORDS, rounds[p], "page of a child");
			memset(mem + p * WORDS, 0xff, PAGE);
			fill(mem + p * WORDS, p * WORDS, rounds[p]);
		}
		_exit(0);
	}
	pthread_rwlock_unlock(&whole);
	if (child < 0 || waitpid(child, &status, 0) != child || status)
		wrong("a child", 0);
	next_random(state);
}

/* --- chunks of memory of their own --- */

static uint64_t *new_chunk(uint64_t round)
{
	uint64_t *p = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		wrong("mmap", 0);
	for (size_t i = 0; i < CHUNK / PAGE; i++)
		fill(p + i * WORDS, i * WORDS, round);
	return p;
}

static void check_chunk(const uint64_t *p, size_t from, size_t to, uint64_t round, const char *what)
{
	for (size_t i = from; i < to; i++)
		check(p + i * WORDS, i * WORDS, round, what);
}

static void check_zero(const uint64_t *p, size_t len, const char *what)
{
	for (size_t i = 0; i < len / 8; i++)
		if (p[i])
			wrong(what, i);
}

static uint64_t *move_to(uint64_t *p, size_t len)
{
	void *to = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (to == MAP_FAILED || mremap(p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		wrong("mremap", (size_t)errno);
	return to;
}

#define HALF (CHUNK / 2)
#define MOVED 16

/* Chunks are the same in every round; nobody has touched them but here. */
static uint64_t *chunk[6], *moved[MOVED];

static void move_things(uint64_t round)
{
	char *half;

	/* the whole; then a half of it, whose other half stays */
	chunk[0] = move_to(chunk[0], CHUNK);
	half = (char *)move_to(chunk[0] + HALF / 8, HALF);
	check_chunk(chunk[0], 0, HALF / PAGE, round, "what stayed");
	for (size_t i = 0; i < HALF / PAGE; i++)
		check((uint64_t *)(void *)(half + i * PAGE), (HALF / PAGE + i) * WORDS, round,
		      "what was moved");
	munmap(half, HALF);
	munmap(chunk[0], HALF);
	/* page by page, to places that lie apart */
	for (size_t i = 0; i < MOVED; i++)
		moved[i] = move_to(chunk[1] + i * 3 * WORDS, PAGE);
	for (size_t i = 0; i < MOVED; i++) {
		check(moved[i], i * 3 * WORDS, round, "a page that was moved");
		munmap(moved[i], PAGE);
	}
	for (size_t i = 0; i < MOVED; i++)
		check(chunk[1] + (i * 3 + 1) * WORDS, (i * 3 + 1) * WORDS, round,
		      "between moved pages");
	munmap(chunk[1], CHUNK);
}

static void drop_things(uint64_t round)
{
	void *p;

	/* unmapped, and new memory in its place */
	munmap(chunk[2], CHUNK);
	p = mmap(chunk[2], CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		 -1, 0);
	if (p != chunk[2])
		wrong("mmap at the same place", 0);
	check_zero(chunk[2], CHUNK, "new memory");
	munmap(chunk[2], CHUNK);
	/* mapped over */
	p = mmap(chunk[3] + HALF / 8, HALF, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	check_zero(p, HALF, "memory mapped over");
	check_chunk(chunk[3], 0, HALF / PAGE, round, "beside what was mapped over");
	munmap(chunk[3], CHUNK);
	/* dropped */
	madvise(chunk[4] + HALF / 8, HALF, MADV_DONTNEED);
	check_zero(chunk[4] + HALF / 8, HALF, "dropped memory");
	check_chunk(chunk[4], 0, HALF / PAGE, round, "beside what was dropped");
	/* before it has come, and after */
	madvise(chunk[4], HALF, MADV_DONTNEED);
	check_zero(chunk[4], CHUNK, "dropped memory");
	munmap(chunk[4], CHUNK);
	/* protected in stripes */
	for (size_t i = 0; i < CHUNK / PAGE; i += 5)
		mprotect(chunk[5] + i * WORDS, PAGE, PROT_READ);
	check_chunk(chunk[5], 0, CHUNK / PAGE, round, "protected memory");
	munmap(chunk[5], CHUNK);
}

static void make_chunks(uint64_t round)
{
	for (size_t i = 0; i < sizeof(chunk) / sizeof(*chunk); i++)
		chunk[i] = new_chunk(round);
}

static int exists(const char *file, const char *suffix)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s%s", file, suffix);
	return !access(path, F_OK);
}

static void say_done(const char *file)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s.done", file);
	close(open(path, O_WRONLY | O_CREAT, 0600));
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
	uint64_t round = 1, state = 42;
	pthread_t id[16];

	pages = (argc > 2 ? (size_t)atol(argv[2]) : 16) * 256;
	nthreads = argc > 3 ? atoi(argv[3]) : 3;
	mem = malloc(pages * PAGE);
	rounds = calloc(pages, 8);
	if (fd < 0 || !mem || !rounds || nthreads < 1 || nthreads > 16)
		return 2;
	for (size_t p = 0; p < pages; p++)
		fill(mem + p * WORDS, p * WORDS, rounds[p] = p % 5);
	make_chunks(round);
	for (int i = 0; i < nthreads; i++)
		if (pthread_create(&id[i], NULL, touch, (void *)(uintptr_t)i))
			return 2;
	printf("ready\n");
	fflush(stdout);
	for (long n = 1; !exists(argv[1], ".stop"); n++) {
		dprintf(fd, "%ld\n", n);
		if (exists(argv[1], ".go")) {
			move_things(round);
			fork_and_verify(&state);
			drop_things(round);
			make_chunks(++round);
			say_done(argv[1]);
		}
		nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
	}
	stop = 1;
	for (int i = 0; i < nthreads; i++)
		pthread_join(id[i], NULL);
	for (size_t p = 0; p < pages; p++)
		check(mem + p * WORDS, p * WORDS, rounds[p], "page in the end");
	for (size_t i = 0; i < sizeof(chunk) / sizeof(*chunk); i++)
		check_chunk(chunk[i], 0, CHUNK / PAGE, round, "chunk in the end");
	printf("ok\n");
	return 0;
}
