/* See worker.c. */
#define WITH_AVX512
#include "worker.c"
