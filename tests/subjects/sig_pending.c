/*
 * Pending signals, to the process and to a thread; queued ones in order and with
 * their data, each once.
 */
#include <signal.h>

#include "subject.h"

static volatile int phase;
static pid_t tid;
static int tkill_code; /* SI_TKILL; some kernels say SI_USER */

static void *run(void *arg)
{
	sigset_t set;
	siginfo_t si;
	struct timespec none = {0};

	tid = gettid();
	phase = 1;
	while (phase < 2)
		nap(3);
	sigemptyset(&set);
	sigaddset(&set, 45);
	sigaddset(&set, SIGUSR1);
	for (int i = 0; i < 3; i++) {
		int s = sigtimedwait(&set, &si, &none);

		if (i == 0)
			check(s == SIGUSR1 && si.si_code == tkill_code,
			      "thread: pending SIGUSR1: got %d, code %d", s, si.si_code);
		else
			check(s == 45 && si.si_value.sival_int == 900 + i,
			      "thread: queued signal %d: got %d with %d", i, s,
			      s > 0 ? si.si_value.sival_int : -1);
	}
	check(sigtimedwait(&set, &si, &none) < 0 && errno == EAGAIN, "thread: one too many");
	return arg;
}

static void queue_to_thread(int value)
{
	siginfo_t si = {
		.si_signo = 45, .si_code = SI_QUEUE, .si_pid = getpid(), .si_uid = getuid()};

	si.si_value.sival_int = value;
	must(syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, 45, &si));
}

int main(int argc, char **argv)
{
	pthread_t t;
	sigset_t set, pending;
	siginfo_t si;
	struct timespec none = {0};
	pid_t pid = getpid();

	subject_init(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, 40);
	sigaddset(&set, 41);
	sigaddset(&set, 45);
	sigprocmask(SIG_BLOCK, &set, NULL);
	must(syscall(SYS_tgkill, pid, pid, SIGHUP));
	must(sigtimedwait(&set, &si, &none));
	tkill_code = si.si_code;
	if (pthread_create(&t, NULL, run, NULL))
		die("pthread_create");
	while (!phase)
		nap(1);
	for (int i = 0; i < 20; i++)
		must(sigqueue(pid, 40 + i % 2, (union sigval){.sival_int = 100 + i}));
	must(kill(pid, SIGTERM));
	must(kill(pid, SIGTERM)); /* does not queue */
	must(syscall(SYS_tgkill, pid, pid, SIGHUP));
	must(syscall(SYS_tgkill, pid, tid, SIGUSR1));
	queue_to_thread(901);
	queue_to_thread(902);
	subject_wait();

	sigpending(&pending);
	check(sigismember(&pending, SIGTERM) && sigismember(&pending, SIGHUP) &&
		      sigismember(&pending, 40) && sigismember(&pending, 41),
	      "pending signals are lost");
	check(!sigismember(&pending, SIGUSR1), "a thread's signal became the process's");
	phase = 2;
	pthread_join(t, NULL);
	sigdelset(&set, SIGTERM);
	sigdelset(&set, SIGHUP);
	for (int i = 0; i < 20; i++) {
		/* The lower number first, each in order. */
		int want = i < 10 ? i * 2 : (i - 10) * 2 + 1;
		int s = sigtimedwait(&set, &si, &none);

		check(s == 40 + want % 2, "queued signal %d: got %d", i, s);
		check(s > 0 && si.si_value.sival_int == 100 + want, "queued signal %d: value %d", i,
		      si.si_value.sival_int);
		check(s > 0 && si.si_code == SI_QUEUE && si.si_uid == getuid(),
		      "queued signal %d: sender differs", i);
	}
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	int got = 0;
	for (int i = 0; i < 2; i++) {
		int s = sigtimedwait(&set, &si, &none);

		got += s == SIGTERM ? 1 : s == SIGHUP ? 10 : 100;
		check(s > 0 && si.si_code == (s == SIGTERM ? SI_USER : tkill_code),
		      "pending %d: code %d", s, si.si_code);
	}
	check(got == 11, "SIGTERM and SIGHUP are not pending once each");
	check(sigtimedwait(&set, &si, &none) < 0 && errno == EAGAIN, "a signal too many");
	return subject_done();
}
