/*
 * A program that takes part in its checkpoints: godwit.h.
 *
 *     cc -Iinclude -o takes_part examples/takes_part.c
 *     ./takes_part                                      as ever, without checkpoints
 *     LD_PRELOAD=$PWD/build/libckpt.so ./takes_part     makes ./myckpt in its middle
 *     build/myrestart myckpt                            goes on from there, as often as you like
 *
 * It draws numbers at random.  Each copy that is restarted draws others, since the callback
 * seeds the generator anew.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "godwit.h"

#define CACHE (8UL << 20)

static unsigned long seed = 1;
static unsigned char *cache; /* can be computed again: not worth a place in the image */

static unsigned draw(void)
{
	seed = seed * 6364136223846793005UL + 1442695040888963407UL;
	return (unsigned)(seed >> 33) % 1000000;
}

static void fill_cache(void)
{
	memset(cache, 7, CACHE);
}

static void before(void *arg)
{
	printf("before the checkpoint at step %d\n", *(int *)arg);
}

static void after(void *arg, int is_saved)
{
	printf("%s at step %d\n", is_saved ? "saved" : "not saved", *(int *)arg);
}

static void restarted(void *arg, int has_new_ids)
{
	printf("restarted at step %d%s\n", *(int *)arg, has_new_ids ? ", as another process" : "");
	seed = (unsigned long)time(NULL) * 1000003 + (unsigned long)getpid();
	fill_cache();
}

int main(void)
{
	static int step;
	struct godwit_callbacks callbacks = {before, after, restarted, &step};

	/* Whole pages, so that nothing else is lost. */
	cache = (unsigned char *)aligned_alloc(4096, CACHE);
	if (!cache)
		return 1;
	fill_cache();
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (godwit_is_present()) {
		godwit_register(&callbacks);
		if (godwit_exclude(cache, CACHE))
			fprintf(stderr, "the cache will be saved, too\n");
	}
	for (step = 1; step <= 4; step++) {
		if (step == 3)
			switch (godwit_checkpoint()) {
			case GODWIT_SAVED:
				printf("this one goes on\n");
				break;
			case GODWIT_RESTARTED:
				printf("this one has been woken up\n");
				break;
			default:
				printf("no checkpoint: it runs without libckpt.so\n");
			}
		for (unsigned long i = 0; i < CACHE; i += 4096)
			if (cache[i] != 7)
				return 2;
		printf("step %d draws %06u\n", step, draw());
	}
	godwit_include(cache, CACHE);
	free(cache);
	return 0;
}
