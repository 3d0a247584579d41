/*
 * Writes what it hears to a file, a line each: the value of a real-time signal, or the
 * number of another one.  Ends when the file NAME.stop is there.
 *
 *   hears FILE [blocked]     blocked: takes them by sigwaitinfo(2) instead of handlers
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int fd;

static void hear(int sig, siginfo_t *si, void *context)
{
	char text[16];
	int n = sig >= SIGRTMIN ? si->si_value.sival_int : sig, at = sizeof(text);

	(void)context;
	text[--at] = '\n';
	do
		text[--at] = (char)('0' + n % 10);
	while (n /= 10);
	if (write(fd, text + at, sizeof(text) - (size_t)at) < 0)
		_exit(3);
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_sigaction = hear, .sa_flags = SA_SIGINFO | SA_RESTART};
	struct timespec t = {.tv_nsec = 2 * 1000 * 1000};
	char path[4096];
	sigset_t set;

	fd = argc > 1 ? open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
	if (fd < 0)
		return 2;
	snprintf(path, sizeof(path), "%s.stop", argv[1]);
	sigfillset(&sa.sa_mask);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN + 1);
	if (argc > 2)
		sigprocmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGRTMIN + 1, &sa, NULL);
	printf("ready\n");
	fflush(stdout);
	while (access(path, F_OK)) {
		siginfo_t si;

		if (argc < 3)
			nanosleep(&t, NULL);
		else if (sigtimedwait(&set, &si, &t) > 0)
			hear(si.si_signo, &si, NULL);
	}
	printf("ok\n");
	return 0;
}
