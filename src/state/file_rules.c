/*
 * Which kind a descriptor is of, and what is refused with which remedy: the
 * first rule that matches decides.  The list in the man page is made from this
 * table (files_print_kinds).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "state/sockets.h"

#ifndef PID_FS_MAGIC
#define PID_FS_MAGIC 0x50494446
#endif
#ifndef CGROUP2_SUPER_MAGIC
#define CGROUP2_SUPER_MAGIC 0x63677270
#endif
#define MQUEUE_MAGIC 0x19800202 /* ipc/mqueue.c */
#define MAJOR_MEM 1
#define MAJOR_TTY 4
#define MAJOR_TTYAUX 5
#define PTMX makedev(5, 2)

struct file_rule {
	bool (*match)(const struct file_scan *s, const char *arg);
	const char *arg;
	uint32_t kind; /* 0: refused */
	const char *what, *remedy;
	const char *name; /* for the list; NULL: the kind's, or `what` */
};

static bool has_flag_path(const struct file_scan *s, const char *arg)
{
	(void)arg;
	return s->info->flags & O_PATH;
}

static bool link_begins(const struct file_scan *s, const char *arg)
{
	return !strncmp(s->link, arg, strlen(arg));
}

static bool is_kernel_file(const struct file_scan *s, const char *arg)
{
	static const uint64_t magics[] = {PROC_SUPER_MAGIC, SYSFS_MAGIC, CGROUP_SUPER_MAGIC,
					  CGROUP2_SUPER_MAGIC};

	(void)arg;
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
		if (s->fs_magic == magics[i])
			return true;
	return false;
}

static bool is_odd_kernel_file(const struct file_scan *s, const char *arg)
{
	static const uint64_t magics[] = {DEBUGFS_MAGIC, TRACEFS_MAGIC, SECURITYFS_MAGIC,
					  SELINUX_MAGIC, BPF_FS_MAGIC,  EFIVARFS_MAGIC};

	(void)arg;
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
		if (s->fs_magic == magics[i])
			return true;
	return false;
}

static bool is_message_queue(const struct file_scan *s, const char *arg)
{
	(void)arg;
	return s->fs_magic == MQUEUE_MAGIC;
}

static bool is_namespace(const struct file_scan *s, const char *arg)
{
	(void)arg;
	return s->fs_magic == NSFS_MAGIC;
}

static bool is_pidfd(const struct file_scan *s, const char *arg)
{
	(void)arg;
	return s->fs_magic == PID_FS_MAGIC || link_begins(s, "anon_inode:[pidfd]");
}

static bool is_unlinked(const struct file_scan *s, const char *arg)
{
	(void)arg;
	return S_ISREG(s->st.st_mode) && !s->st.st_nlink && s->link[0] == '/';
}

static bool is_type(const struct file_scan *s, const char *arg)
{
	mode_t m = s->st.st_mode & S_IFMT;

	switch (arg[0]) {
	case '-':
		return m == S_IFREG;
	case 'd':
		return m == S_IFDIR;
	case 'b':
		return m == S_IFBLK;
	case 'c':
		return m == S_IFCHR;
	case 'p':
		return m == S_IFIFO;
	default:
		return m == S_IFSOCK;
	}
}

static bool is_plain_device(const struct file_scan *s, const char *arg)
{
	unsigned n = minor(s->st.st_rdev);

	(void)arg;
	return S_ISCHR(s->st.st_mode) && major(s->st.st_rdev) == MAJOR_MEM &&
	       (n == 3 || n == 5 || n == 7 || n == 8 || n == 9);
}

static bool is_ptmx(const struct file_scan *s, const char *arg)
{
	(void)arg;
	return S_ISCHR(s->st.st_mode) && (s->st.st_rdev == PTMX || link_begins(s, "/dev/pts/ptmx"));
}

static bool is_master(const struct file_scan *s, const char *arg)
{
	return is_ptmx(s, arg) && (s->info->flags & O_ACCMODE) == O_RDWR;
}

static bool is_terminal(const struct file_scan *s, const char *arg)
{
	unsigned m = major(s->st.st_rdev);
	__cleanup_fd int dup = -1;
	struct termios t;

	(void)arg;
	if (!S_ISCHR(s->st.st_mode))
		return false;
	if (m == MAJOR_TTY || m == MAJOR_TTYAUX || (m >= 136 && m <= 143))
		return true;
	dup = file_try_getfd(s, s->fd);
	return dup >= 0 && !tcgetattr(dup, &t);
}

static bool is_unnamed_unix(const struct file_scan *s, const char *arg)
{
	(void)arg;
	return S_ISSOCK(s->st.st_mode) && s->sock_domain == AF_UNIX && !s->detail[0];
}

static bool is_tcp_listener(const struct file_scan *s, const char *arg)
{
	(void)arg;
	return S_ISSOCK(s->st.st_mode) &&
	       (s->sock_domain == AF_INET || s->sock_domain == AF_INET6) &&
	       s->sock_protocol == IPPROTO_TCP && !strcmp(s->detail, "listening TCP socket");
}

static bool is_standard_socket(const struct file_scan *s, const char *arg)
{
	(void)arg;
	return S_ISSOCK(s->st.st_mode) && s->fd < 3;
}

static bool is_tcp(const struct file_scan *s, const char *arg)
{
	(void)arg;
	return S_ISSOCK(s->st.st_mode) && s->sock_type == SOCK_STREAM &&
	       s->sock_protocol == IPPROTO_TCP;
}

static bool is_udp(const struct file_scan *s, const char *arg)
{
	(void)arg;
	return S_ISSOCK(s->st.st_mode) &&
	       (s->sock_domain == AF_INET || s->sock_domain == AF_INET6) &&
	       s->sock_type == SOCK_DGRAM && s->sock_protocol == IPPROTO_UDP;
}

/* For connections, or for datagrams of anybody. */
static bool is_waiting_unix(const struct file_scan *s, const char *arg)
{
	(void)arg;
	return S_ISSOCK(s->st.st_mode) && s->sock_domain == AF_UNIX &&
	       (!strncmp(s->detail, "listening", 9) ||
		(s->sock_type == SOCK_DGRAM && !strncmp(s->detail, "bound", 5)));
}

static bool is_inet(const struct file_scan *s, const char *arg)
{
	int type = arg[0] == 'u' ? SOCK_DGRAM : arg[0] == 'm' ? SOCK_STREAM : SOCK_RAW;

	return S_ISSOCK(s->st.st_mode) &&
	       (s->sock_domain == AF_INET || s->sock_domain == AF_INET6) && s->sock_type == type;
}

static bool is_domain(const struct file_scan *s, const char *arg)
{
	return S_ISSOCK(s->st.st_mode) && s->sock_domain == atoi(arg);
}

static bool always(const struct file_scan *s, const char *arg)
{
	(void)s;
	(void)arg;
	return true;
}

#define STRING(x) #x
#define DOMAIN(x) STRING(x)
#define CLOSE_IT "close it before the checkpoint"

static const struct file_rule rules[] = {
	{has_flag_path, "", FILE_PATH, NULL, NULL, NULL},
	{link_begins, "/secretmem", 0, "secret memory (memfd_secret)", CLOSE_IT, NULL},
	{is_unlinked, "", FILE_UNLINKED, NULL, NULL, NULL},
	{link_begins, "anon_inode:[eventfd", FILE_EVENTFD, NULL, NULL, NULL},
	{link_begins, "anon_inode:[eventpoll", FILE_EPOLL, NULL, NULL, NULL},
	{link_begins, "anon_inode:[timerfd", FILE_TIMERFD, NULL, NULL, NULL},
	{link_begins, "anon_inode:[signalfd", FILE_SIGNALFD, NULL, NULL, NULL},
	{link_begins, "anon_inode:inotify", FILE_INOTIFY, NULL, NULL, NULL},
	{link_begins, "anon_inode:[fanotify", 0, "a fanotify", CLOSE_IT, NULL},
	{link_begins, "anon_inode:[io_uring", 0, "an io_uring",
	 "run the program without io_uring (node: UV_USE_IO_URING=0), or with "
	 "kernel.io_uring_disabled=2",
	 NULL},
	{link_begins, "anon_inode:[userfaultfd", 0, "a userfaultfd", CLOSE_IT, NULL},
	{link_begins, "anon_inode:[perf_event", 0, "a performance counter",
	 "run the program without perf", NULL},
	{link_begins, "anon_inode:bpf", 0, "a BPF object", CLOSE_IT, NULL},
	{is_pidfd, "", 0, "a pidfd", CLOSE_IT, NULL},
	{is_namespace, "", 0, "a namespace", CLOSE_IT, NULL},
	{link_begins, "anon_inode:", 0, "no support for this kind of object", CLOSE_IT,
	 "other anonymous objects"},
	{is_kernel_file, "", FILE_KERNEL, NULL, NULL, NULL},
	{is_message_queue, "", 0, "a POSIX message queue (mqueue)", CLOSE_IT, NULL},
	{is_odd_kernel_file, "", 0, "a file of debugfs, tracefs, bpf and the like", CLOSE_IT, NULL},
	{is_type, "-", FILE_REGULAR, NULL, NULL, NULL},
	{is_type, "d", FILE_DIRECTORY, NULL, NULL, NULL},
	{is_type, "b", 0, "a block device", CLOSE_IT, NULL},
	{is_plain_device, "", FILE_DEVICE, NULL, NULL, NULL},
	{is_master, "", FILE_PTY, NULL, NULL, NULL},
	{is_ptmx, "", 0, "the master of a pseudo-terminal, open one way only",
	 "let the program open it for reading and writing", NULL},
	{is_terminal, "", FILE_INHERITED, NULL, NULL, NULL},
	{is_type, "c", 0, "no support for this device", CLOSE_IT, "other devices"},
	{link_begins, "pipe:[", FILE_PIPE, NULL, NULL, NULL},
	{is_type, "p", FILE_FIFO, NULL, NULL, NULL},
	{is_unnamed_unix, "", FILE_UNIX_PAIR, NULL, NULL, NULL},
	{is_tcp_listener, "", FILE_TCP_LISTEN, NULL, NULL, NULL},
	{is_standard_socket, "", FILE_INHERITED, NULL, NULL, NULL},
	{is_tcp, "", 0, "TCP socket",
	 "let the program close the connection, or end the other side, before the checkpoint",
	 "TCP connections"},
	{is_udp, "", FILE_UDP, NULL, NULL, NULL},
	{is_inet, "u", 0, "a datagram socket that is not UDP", CLOSE_IT, NULL},
	{is_inet, "m", 0, "a stream socket that is not plain TCP", CLOSE_IT, NULL},
	{is_inet, "r", 0, "a raw socket", CLOSE_IT, NULL},
	{is_waiting_unix, "", FILE_UNIX_NAMED, NULL, NULL, NULL},
	{is_domain, DOMAIN(AF_UNIX), 0, "Unix socket",
	 "let the program close the connection, or end the other side, before the checkpoint",
	 "connections of Unix sockets with a name"},
	{is_domain, DOMAIN(AF_NETLINK), 0, "a netlink socket", CLOSE_IT, NULL},
	{is_domain, DOMAIN(AF_PACKET), 0, "a packet socket", CLOSE_IT, NULL},
	{is_type, "s", 0, "no support for this kind of socket", CLOSE_IT, "other sockets"},
	{always, "", 0, "no support for this kind of object", CLOSE_IT, "anything else"},
};

int file_rules_match(struct file_scan *s, uint32_t *ret_kind, struct err *err)
{
	if (S_ISSOCK(s->st.st_mode) && !(s->info->flags & O_PATH)) {
		__cleanup_fd int dup = file_getfd(s, s->fd, err);
		int e = dup < 0 ? dup : sockets_look(s, dup, err);

		if (e)
			return e;
	}
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		if (!rules[i].match(s, rules[i].arg))
			continue;
		if (!rules[i].kind)
			return file_refuse(s, err, rules[i].remedy, "%s",
					   s->detail[0] ? s->detail : rules[i].what);
		*ret_kind = rules[i].kind;
		return 0;
	}
	return file_refuse(s, err, CLOSE_IT, "unknown");
}

void files_print_kinds(FILE *out)
{
	for (uint32_t k = 1; k < FILE_KIND_END; k++)
		fprintf(out, "saved\t%s\t%s\n", file_ops_of(k)->name, file_ops_of(k)->kept);
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if (!rules[i].kind)
			fprintf(out, "refused\t%s\t%s\n",
				rules[i].name ? rules[i].name : rules[i].what, rules[i].remedy);
}
