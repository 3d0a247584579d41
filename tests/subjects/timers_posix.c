/*
 * POSIX timers (timer_create): a periodic one that has the number 1, one that
 * signals a thread, one that starts threads (glibc's SIGEV_THREAD), a silent one of
 * the CPU's clock, and one that is not armed.
 */
#include <signal.h>

#include "subject.h"

#define PERIOD 20000000

static volatile int ticks, value, thread_ticks, started;
static volatile pid_t ticked;

static void tick(int s, siginfo_t *si, void *ctx)
{
	(void)s, (void)ctx;
	ticks++;
	value = si->si_value.sival_int;
}

static void tick_thread(int s)
{
	(void)s;
	thread_ticks++;
	ticked = (pid_t)syscall(SYS_gettid);
}

static void start(union sigval v)
{
	if (v.sival_int == 77)
		started++;
}

static void *idle(void *arg)
{
	*(volatile pid_t *)arg = (pid_t)syscall(SYS_gettid);
	for (;;)
		nap(1000);
	return NULL;
}

static void check_goes_on(volatile int *count, const char *what)
{
	int had = *count;

	for (int i = 0; i < 1000 && *count < had + 3; i++)
		nap(10);
	check(*count >= had + 3, "%s does not tick any more", what);
}

int main(int argc, char **argv)
{
	struct sigevent ev = {
		.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 45, .sigev_value.sival_int = 4321};
	struct sigevent to_thread = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = 46};
	struct sigevent new_thread = {.sigev_notify = SIGEV_THREAD,
				      .sigev_notify_function = start,
				      .sigev_value.sival_int = 77};
	struct sigevent silent = {.sigev_notify = SIGEV_NONE};
	struct itimerspec spec = {.it_value.tv_nsec = PERIOD, .it_interval.tv_nsec = PERIOD};
	struct itimerspec later = {.it_value.tv_sec = 5000};
	struct sigaction sa = {.sa_sigaction = tick, .sa_flags = SA_SIGINFO | SA_RESTART};
	struct sigaction sb = {.sa_handler = tick_thread, .sa_flags = SA_RESTART};
	volatile pid_t tid = 0;
	timer_t t, gone, thread, threads, cpu, unset;
	pthread_t other;

	subject_init(argc, argv);
	must(sigaction(45, &sa, NULL));
	must(sigaction(46, &sb, NULL));
	pthread_create(&other, NULL, idle, (void *)(uintptr_t)&tid);
	while (!tid)
		nap(1);
	must(timer_create(CLOCK_MONOTONIC, &ev, &gone));
	must(timer_create(CLOCK_MONOTONIC, &ev, &t));
	must(timer_delete(gone)); /* so that the one left has number 1 */
	to_thread._sigev_un._tid = tid;
	must(timer_create(CLOCK_REALTIME, &to_thread, &thread));
	must(timer_create(CLOCK_BOOTTIME, &new_thread, &threads));
	must(timer_create(CLOCK_PROCESS_CPUTIME_ID, &silent, &cpu));
	must(timer_create(CLOCK_REALTIME, &ev, &unset));
	must(timer_settime(t, 0, &spec, NULL));
	must(timer_settime(thread, 0, &spec, NULL));
	must(timer_settime(threads, 0, &spec, NULL));
	must(timer_settime(cpu, 0, &later, NULL));
	while (ticks < 2 || thread_ticks < 2 || started < 2)
		nap(5);
	subject_wait();

	check_goes_on(&ticks, "the timer");
	check(value == 4321, "its value is %d", value);
	check_goes_on(&thread_ticks, "the timer of a thread");
	check(ticked == tid, "thread %d took its signal, not %d", ticked, tid);
	check_goes_on(&started, "the timer that starts threads");
	must(timer_gettime(t, &spec));
	check(spec.it_interval.tv_nsec == PERIOD, "its interval differs");
	must(timer_gettime(cpu, &spec));
	check(spec.it_value.tv_sec > 4900 && spec.it_value.tv_sec < 5000,
	      "%ld s are left of 5000 s of the CPU", (long)spec.it_value.tv_sec);
	must(timer_gettime(unset, &spec));
	check(!spec.it_value.tv_sec && !spec.it_value.tv_nsec, "one was armed");
	check(!timer_delete(t) && !timer_delete(thread) && !timer_delete(cpu) &&
		      !timer_delete(unset),
	      "one cannot be deleted");
	return subject_done();
}
