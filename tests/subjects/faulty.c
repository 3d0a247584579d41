/*
 * A target for the fault tests: threads asleep, computing with live vector registers,
 * inside a handler on an alternate stack; each verifies itself all the time, and the
 * process counts what it has done, so that a lost or repeated step shows.
 */
#include <poll.h>
#include <signal.h>

#include "subject.h"

static volatile int released, up;
static volatile long steps[5];
static char alt[1 << 16];

/* Short sleeps, each exactly as long as asked for or longer, none interrupted. */
static void *sleeper(void *arg)
{
	while (!released) {
		struct timespec t = {.tv_nsec = 7000000}, a, b;

		clock_gettime(CLOCK_REALTIME, &a);
		int r = nanosleep(&t, NULL);
		clock_gettime(CLOCK_REALTIME, &b);
		check(r == 0, "nanosleep: %s", strerror(errno));
		double took = (b.tv_sec - a.tv_sec) + (b.tv_nsec - a.tv_nsec) / 1e9;
		check(took > 0.0069, "nanosleep took only %.6f s", took);
		steps[0]++;
	}
	return arg;
}

static void *poller(void *arg)
{
	while (!released) {
		int r = poll(NULL, 0, 11);

		check(r == 0, "poll: %d, %s", r, strerror(errno));
		steps[1]++;
	}
	return arg;
}

/* A checksum over registers that live through a long loop. */
static void *cruncher(void *arg)
{
	unsigned char in[256] __attribute__((aligned(64))), out[256] __attribute__((aligned(64)));

	fill(in, sizeof(in), 99);
	while (!released) {
		long n = 3000000, red = 0;

		__asm__ volatile(".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
				 "movdqa \\n*16(%[in]), %%xmm\\n\n\t"
				 ".endr\n\t"
				 /* what lies below the stack pointer is ours as well */
				 "movq $0x5a5a, -120(%%rsp)\n\t"
				 "1: dec %[n]; jnz 1b\n\t"
				 "mov -120(%%rsp), %[red]\n\t"
				 ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
				 "movdqa %%xmm\\n, \\n*16(%[out])\n\t"
				 ".endr"
				 : [n] "+r"(n), [red] "=&r"(red)
				 : [in] "r"(in), [out] "r"(out)
				 : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
				   "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
				   "xmm13", "xmm14", "xmm15");
		check(!memcmp(in, out, sizeof(in)), "vector registers differ");
		check(red == 0x5a5a, "the red zone was written: %lx", red);
		steps[2]++;
	}
	return arg;
}

static void in_handler(int s)
{
	(void)s;
	up++;
	while (!released) {
		nap(2);
		steps[3]++;
	}
}

static void *handled(void *arg)
{
	stack_t ss = {.ss_sp = alt, .ss_size = sizeof(alt)};

	sigaltstack(&ss, NULL);
	raise(SIGURG);
	return arg;
}

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;

static void *waiter(void *arg)
{
	pthread_mutex_lock(&m);
	while (!released) {
		pthread_cond_wait(&c, &m);
		steps[4]++;
	}
	pthread_mutex_unlock(&m);
	return arg;
}

int main(int argc, char **argv)
{
	void *(*run[])(void *) = {sleeper, poller, cruncher, handled, waiter};
	struct sigaction sa = {.sa_handler = in_handler, .sa_flags = SA_ONSTACK};
	pthread_t t[5];
	sigset_t set, cur;

	subject_init(argc, argv);
	sigaction(SIGURG, &sa, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, 40);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	char *memory = malloc(3 << 20);
	fill(memory, 3 << 20, 1);
	for (int i = 0; i < 5; i++)
		if (pthread_create(&t[i], NULL, run[i], NULL))
			die("pthread_create");
	while (!up)
		nap(1);
	subject_wait();

	check(is_filled(memory, 3 << 20, 1), "memory differs");
	pthread_sigmask(SIG_BLOCK, NULL, &cur);
	for (int s = 1; s < 65; s++)
		check(sigismember(&cur, s) == sigismember(&set, s), "the mask differs in %d", s);
	for (int i = 0; i < 4; i++) {
		long had = steps[i];

		for (int k = 0; k < 3000 && steps[i] == had; k++)
			nap(10);
		check(steps[i] > had, "thread %d does not go on", i);
	}
	pthread_mutex_lock(&m);
	released = 1;
	pthread_cond_broadcast(&c);
	pthread_mutex_unlock(&m);
	for (int i = 0; i < 5; i++)
		pthread_join(t[i], NULL);
	return subject_done();
}
