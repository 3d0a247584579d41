/*
 * The first process of the second host (tests/migrate/guest.sh), a machine in qemu:
 * loads the network driver, sets the address, and runs what comes on the console, a
 * line each, words apart by one blank:
 *
 *     7 /godwit show /image        output, then >>7 STATUS
 *     8 & /godwit serve ...        in the background, output to /log
 *     9 cat FILE, 10 kill SIGNAL PID, 11 pids NAME, 12 off
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "../../guest.h"

static int cat(const char *path)
{
	char b[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	while ((n = read(fd, b, sizeof(b))) > 0)
		fwrite(b, 1, (size_t)n, stdout);
	close(fd);
	return fd < 0;
}

/* Ids of the processes whose name begins so. */
static int pids(const char *name)
{
	for (int pid = 2; pid < 400; pid++) {
		char path[64], have[64] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		if (!(f = fopen(path, "re")))
			continue;
		if (fgets(have, sizeof(have), f) && !strncmp(have, name, strlen(name)))
			printf("pid %d\n", pid);
		fclose(f);
	}
	return 0;
}

static int run(char **argv, int background)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int fd = open("/dev/null", O_RDWR);

		setsid();
		dup2(fd, 0);
		if (background)
			fd = open("/log", O_WRONLY | O_CREAT | O_APPEND, 0644);
		dup2(background ? fd : 1, 2);
		if (background)
			dup2(fd, 1);
		for (int i = 3; i < 64; i++)
			close(i);
		if (!background)
			alarm(100);
		execv(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	if (background)
		return 0;
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int command(char *line)
{
	char *argv[32], *save = NULL;
	int n = 0;

	for (argv[n] = strtok_r(line, " ", &save); argv[n] && n < 30;)
		argv[++n] = strtok_r(NULL, " ", &save);
	argv[n] = NULL;
	if (n == 2 && !strcmp(argv[0], "cat"))
		return cat(argv[1]);
	if (n == 2 && !strcmp(argv[0], "pids"))
		return pids(argv[1]);
	if (n == 3 && !strcmp(argv[0], "kill"))
		return kill(atoi(argv[2]), atoi(argv[1])) != 0;
	if (n == 1 && !strcmp(argv[0], "off"))
		reboot(RB_POWER_OFF);
	if (n > 1 && !strcmp(argv[0], "&"))
		return run(argv + 1, 1);
	return n ? run(argv, 0) : 0;
}

int main(void)
{
	char line[1024];
	struct utsname u;
	struct termios t;

	mount("proc", "/proc", "proc", 0, NULL);
	mount("sys", "/sys", "sysfs", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	tcgetattr(0, &t);
	t.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	tcsetattr(0, TCSANOW, &t);
	load_network();
	sethostname("guest", 5);
	up("lo", "127.0.0.1");
	up("eth0", "10.0.2.15");
	setenv("HOME", "/root", 1);
	uname(&u);
	printf("kernel %s\n>>0 0\n", u.release);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		char *rest;
		long number = strtol(line, &rest, 10);
		int status;

		line[strcspn(line, "\r\n")] = '\0';
		if (!*line)
			continue;
		printf("\n<<%ld\n", number);
		status = command(rest + (*rest == ' '));
		printf("\n>>%ld %d\n", number, status);
		fflush(stdout);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
	reboot(RB_POWER_OFF);
	return 0;
}
