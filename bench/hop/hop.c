/*
 * hop: hops per second and the time of one hop, against a bare TCP round trip of
 * the same bytes, both in one run between the same two processes.
 *
 *     hop PEER 1                    server
 *     hop PEER 0 ROUNDS THREADS     client: a row for each stack size
 *
 * A hop there and one back are one sample, halved: only one clock is needed.  The
 * round trip writes as many bytes as the hop carried and reads as many back, on a
 * standing connection of its own.  Row: bytes, hop median, hop 99th percentile,
 * round trip median, in µs; hops per second.
 */
#include <alloca.h>
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "psu_thread.h"

#define ROUNDS_MAX 20000
static char remote[64];
static int rounds, is_server;
static size_t bytes;
static double *samples; /* of this process; the thread carries indices, not values */

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

static void *hopper(void *arg)
{
	/* Globals stay behind: everything needed over there is on the stack. */
	int n = rounds, i, me = (int)(intptr_t)arg;
	size_t size = bytes;
	char there[64], home[96], *ballast = alloca(size);

	strcpy(there, remote);
	memset(ballast, me, size);
	__asm__ volatile("" : : "r"(ballast) : "memory");
	for (i = -5; i < n; i++) {
		double t = now();

		psu_thread_migrate(there);
		strcpy(home, psu_thread_home());
		psu_thread_migrate(home);
		/* Here at home again: the globals are the ones from before. */
		if (i >= 0)
			samples[(size_t)me * (size_t)n + (size_t)i] = (now() - t) / 2;
	}
	if (ballast[size / 2] != (char)me)
		abort();
	return NULL;
}

static void *runner(void *arg)
{
	if (psu_thread_create_ex(hopper, arg, PSU_WAIT_RETURN))
		exit(1);
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return (d > 0) - (d < 0);
}

static void move(int fd, char *buf, size_t len, int out)
{
	while (len) {
		ssize_t n = out ? write(fd, buf, len) : read(fd, buf, len);

		if (n <= 0)
			exit(is_server ? 0 : 1);
		buf += n;
		len -= (size_t)n;
	}
}

/* The server's echo, and the client's end of it. */
static int echo_socket(int port)
{
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (is_server) {
		if (bind(s, (struct sockaddr *)&a, sizeof(a)) || listen(s, 1))
			exit(1);
		return s;
	}
	inet_pton(AF_INET, remote, &a.sin_addr);
	while (connect(s, (struct sockaddr *)&a, sizeof(a)))
		usleep(10000);
	return s;
}

static void *echo(void *arg)
{
	int s = *(int *)arg, fd = accept(s, NULL, NULL), one = 1;
	char *buf = malloc(4 << 20);
	uint64_t len;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (;;) {
		move(fd, (char *)&len, sizeof(len), 0);
		move(fd, buf, len, 0);
		move(fd, buf, len, 1);
	}
	return NULL;
}

static double round_trip(int fd, size_t len)
{
	char *buf = calloc(1, len + 8);
	double t, *v = calloc((size_t)rounds, sizeof(*v));
	uint64_t n = len;
	int i;

	for (i = -5; i < rounds; i++) {
		t = now();
		memcpy(buf, &n, sizeof(n));
		move(fd, buf, len + 8, 1);
		move(fd, buf, len, 0);
		if (i >= 0)
			v[i] = now() - t;
	}
	qsort(v, (size_t)rounds, sizeof(*v), by_size);
	t = v[rounds / 2];
	free(v);
	free(buf);
	return t;
}

static void row(size_t size, int threads, int fd)
{
	size_t n = (size_t)rounds * (size_t)threads;
	pthread_t t[64];
	double start, took;
	intptr_t i;

	bytes = size;
	samples = calloc(n, sizeof(*samples));
	start = now();
	for (i = 0; i < threads; i++)
		pthread_create(&t[i], NULL, runner, (void *)i);
	for (i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	took = now() - start;
	qsort(samples, n, sizeof(*samples), by_size);
	/* The head of a hop and the thread's own page are part of its bytes. */
	printf("%zu %d %.1f %.1f %.1f %.0f\n", size, threads, samples[n / 2], samples[n * 99 / 100],
	       round_trip(fd, size + 2048), 2e6 * (double)n / took);
	fflush(stdout);
	free(samples);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = {256, 4096, 16384, 65536, 262144, 1048576};
	pthread_t t;
	size_t i;
	int fd;

	if (argc < 3)
		return 2;
	is_server = atoi(argv[2]);
	snprintf(remote, sizeof(remote), "%s", argv[1]);
	psu_thread_setup_init(is_server);
	fd = echo_socket(getenv("ECHO_PORT") ? atoi(getenv("ECHO_PORT")) : 8079);
	if (is_server) {
		pthread_create(&t, NULL, echo, &fd);
		for (;;)
			psu_thread_create_ex(hopper, NULL, PSU_WAIT_RETURN);
	}
	rounds = argc > 3 ? atoi(argv[3]) : 1000;
	if (rounds > ROUNDS_MAX)
		rounds = ROUNDS_MAX;
	if (argc > 4) {
		row(256, atoi(argv[4]), fd);
		return 0;
	}
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		row(sizes[i], 1, fd);
	return 0;
}
