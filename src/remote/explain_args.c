/* Arguments of system calls as text: plain values, strings, flags.  Structs are in
 * explain_structs.c. */
#include "remote/explain_args.h"

#include <asm/prctl.h>
#include <ctype.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"

#define N(x)                                                                                       \
	{                                                                                          \
		(uint64_t)(x), #x                                                                  \
	}

const void *explain_data(const struct explain *x, uint64_t addr, size_t len)
{
	uint64_t off = addr - x->p->data_base;

	if (addr < x->p->data_base || off > x->b->data_len || len > x->b->data_len - off)
		return NULL;
	return x->b->data + off;
}

void arg_int(const struct explain *x, int i)
{
	fprintf(x->out, "%d", (int)x->c->arg[i]);
}

void arg_dec(const struct explain *x, int i)
{
	fprintf(x->out, "%llu", (unsigned long long)x->c->arg[i]);
}

void arg_oct(const struct explain *x, int i)
{
	fprintf(x->out, x->c->arg[i] ? "0%llo" : "%llo", (unsigned long long)x->c->arg[i]);
}

void arg_hex(const struct explain *x, int i)
{
	if (x->c->arg[i])
		fprintf(x->out, "%#llx", (unsigned long long)x->c->arg[i]);
	else
		fputc('0', x->out);
}

void explain_string(FILE *out, const void *s, size_t len)
{
	const unsigned char *p = s;

	fputc('"', out);
	for (size_t i = 0; i < len && i < EXPLAIN_STRING_MAX; i++) {
		if (p[i] == '"' || p[i] == '\\')
			fprintf(out, "\\%c", p[i]);
		else if (p[i] == '\n')
			fputs("\\n", out);
		else if (p[i] < 0x20 || p[i] > 0x7e) /* never raw: a terminal obeys them */
			fprintf(out, "\\%03o", p[i]);
		else
			fputc(p[i], out);
	}
	fputs(len > EXPLAIN_STRING_MAX ? "\"..." : "\"", out);
}

void arg_str(const struct explain *x, int i)
{
	const char *s = explain_struct(x, i, 1);
	size_t room;

	if (!s)
		return;
	room = x->b->data_len - (size_t)(x->c->arg[i] - x->p->data_base);
	explain_string(x->out, s, strnlen(s, room));
}

void arg_bytes(const struct explain *x, int i)
{
	const void *s = explain_struct(x, i, (size_t)x->c->arg[i + 1]);

	if (s)
		explain_string(x->out, s, (size_t)x->c->arg[i + 1]);
}

void arg_value(const struct explain *x, int i)
{
	const int *v = explain_struct(x, i, sizeof(*v));

	if (v)
		fprintf(x->out, "[%d]", *v);
}

void arg_pair(const struct explain *x, int i)
{
	if (explain_struct(x, i, 2 * sizeof(int)))
		fputs("[]", x->out); /* for the result */
}

void explain_flags(FILE *out, const struct explain_name *names, size_t n, uint64_t v,
		   const char *zero)
{
	const char *bar = "";

	if (!v) {
		fputs(zero ? zero : "0", out);
		return;
	}
	for (size_t i = 0; i < n && v; i++)
		if (names[i].value && (v & names[i].value) == names[i].value) {
			fprintf(out, "%s%s", bar, names[i].name);
			v &= ~names[i].value;
			bar = "|";
		}
	if (v)
		fprintf(out, "%s%#llx", bar, (unsigned long long)v);
}

void explain_name(FILE *out, const struct explain_name *names, size_t n, uint64_t v)
{
	for (size_t i = 0; i < n; i++)
		if (names[i].value == v) {
			fputs(names[i].name, out);
			return;
		}
	fprintf(out, "%#llx", (unsigned long long)v);
}

#define FLAGS(fn, zero, ...)                                                                       \
	void fn(const struct explain *x, int i)                                                    \
	{                                                                                          \
		static const struct explain_name names[] = {__VA_ARGS__};                          \
                                                                                                   \
		explain_flags(x->out, names, ARRAY_SIZE(names), x->c->arg[i], zero);               \
	}

#define NAMES(fn, ...)                                                                             \
	void fn(const struct explain *x, int i)                                                    \
	{                                                                                          \
		static const struct explain_name names[] = {__VA_ARGS__};                          \
                                                                                                   \
		explain_name(x->out, names, ARRAY_SIZE(names), x->c->arg[i]);                      \
	}

FLAGS(arg_prot, "PROT_NONE", N(PROT_READ), N(PROT_WRITE), N(PROT_EXEC), N(PROT_GROWSDOWN))
FLAGS(arg_map, NULL, N(MAP_SHARED_VALIDATE), N(MAP_SHARED), N(MAP_PRIVATE), N(MAP_FIXED),
      N(MAP_ANONYMOUS), N(MAP_GROWSDOWN), N(MAP_NORESERVE), N(MAP_STACK), N(MAP_LOCKED),
      N(MAP_POPULATE), N(MAP_HUGETLB), N(MAP_FIXED_NOREPLACE))
FLAGS(arg_mremap, NULL, N(MREMAP_MAYMOVE), N(MREMAP_FIXED), {4, "MREMAP_DONTUNMAP"})
FLAGS(arg_settime, NULL, N(TFD_TIMER_ABSTIME), N(TFD_TIMER_CANCEL_ON_SET))
FLAGS(arg_flock, NULL, N(LOCK_SH), N(LOCK_EX), N(LOCK_UN), N(LOCK_NB))
FLAGS(arg_msg, NULL, N(MSG_DONTWAIT), N(MSG_NOSIGNAL), N(MSG_PEEK), N(MSG_OOB), N(MSG_EOR))
FLAGS(arg_eventfd, NULL, N(EFD_SEMAPHORE), N(EFD_NONBLOCK), N(EFD_CLOEXEC))

NAMES(arg_whence, N(SEEK_SET), N(SEEK_CUR), N(SEEK_END))
NAMES(arg_clock, N(CLOCK_REALTIME), N(CLOCK_MONOTONIC), N(CLOCK_PROCESS_CPUTIME_ID),
      N(CLOCK_THREAD_CPUTIME_ID), N(CLOCK_BOOTTIME), N(CLOCK_REALTIME_ALARM),
      N(CLOCK_BOOTTIME_ALARM), N(CLOCK_TAI))
NAMES(arg_epoll_op, N(EPOLL_CTL_ADD), N(EPOLL_CTL_MOD), N(EPOLL_CTL_DEL))
NAMES(arg_family, N(AF_UNIX), N(AF_INET), N(AF_INET6), N(AF_NETLINK))
NAMES(arg_shut, N(SHUT_RD), N(SHUT_WR), N(SHUT_RDWR))
NAMES(arg_sigmask_how, N(SIG_BLOCK), N(SIG_UNBLOCK), N(SIG_SETMASK))
NAMES(arg_itimer, N(ITIMER_REAL), N(ITIMER_VIRTUAL), N(ITIMER_PROF))
NAMES(arg_level, N(SOL_SOCKET), N(IPPROTO_TCP), N(IPPROTO_IP), N(IPPROTO_IPV6))
NAMES(arg_arch_prctl, N(ARCH_SET_GS), N(ARCH_SET_FS), N(ARCH_GET_FS), N(ARCH_GET_GS),
      {0x1022, "ARCH_GET_XCOMP_PERM"}, {0x1023, "ARCH_REQ_XCOMP_PERM"})
NAMES(arg_rlimit, N(RLIMIT_CPU), N(RLIMIT_FSIZE), N(RLIMIT_DATA), N(RLIMIT_STACK), N(RLIMIT_CORE),
      N(RLIMIT_RSS), N(RLIMIT_NPROC), N(RLIMIT_NOFILE), N(RLIMIT_MEMLOCK), N(RLIMIT_AS),
      N(RLIMIT_LOCKS), N(RLIMIT_SIGPENDING), N(RLIMIT_MSGQUEUE), N(RLIMIT_NICE), N(RLIMIT_RTPRIO),
      N(RLIMIT_RTTIME))
NAMES(arg_ioctl, N(FIONBIO), N(FIONREAD), N(TCGETS), N(TCSETS), {0x40085400, "TFD_IOC_SET_TICKS"})
NAMES(arg_fcntl, N(F_DUPFD), N(F_GETFD), N(F_SETFD), N(F_GETFL), N(F_SETFL), N(F_GETLK), N(F_SETLK),
      N(F_SETLKW), N(F_OFD_GETLK), N(F_OFD_SETLK), N(F_DUPFD_CLOEXEC), N(F_SETPIPE_SZ),
      N(F_GETPIPE_SZ), N(F_SETOWN), N(F_SETSIG))

void arg_clone(const struct explain *x, int i)
{
	static const struct explain_name names[] = {N(CLONE_VM),
						    N(CLONE_FS),
						    N(CLONE_FILES),
						    N(CLONE_SIGHAND),
						    N(CLONE_PTRACE),
						    N(CLONE_VFORK),
						    N(CLONE_PARENT),
						    N(CLONE_THREAD),
						    N(CLONE_NEWNS),
						    N(CLONE_SYSVSEM),
						    N(CLONE_SETTLS),
						    N(CLONE_PARENT_SETTID),
						    N(CLONE_CHILD_CLEARTID),
						    N(CLONE_UNTRACED),
						    N(CLONE_CHILD_SETTID),
						    N(CLONE_NEWUSER),
						    N(CLONE_NEWPID),
						    N(CLONE_NEWNET)};

	explain_flags(x->out, names, ARRAY_SIZE(names), x->c->arg[i], NULL);
}

void arg_dirfd(const struct explain *x, int i)
{
	if ((int)x->c->arg[i] == AT_FDCWD)
		fputs("AT_FDCWD", x->out);
	else
		arg_int(x, i);
}

void arg_open(const struct explain *x, int i)
{
	static const struct explain_name names[] = {
		N(O_WRONLY),    N(O_RDWR),     N(O_CREAT),
		N(O_EXCL),      N(O_NOCTTY),   N(O_TRUNC),
		N(O_APPEND),    N(O_NONBLOCK), N(O_SYNC),
		N(O_DSYNC),     N(O_ASYNC),    N(O_DIRECT),
		N(O_DIRECTORY), N(O_NOFOLLOW), N(O_NOATIME),
		N(O_CLOEXEC),   N(O_PATH),     {0100000, "O_LARGEFILE"}};
	uint64_t v = x->c->arg[i];

	/* Only for openat is 0 an access mode. */
	if (x->c->nr == SYS_openat && (v & O_ACCMODE) == O_RDONLY) {
		fputs(v ? "O_RDONLY|" : "O_RDONLY", x->out);
		if (!v)
			return;
	}
	explain_flags(x->out, names, ARRAY_SIZE(names), v, NULL);
}

void arg_fcntl_value(const struct explain *x, int i)
{
	switch (x->c->arg[1]) {
	case F_SETFD:
		fputs(x->c->arg[i] & FD_CLOEXEC ? "FD_CLOEXEC" : "0", x->out);
		break;
	case F_SETFL:
		arg_open(x, i);
		break;
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_SETLK:
		arg_flock_struct(x, i);
		break;
	default:
		arg_dec(x, i);
	}
}

void arg_socktype(const struct explain *x, int i)
{
	static const struct explain_name types[] = {N(SOCK_STREAM), N(SOCK_DGRAM), N(SOCK_RAW),
						    N(SOCK_SEQPACKET)};

	explain_name(x->out, types, ARRAY_SIZE(types), x->c->arg[i] & 0xf);
	if (x->c->arg[i] & SOCK_NONBLOCK)
		fputs("|SOCK_NONBLOCK", x->out);
	if (x->c->arg[i] & SOCK_CLOEXEC)
		fputs("|SOCK_CLOEXEC", x->out);
}

void arg_option(const struct explain *x, int i)
{
	static const struct explain_name sol[] = {
		N(SO_REUSEADDR), N(SO_REUSEPORT), N(SO_KEEPALIVE), N(SO_BROADCAST),
		N(SO_OOBINLINE), N(SO_LINGER),    N(SO_RCVTIMEO),  N(SO_SNDTIMEO),
		N(SO_RCVBUF),    N(SO_SNDBUF),    N(SO_RCVLOWAT),  N(SO_PASSCRED),
		N(SO_PASSSEC),   N(SO_PRIORITY),  N(SO_TIMESTAMP), N(SO_TIMESTAMPNS),
		N(SO_PEEK_OFF),  N(SO_MARK)};
	static const struct explain_name tcp[] = {
		N(TCP_NODELAY), N(TCP_DEFER_ACCEPT), N(TCP_KEEPIDLE), N(TCP_KEEPINTVL),
		N(TCP_KEEPCNT), N(TCP_USER_TIMEOUT), N(TCP_FASTOPEN), N(TCP_SYNCNT)};
	static const struct explain_name ip[] = {N(IP_TOS), N(IP_TTL), N(IP_FREEBIND),
						 N(IP_TRANSPARENT)};
	static const struct explain_name ip6[] = {N(IPV6_V6ONLY), N(IPV6_TCLASS),
						  N(IPV6_UNICAST_HOPS)};

	switch (x->c->arg[i - 1]) {
	case SOL_SOCKET:
		explain_name(x->out, sol, ARRAY_SIZE(sol), x->c->arg[i]);
		break;
	case IPPROTO_TCP:
		explain_name(x->out, tcp, ARRAY_SIZE(tcp), x->c->arg[i]);
		break;
	case IPPROTO_IP:
		explain_name(x->out, ip, ARRAY_SIZE(ip), x->c->arg[i]);
		break;
	case IPPROTO_IPV6:
		explain_name(x->out, ip6, ARRAY_SIZE(ip6), x->c->arg[i]);
		break;
	default:
		arg_dec(x, i);
	}
}

void arg_signal(const struct explain *x, int i)
{
	int sig = (int)x->c->arg[i];
	const char *name = sig > 0 && sig < 32 ? sigabbrev_np(sig) : NULL;

	if (name)
		fprintf(x->out, "SIG%s", name);
	else if (sig >= 32)
		fprintf(x->out, "SIGRT_%d", sig - 32);
	else
		fprintf(x->out, "%d", sig);
}

NAMES(arg_prctl, N(PR_SET_MM), N(PR_SET_NAME), N(PR_GET_NAME), N(PR_SET_DUMPABLE),
      N(PR_GET_DUMPABLE), N(PR_SET_NO_NEW_PRIVS), N(PR_CAP_AMBIENT), N(PR_SET_PDEATHSIG),
      N(PR_SET_SECUREBITS), N(PR_SET_CHILD_SUBREAPER), N(PR_SET_TIMERSLACK), N(PR_GET_TID_ADDRESS),
      N(PR_SET_THP_DISABLE), {0x53564d41, "PR_SET_VMA"}, {0x59616d61, "PR_SET_PTRACER"})

void arg_prctl_2(const struct explain *x, int i)
{
	static const struct explain_name mm[] = {N(PR_SET_MM_MAP), N(PR_SET_MM_MAP_SIZE),
						 N(PR_SET_MM_BRK), N(PR_SET_MM_EXE_FILE)};
	static const struct explain_name ambient[] = {
		N(PR_CAP_AMBIENT_IS_SET), N(PR_CAP_AMBIENT_RAISE), N(PR_CAP_AMBIENT_LOWER),
		N(PR_CAP_AMBIENT_CLEAR_ALL)};

	switch (x->c->arg[0]) {
	case PR_SET_NAME:
		arg_str(x, i);
		break;
	case PR_SET_MM:
		explain_name(x->out, mm, ARRAY_SIZE(mm), x->c->arg[i]);
		break;
	case PR_CAP_AMBIENT:
		explain_name(x->out, ambient, ARRAY_SIZE(ambient), x->c->arg[i]);
		break;
	case 0x53564d41:
		fputs(x->c->arg[i] ? "?" : "PR_SET_VMA_ANON_NAME", x->out);
		break;
	default:
		arg_hex(x, i);
	}
}
