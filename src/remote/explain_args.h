/* Arguments of system calls as text: what explain.c's table is made of. */
#ifndef GODWIT_REMOTE_EXPLAIN_ARGS_H
#define GODWIT_REMOTE_EXPLAIN_ARGS_H

#include <stdio.h>

#include "remote/program.h"

/* The call whose argument number i is printed. */
struct explain {
	const struct program *p;
	const struct batch *b;
	const struct call *c;
	FILE *out;
};

typedef void (*explain_arg)(const struct explain *x, int i);

/* Plain ones: descriptor or int, decimal, octal mode, address, string, bytes
 * whose length is the next argument, an int behind a pointer. */
void arg_int(const struct explain *x, int i);
void arg_dec(const struct explain *x, int i);
void arg_oct(const struct explain *x, int i);
void arg_hex(const struct explain *x, int i);
void arg_str(const struct explain *x, int i);
void arg_bytes(const struct explain *x, int i);
void arg_value(const struct explain *x, int i);
void arg_pair(const struct explain *x, int i); /* two descriptors that the call returns */

/* Flags and names. */
void arg_dirfd(const struct explain *x, int i);
void arg_prot(const struct explain *x, int i);
void arg_map(const struct explain *x, int i);
void arg_mremap(const struct explain *x, int i);
void arg_open(const struct explain *x, int i);
void arg_whence(const struct explain *x, int i);
void arg_fcntl(const struct explain *x, int i);
void arg_fcntl_value(const struct explain *x, int i);
void arg_ioctl(const struct explain *x, int i);
void arg_flock(const struct explain *x, int i);
void arg_eventfd(const struct explain *x, int i);
void arg_clock(const struct explain *x, int i);
void arg_settime(const struct explain *x, int i);
void arg_epoll_op(const struct explain *x, int i);
void arg_family(const struct explain *x, int i);
void arg_socktype(const struct explain *x, int i);
void arg_level(const struct explain *x, int i);
void arg_option(const struct explain *x, int i);
void arg_msg(const struct explain *x, int i);
void arg_shut(const struct explain *x, int i);
void arg_rlimit(const struct explain *x, int i);
void arg_signal(const struct explain *x, int i);
void arg_sigmask_how(const struct explain *x, int i);
void arg_itimer(const struct explain *x, int i);
void arg_clone(const struct explain *x, int i);
void arg_prctl(const struct explain *x, int i);
void arg_prctl_2(const struct explain *x, int i);
void arg_prctl_3(const struct explain *x, int i);
void arg_arch_prctl(const struct explain *x, int i);

/* Structs. */
void arg_iovec(const struct explain *x, int i);
void arg_itimerspec(const struct explain *x, int i);
void arg_itimerval(const struct explain *x, int i);
void arg_epoll_event(const struct explain *x, int i);
void arg_sigset(const struct explain *x, int i);
void arg_sigaction(const struct explain *x, int i);
void arg_stack(const struct explain *x, int i);
void arg_siginfo(const struct explain *x, int i);
void arg_sockaddr(const struct explain *x, int i);
void arg_rlimit_pair(const struct explain *x, int i);
void arg_clone_args(const struct explain *x, int i);
void arg_flock_struct(const struct explain *x, int i);

#define EXPLAIN_STRING_MAX 64 /* bytes of a string or buffer that are shown */

struct explain_name {
	uint64_t value;
	const char *name;
};

/* "A|B|0x10"; a value of 0 gives zero, or "0" where that is NULL. */
void explain_flags(FILE *out, const struct explain_name *names, size_t n, uint64_t v,
		   const char *zero);
void explain_name(FILE *out, const struct explain_name *names, size_t n, uint64_t v);
void explain_string(FILE *out, const void *s, size_t len);
/* Bytes of the batch's data at a target address, or NULL. */
const void *explain_data(const struct explain *x, uint64_t addr, size_t len);
/* The struct of that argument; prints the bare address and returns NULL where it is not in the
 * data. */
const void *explain_struct(const struct explain *x, int i, size_t len);

#endif
