/*
 * Handlers with their flags and masks, blocked and ignored signals, and the
 * alternate stack of the main thread.
 * test: build=static
 */
#include <signal.h>

#include "subject.h"

static volatile int calls[65];
static volatile int value_seen, on_alt, masked, again;
static char alt[65536];

static void plain(int s)
{
	calls[s]++;
}

static void info(int s, siginfo_t *si, void *ctx)
{
	char here;
	sigset_t cur;

	(void)ctx;
	calls[s]++;
	value_seen = si->si_value.sival_int;
	on_alt = &here >= alt && &here < alt + sizeof(alt);
	sigprocmask(SIG_BLOCK, NULL, &cur);
	masked = sigismember(&cur, SIGHUP) && sigismember(&cur, 40) && sigismember(&cur, s);
}

static void nodefer(int s)
{
	calls[s]++;
	if (calls[s] == 1)
		raise(s); /* runs at once, inside this one */
	else
		again = calls[s];
}

int main(int argc, char **argv)
{
	static const int flags[] = {0, SA_RESTART, SA_RESETHAND, SA_NODEFER,
				    SA_ONSTACK | SA_RESTART};
	struct sigaction before[65], now, sa = {0};
	stack_t ss = {.ss_sp = alt, .ss_size = sizeof(alt)}, ss_now;
	sigset_t set, cur;

	subject_init(argc, argv);
	must(sigaltstack(&ss, NULL));
	for (int s = 35; s < 60; s++) {
		sa.sa_handler = plain;
		sa.sa_flags = flags[s % 5];
		sigemptyset(&sa.sa_mask);
		sigaddset(&sa.sa_mask, s + 1);
		must(sigaction(s, &sa, NULL));
	}
	sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
	sa.sa_sigaction = info;
	sigemptyset(&sa.sa_mask);
	sigaddset(&sa.sa_mask, SIGHUP);
	sigaddset(&sa.sa_mask, 40);
	must(sigaction(SIGUSR1, &sa, NULL));
	sa.sa_flags = SA_NODEFER;
	sa.sa_handler = nodefer;
	must(sigaction(SIGALRM, &sa, NULL));
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
	signal(SIGINT, SIG_DFL);
	sa.sa_handler = SIG_DFL;
	sa.sa_flags = SA_NOCLDWAIT | SA_NOCLDSTOP;
	must(sigaction(SIGCHLD, &sa, NULL));
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGXCPU);
	sigaddset(&set, SIGRTMAX);
	sigprocmask(SIG_SETMASK, &set, NULL);
	for (int s = 1; s < 65; s++)
		sigaction(s, NULL, &before[s]);
	subject_wait();

	for (int s = 1; s < 65; s++) {
		if (s == 32 || s == 33 || sigaction(s, NULL, &now))
			continue;
		check(now.sa_handler == before[s].sa_handler, "signal %d: handler differs", s);
		check(now.sa_flags == before[s].sa_flags, "signal %d: flags %x, were %x", s,
		      now.sa_flags, before[s].sa_flags);
		for (int k = 1; k < 65; k++)
			check(sigismember(&now.sa_mask, k) == sigismember(&before[s].sa_mask, k),
			      "signal %d: mask differs in %d", s, k);
	}
	sigprocmask(SIG_BLOCK, NULL, &cur);
	for (int s = 1; s < 65; s++)
		check(sigismember(&cur, s) == sigismember(&set, s), "blocked set differs in %d", s);
	must(sigaltstack(NULL, &ss_now));
	check(ss_now.ss_sp == alt && ss_now.ss_size == sizeof(alt), "alternate stack differs");
	sigset_t pending;
	sigpending(&pending);
	for (int s = 1; s < 65; s++)
		check(!sigismember(&pending, s), "signal %d is pending from nowhere", s);
	for (int s = 1; s < 65; s++)
		check(!calls[s], "a handler of signal %d ran: nobody sent it", s);
	sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 77});
	check(calls[SIGUSR1] == 1 && value_seen == 77, "SIGUSR1 with a value does not arrive");
	check(on_alt, "the handler does not run on the alternate stack");
	check(masked, "the handler runs with another mask");
	raise(SIGALRM);
	check(again == 2, "SA_NODEFER is lost");
	raise(37);
	signal(37, plain);
	check(calls[37] == 1, "a one-shot handler does not run");
	raise(SIGPIPE);
	return subject_done();
}
