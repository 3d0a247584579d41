/*
 * The first process of the virtual machine of qemu.t: loads the network driver,
 * sets the address, runs the commands of /commands one after the other, each
 * line's output between marks on the console, and switches the machine off.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../guest.h"

static void run(char *line)
{
	char *argv[16], *save = NULL;
	int n = 0, status = 0;
	pid_t pid;

	printf("<<%s\n", line);
	fflush(stdout);
	for (argv[n] = strtok_r(line, " ", &save); argv[n] && n < 14;)
		argv[++n] = strtok_r(NULL, " ", &save);
	argv[n] = NULL;
	pid = fork();
	if (pid == 0) {
		dup2(1, 2);
		alarm(60);
		execv(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	printf(">>%d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	fflush(stdout);
}

int main(void)
{
	char line[256];
	struct utsname u;
	FILE *f;

	mount("proc", "/proc", "proc", 0, NULL);
	mount("sys", "/sys", "sysfs", 0, NULL);
	load_network();
	sethostname("guest", 5);
	up("lo", "127.0.0.1");
	f = fopen("/address", "re");
	if (f && fgets(line, sizeof(line), f))
		up("eth0", strtok(line, "\n"));
	setenv("HOME", "/root", 1);
	setenv("PSU_CONNECT_TIMEOUT", "40", 1);
	setenv("PSU_TIMEOUT", "30", 1);
	uname(&u);
	printf("kernel %s\n", u.release);
	f = fopen("/commands", "re");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "PSU_", 4) || !strncmp(line, "HOP_", 4)) {
			char *eq = strchr(line, '=');

			*eq = '\0';
			setenv(line, eq + 1, 1);
			continue;
		}
		run(line);
	}
	printf("<<end\n");
	fflush(stdout);
	reboot(RB_POWER_OFF);
	return 0;
}
