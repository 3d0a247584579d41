/*
 * Leases, for reading and for writing, with a signal of their own and without; whoever opens
 * the file waits until they are given up.
 * test: doors=attach
 */
#include <signal.h>
#include <sys/wait.h>

#include "subject.h"

static volatile int broken, broken_fd;

static void note(int sig, siginfo_t *si, void *context)
{
	(void)sig;
	(void)context;
	broken_fd = si->si_fd;
	broken++;
}

/* Opens it in another process; true where that was not possible at once. */
static bool is_leased(const char *name, int mode)
{
	int status = 0;
	pid_t pid = must(fork());

	if (!pid) {
		int fd = open(name, mode | O_NONBLOCK);

		_exit(fd >= 0 ? 0 : errno == EWOULDBLOCK ? 1 : 2);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	check(WEXITSTATUS(status) < 2, "%s cannot be opened at all", name);
	return WEXITSTATUS(status) == 1;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};

	subject_init(argc, argv);
	sigaction(SIGIO, &sa, NULL);
	sigaction(SIGRTMIN + 4, &sa, NULL);
	close(must(open("read", O_CREAT | O_RDWR, 0644)));
	int r = must(open("read", O_RDONLY));
	int w = must(open("written", O_CREAT | O_RDWR, 0644));
	must(write(w, "some content", 12));
	must(fcntl(r, F_SETLEASE, F_RDLCK));
	must(fcntl(w, F_SETLEASE, F_WRLCK));
	must(fcntl(w, F_SETSIG, SIGRTMIN + 4));
	subject_wait();

	check(!broken, "a lease was broken meanwhile");
	check(fcntl(r, F_GETLEASE) == F_RDLCK, "the lease for reading is %d", fcntl(r, F_GETLEASE));
	check(fcntl(w, F_GETLEASE) == F_WRLCK, "the lease for writing is %d", fcntl(w, F_GETLEASE));
	check(!is_leased("read", O_RDONLY), "the lease for reading is one for writing");
	check(!broken, "who reads breaks it");
	check(is_leased("read", O_WRONLY), "who writes does not wait");
	for (int i = 0; i < 10000 && broken < 1; i++)
		nap(1);
	check(broken == 1, "the program is not told of the one who writes");
	must(fcntl(r, F_SETLEASE, F_UNLCK));
	check(!is_leased("read", O_WRONLY), "it is still held");
	check(is_leased("written", O_RDONLY), "who reads what is written to does not wait");
	for (int i = 0; i < 10000 && broken < 2; i++)
		nap(1);
	check(broken == 2 && broken_fd == w, "told %d times, of %d and not %d", broken, broken_fd,
	      w);
	must(fcntl(w, F_SETLEASE, F_UNLCK));
	check(lseek(w, 0, SEEK_CUR) == 12, "the offset is lost");
	return subject_done();
}
