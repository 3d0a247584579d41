/* eventfd: counter, semaphore mode, flags, a waiter. */
#include <poll.h>
#include <sys/eventfd.h>

#include "subject.h"

static int waited;

static void *waiter(void *arg)
{
	uint64_t v = 0;

	while (read(waited, &v, 8) < 0 && errno == EINTR)
		;
	check(v == 77, "the waiter read %lu", v);
	return arg;
}

int main(int argc, char **argv)
{
	uint64_t v;
	pthread_t t;

	subject_init(argc, argv);
	int plain = must(eventfd(5, EFD_CLOEXEC));
	int sem = must(eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK));
	int zero = must(eventfd(0, EFD_NONBLOCK));
	int huge = must(eventfd(0, 0)), dup_huge = must(dup(huge));
	v = 0xfffffffffffffffeULL;
	must(write(huge, &v, 8));
	waited = must(eventfd(0, 0));
	if (pthread_create(&t, NULL, waiter, NULL))
		die("pthread_create");
	subject_wait();

	check(read(plain, &v, 8) == 8 && v == 5, "counter %lu, was 5", v);
	check(fcntl(plain, F_GETFD) & FD_CLOEXEC, "close-on-exec is lost");
	for (int i = 0; i < 3; i++)
		check(read(sem, &v, 8) == 8 && v == 1, "semaphore: read %d gives %lu", i, v);
	check(read(sem, &v, 8) < 0 && errno == EAGAIN, "the semaphore has a fourth unit");
	check(read(zero, &v, 8) < 0 && errno == EAGAIN, "an empty counter is not empty");
	struct pollfd p = {.fd = huge, .events = POLLOUT};
	check(poll(&p, 1, 0) == 0, "a full counter can be written");
	check(read(dup_huge, &v, 8) == 8 && v == 0xfffffffffffffffeULL, "full counter: %lx", v);
	p.revents = 0;
	check(poll(&p, 1, 0) == 1, "the duplicate is another counter");
	v = 77;
	must(write(waited, &v, 8));
	pthread_join(t, NULL);
	return subject_done();
}
