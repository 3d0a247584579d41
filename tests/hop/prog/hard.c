/*
 * Hard cases: hard CASE HOSTS MODE.  HOSTS is a comma-separated route.  Each case
 * builds state, hops, verifies itself wherever it is then, and prints "ok" (or
 * what differs) with the process's name from HOP_NAME.  A static variable tells
 * hosts apart, since those do not travel.
 */
#include <alloca.h>
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "psu_thread.h"

static char hosts[8][64];
static int nhosts, mode;
static const char *myname = "?";
#define remote hosts[0]

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			printf("%s: line %d: %s\n", myname, __LINE__, #cond);                      \
			return NULL;                                                               \
		}                                                                                  \
	} while (0)

static void *good(void)
{
	printf("%s: ok\n", myname);
	return NULL;
}

/* Hops and fails the case unless it worked. */
#define HOP(host)                                                                                  \
	do {                                                                                       \
		int was = getpid();                                                                \
                                                                                                   \
		psu_thread_migrate(host);                                                          \
		CHECK(getpid() != was);                                                            \
	} while (0)

#include "hard_carry.h"

static int registered[100] = {1};
static char *registered_text = "unchanged";
static int unregistered;

static void *case_globals(void *arg)
{
	int i;

	(void)arg;
	for (i = 0; i < 100; i++)
		registered[i] = i * i;
	registered_text = "changed";
	unregistered = 1;
	HOP(remote);
	for (i = 0; i < 100; i++)
		CHECK(registered[i] == i * i);
	CHECK(!strcmp(registered_text, "changed"));
	CHECK(unregistered == 0);
	return good();
}

static void *case_fd(void *arg)
{
	const char *path = getenv("HOP_FILE");
	char b[6] = "";
	int fd = open(path, O_RDWR | O_APPEND);

	(void)arg;
	CHECK(fd >= 0 && dup2(fd, 77) == 77 && close(fd) == 0);
	CHECK(read(77, b, 5) == 5 && !strcmp(b, "01234"));
	CHECK(psu_fd_carry(77) == 0 && psu_fd_carry(77) == 0);
	CHECK(psu_fd_carry(-1) == -1 && errno == EBADF);
	HOP(remote);
	CHECK(read(77, b, 5) == 5 && !strcmp(b, "56789"));
	CHECK(fcntl(77, F_GETFL) & O_APPEND);
	CHECK(write(77, "tail", 4) == 4);
	return good();
}

/* A to B and home again; the address is asked, not known. */
static void *case_home(void *arg)
{
	int was = getpid(), x = 1;

	(void)arg;
	CHECK(!strcmp(psu_thread_home(), ""));
	HOP(remote);
	x++;
	CHECK(strstr(psu_thread_home(), getenv("HOP_HOME") ? getenv("HOP_HOME") : "127.0.0.1:"));
	psu_thread_migrate(psu_thread_home());
	CHECK(getpid() == was && x == 2);
	return good();
}

/* Home by the host's address alone, though the process there listens on some port. */
static void *case_byname(void *arg)
{
	char back[64];
	int was = getpid();

	(void)arg;
	strcpy(back, hosts[1]);
	HOP(remote);
	psu_thread_migrate(back);
	CHECK(getpid() == was);
	return good();
}

/* Along the whole route, then home. */
static void *case_chain(void *arg)
{
	volatile int sum = 0;
	int i, was = getpid(), last = was;

	(void)arg;
	for (i = 0; i < nhosts; i++) {
		char next[64];

		/* The route is a global: it stays behind, but every host has it. */
		strcpy(next, hosts[i]);
		psu_thread_migrate(next);
		CHECK(getpid() != last);
		last = getpid();
		sum += i + 1;
	}
	psu_thread_migrate(psu_thread_home());
	CHECK(getpid() == was && sum == nhosts * (nhosts + 1) / 2);
	return good();
}

static void *case_pingpong(void *arg)
{
	char there[64], back[96] = "";
	int i, was = getpid(), other = 0;
	unsigned int x = 1;

	(void)arg;
	strcpy(there, remote);
	for (i = 0; i < 500; i++) {
		psu_thread_migrate(there);
		CHECK(getpid() != was);
		CHECK(!other || other == getpid());
		other = getpid();
		x = x * 1103515245u + 12345u;
		strcpy(back, psu_thread_home());
		psu_thread_migrate(back);
		CHECK(getpid() == was);
	}
	for (i = 0; i < 500; i++)
		x = (x - 12345u) * 4005161829u;
	CHECK(x == 1);
	return good();
}

static pthread_barrier_t barrier;

static void *case_many(void *arg)
{
	int mine[64], i, me = (int)(intptr_t)arg, was = getpid();
	char there[64], back[96];

	for (i = 0; i < 64; i++)
		mine[i] = me * 1000 + i;
	strcpy(there, remote);
	for (i = 0; i < 20; i++) {
		psu_thread_migrate(there);
		CHECK(getpid() != was);
		strcpy(back, psu_thread_home());
		psu_thread_migrate(back);
		CHECK(getpid() == was);
	}
	psu_thread_migrate(there);
	CHECK(getpid() != was);
	for (i = 0; i < 64; i++)
		CHECK(mine[i] == me * 1000 + i);
	return good();
}

static void *creator(void *arg)
{
	pthread_barrier_wait(&barrier);
	if (psu_thread_create(case_many, arg))
		printf("create failed\n");
	return NULL;
}

static void *case_pthread_exit(void *arg)
{
	(void)arg;
	HOP(remote);
	good();
	fflush(stdout);
	pthread_exit(NULL);
}

static void *case_self(void *arg)
{
	const char *why;
	char self[32];

	(void)arg;
	snprintf(self, sizeof(self), "127.0.0.1:%s", getenv("PSU_LISTEN_PORT"));
	psu_thread_migrate(self);
	CHECK(psu_thread_migrate_result(&why) == 1 && strstr(why, "this process"));
	return good();
}

/* Must be refused, with this in the reason; and must work once undone. */
#define REFUSED(text)                                                                              \
	do {                                                                                       \
		const char *why;                                                                   \
		int was = getpid(), r = psu_thread_hop(remote);                                    \
                                                                                                   \
		CHECK(r < 0 && getpid() == was && psu_thread_migrate_result(&why) == r);           \
		if (!strstr(why, text))                                                            \
			printf("%s: reason: %s\n", myname, why);                                   \
		CHECK(strstr(why, text));                                                          \
	} while (0)

#include "hard_refused.h"

/* Whatever happens, the code after the hop runs once: a line in HOP_FILE. */
static void *case_once(void *arg)
{
	char path[256], line[64];
	int fd, r;

	(void)arg;
	snprintf(path, sizeof(path), "%s", getenv("HOP_FILE"));
	r = psu_thread_hop(remote);
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
	snprintf(line, sizeof(line), "%s %d\n", myname, r);
	CHECK(write(fd, line, strlen(line)) == (ssize_t)strlen(line));
	close(fd);
	return NULL;
}

static void *case_plain(void *arg)
{
	(void)arg;
	printf("%s: before\n", myname);
	psu_thread_migrate(remote);
	printf("%s: after\n", myname);
	return NULL;
}

/* Stays on the other host until a file appears. */
static void *case_linger(void *arg)
{
	char path[256];
	int i;

	(void)arg;
	snprintf(path, sizeof(path), "%s.go", getenv("HOP_FILE"));
	HOP(remote);
	for (i = 0; i < 400 && access(path, F_OK); i++)
		usleep(50000);
	return good();
}

static void *case_result(void *arg)
{
	const char *why;
	int r;

	(void)arg;
	psu_thread_migrate(remote);
	r = psu_thread_migrate_result(&why);
	printf("%s: %d %s\n", myname, r, why);
	return NULL;
}

static const struct {
	const char *name;
	void *(*func)(void *);
} cases[] = {
	{"fp", case_fp},
	{"stack_list", case_stack_list},
	{"deep", case_deep},
	{"very_deep", case_very_deep},
	{"overflow", case_overflow},
	{"registers", case_registers},
	{"big_frames", case_big_frames},
	{"errno", case_errno},
	{"tls", case_tls},
	{"sigmask", case_sigmask},
	{"longjmp", case_longjmp},
	{"longjmp_global", case_longjmp_global},
	{"dead_jmpbuf", case_dead_jmpbuf},
	{"qsort", case_qsort},
	{"arena", case_arena},
	{"isomalloc", case_isomalloc},
	{"globals", case_globals},
	{"fd", case_fd},
	{"home", case_home},
	{"byname", case_byname},
	{"chain", case_chain},
	{"pingpong", case_pingpong},
	{"pthread_exit", case_pthread_exit},
	{"self", case_self},
	{"mutex", case_mutex},
	{"mutex_cond", case_mutex_cond},
	{"mutex_types", case_mutex_types},
	{"rwlock", case_rwlock},
	{"lookalikes", case_lookalikes},
	{"specific", case_specific},
	{"cleanup", case_cleanup},
	{"locale", case_locale},
	{"altstack", case_altstack},
	{"handler", case_handler},
	{"once", case_once},
	{"plain", case_plain},
	{"linger", case_linger},
	{"result", case_result},
};

static int many(int n)
{
	pthread_t t[64];
	intptr_t i;

	pthread_barrier_init(&barrier, NULL, (unsigned int)n);
	for (i = 0; i < n; i++)
		pthread_create(&t[i], NULL, creator, (void *)i);
	for (i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	return 0;
}

int main(int argc, char **argv)
{
	char *route, *host, *save = NULL;
	size_t i;

	if (argc < 4)
		return 2;
	mode = atoi(argv[3]);
	myname = getenv("HOP_NAME") ? getenv("HOP_NAME") : mode ? "server" : "client";
	psu_thread_setup_init(mode);
	route = strdup(argv[2]);
	for (host = strtok_r(route, ",", &save); host && nhosts < 8;
	     host = strtok_r(NULL, ",", &save))
		snprintf(hosts[nhosts++], sizeof(hosts[0]), "%s", host);
	if (getenv("HOP_LATE")) /* reachable, but not prepared yet */
		usleep((useconds_t)atoi(getenv("HOP_LATE")) * 1000);
	if (psu_register_global(registered, sizeof(registered)) ||
	    psu_register_global(&registered_text, sizeof(registered_text)) ||
	    psu_register_global(&registered_env, sizeof(registered_env)))
		return 3;
	if (psu_register_global(route, 4) == 0 || errno != EINVAL)
		return 3;
	if (!strncmp(argv[1], "many", 4))
		return many(atoi(argv[1] + 4));
	if (!strcmp(argv[1], "outside")) {
		const char *why;

		printf("%d\n", psu_thread_hop(remote));
		psu_thread_migrate_result(&why);
		printf("%s\n", why);
		return 0;
	}
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (!strcmp(argv[1], cases[i].name)) {
			if (psu_thread_create(cases[i].func, NULL)) {
				printf("%s: create failed: %s\n", myname, strerror(errno));
				return 9;
			}
			return 0;
		}
	return 2;
}
