/*
 * What the first processes of the virtual machines of tests/migrate/guest.sh and
 * tests/hop/qemu.t have in common: the network.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void load(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		perror(name);
	close(fd);
}

/* The network driver, in the order in which its modules need each other. */
static void load_network(void)
{
	static const char *modules[] = {
		"virtio_ring", "virtio",   "virtio_pci_legacy_dev", "virtio_pci_modern_dev",
		"virtio_pci",  "failover", "net_failover",          "virtio_net"};
	char path[64];

	for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
		snprintf(path, sizeof(path), "/modules/%s.ko", modules[i]);
		load(path);
	}
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
