/*
 * POSIX timers (timer_create): kept, or refused; never silently lost.
 * test: doors=attach refuse=ok
 */
#include <signal.h>

#include "subject.h"

static volatile int ticks, value;

static void tick(int s, siginfo_t *si, void *ctx)
{
	(void)s, (void)ctx;
	ticks++;
	value = si->si_value.sival_int;
}

int main(int argc, char **argv)
{
	struct sigevent ev = {
		.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 45, .sigev_value.sival_int = 4321};
	struct itimerspec spec = {.it_value.tv_nsec = 20000000, .it_interval.tv_nsec = 20000000};
	struct sigaction sa = {.sa_sigaction = tick, .sa_flags = SA_SIGINFO | SA_RESTART};
	timer_t t, idle;

	subject_init(argc, argv);
	must(sigaction(45, &sa, NULL));
	must(timer_create(CLOCK_MONOTONIC, &ev, &idle));
	must(timer_create(CLOCK_MONOTONIC, &ev, &t));
	must(timer_delete(idle)); /* so that the one left has number 1 */
	must(timer_settime(t, 0, &spec, NULL));
	while (ticks < 2)
		nap(5);
	subject_wait();

	int had = ticks;
	for (int i = 0; i < 1000 && ticks < had + 3; i++)
		nap(10);
	check(ticks >= had + 3, "the timer does not tick any more");
	check(value == 4321, "its value is %d", value);
	must(timer_gettime(t, &spec));
	check(spec.it_interval.tv_nsec == 20000000, "its interval differs");
	check(timer_delete(t) == 0, "it cannot be deleted");
	return subject_done();
}
