/* Seccomp, as it cannot be saved; see refusing.h. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include "refusing.h"

static int set_filter(struct sock_filter *f, size_t n, unsigned flags)
{
	struct sock_fprog prog = {.len = n, .filter = f};

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

#define LOAD_NR BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ANSWER(nr, what)                                                                           \
	{                                                                                          \
		LOAD_NR, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),                            \
			BPF_STMT(BPF_RET | BPF_K, what),                                           \
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)                               \
	}

static int any(void)
{
	struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	return set_filter(&all, 1, 0) ? -1 : -2;
}

/* A thread: the first one must go on to make calls. */
static void *be_strict(void *arg)
{
	int *end = arg;
	char c;

	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
	must(write(end[1], "", 1));
	for (;;)
		if (read(end[2], &c, 1) < 0)
			syscall(SYS_exit, 1);
}

static int strict(void)
{
	static int end[4];
	pthread_t t;
	char c;

	must(pipe(end));
	must(pipe(end + 2));
	must(-pthread_create(&t, NULL, be_strict, end));
	must(read(end[0], &c, 1));
	return -2;
}

static int asks(void)
{
	struct sock_filter f[] = ANSWER(SYS_getpgrp, SECCOMP_RET_USER_NOTIF);

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	return set_filter(f, 4, SECCOMP_FILTER_FLAG_NEW_LISTENER) < 0 ? -1 : -2;
}

static int heal(void)
{
	struct sock_filter f[] = ANSWER(SYS_rt_sigprocmask, SECCOMP_RET_ERRNO | EPERM);

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	return set_filter(f, 4, 0) ? -1 : -2;
}

/* Set while it had the right to. */
static int rights(void)
{
	struct sock_filter f[] = ANSWER(SYS_getpgrp, SECCOMP_RET_ERRNO | EPERM);
	const char *dir = getenv("PWD");

	if (set_filter(f, 4, 0))
		return -1;
	must(chown(dir ? dir : ".", 65534, 65534));
	must(setresgid(65534, 65534, 65534));
	must(setresuid(65534, 65534, 65534));
	return -2;
}

int main(int argc, char **argv)
{
	static const struct refused_kind kinds[] = {
		{"seccomp", any},       {"seccomp_strict", strict}, {"seccomp_asks", asks},
		{"seccomp_heal", heal}, {"seccomp_rights", rights},
	};

	return refusing(argc, argv, kinds, sizeof(kinds) / sizeof(kinds[0]), NULL);
}
