/*
 * A thread made by a bare clone(), unknown to the C library.
 */
#include <linux/futex.h>
#include <sched.h>

#include "subject.h"

static volatile int count, released;
static int tid_word = 1;

/* Uses no libc: it has the parent's thread pointer. */
static int run(void *arg)
{
	(void)arg;
	while (!released)
		count++;
	count = -1;
	return 0;
}

int main(int argc, char **argv)
{
	subject_init(argc, argv);
	char *stack =
		must(mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	must(clone(run, stack + 65536,
		   CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			   CLONE_SYSVSEM | CLONE_CHILD_CLEARTID,
		   NULL, NULL, NULL, &tid_word));
	while (!count)
		nap(1);
	subject_wait();

	int c = count;
	for (int i = 0; i < 500 && count == c; i++)
		nap(10);
	check(count != c, "the thread does not run");
	released = 1;
	/* The kernel clears the word and wakes it when the thread is gone. */
	while (__atomic_load_n(&tid_word, __ATOMIC_SEQ_CST))
		syscall(SYS_futex, &tid_word, FUTEX_WAIT, 1, NULL, NULL, 0);
	check(count == -1, "the thread did not end by itself");
	return subject_done();
}
