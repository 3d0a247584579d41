/*
 * The main stack: content, environment and auxv kept; it goes on growing down.
 * test: build=static,nopie
 */
#include <sys/auxv.h>

#include "subject.h"

static int __attribute__((noinline)) deep(int n)
{
	volatile char frame[4096];

	for (size_t i = 0; i < sizeof(frame); i += 512)
		frame[i] = n;
	int sum = n ? deep(n - 1) : 0;
	return sum + (frame[512] == (char)n);
}

int main(int argc, char **argv)
{
	char here[20000];
	int n = 3 << 20 >> 12; /* 3 MiB of frames, most of them new after the restart */

	subject_init(argc, argv);
	setenv("GODWIT_TEST_ENV", "kept", 1);
	fill(here, sizeof(here), 3);
	const void *random = (void *)getauxval(AT_RANDOM);
	char random_bytes[16];
	memcpy(random_bytes, random, 16);
	char *path = getenv("PATH");
	subject_wait();

	check(is_filled(here, sizeof(here), 3), "the stack's content differs");
	check(deep(n) == n + 1, "frames on the grown stack differ");
	check(strcmp(getenv("GODWIT_TEST_ENV") ?: "", "kept") == 0, "a set variable is lost");
	check(getenv("PATH") == path, "the environment has moved");
	check((void *)getauxval(AT_RANDOM) == random && !memcmp(random, random_bytes, 16),
	      "the auxiliary vector differs");
	return subject_done();
}
