/*
 * File locks: flock, fcntl, and those of an open file description; kept, or refused.
 * test: doors=attach refuse=ok
 */
#include <sys/file.h>
#include <sys/wait.h>

#include "subject.h"

/* Another process tries; true where it cannot. */
static bool is_locked(const char *name, bool by_flock, int start, int len, int type)
{
	int status = 0;
	pid_t pid = must(fork());

	if (!pid) {
		int fd = open(name, O_RDWR);
		struct flock l = {
			.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
		int r = by_flock
				? flock(fd, type == F_WRLCK ? LOCK_EX | LOCK_NB : LOCK_SH | LOCK_NB)
				: fcntl(fd, F_SETLK, &l);

		_exit(r < 0 ? 1 : 0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WEXITSTATUS(status) == 1;
}

int main(int argc, char **argv)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 20};

	subject_init(argc, argv);
	int a = must(open("locked-flock", O_CREAT | O_RDWR, 0644));
	int b = must(open("locked-fcntl", O_CREAT | O_RDWR, 0644));
	int c = must(open("locked-ofd", O_CREAT | O_RDWR, 0644));
	must(flock(a, LOCK_EX));
	must(fcntl(b, F_SETLK, &l));
	l.l_type = F_RDLCK;
	must(fcntl(c, F_OFD_SETLK, &l));
	subject_wait();

	check(is_locked("locked-flock", true, 0, 0, F_WRLCK), "flock is lost");
	check(is_locked("locked-fcntl", false, 15, 1, F_RDLCK), "the fcntl lock is lost");
	check(!is_locked("locked-fcntl", false, 30, 5, F_WRLCK), "the fcntl lock has grown");
	check(is_locked("locked-ofd", false, 29, 1, F_WRLCK), "the OFD lock is lost");
	check(!is_locked("locked-ofd", false, 15, 1, F_RDLCK), "the OFD lock became exclusive");
	return subject_done();
}
