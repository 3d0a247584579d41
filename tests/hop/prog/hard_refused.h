/* Part of hard.c: state of a thread that cannot travel.  Each case builds it, is
 * refused, undoes it, and hops. */
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

static pthread_mutex_t waited = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int condition_met;

static void *waiter(void *arg)
{
	pthread_mutex_lock(&waited);
	while (!condition_met)
		pthread_cond_wait(&condition, &waited);
	pthread_mutex_unlock(&waited);
	return arg;
}

/* Two more use the mutex, for a condition that they wait for. */
static void *case_mutex_cond(void *arg)
{
	pthread_t t[2];
	int i;

	for (i = 0; i < 2; i++)
		CHECK(!pthread_create(&t[i], NULL, waiter, arg));
	usleep(200000);
	pthread_mutex_lock(&waited);
	REFUSED("mutex");
	condition_met = 1;
	pthread_cond_broadcast(&condition);
	pthread_mutex_unlock(&waited);
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	HOP(remote);
	return good();
}

/* Every type of mutex; in the thread's own memory; a robust one on the heap. */
static void *case_mutex_types(void *arg)
{
	static const int types[] = {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE,
				    PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_ADAPTIVE_NP};
	pthread_mutex_t *mine = psu_malloc(sizeof(*mine)), *heap = malloc(sizeof(*heap));
	pthread_mutexattr_t attr;
	int i;

	(void)arg;
	for (i = 0; i < 8; i++) {
		pthread_mutexattr_init(&attr);
		pthread_mutexattr_settype(&attr, types[i % 4]);
		if (i > 3)
			pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
		pthread_mutex_init(mine, &attr);
		CHECK(!pthread_mutex_lock(mine));
		REFUSED("mutex");
		pthread_mutex_unlock(mine);
		pthread_mutex_destroy(mine);
	}
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(heap, &attr);
	CHECK(!pthread_mutex_lock(heap));
	REFUSED("robust mutex");
	pthread_mutex_unlock(heap);
	HOP(remote);
	psu_free(mine);
	return good();
}

/* What a compiler or a program may keep: numbers that look a little like a mutex
 * with this thread as the owner. */
static struct {
	const char *file;
	int line, column;
	void *none;
	long more[2];
} places[4];

static void *case_lookalikes(void *arg)
{
	int me = gettid(), i;

	(void)arg;
	for (i = 0; i < 4; i++) {
		places[i].file = __FILE__;
		places[i].line = me;
		places[i].column = i;
	}
	places[2].file = NULL;
	places[3].more[0] = me;
	HOP(remote);
	return good();
}

static pthread_rwlock_t global_rwlock = PTHREAD_RWLOCK_INITIALIZER;

static void *case_rwlock(void *arg)
{
	pthread_rwlock_t on_stack = PTHREAD_RWLOCK_INITIALIZER;

	(void)arg;
	pthread_rwlock_wrlock(&global_rwlock);
	REFUSED("read-write lock");
	pthread_rwlock_unlock(&global_rwlock);
	pthread_rwlock_wrlock(&on_stack);
	REFUSED("read-write lock");
	pthread_rwlock_unlock(&on_stack);
	/* Taken and given back leaves a trace of nothing. */
	pthread_rwlock_rdlock(&global_rwlock);
	pthread_rwlock_unlock(&global_rwlock);
	HOP(remote);
	return good();
}

static void *case_specific(void *arg)
{
	pthread_key_t few, many[40];
	int i;

	CHECK(!pthread_key_create(&few, NULL));
	pthread_setspecific(few, "mine");
	REFUSED("thread-specific data");
	/* The second refusal: what the library itself left there is not the reason. */
	REFUSED("thread-specific data");
	pthread_setspecific(few, NULL);
	for (i = 0; i < 40; i++)
		CHECK(!pthread_key_create(&many[i], NULL));
	pthread_setspecific(many[39], &arg);
	REFUSED("thread-specific data");
	/* A deleted key's value is gone. */
	pthread_key_delete(many[39]);
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
