/*
 * The least that a checkpoint by ptrace costs on this machine: stops every
 * thread of a process, and lets them go at once.
 *
 *     stop PID
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS_MAX 4096

static size_t list(const char *pid, pid_t *tids)
{
	char path[64];
	struct dirent *d;
	size_t n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%s/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir)))
		if (d->d_name[0] != '.' && n < THREADS_MAX)
			tids[n++] = (pid_t)atoi(d->d_name);
	if (dir)
		closedir(dir);
	return n;
}

int main(int argc, char **argv)
{
	static pid_t tids[THREADS_MAX];
	size_t n = argc == 2 ? list(argv[1], tids) : 0;
	int status;

	if (!n) {
		fprintf(stderr, "usage: %s PID\n", argv[0]);
		return 2;
	}
	for (size_t i = 0; i < n; i++)
		if (ptrace(PTRACE_SEIZE, tids[i], 0, 0) ||
		    ptrace(PTRACE_INTERRUPT, tids[i], 0, 0)) {
			fprintf(stderr, "stop: thread %d: %s\n", tids[i], strerror(errno));
			return 1;
		}
	for (size_t i = 0; i < n; i++)
		waitpid(tids[i], &status, __WALL);
	for (size_t i = 0; i < n; i++)
		ptrace(PTRACE_DETACH, tids[i], 0, 0);
	return 0;
}
