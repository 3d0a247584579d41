/*
 * Sends 1, 2, 3, ... as values of a real-time signal to the process whose id is in the
 * file TO, without a pause, until the file NAME.stop is there; then says how many.  Where
 * the process is no more it waits for another id in the file.
 *
 *   sends TO
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static pid_t read_id(const char *path)
{
	FILE *f = fopen(path, "r");
	int pid = 0;

	if (f && fscanf(f, "%d", &pid) != 1)
		pid = 0;
	if (f)
		fclose(f);
	return pid;
}

int main(int argc, char **argv)
{
	struct timespec pause = {.tv_nsec = 50 * 1000};
	char path[4096];
	int n = 0;

	if (argc < 2)
		return 2;
	snprintf(path, sizeof(path), "%s.stop", argv[1]);
	while (access(path, F_OK)) {
		union sigval v = {.sival_int = n + 1};
		pid_t to = read_id(argv[1]);

		if (to > 1 && !sigqueue(to, SIGRTMIN + 1, v))
			n++;
		else if (to > 1 && errno != EAGAIN && errno != ESRCH)
			return 1;
		nanosleep(&pause, NULL);
	}
	printf("sent %d\n", n);
	return 0;
}
