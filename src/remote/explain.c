/* Printing syscall programs: see explain.h.  Here is the table of calls. */
#include "remote/explain.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/io.h"
#include "remote/explain_args.h"

struct call_name {
	long nr;
	const char *name;
	explain_arg arg[6]; /* up to the first NULL */
	bool is_address;    /* the result */
};

#define CALL(name, ...)                                                                            \
	{                                                                                          \
		SYS_##name, #name, {__VA_ARGS__}, false                                            \
	}
#define CALL_ADDR(name, ...)                                                                       \
	{                                                                                          \
		SYS_##name, #name, {__VA_ARGS__}, true                                             \
	}

static const struct call_name calls[] = {
	/* memory */
	CALL_ADDR(mmap, arg_hex, arg_dec, arg_prot, arg_map, arg_int, arg_hex),
	CALL(munmap, arg_hex, arg_dec),
	CALL_ADDR(mremap, arg_hex, arg_dec, arg_dec, arg_mremap, arg_hex),
	CALL(mprotect, arg_hex, arg_dec, arg_prot),
	CALL(madvise, arg_hex, arg_dec, arg_dec),
	CALL(mincore, arg_hex, arg_dec, arg_hex),
	CALL_ADDR(brk, arg_hex),
	CALL_ADDR(shmat, arg_dec, arg_hex, arg_dec),
	CALL(shmctl, arg_dec, arg_dec, arg_hex),
	/* reading and writing */
	CALL(read, arg_int, arg_hex, arg_dec),
	CALL(write, arg_int, arg_bytes, arg_dec),
	CALL(pread64, arg_int, arg_hex, arg_dec, arg_dec),
	CALL(pwrite64, arg_int, arg_bytes, arg_dec, arg_dec),
	CALL(readv, arg_int, arg_iovec, arg_dec),
	CALL(writev, arg_int, arg_iovec, arg_dec),
	CALL(preadv, arg_int, arg_iovec, arg_dec, arg_dec, arg_dec),
	/* descriptors */
	CALL(openat, arg_dirfd, arg_str, arg_open, arg_oct),
	CALL(close, arg_int),
	CALL(close_range, arg_int, arg_dec, arg_hex),
	CALL(lseek, arg_int, arg_dec, arg_whence),
	CALL(dup, arg_int),
	CALL(dup3, arg_int, arg_int, arg_open),
	CALL(fcntl, arg_int, arg_fcntl, arg_fcntl_value),
	CALL(ioctl, arg_int, arg_ioctl, arg_value),
	CALL(flock, arg_int, arg_flock),
	CALL(pipe2, arg_pair, arg_open),
	CALL(eventfd2, arg_dec, arg_eventfd),
	CALL(epoll_create1, arg_open),
	CALL(epoll_ctl, arg_int, arg_epoll_op, arg_int, arg_epoll_event),
	CALL(timerfd_create, arg_clock, arg_open),
	CALL(timerfd_settime, arg_int, arg_settime, arg_itimerspec, arg_hex),
	CALL(signalfd4, arg_int, arg_sigset, arg_dec, arg_open),
	/* sockets */
	CALL(socketpair, arg_family, arg_socktype, arg_dec, arg_pair),
	CALL(socket, arg_family, arg_socktype, arg_dec),
	CALL(bind, arg_int, arg_sockaddr, arg_dec),
	CALL(connect, arg_int, arg_sockaddr, arg_dec),
	CALL(listen, arg_int, arg_dec),
	CALL(setsockopt, arg_int, arg_level, arg_option, arg_value, arg_dec),
	CALL(sendto, arg_int, arg_bytes, arg_dec, arg_msg, arg_hex, arg_dec),
	CALL(sendmsg, arg_int, arg_hex, arg_msg),
	CALL(shutdown, arg_int, arg_shut),
	/* process */
	CALL(prctl, arg_prctl, arg_prctl_2, arg_prctl_3, arg_hex, arg_hex),
	CALL(arch_prctl, arg_arch_prctl, arg_hex),
	CALL(personality, arg_hex),
	CALL(chdir, arg_str),
	CALL(chroot, arg_str),
	CALL(umask, arg_oct),
	CALL(prlimit64, arg_int, arg_rlimit, arg_rlimit_pair, arg_hex),
	CALL(capset, arg_hex, arg_hex),
	CALL(setpriority, arg_dec, arg_int, arg_int),
	CALL(sched_setscheduler, arg_int, arg_dec, arg_hex),
	CALL(sched_setaffinity, arg_int, arg_dec, arg_hex),
	CALL(setsid, NULL),
	CALL(setpgid, arg_int, arg_int),
	CALL(wait4, arg_int, arg_hex, arg_hex, arg_hex),
	CALL(getpid, NULL),
	CALL(gettid, NULL),
	/* threads and signals */
	CALL(clone, arg_clone, arg_hex, arg_hex, arg_hex, arg_hex),
	CALL(clone3, arg_clone_args, arg_dec),
	CALL(set_tid_address, arg_hex),
	CALL(set_robust_list, arg_hex, arg_dec),
	CALL(get_robust_list, arg_int, arg_hex, arg_hex),
	CALL(rseq, arg_hex, arg_dec, arg_hex, arg_hex),
	CALL(rt_sigaction, arg_signal, arg_sigaction, arg_hex, arg_dec),
	CALL(rt_sigprocmask, arg_sigmask_how, arg_sigset, arg_hex, arg_dec),
	CALL(rt_sigpending, arg_hex, arg_dec),
	CALL(sigaltstack, arg_stack, arg_hex),
	CALL(rt_sigqueueinfo, arg_int, arg_signal, arg_siginfo),
	CALL(rt_tgsigqueueinfo, arg_int, arg_int, arg_signal, arg_siginfo),
	CALL(kill, arg_int, arg_signal),
	CALL(tgkill, arg_int, arg_int, arg_signal),
	/* timers */
	CALL(setitimer, arg_itimer, arg_itimerval, arg_hex),
	CALL(getitimer, arg_itimer, arg_hex),
	CALL(timer_create, arg_clock, arg_hex, arg_hex),
	CALL(timer_settime, arg_int, arg_settime, arg_itimerspec, arg_hex),
	CALL(timer_delete, arg_int),
	CALL(userfaultfd, arg_hex),
	CALL(exit_group, arg_int),
	CALL(exit, arg_int),
};

static const struct call_name *find(long nr)
{
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].nr == nr)
			return &calls[i];
	return NULL;
}

static void print_result(const struct call *c, bool is_address, FILE *out)
{
	if (c->expect != EXPECT_VALUE)
		return;
	if (is_address)
		fprintf(out, " = %#llx", (unsigned long long)c->want);
	else if (c->want < 0 && c->want > -4096)
		fprintf(out, " = -1 (%s)", strerror((int)-c->want));
	else
		fprintf(out, " = %lld", (long long)c->want);
}

void program_explain_call(const struct program *p, const struct batch *b, const struct call *c,
			  FILE *out)
{
	static const explain_arg plain[6] = {arg_hex, arg_hex, arg_hex, arg_hex, arg_hex, arg_hex};
	const struct explain x = {.p = p, .b = b, .c = c, .out = out};
	const struct call_name *name = find(c->nr);
	const explain_arg *arg = name ? name->arg : plain;

	if (name)
		fprintf(out, "%s(", name->name);
	else
		fprintf(out, "syscall_%ld(", (long)c->nr);
	for (int i = 0; i < 6 && arg[i]; i++) {
		if (i)
			fputs(", ", out);
		arg[i](&x, i);
	}
	fputc(')', out);
	print_result(c, name && name->is_address, out);
	if (c->why)
		fprintf(out, "  /* %s */", c->why);
}

void program_explain(const struct program *p, FILE *out)
{
	bool threads = false;

	for (size_t i = 0; i < p->n; i++)
		threads |= p->batches[i].thread != 0;
	for (size_t i = 0; i < p->n; i++)
		for (size_t j = 0; j < p->batches[i].n; j++) {
			if (threads)
				fprintf(out, "[thread %u] ", p->batches[i].thread);
			program_explain_call(p, &p->batches[i], &p->batches[i].calls[j], out);
			fputc('\n', out);
		}
}
