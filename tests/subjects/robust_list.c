/*
 * A thread dies after the cut while it holds a robust mutex: the kernel finds its
 * robust list and the waiter gets EOWNERDEAD.
 */
#include "subject.h"

static pthread_mutex_t m;
static volatile int held, released;

static void *holder(void *arg)
{
	pthread_mutex_lock(&m);
	held = 1;
	while (!released)
		nap(3);
	return arg; /* never unlocks */
}

int main(int argc, char **argv)
{
	pthread_mutexattr_t a;
	pthread_t t;
	void *head = NULL;
	size_t len = 0;

	subject_init(argc, argv);
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&m, &a);
	if (pthread_create(&t, NULL, holder, NULL))
		die("pthread_create");
	while (!held)
		nap(1);
	void *head_before = NULL;
	must(syscall(SYS_get_robust_list, 0, &head_before, &len));
	subject_wait();

	must(syscall(SYS_get_robust_list, 0, &head, &len));
	check(head == head_before, "the robust list is not registered");
	released = 1;
	int r = pthread_mutex_lock(&m);
	check(r == EOWNERDEAD, "the waiter gets %s", strerror(r));
	if (r == EOWNERDEAD)
		pthread_mutex_consistent(&m);
	pthread_mutex_unlock(&m);
	pthread_join(t, NULL);
	return subject_done();
}
