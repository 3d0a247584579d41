/*
 * Changes its memory in every way, all the time, and knows of each page what must be in
 * it: maps, unmaps, moves, grows, shrinks, drops, protects, rewrites; the heap by brk, the
 * stack by depth.  For pre-copy: whatever is missed shows.
 *
 *   churner FILE [MIB [MICROSECONDS]]   pauses so long between its rounds; ends when FILE.stop is
 * there; prints ok, or what is wrong
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 48
#define PAGES 96
#define PAGE 4096u

static struct slot {
	uint8_t *p;
	size_t n; /* pages */
	int prot;
	uint32_t seed[PAGES]; /* 0: zeros */
} slots[SLOTS];
static uint64_t state = 88172645463325252;
static uint8_t *big;
static size_t big_pages;
static uint32_t *big_seed;

static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

static void fill(uint8_t *page, uint32_t seed)
{
	uint64_t *w = (uint64_t *)(void *)page;

	for (size_t i = 0; i < PAGE / 8; i++)
		w[i] = seed * 0x9e3779b97f4a7c15 + i;
}

static int wrong(const uint8_t *page, uint32_t seed)
{
	const uint64_t *w = (const uint64_t *)(const void *)page;

	for (size_t i = 0; i < PAGE / 8; i++)
		if (w[i] != (seed ? seed * 0x9e3779b97f4a7c15 + i : 0))
			return 1;
	return 0;
}

/* What stands in place of the large area's pages, for who looks for the reason. */
static void tell_big(void)
{
	for (size_t k = 0, n = 0; k < big_pages && n < 40; k++) {
		const uint64_t *w = (const uint64_t *)(const void *)(big + k * PAGE);
		size_t same = 0;

		for (size_t i = 0; i < PAGE / 8; i++)
			same += w[i] == big_seed[k] * 0x9e3779b97f4a7c15 + i;
		if (!wrong(big + k * PAGE, big_seed[k]))
			continue;
		printf("page %zu: seed %#x, %zu words of it; first %#llx, last %#llx\n", k,
		       big_seed[k], same, (unsigned long long)w[0],
		       (unsigned long long)w[PAGE / 8 - 1]);
		n++;
	}
}

static void fail(const char *what, size_t i, size_t page)
{
	printf("%s: slot %zu page %zu\n", what, i, page);
	exit(1);
}

static void protect(struct slot *s, int prot)
{
	if (s->prot != prot && mprotect(s->p, s->n * PAGE, prot))
		exit(3);
	s->prot = prot;
}

static void check(size_t i)
{
	struct slot *s = &slots[i];
	int prot = s->prot;

	if (!s->p)
		return;
	if (prot == PROT_NONE)
		protect(s, PROT_READ);
	for (size_t k = 0; k < s->n; k++)
		if (wrong(s->p + k * PAGE, s->seed[k]))
			fail("wrong", i, k);
	protect(s, prot);
}

static void make(struct slot *s)
{
	s->n = 1 + rnd() % PAGES;
	s->prot = PROT_READ | PROT_WRITE;
	s->p = mmap(NULL, s->n * PAGE, s->prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->p == MAP_FAILED)
		exit(3);
	memset(s->seed, 0, sizeof(s->seed));
}

static void change(struct slot *s)
{
	size_t k = rnd() % s->n, n = 1 + rnd() % 8;
	void *v;

	switch (rnd() % 8) {
	case 0:
		munmap(s->p, s->n * PAGE);
		s->p = NULL;
		return;
	case 1: /* another size, perhaps elsewhere */
		n = 1 + rnd() % PAGES;
		protect(s, PROT_READ | PROT_WRITE);
		v = mremap(s->p, s->n * PAGE, n * PAGE, MREMAP_MAYMOVE);
		/* Refused of an area in parts: what we mapped as one has to stay one. */
		if (v == MAP_FAILED)
			fail(strerror(errno), (size_t)(s - slots), s->n);
		for (size_t i = n; i < PAGES; i++)
			s->seed[i] = 0;
		s->p = v;
		s->n = n;
		return;
	case 2:
		for (; n && k < s->n; n--, k++)
			if (!madvise(s->p + k * PAGE, PAGE, MADV_DONTNEED))
				s->seed[k] = 0;
		return;
	case 3:
		protect(s, PROT_NONE);
		return;
	case 4:
		protect(s, PROT_READ);
		return;
	default:
		protect(s, PROT_READ | PROT_WRITE);
		for (; n && k < s->n; n--, k++) {
			s->seed[k] = (uint32_t)rnd() | 1;
			fill(s->p + k * PAGE, s->seed[k]);
		}
	}
}

static void change_big(void)
{
	for (int i = 0; i < 16 && big_pages; i++) {
		size_t k = rnd() % big_pages;

		big_seed[k] = (uint32_t)rnd() | 1;
		fill(big + k * PAGE, big_seed[k]);
	}
}

/* Grows the heap and the stack now and then; both keep what they had. */
static void grow(unsigned depth)
{
	volatile uint8_t room[2 * PAGE];

	memset((void *)(uintptr_t)room, (int)depth, sizeof(room));
	if (depth)
		grow(depth - 1);
	for (size_t i = 0; i < sizeof(room); i += 512)
		if (room[i] != (uint8_t)depth)
			fail("the stack is wrong", 0, depth);
}

int main(int argc, char **argv)
{
	struct timespec t = {.tv_nsec = (argc > 3 ? atol(argv[3]) : 500) * 1000};
	static char buffer[BUFSIZ];
	uint8_t *heap, *top;
	char path[4096];
	int fd = argc > 1 ? open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;

	if (fd < 0)
		return 2;
	snprintf(path, sizeof(path), "%s.stop", argv[1]);
	big_pages = (argc > 2 ? (size_t)atol(argv[2]) : 8) * 256;
	big = mmap(NULL, big_pages * PAGE + PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	big_seed = calloc(big_pages + 1, sizeof(*big_seed));
	for (size_t k = 0; k < big_pages; k += 2) {
		big_seed[k] = (uint32_t)rnd() | 1;
		fill(big + k * PAGE, big_seed[k]);
	}
	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	printf("ready\n");
	fflush(stdout);
	/* From here on nothing else takes memory of the heap. */
	heap = top = sbrk(0);
	for (long n = 1; access(path, F_OK); n++) {
		for (int i = 0; i < 20; i++) {
			struct slot *s = &slots[rnd() % SLOTS];

			if (s->p)
				change(s);
			else
				make(s);
		}
		check(rnd() % SLOTS);
		change_big();
		if (n % 64 == 0 && n < 64 * 200 && sbrk(PAGE) != (void *)-1) {
			memset(top, (int)(n / 64), PAGE);
			top += PAGE;
		}
		if (n % 256 == 0)
			grow((unsigned)(n / 256 % 128));
		dprintf(fd, "%ld\n", n);
		nanosleep(&t, NULL);
	}
	for (size_t i = 0; i < SLOTS; i++)
		check(i);
	for (size_t k = 0; k < big_pages; k++)
		if (wrong(big + k * PAGE, big_seed[k])) {
			tell_big();
			fail("the large area is wrong", 0, k);
		}
	for (uint8_t *p = heap; p < top; p += PAGE)
		if (p[0] != (uint8_t)((p - heap) / PAGE + 1) || p[PAGE - 1] != p[0])
			fail("the heap is wrong", 0, (size_t)(p - heap) / PAGE);
	printf("ok\n");
	return 0;
}
