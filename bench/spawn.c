/*
 * Runs a command and measures it, with as little around it as can be.
 *
 *     spawn wall COMMAND...     from exec to exit
 *     spawn output COMMAND...   from exec to the first byte on stdout
 *
 * prints "nanoseconds status": the time, then the exit status (`wall` only;
 * `output` says 0), and a second line, "KiB", when the command and all that it left
 * behind have ended: the largest memory (VmHWM) of any process of it; with `output`
 * without the command itself, which becomes the program.
 *
 * A godwit-keeper, which stays as long as its program, is not waited for.
 * It is a subreaper: a guardian in a session of its own is waited for, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The start is taken in the child, right before the exec. */
static pid_t start(char **argv, int out, uint64_t *ret_start)
{
	int p[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t pid;

	if (null < 0 || pipe2(p, O_CLOEXEC))
		return -1;
	pid = fork();
	if (pid == 0) {
		uint64_t t;

		dup2(null, 0);
		dup2(out >= 0 ? out : null, 1);
		t = now_ns();
		if (write(p[1], &t, sizeof(t)) == sizeof(t))
			execv(argv[0], argv);
		fprintf(stderr, "spawn: %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(p[1]);
	if (read(p[0], ret_start, sizeof(*ret_start)) != sizeof(*ret_start))
		pid = -1;
	close(p[0]);
	close(null);
	return pid;
}

/* A keeper stays as long as the program does: nobody waits for it. */
static bool only_keepers(void)
{
	char path[64], comm[32];
	FILE *f, *c;
	int pid;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	if (!(f = fopen(path, "re")))
		return false;
	while (fscanf(f, "%d", &pid) == 1) {
		bool is_keeper;

		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		c = fopen(path, "re");
		is_keeper = c && fgets(comm, sizeof(comm), c) && !strcmp(comm, "godwit-keeper\n");
		if (c)
			fclose(c);
		if (!is_keeper) {
			fclose(f);
			return false;
		}
	}
	fclose(f);
	return true;
}

static long rest(long kib, pid_t not_this)
{
	struct timespec step = {.tv_nsec = 200 * 1000};
	struct rusage u;
	pid_t pid;

	while ((pid = wait4(-1, NULL, __WALL | WNOHANG, &u)) >= 0 || errno == EINTR) {
		if (pid > 0 && pid != not_this && u.ru_maxrss > kib)
			kib = u.ru_maxrss;
		if (pid)
			continue;
		if (only_keepers())
			break;
		nanosleep(&step, NULL);
	}
	return kib;
}

static int wall(char **argv)
{
	struct rusage u = {0};
	uint64_t begin = 0, end;
	pid_t pid = start(argv, -1, &begin);
	int status = 0;

	if (pid < 0 || wait4(pid, &status, __WALL, &u) != pid)
		return 1;
	end = now_ns();
	printf("%llu %d\n", (unsigned long long)(end - begin),
	       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	fflush(stdout);
	printf("%ld\n", rest(u.ru_maxrss, -1));
	return 0;
}

static int output(char **argv)
{
	uint64_t begin = 0;
	int p[2];
	pid_t pid;
	char c;

	if (pipe2(p, O_CLOEXEC))
		return 1;
	pid = start(argv, p[1], &begin);
	close(p[1]);
	if (pid < 0)
		return 1;
	if (read(p[0], &c, 1) != 1) {
		fprintf(stderr, "spawn: no output\n");
		return 1;
	}
	printf("%llu 0\n", (unsigned long long)(now_ns() - begin));
	fflush(stdout);
	while (read(p[0], &c, 1) > 0) /* until it ends: never let it block */
		;
	printf("%ld\n", rest(0, pid));
	return 0;
}

int main(int argc, char **argv)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (argc > 2 && !strcmp(argv[1], "wall"))
		return wall(argv + 2);
	if (argc > 2 && !strcmp(argv[1], "output"))
		return output(argv + 2);
	fprintf(stderr, "usage: spawn wall|output COMMAND...\n");
	return 2;
}
