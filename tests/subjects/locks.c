/*
 * Mutexes that know their owner's thread id, held across the cut.
 * test: build=static
 */
#include "subject.h"

static pthread_mutex_t robust, recursive, errorcheck, inherit, normal = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static volatile int held, released;
static volatile int waiting;

static void make(pthread_mutex_t *m, int type, int is_robust, int protocol)
{
	pthread_mutexattr_t a;

	pthread_mutexattr_init(&a);
	pthread_mutexattr_settype(&a, type);
	if (is_robust)
		pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setprotocol(&a, protocol);
	if (pthread_mutex_init(m, &a))
		die("pthread_mutex_init");
}

static void *holder(void *arg)
{
	pthread_mutex_lock(&robust);
	pthread_mutex_lock(&recursive);
	pthread_mutex_lock(&recursive);
	pthread_mutex_lock(&errorcheck);
	pthread_mutex_lock(&inherit);
	pthread_mutex_lock(&normal);
	pthread_rwlock_wrlock(&rw);
	held = 1;
	while (!released)
		nap(3);
	check(pthread_mutex_lock(&recursive) == 0, "a recursive mutex is not its owner's");
	for (int i = 0; i < 3; i++)
		check(pthread_mutex_unlock(&recursive) == 0, "recursive unlock %d fails", i);
	check(pthread_mutex_unlock(&recursive) == EPERM, "one unlock too many succeeds");
	check(pthread_mutex_lock(&errorcheck) == EDEADLK, "the error check is gone");
	check(pthread_mutex_unlock(&errorcheck) == 0, "errorcheck unlock fails");
	check(pthread_rwlock_wrlock(&rw) == EDEADLK, "the rwlock does not know its writer");
	check(pthread_rwlock_unlock(&rw) == 0, "rwlock unlock fails");
	check(pthread_mutex_unlock(&inherit) == 0, "unlock of a priority-inheriting mutex fails");
	check(pthread_mutex_unlock(&normal) == 0, "normal unlock fails");
	check(pthread_mutex_unlock(&robust) == 0, "robust unlock fails");
	return arg;
}

/* Waits in the kernel for what the holder holds. */
static void *waiter(void *arg)
{
	pthread_mutex_t *m = arg;

	__atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
	int r = pthread_mutex_lock(m);
	check(r == 0, "a waiter gets %s", strerror(r));
	check(pthread_mutex_unlock(m) == 0, "a waiter cannot unlock");
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_mutex_t *all[] = {&robust, &recursive, &errorcheck, &inherit, &normal};
	pthread_t h, w[5];

	subject_init(argc, argv);
	make(&robust, PTHREAD_MUTEX_NORMAL, 1, PTHREAD_PRIO_NONE);
	make(&recursive, PTHREAD_MUTEX_RECURSIVE, 0, PTHREAD_PRIO_NONE);
	make(&errorcheck, PTHREAD_MUTEX_ERRORCHECK, 0, PTHREAD_PRIO_NONE);
	make(&inherit, PTHREAD_MUTEX_NORMAL, 0, PTHREAD_PRIO_INHERIT);
	if (pthread_create(&h, NULL, holder, NULL))
		die("pthread_create");
	while (!held)
		nap(1);
	for (int i = 0; i < 5; i++)
		if (pthread_create(&w[i], NULL, waiter, all[i]))
			die("pthread_create");
	while (waiting < 5)
		nap(1);
	nap(20);
	subject_wait();

	check(pthread_mutex_trylock(&normal) == EBUSY, "a held mutex is free");
	check(pthread_mutex_unlock(&errorcheck) == EPERM, "someone else's mutex can be unlocked");
	released = 1;
	pthread_join(h, NULL);
	for (int i = 0; i < 5; i++)
		pthread_join(w[i], NULL);
	return subject_done();
}
