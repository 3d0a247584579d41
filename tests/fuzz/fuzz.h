/*
 * A fuzz target is a file here with one function, that of libFuzzer.  It feeds
 * the bytes to one parser and aborts when a property does not hold; that the
 * parser neither crashes nor hangs, the driver and the sanitizers see.
 *
 * The same file is linked with main.c (gcc, `make check`: corpus and a fixed
 * sequence of mutations, TAP) or with libFuzzer (clang, `make fuzz`).
 */
#ifndef GODWIT_TEST_FUZZ_H
#define GODWIT_TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Set by main.c while an input comes from the corpus as it is. */
extern int fuzz_is_seed __attribute__((weak));
static inline int fuzz_this_is_a_seed(void)
{
	return &fuzz_is_seed && fuzz_is_seed;
}

#define ALWAYS(cond)                                                                               \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "# %s:%d: not true: %s\n", __FILE__, __LINE__, #cond);     \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#endif
