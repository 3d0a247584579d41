/*
 * hop: the time of one hop beside a bare TCP round trip of the same bytes, between
 * the same two processes, in turns.
 *
 *     hop PEER 1                            server
 *     hop PEER 0 REPEATS                    client: a row for each stack size
 *     hop PEER 0 ROUNDS THREADS             client: hops a second of so many threads
 *
 * A hop there and one back are one sample, halved: only one clock is needed.  The
 * round trip writes as many bytes as the hop carried and reads as many back, on a
 * standing connection of its own; with PSU_KEY a second one, through the same TLS,
 * is measured too.  A repeat is a few hops, then as many round trips of each kind:
 * what else the machine does falls on all.  Row: bytes, hop median, hop 99th
 * percentile, round trip, TLS round trip (0 without), in µs; median of the paired
 * ratios hop to round trip.
 */
#include <alloca.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "psu_thread.h"
#include "wire/wire.h"

#define EACH 10 /* of each kind in a repeat */
#define REPEATS_MAX 4000
/* What a hop carries besides the stack: its head, the thread's own page. */
#define HEAD 2048
#define SHUTTLES 64

static char remote[64];
static int is_server;
static uint8_t key[WIRE_KEY_BYTES];

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

static int by_size(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return (d > 0) - (d < 0);
}

static double part(double *v, size_t n, size_t percent)
{
	qsort(v, n, sizeof(*v), by_size);
	return v[n * percent / 100];
}

static void *must(void *p)
{
	if (!p)
		exit(1);
	return p;
}

/* ---- the floors ---- */
static struct wire *echo_end(int fd, int tls)
{
	struct wire *w = must(calloc(1, sizeof(*w)));
	struct err err = ERR_INIT;

	wire_init(w, fd);
	wire_deadline(w, 1000000);
	if (tls && wire_tls_start(w, is_server, key, &err)) {
		fprintf(stderr, "%s\n", err.what);
		exit(1);
	}
	return w;
}

/* Bare: blocking calls on the socket, nothing else. */
static void move(struct wire *w, char *buf, size_t len, int out)
{
	struct err err = ERR_INIT;

	if (w->tls) {
		if (out ? wire_write(w, buf, len, &err) : wire_read(w, buf, len, &err))
			exit(is_server ? 0 : 1);
		return;
	}
	while (len) {
		ssize_t n = out ? write(w->fd, buf, len) : read(w->fd, buf, len);

		if (n <= 0)
			exit(is_server ? 0 : 1);
		buf += n;
		len -= (size_t)n;
	}
}

static void blocking(struct wire *w)
{
	if (!w->tls)
		fcntl(w->fd, F_SETFL, fcntl(w->fd, F_GETFL) & ~O_NONBLOCK);
}

static void *echo(void *arg)
{
	struct wire *w = echo_end(*(int *)arg, *((int *)arg + 1));
	char *buf = must(malloc(4 << 20));
	uint64_t len;

	blocking(w);
	for (;;) {
		move(w, (char *)&len, sizeof(len), 0);
		if (len > 4 << 20)
			exit(1);
		move(w, buf, len, 0);
		move(w, buf, len, 1);
	}
	return NULL;
}

static void *echoes(void *arg)
{
	int port = *(int *)arg, listeners[2], used;
	struct err err = ERR_INIT;

	if (wire_listen(true, port, listeners, &used, &err))
		exit(1);
	for (;;) {
		int *end = must(calloc(2, sizeof(*end)));
		struct pollfd p = {.fd = listeners[0], .events = POLLIN};
		pthread_t t;
		char tls = 0;

		if (poll(&p, 1, -1) != 1)
			exit(1);
		end[0] = accept(listeners[0], NULL, NULL);
		if (end[0] < 0 || read(end[0], &tls, 1) != 1)
			exit(1);
		end[1] = tls;
		pthread_create(&t, NULL, echo, end);
	}
	return NULL;
}

static struct wire *floor_start(int port, int tls)
{
	struct err err = ERR_INIT;
	struct wire_addr a;
	struct wire *w;
	char c = (char)tls;
	int fd;

	if (wire_resolve(remote, port, &a, 1, &err) != 1)
		exit(1);
	while ((fd = wire_connect(&a, wire_now() + 1000000000LL, &err)) < 0)
		usleep(10000);
	if (write(fd, &c, 1) != 1)
		exit(1);
	w = echo_end(fd, tls);
	blocking(w);
	return w;
}

static double round_trip(struct wire *w, char *buf, uint64_t len)
{
	double t = now();

	memcpy(buf, &len, sizeof(len));
	move(w, buf, len + 8, 1);
	move(w, buf, len, 0);
	return now() - t;
}

/* ---- the hops ---- */
struct order {
	size_t size;
	int repeats;
	struct wire *bare, *tls;
	double *hops, *bares, *tlses, *ratios;
};

/* Globals stay behind: all that is needed over there is on the stack. */
static void *hopper(void *arg)
{
	struct order *o = arg; /* of use at home only */
	size_t size = o->size;
	int repeats = o->repeats, r, i;
	char there[64], home[96], *ballast = alloca(size);
	char *buf = must(malloc(size + HEAD + 8));

	strcpy(there, remote);
	memset(ballast, 7, size);
	__asm__ volatile("" : : "r"(ballast) : "memory");
	for (r = -1; r < repeats; r++) {
		double hop[EACH], bare[EACH], tls[EACH];

		for (i = 0; i < EACH; i++) {
			double t = now();

			if (psu_thread_hop(there))
				abort();
			strcpy(home, psu_thread_home());
			if (psu_thread_hop(home))
				abort();
			hop[i] = (now() - t) / 2;
		}
		for (i = 0; i < EACH; i++)
			bare[i] = round_trip(o->bare, buf, size + HEAD);
		for (i = 0; i < EACH && o->tls; i++)
			tls[i] = round_trip(o->tls, buf, size + HEAD);
		if (r < 0)
			continue;
		memcpy(o->hops + r * EACH, hop, sizeof(hop));
		memcpy(o->bares + r * EACH, bare, sizeof(bare));
		if (o->tls)
			memcpy(o->tlses + r * EACH, tls, sizeof(tls));
		o->ratios[r] = part(hop, EACH, 50) / part(bare, EACH, 50);
	}
	free(buf);
	return ballast[size / 2] == 7 ? NULL : (void *)1;
}

static void row(size_t size, int repeats, struct wire *bare, struct wire *tls)
{
	size_t n = (size_t)repeats * EACH;
	struct order o = {.size = size, .repeats = repeats, .bare = bare, .tls = tls};

	o.hops = must(calloc(n, sizeof(double)));
	o.bares = must(calloc(n, sizeof(double)));
	o.tlses = must(calloc(n, sizeof(double)));
	o.ratios = must(calloc(n, sizeof(double)));
	if (psu_thread_create_ex(hopper, &o, PSU_WAIT_RETURN))
		exit(1);
	printf("%zu %.1f %.1f %.1f %.1f %.2f\n", size, part(o.hops, n, 50), part(o.hops, n, 99),
	       part(o.bares, n, 50), tls ? part(o.tlses, n, 50) : 0,
	       part(o.ratios, (size_t)repeats, 50));
	fflush(stdout);
	free(o.hops);
	free(o.bares);
	free(o.tlses);
	free(o.ratios);
}

/* ---- many threads ---- */
static pthread_barrier_t ready;

static void *shuttle(void *arg)
{
	int n = (int)(intptr_t)arg, i;
	char there[64], home[96];

	strcpy(there, remote);
	for (i = -2; i < n; i++) {
		if (!i) /* connected by now; this is home, so there is a barrier */
			pthread_barrier_wait(&ready);
		if (psu_thread_hop(there))
			abort();
		strcpy(home, psu_thread_home());
		if (psu_thread_hop(home))
			abort();
	}
	return NULL;
}

static void *runner(void *arg)
{
	if (psu_thread_create_ex(shuttle, arg, PSU_WAIT_RETURN))
		exit(1);
	return NULL;
}

static void many(int rounds, int threads)
{
	pthread_t t[SHUTTLES];
	double start;
	int i;

	pthread_barrier_init(&ready, NULL, (unsigned int)threads + 1);
	for (i = 0; i < threads; i++)
		pthread_create(&t[i], NULL, runner, (void *)(intptr_t)rounds);
	pthread_barrier_wait(&ready);
	start = now();
	for (i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	printf("%d %.0f\n", threads, 2e6 * rounds * threads / (now() - start));
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = {256, 4096, 16384, 65536, 262144, 1048576};
	const char *path = getenv("PSU_KEY");
	struct wire *bare, *tls = NULL;
	struct err err = ERR_INIT;
	pthread_t t;
	size_t i;
	int n, port;

	if (argc < 3)
		return 2;
	is_server = atoi(argv[2]);
	n = argc > 3 ? atoi(argv[3]) : 50;
	port = getenv("ECHO_PORT") ? atoi(getenv("ECHO_PORT")) : 8079;
	snprintf(remote, sizeof(remote), "%s", argv[1]);
	psu_thread_setup_init(is_server);
	if (path && wire_load_key(path, key, &err))
		return 1;
	if (is_server) {
		pthread_create(&t, NULL, echoes, &port);
		for (;;)
			psu_thread_create_ex(hopper, NULL, PSU_WAIT_RETURN);
	}
	if (argc > 4) {
		i = (size_t)atoi(argv[4]);
		many(n, i > SHUTTLES ? SHUTTLES : (int)i);
		return 0;
	}
	bare = floor_start(port, 0);
	if (path)
		tls = floor_start(port, 1);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		row(sizes[i], n < REPEATS_MAX ? n : REPEATS_MAX, bare, tls);
	return 0;
}
