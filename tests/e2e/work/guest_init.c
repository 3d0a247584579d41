/*
 * The first process of a machine in qemu (tests/e2e/old_kernel.t): starts the subject,
 * runs the commands of /commands on it, one a line, words apart by one blank, PID
 * for its id, and prints on the console what they say and how they end.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t subject;

static pid_t start(char *line, const char *out)
{
	static char id[16];
	char *argv[16];
	int n = 0;
	pid_t pid;

	snprintf(id, sizeof(id), "%d", subject);
	for (char *w = strtok(line, " \n"); w && n < 15; w = strtok(NULL, " \n"))
		argv[n++] = strcmp(w, "PID") ? w : id;
	argv[n] = NULL;
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (out) {
			int fd = open(out, O_WRONLY | O_CREAT | O_APPEND, 0600);

			dup2(fd, 1);
			dup2(fd, 2);
			close(fd);
		}
		execv(argv[0], argv);
		_exit(127);
	}
	return pid;
}

static int has(const char *path, const char *text)
{
	char b[4096] = "";
	int fd = open(path, O_RDONLY);

	if (fd >= 0) {
		if (read(fd, b, sizeof(b) - 1) < 0)
			b[0] = '\0';
		close(fd);
	}
	return strstr(b, text) != NULL;
}

static void wait_for(const char *path, const char *text)
{
	for (int i = 0; i < 3000 && !has(path, text); i++)
		usleep(10000);
}

int main(void)
{
	char line[256], release[] = "/tmp/release";
	struct utsname u;
	FILE *f;
	int status = 0;

	mount("proc", "/proc", "proc", 0, "");
	setvbuf(stdout, NULL, _IOLBF, 0);
	uname(&u);
	printf("\nkernel %s\n", u.release);
	strcpy(line, "/subject /tmp 4 20 2");
	subject = start(line, "/tmp/out");
	wait_for("/tmp/out", "ready");
	f = fopen("/commands", "re");
	while (f && fgets(line, sizeof(line), f)) {
		printf("<<%s", line);
		waitpid(start(line, NULL), &status, 0);
		printf(">>%d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	}
	kill(subject, SIGKILL);
	waitpid(subject, NULL, 0);
	strcpy(line, "/godwit restart --new-ids /tmp/live");
	subject = start(line, "/tmp/restart");
	close(open(release, O_WRONLY | O_CREAT, 0600));
	waitpid(subject, &status, 0);
	printf("<<restarted\n%s\n>>%d\n", has("/tmp/out", "ok") ? "ok" : "not ok",
	       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	puts("the end");
	reboot(RB_AUTOBOOT);
	return 0;
}
