/*
 * The first process of the virtual machine of qemu.t: loads the network driver,
 * sets the address, runs the commands of /commands one after the other, each
 * line's output between marks on the console, and switches the machine off.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static void load(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		perror(name);
	close(fd);
}

static void up(const char *name, const char *ip)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = {0};
	struct sockaddr_in *a = (struct sockaddr_in *)&r.ifr_addr;

	strcpy(r.ifr_name, name);
	a->sin_family = AF_INET;
	inet_pton(AF_INET, ip, &a->sin_addr);
	if (ioctl(s, SIOCSIFADDR, &r))
		perror(name);
	inet_pton(AF_INET, strncmp(ip, "127.", 4) == 0 ? "255.0.0.0" : "255.255.255.0",
		  &a->sin_addr);
	ioctl(s, SIOCSIFNETMASK, &r);
	ioctl(s, SIOCGIFFLAGS, &r);
	r.ifr_flags |= IFF_UP;
	if (ioctl(s, SIOCSIFFLAGS, &r))
		perror(name);
	close(s);
}

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
	static const char *modules[] = {
		"virtio_ring", "virtio",   "virtio_pci_legacy_dev", "virtio_pci_modern_dev",
		"virtio_pci",  "failover", "net_failover",          "virtio_net"};
	char line[256], path[64];
	struct utsname u;
	size_t i;
	FILE *f;

	mount("proc", "/proc", "proc", 0, NULL);
	mount("sys", "/sys", "sysfs", 0, NULL);
	for (i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
		snprintf(path, sizeof(path), "/modules/%s.ko", modules[i]);
		load(path);
	}
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
