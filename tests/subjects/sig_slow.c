/*
 * A slow handler, on a thread that computes with live registers.  The signal may come
 * at any time, also while the thread is away for a checkpoint that is killed.
 */
#include <signal.h>

#include "subject.h"

static volatile int released, entered, left;

static void slow(int s)
{
	(void)s;
	entered++;
	nap(300);
	left++;
}

static void *compute(void *arg)
{
	uint64_t in[4], out[4];
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	for (uint64_t round = 0; !released; round++) {
		for (int i = 0; i < 4; i++)
			in[i] = round * 0x9e3779b97f4a7c15 + (uint64_t)i;
		__asm__ volatile("mov 0(%[in]), %%rbx\n\t"
				 "mov 8(%[in]), %%r12\n\t"
				 "mov 16(%[in]), %%r13\n\t"
				 "mov 24(%[in]), %%r15\n\t"
				 "mov $200000, %%ecx\n\t"
				 "1: dec %%ecx; jnz 1b\n\t"
				 "mov %%rbx, 0(%[out])\n\t"
				 "mov %%r12, 8(%[out])\n\t"
				 "mov %%r13, 16(%[out])\n\t"
				 "mov %%r15, 24(%[out])"
				 :
				 : [in] "r"(in), [out] "r"(out)
				 : "memory", "cc", "rbx", "rcx", "r12", "r13", "r15");
		check(!memcmp(in, out, sizeof(in)), "registers differ in round %ld", (long)round);
	}
	return arg;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = slow};
	pthread_t t;
	sigset_t set;

	subject_init(argc, argv);
	must(sigaction(SIGUSR1, &sa, NULL));
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (pthread_create(&t, NULL, compute, NULL))
		die("pthread_create");
	subject_wait();
	while (entered != left)
		nap(10);
	released = 1;
	pthread_join(t, NULL);
	return subject_done();
}
