/*
 * Pending signals for which the program has handlers, of those kinds that a
 * checkpointer may want to use for itself.
 * test: build=static
 */
#include <signal.h>

#include "subject.h"

static const int kinds[] = {SIGURG, SIGWINCH, SIGCHLD, 64, 63};
#define N (int)(sizeof(kinds) / sizeof(kinds[0]))
static volatile int calls[65];

static void handler(int s)
{
	calls[s]++;
}

int main(int argc, char **argv)
{
	sigset_t set, pending;

	subject_init(argc, argv);
	sigemptyset(&set);
	for (int i = 0; i < N; i++) {
		signal(kinds[i], handler);
		sigaddset(&set, kinds[i]);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < N; i++)
		must(i % 2 ? syscall(SYS_tgkill, getpid(), gettid(), kinds[i])
			   : kill(getpid(), kinds[i]));
	subject_wait();

	sigpending(&pending);
	for (int i = 0; i < N; i++) {
		check(sigismember(&pending, kinds[i]), "signal %d is not pending", kinds[i]);
		check(!calls[kinds[i]], "the handler of signal %d ran while it was blocked",
		      kinds[i]);
	}
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	for (int i = 0; i < N; i++)
		check(calls[kinds[i]] == 1, "signal %d came %d times", kinds[i], calls[kinds[i]]);
	return subject_done();
}
