/* signalfd: its mask, its flags, and a signal that waits in it. */
#include <signal.h>
#include <sys/signalfd.h>

#include "subject.h"

int main(int argc, char **argv)
{
	struct signalfd_siginfo si;
	sigset_t set;

	subject_init(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, 42);
	sigaddset(&set, 64);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = must(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
	must(sigqueue(getpid(), 42, (union sigval){.sival_int = 5}));
	subject_wait();

	check(read(fd, &si, sizeof(si)) == sizeof(si) && si.ssi_signo == 42 && si.ssi_int == 5,
	      "the waiting signal is lost");
	check(read(fd, &si, sizeof(si)) < 0 && errno == EAGAIN, "a signal too many");
	must(kill(getpid(), SIGHUP));
	check(read(fd, &si, sizeof(si)) == sizeof(si) && si.ssi_signo == SIGHUP, "SIGHUP is lost");
	must(kill(getpid(), 64));
	check(read(fd, &si, sizeof(si)) == sizeof(si) && si.ssi_signo == 64, "signal 64 is lost");
	check(fcntl(fd, F_GETFD) & FD_CLOEXEC, "close-on-exec is lost");
	check(fcntl(fd, F_GETFL) & O_NONBLOCK, "O_NONBLOCK is lost");
	return subject_done();
}
