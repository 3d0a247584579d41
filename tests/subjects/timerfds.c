/* timerfd: disarmed, far away, with an interval, absolute, expirations not yet read. */
#include <poll.h>
#include <sys/timerfd.h>

#include "subject.h"

int main(int argc, char **argv)
{
	struct itimerspec s = {0};
	uint64_t v;

	subject_init(argc, argv);
	int idle = must(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
	int far = must(timerfd_create(CLOCK_REALTIME, 0));
	s.it_value.tv_sec = 5000;
	s.it_interval.tv_sec = 7;
	must(timerfd_settime(far, 0, &s, NULL));
	int absolute = must(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
	clock_gettime(CLOCK_REALTIME, &s.it_value);
	s.it_value.tv_sec += 4000;
	s.it_interval.tv_sec = 0;
	time_t due = s.it_value.tv_sec;
	must(timerfd_settime(absolute, TFD_TIMER_ABSTIME, &s, NULL));
	int ticking = must(timerfd_create(CLOCK_BOOTTIME, 0));
	s = (struct itimerspec){.it_value.tv_nsec = 10000000, .it_interval.tv_nsec = 10000000};
	must(timerfd_settime(ticking, 0, &s, NULL));
	int fired = must(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	s = (struct itimerspec){.it_value.tv_nsec = 1};
	must(timerfd_settime(fired, 0, &s, NULL));
	struct pollfd p = {.fd = fired, .events = POLLIN};
	while (poll(&p, 1, 1000) != 1)
		;
	subject_wait();

	must(timerfd_gettime(idle, &s));
	check(!s.it_value.tv_sec && !s.it_value.tv_nsec, "a disarmed timer is armed");
	check(read(idle, &v, 8) < 0 && errno == EAGAIN, "a disarmed timer can be read");
	check(fcntl(idle, F_GETFD) & FD_CLOEXEC, "close-on-exec is lost");
	must(timerfd_gettime(far, &s));
	check(s.it_interval.tv_sec == 7 && s.it_value.tv_sec > 3000 && s.it_value.tv_sec <= 5000,
	      "the far timer: %ld s left, interval %ld", (long)s.it_value.tv_sec,
	      (long)s.it_interval.tv_sec);
	must(timerfd_gettime(absolute, &s));
	long left = due - time(NULL);
	check(labs(s.it_value.tv_sec - left) <= 2, "the absolute timer: %ld s left, not %ld",
	      (long)s.it_value.tv_sec, left);
	for (int i = 0; i < 3; i++)
		check(read(ticking, &v, 8) == 8 && v >= 1, "the ticking timer does not tick");
	check(read(fired, &v, 8) == 8 && v == 1, "an expiration not yet read is lost");
	check(read(fired, &v, 8) < 0 && errno == EAGAIN, "the fired timer fires again");
	return subject_done();
}
