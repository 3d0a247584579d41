/* Part of hard.c: state of the thread itself, and memory. */
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

/* All registers that a call preserves, at once, whatever the compiler does. */
static void *case_registers(void *arg)
{
	void (*hop)(const char *) = psu_thread_migrate;
	uint64_t got[6] = {0}, *to = got;
	const char *host = remote;
	int was = getpid();

	(void)arg;
	__asm__ volatile(
		"pushq %%rbp\n\tpushq %0\n\t"
		"movabsq $0x1111111111111111, %%rbx\n\tmovabsq $0x2222222222222222, %%rbp\n\t"
		"movabsq $0x3333333333333333, %%r12\n\tmovabsq $0x4444444444444444, %%r13\n\t"
		"movabsq $0x5555555555555555, %%r14\n\tmovabsq $0x6666666666666666, %%r15\n\t"
		"movq %%rsp, %%rax\n\tsubq $256, %%rsp\n\tandq $-16, %%rsp\n\t"
		"pushq %%rax\n\tpushq %%rax\n\t"
		"call *%2\n\t"
		"popq %%rax\n\tmovq %%rax, %%rsp\n\tpopq %%rax\n\t"
		"movq %%rbx, 0(%%rax)\n\tmovq %%rbp, 8(%%rax)\n\tmovq %%r12, 16(%%rax)\n\t"
		"movq %%r13, 24(%%rax)\n\tmovq %%r14, 32(%%rax)\n\tmovq %%r15, 40(%%rax)\n\t"
		"popq %%rbp"
		: "+c"(to), "+D"(host), "+S"(hop)
		:
		: "rax", "rbx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
		  "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
		  "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	CHECK(getpid() != was);
	CHECK(got[0] == 0x1111111111111111 && got[1] == 0x2222222222222222);
	CHECK(got[2] == 0x3333333333333333 && got[3] == 0x4444444444444444);
	CHECK(got[4] == 0x5555555555555555 && got[5] == 0x6666666666666666);
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

static void *case_very_deep(void *arg)
{
	int wrong = 0, was = getpid();

	(void)arg;
	CHECK(descend(60000, &wrong) == 60000);
	CHECK(getpid() != was && wrong == 0);
	return good();
}

static char sentinel[1 << 16] = {1};

__attribute__((noinline)) static int too_deep(volatile int *above)
{
	volatile int here[256];

	here[0] = *above + 1;
	return sentinel[here[0] & 0xffff] < 0 ? 0 : too_deep(here) + here[0];
}

/* Runs over the end of its stack, after a hop: must end by a signal there. */
static void *case_overflow(void *arg)
{
	volatile int zero = 0;

	(void)arg;
	HOP(remote);
	printf("%d\n", too_deep(&zero));
	return NULL;
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
