/* Descriptors that cannot be saved, beside those of refuse.c; see refusing.h. */
#include <linux/bpf.h>
#include <linux/if_alg.h>
#include <linux/netlink.h>
#include <arpa/inet.h>
#include <sys/fanotify.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>

#include "refusing.h"

static int made(const char *name)
{
	return must(open(name, O_CREAT | O_RDWR, 0600));
}

static int nameless(void)
{
	int fd = made("nameless");

	must(unlink("nameless"));
	must(write(fd, "x", 1));
	return fd;
}

static int o_path(void)
{
	close(must(open("gone", O_CREAT | O_RDWR, 0600)));
	int fd = must(open("gone", O_PATH));
	must(unlink("gone"));
	return fd;
}
static int device(void)
{
	return open("/dev/ptmx", O_RDONLY | O_NOCTTY);
}

static int master(int *ret_slave)
{
	int fd = must(open("/dev/ptmx", O_RDWR | O_NOCTTY)), off = 0;

	must(ioctl(fd, TIOCSPTLCK, &off));
	if (ret_slave)
		*ret_slave = must(ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY));
	return fd;
}

static int pty_unopened(void)
{
	return master(NULL);
}

/* Another process has an end, or its session has the slave as its controlling terminal. */
static int pty_shared(bool controls)
{
	pid_t parent = getpid();
	int slave, fd = master(&slave), ready[2];
	char c;

	must(pipe(ready));
	if (!must(fork())) {
		if (!must(fork())) {
			if (controls) {
				must(setsid());
				must(ioctl(slave, TIOCSCTTY, 0));
				close(slave);
			}
			c = write(ready[1], "x", 1);
			close(0), close(1), close(2), close(fd), close(ready[0]), close(ready[1]);
			while (kill(parent, 0) == 0)
				nap(5);
		}
		_exit(0);
	}
	wait(NULL);
	must(read(ready[0], &c, 1));
	close(ready[0]), close(ready[1]);
	return fd;
}

static int pty_controls(void)
{
	return pty_shared(true);
}

static int pty_foreign(void)
{
	return pty_shared(false);
}

static int pty_stopped(void)
{
	int slave, fd = master(&slave);

	return tcflow(slave, TCOOFF) ? -1 : fd;
}

static int pty_status(void)
{
	int slave, fd = master(&slave), on = 1;

	must(ioctl(fd, TIOCPKT, &on));
	return tcflush(slave, TCIFLUSH) ? -1 : fd;
}

static int pty_full(void)
{
	static char lines[4097];
	int slave, fd = master(&slave), n = 0;

	memset(lines, 'x', sizeof(lines) - 1);
	for (int i = 9; i < 4096; i += 10)
		lines[i] = '\n';
	must(write(fd, lines, 4090));
	while (n < 4090) {
		must(ioctl(slave, FIONREAD, &n));
		nap(1);
	}
	return fd;
}

static int inotify_unread(void)
{
	int fd = must(inotify_init1(0));

	must(inotify_add_watch(fd, ".", IN_CREATE));
	close(must(open("event", O_CREAT | O_RDWR, 0600)));
	return fd;
}

/* No name of it is among those that the program has anything to do with. */
static int inotify_hidden(void)
{
	int fd = must(inotify_init1(0));

	must(inotify_add_watch(fd, "/var/log", IN_CREATE));
	return fd;
}

static int fanotify(void)
{
	return fanotify_init(FAN_CLASS_NOTIF, O_RDONLY);
}

static int pidfd(void)
{
	return syscall(SYS_pidfd_open, getpid(), 0);
}

static int netlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
}

static int packet(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0);
}

static int multicast(void)
{
	struct ip_mreqn group = {.imr_multiaddr.s_addr = htonl(0xe8010203)};
	int fd = must(socket(AF_INET, SOCK_DGRAM, 0));

	group.imr_ifindex = 1; /* the loopback */
	must(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)));
	return fd;
}

static int unix_connected(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "socket"};
	int c = must(socket(AF_UNIX, SOCK_STREAM, 0)), l = must(socket(AF_UNIX, SOCK_STREAM, 0));

	unlink("socket");
	must(bind(l, (void *)&a, sizeof(a)));
	must(listen(l, 5));
	must(connect(c, (void *)&a, sizeof(a)));
	return c;
}

static int secret(void)
{
	return syscall(SYS_memfd_secret, 0);
}

static int bpf(void)
{
	union bpf_attr a = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};

	return syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof(a));
}

static int namespace(void)
{
	return open("/proc/self/ns/uts", O_RDONLY);
}

static int anonymous(void)
{
	return syscall(SYS_fsopen, "tmpfs", 0);
}

/* A directory of a file system of the kernel's, mounted nowhere. */
static int kernel_filesystem(void)
{
	int fs = syscall(SYS_fsopen, "tracefs", 0), mount, fd;

	if (fs < 0)
		fs = syscall(SYS_fsopen, "debugfs", 0);
	if (fs < 0)
		return -1;
	must(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	mount = must(syscall(SYS_fsmount, fs, 0, 0));
	fd = must(openat(mount, ".", O_RDONLY | O_DIRECTORY));
	close(mount);
	close(fs);
	return fd;
}

static int block_device(void)
{
	int fd;

	if (mknod("block", S_IFBLK | 0600, makedev(7, 0)))
		return -1;
	fd = open("block", O_RDONLY);
	unlink("block");
	return fd;
}

static int other_device(void)
{
	return open("/dev/kmsg", O_RDONLY);
}

static int datagrams(void)
{
	return socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE);
}

static int stream(void)
{
	return socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
}

static int raw(void)
{
	return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}

static int other_socket(void)
{
	int fd = socket(AF_ALG, SOCK_SEQPACKET, 0);

	return fd < 0 ? socket(AF_VSOCK, SOCK_STREAM, 0) : fd;
}

static int content_closed(void)
{
	int fd = nameless();

	must(fchmod(fd, 0));
	return fd;
}

static int content_lock(void)
{
	int fd = nameless();

	must(flock(fd, LOCK_EX));
	return fd;
}

static int content_huge(void)
{
	return memfd_create("huge", MFD_HUGETLB);
}

static int file_replaced(void)
{
	int fd = made("replaced"), other = made("other");

	must(link("replaced", "kept"));
	must(rename("other", "replaced"));
	close(other);
	return fd;
}

/* A thread of another process would be told. */
static int foreign_owner(void)
{
	struct f_owner_ex o = {F_OWNER_PID, getppid()};
	int s[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	must(fcntl(s[0], F_SETOWN_EX, &o));
	return s[0];
}

static int dnotify(void)
{
	int fd = must(open(".", O_RDONLY | O_DIRECTORY));

	signal(SIGIO, SIG_IGN);
	return fcntl(fd, F_NOTIFY, DN_CREATE | DN_MULTISHOT) ? -1 : fd;
}

static int lease_broken(void)
{
	pid_t parent = getpid();
	int fd = must(open("leased", O_CREAT | O_RDWR, 0600));

	signal(SIGIO, SIG_IGN);
	must(fcntl(fd, F_SETLEASE, F_WRLCK));
	if (!must(fork())) {
		if (!must(fork())) {
			close(fd), close(0), close(1), close(2);
			(void)!open("leased", O_RDONLY);
			while (kill(parent, 0) == 0)
				nap(5);
		}
		_exit(0);
	}
	wait(NULL);
	while (fcntl(fd, F_GETLEASE) == F_WRLCK) /* then it is what it is to become */
		nap(1);
	return fd;
}

static int lease_unlinked(void)
{
	int fd = must(open("leased", O_CREAT | O_RDWR, 0600));

	must(fcntl(fd, F_SETLEASE, F_WRLCK));
	must(unlink("leased"));
	return fd;
}

static int lease_mapped(void)
{
	int fd = must(open("leased", O_CREAT | O_RDWR, 0600));

	must(ftruncate(fd, 4096));
	must(fcntl(fd, F_SETLEASE, F_WRLCK));
	must((intptr_t)mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0));
	return fd;
}

static int directory_lock(void)
{
	int fd = must(open(".", O_RDONLY | O_DIRECTORY));

	must(flock(fd, LOCK_SH));
	return fd;
}

static int device_gone(void)
{
	int fd;

	if (mknod("null", S_IFCHR | 0600, makedev(1, 3)))
		return -1;
	fd = open("null", O_RDWR);
	unlink("null");
	return fd;
}

/* The directory of a process that has ended. */
static int proc_gone(void)
{
	char path[64];
	int p[2], fd;
	pid_t pid;
	char c;

	must(pipe(p));
	pid = must(fork());
	if (!pid) {
		close(p[1]);
		_exit(read(p[0], &c, 1) != 0);
	}
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = must(open(path, O_RDONLY));
	close(p[0]);
	close(p[1]);
	must(waitpid(pid, NULL, 0));
	return fd;
}

static int proc_other(void)
{
	return open("/proc/1/stat", O_RDONLY);
}

static int epoll_stale(void)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int ep = must(epoll_create1(0)), p[2];

	must(pipe(p));
	must(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev));
	must(dup(p[0]));
	close(p[0]);
	return ep;
}

/* The kernel gives numbers out in a circle (fs/notify/inotify/inotify_user.c). */
static int inotify_numbers(void)
{
	int fd = must(inotify_init1(IN_NONBLOCK)), wd = 0;
	struct inotify_event ignored;

	while (wd <= 10000) {
		wd = must(inotify_add_watch(fd, ".", IN_ATTRIB));
		if (wd <= 10000) {
			must(inotify_rm_watch(fd, wd));
			must(read(fd, &ignored, sizeof(ignored)));
		}
	}
	return fd;
}

static int fifo_packets(void)
{
	int fd;

	must(mkfifo("packets", 0600));
	fd = must(open("packets", O_RDWR));
	if (fcntl(fd, F_SETFL, O_DIRECT))
		return -1;
	must(write(fd, "packet", 6));
	return fd;
}

static int fifo_gone(void)
{
	int fd;

	must(mkfifo("fifo", 0600));
	fd = must(open("fifo", O_RDWR));
	must(unlink("fifo"));
	return fd;
}

static int large_message(void)
{
	static char message[200 << 10];
	int s[2], size = 1 << 20;

	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
	setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return write(s[0], message, sizeof(message)) < 0 ? -1 : s[1];
}

static int unix_lone(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

/* Of a socket that had a name, and is closed. */
static int unix_unread(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "unread"}, sender = a;
	int fd = must(socket(AF_UNIX, SOCK_DGRAM, 0)), from = must(socket(AF_UNIX, SOCK_DGRAM, 0));

	strcpy(sender.sun_path, "somebody");
	must(bind(fd, (void *)&a, sizeof(a)));
	must(bind(from, (void *)&sender, sizeof(sender)));
	must(sendto(from, "x", 1, 0, (void *)&a, sizeof(a)));
	close(from);
	return fd;
}

/* A connection outlives who asked for it. */
static int unix_waiting(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "waiting"};
	int fd = must(socket(AF_UNIX, SOCK_STREAM, 0));

	must(bind(fd, (void *)&a, sizeof(a)));
	must(listen(fd, 5));
	if (!must(fork()))
		_exit(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a, sizeof(a)) != 0);
	wait(NULL);
	return fd;
}

int main(int argc, char **argv)
{
	static const struct refused_kind kinds[] = {
		{"unix_connected", unix_connected},
		{"multicast", multicast},
		{"packet", packet},
		{"netlink", netlink},
		{"pidfd", pidfd},
		{"fanotify", fanotify},
		{"o_path", o_path},
		{"device", device},
		{"pty_unopened", pty_unopened},
		{"pty_controls", pty_controls},
		{"pty_foreign", pty_foreign},
		{"pty_stopped", pty_stopped},
		{"pty_status", pty_status},
		{"pty_full", pty_full},
		{"inotify_unread", inotify_unread},
		{"inotify_hidden", inotify_hidden},
		{"secret", secret},
		{"bpf", bpf},
		{"namespace", namespace},
		{"anonymous", anonymous},
		{"kernel_filesystem", kernel_filesystem},
		{"block_device", block_device},
		{"other_device", other_device},
		{"datagrams", datagrams},
		{"stream", stream},
		{"raw", raw},
		{"other_socket", other_socket},
		{"content_closed", content_closed},
		{"content_lock", content_lock},
		{"content_huge", content_huge},
		{"file_replaced", file_replaced},
		{"foreign_owner", foreign_owner},
		{"dnotify", dnotify},
		{"lease_broken", lease_broken},
		{"lease_mapped", lease_mapped},
		{"lease_unlinked", lease_unlinked},
		{"directory_lock", directory_lock},
		{"device_gone", device_gone},
		{"proc_gone", proc_gone},
		{"proc_other", proc_other},
		{"epoll_stale", epoll_stale},
		{"inotify_numbers", inotify_numbers},
		{"fifo_packets", fifo_packets},
		{"fifo_gone", fifo_gone},
		{"large_message", large_message},
		{"unix_lone", unix_lone},
		{"unix_unread", unix_unread},
		{"unix_waiting", unix_waiting},
	};

	return refusing(argc, argv, kinds, sizeof(kinds) / sizeof(kinds[0]), NULL);
}
