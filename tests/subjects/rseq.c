/*
 * Restartable sequences: the C library's area is registered again, the kernel keeps
 * its cpu_id up to date, and a thread cut inside a critical section goes to its
 * abort handler, never on with the section.
 */
#include <sched.h>
#include <sys/rseq.h>

#include "subject.h"

static volatile uint64_t released, entered, aborted;

static struct rseq *area(void)
{
	return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

/* Stays inside one critical section until released or aborted; starts it again. */
static void *section(void *arg)
{
	static struct rseq_cs cs __attribute__((aligned(32)));
	volatile uint64_t *pointer = (volatile uint64_t *)&area()->rseq_cs;

	(void)arg;
	__asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, 8+%[cs]\n\t"
			 "lea 2f(%%rip), %%rcx; sub %%rax, %%rcx; mov %%rcx, 16+%[cs]\n\t"
			 "lea 4f(%%rip), %%rax; mov %%rax, 24+%[cs]\n\t"
			 "jmp 5f\n\t"
			 ".long 0x53053053\n" /* RSEQ_SIG */
			 "4: lock incq aborted(%%rip)\n\t"
			 "cmpq $0, released(%%rip); jne 3f\n"
			 "5: lea %[cs], %%rax; mov %%rax, (%[p])\n"
			 "1: movq $1, entered(%%rip)\n\t"
			 "6: jmp 6b\n" /* the only ways out: preemption, a signal, a restart */
			 "2: ud2\n"
			 "3:"
			 : [cs] "+m"(cs)
			 : [p] "r"(pointer)
			 : "rax", "rcx", "memory", "cc");
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t;
	cpu_set_t cpus;

	subject_init(argc, argv);
	if (__rseq_size == 0)
		die("the C library registers no rseq area");
	if (pthread_create(&t, NULL, section, NULL))
		die("pthread_create");
	while (!entered)
		nap(1);
	subject_wait();

	released = 1;
	/* Make sure that the section is left: share its CPU. */
	pthread_join(t, NULL);
	check(aborted > 0, "the section was never aborted");
	/* Registered still: a second registration is refused with EBUSY. */
	check(syscall(SYS_rseq, area(), 32, 0, 0x53053053) < 0 && errno == EBUSY,
	      "the rseq area is not registered: %s", strerror(errno));
	for (int cpu = 0; cpu < 2; cpu++) {
		CPU_ZERO(&cpus);
		CPU_SET(cpu, &cpus);
		if (sched_setaffinity(0, sizeof(cpus), &cpus))
			continue;
		check(area()->cpu_id == (unsigned)cpu, "rseq says CPU %u, not %d", area()->cpu_id,
		      cpu);
		check(sched_getcpu() == cpu, "sched_getcpu() says %d", sched_getcpu());
	}
	return subject_done();
}
