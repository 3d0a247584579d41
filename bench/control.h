/*
 * The page that the subject shares with whoever measures it: a file, mapped by
 * both.  Offsets are known to run.py (CONTROL in there).
 */
#ifndef GODWIT_BENCH_CONTROL_H
#define GODWIT_BENCH_CONTROL_H

#include <stdint.h>

enum order {
	ORDER_NONE,
	ORDER_RESET, /* longest_ns = 0; pid */
	ORDER_WRITE, /* write() the memory to the file `path`: took_ns */
	ORDER_READ,  /* read() the file `path` to fresh memory: took_ns */
	ORDER_SUM,   /* a checksum of the memory: sum */
	ORDER_QUIT,
	ORDER_TOUCH, /* write to every step-th page, count of them: took_ns */
	ORDER_FORK,  /* fork() a child that exits at once: took_ns, of the call */
};

struct control {
	volatile uint64_t order;      /* 0:  enum order; the subject puts 0 when it is done */
	volatile uint64_t samples;    /* 8:  readings of the clock so far */
	volatile uint64_t longest_ns; /* 16: longest time between two of them */
	volatile uint64_t took_ns;    /* 24 */
	volatile uint64_t sum;        /* 32 */
	volatile int64_t error;       /* 40: errno of the last order */
	char path[256];               /* 48: zero-terminated */
	volatile uint64_t rate;       /* 304: bytes of pages to write to, each second */
	volatile uint64_t count;      /* 312 */
	volatile uint64_t step;       /* 320: pages */
	volatile uint64_t pid;        /* 328: at the last ORDER_RESET */
	volatile uint64_t nap_us;     /* 336: sleeps so long between two readings; 0: computes */
};

#endif
