/*
 * setitimer: goes on with what was left, one shot and with an interval, and is not
 * disturbed by merely taking a checkpoint.
 */
#include <signal.h>
#include <sys/time.h>

#include "subject.h"

static volatile int ticks, cpu_ticks;

static void tick(int s)
{
	(void)s;
	ticks++;
}

static void cpu_tick(int s)
{
	(void)s;
	cpu_ticks++;
}

int main(int argc, char **argv)
{
	struct itimerval prof = {.it_value = {.tv_sec = 3000}, .it_interval = {.tv_sec = 5}};
	struct itimerval virt = {.it_value = {.tv_usec = 2000}, .it_interval = {.tv_usec = 2000}};
	struct itimerval real = {.it_value = {.tv_sec = 5000}, .it_interval = {.tv_sec = 17}};
	struct itimerval soon = {.it_value = {.tv_usec = 20000}, .it_interval = {.tv_usec = 20000}};
	struct itimerval now;

	subject_init(argc, argv);
	signal(SIGALRM, tick);
	signal(SIGVTALRM, cpu_tick);
	must(setitimer(ITIMER_REAL, &real, NULL));
	must(setitimer(ITIMER_PROF, &prof, NULL));
	must(setitimer(ITIMER_VIRTUAL, &virt, NULL));
	subject_wait();

	must(getitimer(ITIMER_REAL, &now));
	check(now.it_interval.tv_sec == 17, "the real timer's interval is %ld s",
	      (long)now.it_interval.tv_sec);
	check(now.it_value.tv_sec > 3000 && now.it_value.tv_sec <= 5000,
	      "the real timer has %ld s left", (long)now.it_value.tv_sec);
	must(getitimer(ITIMER_PROF, &now));
	check(now.it_interval.tv_sec == 5 && now.it_value.tv_sec > 2900 &&
		      now.it_value.tv_sec <= 3000,
	      "the profiling timer has %ld s left", (long)now.it_value.tv_sec);
	must(getitimer(ITIMER_VIRTUAL, &now));
	check(now.it_interval.tv_usec == 2000 || now.it_interval.tv_usec == 4000,
	      "the virtual timer's interval is %ld us", (long)now.it_interval.tv_usec);
	int had = cpu_ticks;
	for (volatile long i = 0; cpu_ticks == had && i < 20000000000; i++)
		;
	check(cpu_ticks > had, "the virtual timer does not tick");
	check(ticks == 0, "the real timer went off");
	must(setitimer(ITIMER_REAL, &soon, NULL));
	while (ticks < 3)
		nap(5);
	return subject_done();
}
