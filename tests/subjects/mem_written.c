/*
 * Memory that is written to all the time, word by word, at a given rate, and now and
 * then dropped, replaced, moved or protected.  The sum of each page is kept beside
 * it: a page that a checkpoint took too early differs from its sum for ever.
 *
 * test: build=static
 *
 *     mem_written CTL [MIB [MB/S [CHURN]]]    MB of pages written to; CHURN 0: only written
 */
#include "subject.h"

#include <signal.h>

#define PAGE 4096u
#define WORDS (PAGE / 8)

static uint64_t pages, *sums;
static char *base;
static volatile int released;
static volatile uint64_t rounds;
static long rate, churn;

static uint64_t rnd(uint64_t *x)
{
	*x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
	return *x;
}

static uint64_t *page_at(uint64_t i)
{
	return (uint64_t *)(void *)(base + i * PAGE);
}

static void write_word(uint64_t i, uint64_t word, uint64_t value)
{
	volatile uint64_t *p = page_at(i) + word;
	uint64_t old = *p;

	*p = value;
	sums[i] += value - old;
}

static void map_fresh(uint64_t i, uint64_t n)
{
	must(mmap(page_at(i), n * PAGE, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	memset(sums + i, 0, n * sizeof(*sums));
}

static void swap(uint64_t a, uint64_t b)
{
	char *t = must(mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	uint64_t sum = sums[a];

	must(mremap(page_at(a), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, t));
	must(mremap(page_at(b), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page_at(a)));
	must(mremap(t, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page_at(b)));
	sums[a] = sums[b];
	sums[b] = sum;
}

static void change(uint64_t *x)
{
	uint64_t n = rnd(x) % 8 + 1, i = rnd(x) % (pages - n), other = rnd(x) % pages;

	switch (rnd(x) % 5) {
	case 0: /* unmapped and mapped again */
		must(munmap(page_at(i), n * PAGE));
		map_fresh(i, n);
		break;
	case 1:
		must(madvise(page_at(i), n * PAGE, MADV_DONTNEED));
		memset(sums + i, 0, n * sizeof(*sums));
		break;
	case 2:
		map_fresh(i, n);
		for (uint64_t k = 0; k < n; k++)
			write_word(i + k, 0, rnd(x));
		break;
	case 3:
		if (i != other)
			swap(i, other);
		break;
	case 4:
		must(mprotect(page_at(i), n * PAGE, PROT_READ));
		must(mprotect(page_at(i), n * PAGE, PROT_READ | PROT_WRITE));
		break;
	}
}

/* A block of pages, then as long a nap as the rate asks for. */
static void *writer(void *arg)
{
	uint64_t x = 0x9e3779b97f4a7c15ULL, block = 64;

	(void)arg;
	while (!released) {
		for (uint64_t k = 0; k < block && rate; k++)
			write_word(rnd(&x) % pages, rnd(&x) % WORDS, rnd(&x));
		for (long k = 0; k < churn; k++)
			change(&x);
		rounds++;
		if (rate) {
			struct timespec t = {.tv_nsec =
						     (long)(block * PAGE * 1000 / (uint64_t)rate)};

			nanosleep(&t, NULL);
		} else {
			nap(1);
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t;
	uint64_t x = 88172645463325252ULL;

	subject_init(argc, argv);
	pages = (argc > 2 ? strtoul(argv[2], NULL, 10) : 16) * 256;
	rate = argc > 3 ? strtol(argv[3], NULL, 10) : 10;
	churn = argc > 4 ? strtol(argv[4], NULL, 10) : 2;
	base = must(mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0));
	sums = must(mmap(NULL, pages * sizeof(*sums), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	for (uint64_t i = 0; i < pages; i++)
		for (uint64_t w = 0; w < WORDS; w += 64)
			write_word(i, w, rnd(&x));
	if (pthread_create(&t, NULL, writer, NULL))
		die("pthread_create");
	subject_wait();
	uint64_t had = rounds;
	for (int i = 0; i < 3000 && rounds == had; i++)
		nap(10);
	check(rounds > had, "it does not go on");
	released = 1;
	pthread_join(t, NULL);
	uint64_t wrong = 0;
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t sum = 0;

		for (uint64_t w = 0; w < WORDS; w++)
			sum += page_at(i)[w];
		wrong += sum != sums[i];
	}
	check(wrong == 0, "%llu of %llu pages are not what was written", (unsigned long long)wrong,
	      (unsigned long long)pages);
	return subject_done();
}
