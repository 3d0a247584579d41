/*
 * Works with the C library's string functions, of which there is one for each kind of
 * CPU, and compares with loops of its own.  Prints a number every now and then, from
 * one clock to the next; SIGUSR1: prints ok, or what differs, and ends.
 *
 * worker_avx512.c is the same, and has a function that uses AVX-512:
 *     worker_avx512 always      and calls it
 *     worker_avx512 dispatch    where its own look at the CPU says that it can
 */
#include <immintrin.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#define SIZE 4096

static volatile sig_atomic_t stop;
static char a[SIZE + 64], b[SIZE + 64];
static uint64_t seed = 88172645463325252ULL;
static long wrong;

static void on_usr1(int sig)
{
	(void)sig;
	stop = 1;
}

static unsigned rnd(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 33) % n;
}

static void expect(int right, const char *what)
{
	if (!right && !wrong++)
		printf("wrong: %s\n", what);
}

/* Kept from being turned into the calls that it is to check. */
static size_t next(size_t i)
{
	__asm__ volatile("" : "+r"(i));
	return i + 1;
}
#define EACH(i, n) for (size_t i = 0; i < (n); i = next(i))

static void copies(size_t n, size_t x, size_t y)
{
	char *to = a + y;

	EACH(i, SIZE) b[i] = (char)('a' + (i * 7 + n) % 26);
	memcpy(to, b + x, n);
	EACH(i, n) expect(to[i] == b[x + i], "memcpy");
	memmove(to + 1, to, n);
	EACH(i, n) expect(to[i + 1] == b[x + i], "memmove");
	memset(to, 'q', n);
	EACH(i, n) expect(to[i] == 'q', "memset");
}

static void strings(size_t n, size_t x)
{
	char *s = b + x;

	s[n] = '\0';
	expect(strlen(s) == n, "strlen");
	expect(strnlen(s, SIZE) == n, "strnlen");
	expect(rawmemchr(s, '\0') == s + n, "rawmemchr");
	expect(strchr(s, '#') == NULL, "strchr");
	strcpy(a, s);
	expect(strcmp(a, s) == 0 && memcmp(a, s, n + 1) == 0, "strcmp");
	expect(strcasecmp(a, s) == 0 && strncmp(a, s, n) == 0, "strcasecmp");
	if (n) {
		a[n - 1] = '#';
		expect(strchr(a, '#') == a + n - 1 && memchr(a, '#', n) == a + n - 1, "memchr");
		expect(strrchr(a, '#') == a + n - 1, "strrchr");
		expect(strcmp(a, s) != 0, "strcmp of others");
		expect(strspn(a, "abcdefghijklmnopqrstuvwxyz") == n - 1, "strspn");
	}
	s[n] = 'x';
}

static void wide(size_t n)
{
	static wchar_t w[600], v[600];

	wmemset(w, L'w', n);
	w[n] = 0;
	wcscpy(v, w);
	expect(wcslen(w) == n && wcscmp(v, w) == 0 && wcschr(w, L'x') == NULL, "wide characters");
}

#ifdef WITH_AVX512
__attribute__((target("avx512f"), noinline)) static uint64_t with_avx512(void)
{
	__m512i v = _mm512_set1_epi64((long long)rnd(1000)), w = v;

	for (int i = 0; i < 9; i++)
		w = _mm512_add_epi64(w, v);
	return (uint64_t)(_mm512_reduce_add_epi64(w) - 80 * _mm512_reduce_add_epi64(v) / 8);
}

#endif

int main(int argc, char **argv)
{
	int how = argc > 1 ? argv[1][0] : 0; /* of the other one */
	struct timespec t, last = {0};

	(void)how;
	signal(SIGUSR1, on_usr1);
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	for (long round = 1; !stop; round++) {
		size_t n = rnd(round % 8 ? 200 : SIZE - 128);

		copies(n, rnd(32), rnd(31));
		strings(n, rnd(32));
		wide(rnd(500));
#ifdef WITH_AVX512
		if (how == 'a' || (how == 'd' && __builtin_cpu_supports("avx512f")))
			expect(with_avx512() == 0, "AVX-512");
#endif
		if (round % 64)
			continue;
		clock_gettime(CLOCK_REALTIME, &t);
		expect(llabs((long long)time(NULL) - t.tv_sec) <= 1, "time");
		if (t.tv_sec != last.tv_sec || t.tv_nsec / 100000000 != last.tv_nsec / 100000000)
			printf("%ld\n", round);
		last = t;
	}
	puts(wrong ? "not ok" : "ok");
	return wrong != 0;
}
