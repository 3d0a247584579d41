/*
 * Mappings come and go, grow and change their protection all the time.
 */
#include "subject.h"

static volatile int released;
static volatile long rounds;

static void *churn(void *arg)
{
	uint64_t n = (uintptr_t)arg + 1;

	while (!released) {
		n ^= n << 13, n ^= n >> 7, n ^= n << 17;
		size_t size = (n % 60 + 2) * 4096;
		char *p = must(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				    -1, 0));
		fill(p, size, n);
		must(mprotect(p + 4096, size - 4096, PROT_READ));
		munmap(p + 4096, size - 4096);
		p = must(mremap(p, 4096, 4096 * (n % 7 + 1), MREMAP_MAYMOVE));
		uint64_t word;
		fill(&word, 8, n);
		check(!memcmp(p, &word, 8), "a fresh mapping differs");
		must(munmap(p, 4096 * (n % 7 + 1)));
		char *heap = malloc(n % 300000 + 1);
		memset(heap, 1, n % 300000 + 1);
		free(heap);
		rounds++;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t;

	subject_init(argc, argv);
	if (pthread_create(&t, NULL, churn, NULL))
		die("pthread_create");
	subject_wait();
	long had = rounds;
	for (int i = 0; i < 3000 && rounds == had; i++)
		nap(10);
	check(rounds > had, "it does not go on");
	released = 1;
	pthread_join(t, NULL);
	return subject_done();
}
