/*
 * Threads and what belongs to each: name, mask, alternate stack, TLS, errno, gs base,
 * CPU affinity, and that they can be joined, cancelled and created afterwards.
 * test: build=static
 */
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>

#include "subject.h"

#define N 20

static __thread int tls_value;
static __thread char tls_big[5000];
static volatile int up, released;
static pthread_key_t key;
static int destroyed;

static void destroy(void *v)
{
	__atomic_add_fetch(&destroyed, (int)(intptr_t)v, __ATOMIC_SEQ_CST);
}

static void *run(void *arg)
{
	int i = (int)(intptr_t)arg;
	char name[16], now[16] = "", stack_area[40000];
	sigset_t set, cur;
	stack_t ss = {.ss_sp = malloc(65536), .ss_size = 65536}, ss_now;
	unsigned long gs = 0, area = 0x123456 + i;
	cpu_set_t cpus, cpus_now;

	snprintf(name, sizeof(name), "th %d) (x", i);
	pthread_setname_np(pthread_self(), name);
	sigemptyset(&set);
	sigaddset(&set, 34 + i % 20);
	sigaddset(&set, i % 2 ? SIGUSR1 : SIGHUP);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	must(sigaltstack(&ss, NULL));
	tls_value = i * 7;
	fill(tls_big, sizeof(tls_big), i);
	fill(stack_area, sizeof(stack_area), i + 50);
	pthread_setspecific(key, (void *)(intptr_t)(i + 1));
	syscall(SYS_arch_prctl, 0x1001 /* ARCH_SET_GS */, &area);
	CPU_ZERO(&cpus);
	CPU_SET(i % 2 ? 0 : 1, &cpus);
	if (i < 4)
		sched_setaffinity(0, sizeof(cpus), &cpus);
	sched_getaffinity(0, sizeof(cpus), &cpus);
	uintptr_t self = (uintptr_t)pthread_self();
	errno = 1000 + i;
	__atomic_add_fetch(&up, 1, __ATOMIC_SEQ_CST);
	while (!released) {
		int e = errno;

		nap(5);
		errno = e;
	}
	check(errno == 1000 + i, "thread %d: errno is %d", i, errno);
	check((uintptr_t)pthread_self() == self, "thread %d: pthread_self differs", i);
	check(tls_value == i * 7 && is_filled(tls_big, sizeof(tls_big), i),
	      "thread %d: TLS differs", i);
	check(is_filled(stack_area, sizeof(stack_area), i + 50), "thread %d: stack differs", i);
	prctl(PR_GET_NAME, now);
	check(!strcmp(name, now), "thread %d: name is '%s'", i, now);
	pthread_sigmask(SIG_SETMASK, NULL, &cur);
	for (int s = 1; s < 64; s++)
		if (s != 32 && s != 33)
			check(sigismember(&set, s) == sigismember(&cur, s),
			      "thread %d: mask differs in signal %d", i, s);
	must(sigaltstack(NULL, &ss_now));
	check(ss_now.ss_sp == ss.ss_sp && ss_now.ss_size == ss.ss_size && !ss_now.ss_flags,
	      "thread %d: alternate stack differs", i);
	syscall(SYS_arch_prctl, 0x1004 /* ARCH_GET_GS */, &gs);
	check(gs == (unsigned long)&area, "thread %d: gs base differs", i);
	unsigned long by_gs;
	__asm__("mov %%gs:0, %0" : "=r"(by_gs));
	check(by_gs == area, "thread %d: gs:0 differs", i);
	sched_getaffinity(0, sizeof(cpus_now), &cpus_now);
	check(CPU_EQUAL(&cpus, &cpus_now), "thread %d: CPU affinity differs", i);
	check(pthread_getspecific(key) == (void *)(intptr_t)(i + 1), "thread %d: specific", i);
	ss.ss_flags = SS_DISABLE;
	sigaltstack(&ss, NULL);
	free(ss.ss_sp);
	return (void *)(intptr_t)(i * i);
}

static void *run_short(void *arg)
{
	tls_value = 5;
	return arg;
}

static void *sleep_on(void *arg)
{
	for (;;)
		pause();
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t t[N], cancelled;

	subject_init(argc, argv);
	pthread_key_create(&key, destroy);
	for (int i = 0; i < N; i++)
		if (pthread_create(&t[i], NULL, run, (void *)(intptr_t)i))
			die("pthread_create");
	if (pthread_create(&cancelled, NULL, sleep_on, NULL))
		die("pthread_create");
	while (up < N)
		nap(1);
	tls_value = 4711;
	subject_wait();

	check(tls_value == 4711, "the main thread's TLS differs");
	released = 1;
	int sum = 0;
	for (int i = 0; i < N; i++) {
		void *v = NULL;

		check(!pthread_join(t[i], &v), "thread %d cannot be joined", i);
		check((intptr_t)v == (intptr_t)i * i, "thread %d: result differs", i);
		sum += i + 1;
	}
	check(destroyed == sum, "destructors of thread-specific data: %d, not %d", destroyed, sum);
	void *v = NULL;
	check(!pthread_cancel(cancelled), "pthread_cancel fails");
	check(!pthread_join(cancelled, &v) && v == PTHREAD_CANCELED, "a thread is not cancelled");
	for (int i = 0; i < 50; i++) {
		if (pthread_create(&t[0], NULL, run_short, (void *)5L)) {
			check(0, "no new thread can be created");
			break;
		}
		pthread_join(t[0], &v);
		check((intptr_t)v == 5, "a new thread fails");
	}
	check(tls_value == 4711, "a new thread changes the main thread's TLS");
	return subject_done();
}
