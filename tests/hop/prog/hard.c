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

static void *case_fp(void *arg)
{
	volatile double x = 1.0, y = 3.0;
	volatile double q = x / y;
	double acc = 0.25;
	float v[16] __attribute__((aligned(64)));
	int i;

	(void)arg;
	for (i = 0; i < 16; i++)
		v[i] = (float)i * 1.5f;
	fesetround(FE_UPWARD);
	HOP(remote);
	CHECK(fegetround() == FE_UPWARD);
	CHECK(x / y > q);
	fesetround(FE_TONEAREST);
	CHECK(x / y == q);
	for (i = 0; i < 16; i++) {
		acc += (double)v[i];
		CHECK(v[i] == (float)i * 1.5f);
	}
	CHECK(acc == 180.25 && fabs(sqrt(x + y) - 2.0) < 1e-12);
	return good();
}

struct node {
	int v;
	struct node *next;
};

static void *case_stack_list(void *arg)
{
	struct node n[10], *p, **last = NULL, *head = NULL;
	const char *text = "a literal";
	int (*print)(const char *, ...) = printf;
	FILE *out = stdout;
	int i, sum = 0;

	(void)arg;
	for (i = 0; i < 10; i++) {
		n[i].v = i;
		n[i].next = head;
		head = &n[i];
	}
	last = &head;
	HOP(remote);
	for (p = *last; p; p = p->next)
		sum += p->v;
	CHECK(sum == 45 && !strcmp(text, "a literal"));
	print("%s", "");
	CHECK(fputs("", out) >= 0);
	return good();
}

__attribute__((noinline)) static int descend(int depth, int *where)
{
	volatile int mine = depth * 3;
	int below;

	if (!depth) {
		psu_thread_migrate(remote);
		return 0;
	}
	below = descend(depth - 1, where);
	if (mine != depth * 3)
		*where = depth;
	return below + 1;
}

static void *case_deep(void *arg)
{
	int wrong = 0, was = getpid();

	(void)arg;
	CHECK(descend(1500, &wrong) == 1500);
	CHECK(getpid() != was && wrong == 0);
	return good();
}

static void *case_big_frames(void *arg)
{
	volatile int size = 700 * 1024;
	char fixed[300 * 1024], *dyn = alloca((size_t)size);
	int i;

	(void)arg;
	memset(fixed, 'f', sizeof(fixed));
	for (i = 0; i < size; i++)
		dyn[i] = (char)(i * 7);
	HOP(remote);
	for (i = 0; i < size; i++)
		CHECK(dyn[i] == (char)(i * 7));
	for (i = 0; i < (int)sizeof(fixed); i++)
		CHECK(fixed[i] == 'f');
	return good();
}

static void *case_errno(void *arg)
{
	int *p = &errno;

	(void)arg;
	errno = 77;
	psu_thread_migrate(remote);
	CHECK(errno == 77);
	CHECK(p == &errno && *p == 77);
	close(-1);
	CHECK(*p == EBADF);
	return good();
}

static __thread int t_init = 5;
static __thread int t_zero;
static __thread char t_text[40] = "thread local";

static void *case_tls(void *arg)
{
	int *p = &t_zero;

	(void)arg;
	CHECK(t_init == 5 && t_zero == 0);
	t_init = 6;
	t_zero = 7;
	strcat(t_text, ", changed");
	HOP(remote);
	CHECK(t_init == 6);
	CHECK(t_zero == 7 && *p == 7 && p == &t_zero);
	CHECK(!strcmp(t_text, "thread local, changed"));
	/* The C library's own variables of this thread must be this host's. */
	free(malloc(100));
	return good();
}

static void *case_sigmask(void *arg)
{
	sigset_t set, got;

	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN + 3);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	HOP(remote);
	pthread_sigmask(SIG_SETMASK, NULL, &got);
	CHECK(sigismember(&got, SIGUSR1) && sigismember(&got, SIGRTMIN + 3));
	CHECK(!sigismember(&got, SIGUSR2) && !sigismember(&got, SIGTERM));
	return good();
}

__attribute__((noinline)) static void jump(jmp_buf env, int n)
{
	char pad[200];

	memset(pad, n, sizeof(pad));
	if (pad[7] == n)
		longjmp(env, n);
}

/* A jmp_buf that is dead when the thread hops, with live data where it lay. */
__attribute__((noinline)) static int dead_jmpbuf(void)
{
	jmp_buf env;

	return setjmp(env) + (int)((uintptr_t)env & 1);
}

__attribute__((noinline)) static void *live_data(void)
{
	volatile double d[64];
	volatile char hole[400]; /* parts of it stay as they were */
	int i;

	for (i = 0; i < 64; i += 3)
		d[i] = i / 3.0;
	hole[0] = 1;
	HOP(remote);
	for (i = 0; i < 64; i += 3)
		CHECK(d[i] == i / 3.0);
	CHECK(hole[0] == 1);
	return good();
}

static void *case_dead_jmpbuf(void *arg)
{
	(void)arg;
	dead_jmpbuf();
	return live_data();
}

static jmp_buf registered_env;

__attribute__((noinline)) static void many_args(int a, int b, int c, int d, int e, int f, int g,
						int h, int i)
{
	psu_thread_migrate(remote);
	if (a + b + c + d + e + f + g + h + i == 45)
		longjmp(registered_env, 1);
}

/* The jmp_buf is a registered global, and there are arguments on the stack. */
static void *case_longjmp_global(void *arg)
{
	int was = getpid();

	(void)arg;
	if (setjmp(registered_env) == 0) {
		many_args(1, 2, 3, 4, 5, 6, 7, 8, 9);
		CHECK(!"reached");
	}
	CHECK(getpid() != was);
	return good();
}

static void *case_longjmp(void *arg)
{
	volatile int rounds = 0;
	jmp_buf env;
	sigjmp_buf senv;
	int how = setjmp(env);

	(void)arg;
	if (how == 0) {
		if (sigsetjmp(senv, 1) == 9)
			return good();
		HOP(remote);
		jump(env, 3);
	}
	CHECK(how == 3 && ++rounds == 1);
	siglongjmp(senv, 9);
}

static int once;
static int seen_pids[2];

static int by_value(const void *a, const void *b)
{
	if (!once && !mode) {
		once = 1;
		psu_thread_migrate(remote);
		seen_pids[0]++;
	}
	seen_pids[1]++;
	return *(const int *)a - *(const int *)b;
}

static void *case_qsort(void *arg)
{
	int v[50], i, was = getpid();

	(void)arg;
	for (i = 0; i < 50; i++)
		v[i] = (i * 37) % 50;
	qsort(v, 50, sizeof(v[0]), by_value);
	for (i = 0; i < 50; i++)
		CHECK(v[i] == i);
	CHECK(getpid() != was && seen_pids[0] == 1 && seen_pids[1] > 50);
	return good();
}

struct link {
	struct link *next;
	char *text;
};

static void *travel(void *(*get)(size_t), void (*drop)(void *), void *(*more)(void *, size_t),
		    char *(*dup)(const char *))
{
	struct link *head = NULL, *l;
	char *big = get(300000), *grown = get(10);
	int i;

	memset(big, 'b', 300000);
	strcpy(grown, "grown");
	for (i = 0; i < 1000; i++) {
		char text[32];

		l = get(sizeof(*l));
		snprintf(text, sizeof(text), "item %d", i);
		l->text = dup(text);
		l->next = head;
		head = l;
		if (i % 3 == 0) { /* holes in the arena */
			char *hole = get(i + 1);

			drop(hole);
		}
	}
	HOP(remote);
	for (i = 999, l = head; l; l = head, i--) {
		char text[32];

		snprintf(text, sizeof(text), "item %d", i);
		CHECK(!strcmp(l->text, text));
		head = l->next;
		drop(l->text);
		drop(l);
	}
	CHECK(i == -1 && big[0] == 'b' && big[299999] == 'b');
	grown = more(grown, 50000);
	CHECK(!strcmp(grown, "grown"));
	memset(grown, 0, 50000);
	drop(grown);
	drop(big);
	return good();
}

static void *case_arena(void *arg)
{
	char *p;

	(void)arg;
	p = psu_memalign(4096, 100);
	CHECK(p && ((uintptr_t)p & 4095) == 0);
	psu_free(p);
	CHECK(psu_malloc(1UL << 40) == NULL && errno == ENOMEM);
	p = psu_calloc(100, 100);
	CHECK(p && !p[0] && !p[9999]);
	psu_free(p);
	return travel(psu_malloc, psu_free, psu_realloc, psu_strdup);
}

static void *case_isomalloc(void *arg)
{
	char *line = NULL, *big;
	size_t cap = 0;
	FILE *f;

	(void)arg;
	/* The C library allocates for itself on this thread, and hands us some. */
	f = fopen("/proc/self/status", "r");
	CHECK(f && getline(&line, &cap, f) > 0);
	fclose(f);
	free(line);
	CHECK(posix_memalign((void **)&big, 64, 1000) == 0 && ((uintptr_t)big & 63) == 0);
	memset(big, 7, 1000);
	free(big);
	CHECK(asprintf(&line, "%d %s", 5, "five") == 6 && !strcmp(line, "5 five"));
	free(line);
	return travel(malloc, free, realloc, strdup);
}

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

static pthread_mutex_t global_mutex = PTHREAD_MUTEX_INITIALIZER;

static void *case_mutex(void *arg)
{
	pthread_mutex_t on_stack = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

	(void)arg;
	pthread_mutex_lock(&global_mutex);
	REFUSED("mutex");
	pthread_mutex_unlock(&global_mutex);
	pthread_mutex_lock(&on_stack);
	pthread_mutex_lock(&on_stack);
	REFUSED("mutex");
	pthread_mutex_unlock(&on_stack);
	pthread_mutex_unlock(&on_stack);
	HOP(remote);
	return good();
}

static void nothing(void *arg)
{
	(void)arg;
}

static void *case_cleanup(void *arg)
{
	(void)arg;
	pthread_cleanup_push(nothing, NULL);
	REFUSED("cleanup");
	pthread_cleanup_pop(0);
	HOP(remote);
	return good();
}

static void *case_locale(void *arg)
{
	locale_t l = newlocale(LC_ALL_MASK, "C", NULL), old = uselocale(l);

	(void)arg;
	REFUSED("locale");
	uselocale(old);
	flockfile(stdout);
	REFUSED("stdout");
	funlockfile(stdout);
	HOP(remote);
	return good();
}

static void *case_altstack(void *arg)
{
	stack_t ss = {.ss_sp = malloc(65536), .ss_size = 65536}, got;
	void *mine;

	(void)arg;
	sigaltstack(&ss, NULL);
	REFUSED("alternate signal stack");
	mine = psu_malloc(65536);
	ss.ss_sp = mine;
	sigaltstack(&ss, NULL);
	HOP(remote);
	CHECK(sigaltstack(NULL, &got) == 0 && got.ss_sp == mine && got.ss_size == 65536);
	return good();
}

static volatile int handler_result;
static const char *handler_why;

static void handler(int sig)
{
	(void)sig;
	handler_result = psu_thread_hop(remote);
	psu_thread_migrate_result(&handler_why);
}

static void *case_handler(void *arg)
{
	(void)arg;
	signal(SIGUSR1, handler);
	pthread_kill(pthread_self(), SIGUSR1);
	CHECK(handler_result < 0 && strstr(handler_why, "signal handler"));
	HOP(remote);
	return good();
}

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
