/* Arguments of system calls that point to structs: shortened, in braces. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>

#include "base/io.h"
#include "remote/explain_args.h"

#define N(x)                                                                                       \
	{                                                                                          \
		(uint64_t)(x), #x                                                                  \
	}
#define IOVECS_MAX 3 /* elements of an array that are shown */

const void *explain_struct(const struct explain *x, int i, size_t len)
{
	const void *p = explain_data(x, x->c->arg[i], len);

	if (!p)
		fprintf(x->out, x->c->arg[i] ? "%#llx" : "NULL", (unsigned long long)x->c->arg[i]);
	return p;
}

void arg_iovec(const struct explain *x, int i)
{
	size_t n = (size_t)x->c->arg[i + 1];
	/* A count that cannot be is printed as a bare address. */
	const struct iovec *v = explain_struct(x, i, n > IOV_MAX ? SIZE_MAX : n * sizeof(*v));

	if (!v)
		return;
	fputc('[', x->out);
	for (size_t k = 0; k < n && k < IOVECS_MAX; k++)
		fprintf(x->out, "%s{%#llx, %zu}", k ? ", " : "",
			(unsigned long long)(uintptr_t)v[k].iov_base, v[k].iov_len);
	fputs(n > IOVECS_MAX ? ", ...]" : "]", x->out);
}

void arg_itimerspec(const struct explain *x, int i)
{
	const struct itimerspec *t = explain_struct(x, i, sizeof(*t));

	if (t)
		fprintf(x->out, "{it_interval={%lld, %ld}, it_value={%lld, %ld}}",
			(long long)t->it_interval.tv_sec, t->it_interval.tv_nsec,
			(long long)t->it_value.tv_sec, t->it_value.tv_nsec);
}

void arg_itimerval(const struct explain *x, int i)
{
	const struct itimerval *t = explain_struct(x, i, sizeof(*t));

	if (t)
		fprintf(x->out, "{it_interval={%lld, %ld}, it_value={%lld, %ld}}",
			(long long)t->it_interval.tv_sec, (long)t->it_interval.tv_usec,
			(long long)t->it_value.tv_sec, (long)t->it_value.tv_usec);
}

void arg_epoll_event(const struct explain *x, int i)
{
	static const struct explain_name names[] = {
		N(EPOLLIN),      N(EPOLLPRI),          N(EPOLLOUT),       N(EPOLLERR),
		N(EPOLLHUP),     N(EPOLLRDHUP),        N(EPOLLEXCLUSIVE), N(EPOLLWAKEUP),
		N(EPOLLONESHOT), {1u << 31, "EPOLLET"}};
	const struct epoll_event *e = explain_struct(x, i, sizeof(*e));

	if (!e)
		return;
	fputc('{', x->out);
	explain_flags(x->out, names, ARRAY_SIZE(names), e->events, NULL);
	fprintf(x->out, ", data=%#llx}", (unsigned long long)e->data.u64);
}

static void print_mask(FILE *out, uint64_t mask)
{
	const char *space = "";

	if (mask == UINT64_MAX) {
		fputs("~[]", out);
		return;
	}
	fputc('[', out);
	for (int s = 1; s <= 64; s++) {
		if (!(mask >> (s - 1) & 1))
			continue;
		if (s < 32)
			fprintf(out, "%s%s", space, sigabbrev_np(s));
		else
			fprintf(out, "%sRT_%d", space, s - 32);
		space = " ";
	}
	fputc(']', out);
}

void arg_sigset(const struct explain *x, int i)
{
	const uint64_t *m = explain_struct(x, i, sizeof(*m));

	if (m)
		print_mask(x->out, *m);
}

void arg_sigaction(const struct explain *x, int i)
{
	static const struct explain_name names[] = {
		N(SA_NOCLDSTOP), N(SA_NOCLDWAIT), N(SA_SIGINFO),   N(SA_ONSTACK),
		N(SA_RESTART),   N(SA_NODEFER),   N(SA_RESETHAND), {0x04000000, "SA_RESTORER"}};
	/* The kernel's struct: handler, flags, restorer, mask. */
	const uint64_t *a = explain_struct(x, i, 4 * sizeof(*a));

	if (!a)
		return;
	if (a[0] < 2)
		fprintf(x->out, "{%s, ", a[0] ? "SIG_IGN" : "SIG_DFL");
	else
		fprintf(x->out, "{%#llx, ", (unsigned long long)a[0]);
	explain_flags(x->out, names, ARRAY_SIZE(names), a[1], NULL);
	fputs(", mask ", x->out);
	print_mask(x->out, a[3]);
	fputc('}', x->out);
}

void arg_stack(const struct explain *x, int i)
{
	static const struct explain_name names[] = {
		N(SS_ONSTACK), N(SS_DISABLE), {1u << 31, "SS_AUTODISARM"}};
	const stack_t *s = explain_struct(x, i, sizeof(*s));

	if (!s)
		return;
	fprintf(x->out, "{ss_sp=%#llx, ss_flags=", (unsigned long long)(uintptr_t)s->ss_sp);
	explain_flags(x->out, names, ARRAY_SIZE(names), (uint32_t)s->ss_flags, NULL);
	fprintf(x->out, ", ss_size=%zu}", s->ss_size);
}

void arg_siginfo(const struct explain *x, int i)
{
	static const struct explain_name codes[] = {N(SI_USER),
						    N(SI_KERNEL),
						    {(uint32_t)SI_QUEUE, "SI_QUEUE"},
						    {(uint32_t)SI_TIMER, "SI_TIMER"},
						    {(uint32_t)SI_TKILL, "SI_TKILL"}};
	const siginfo_t *s = explain_struct(x, i, sizeof(*s));

	if (!s)
		return;
	fprintf(x->out, "{si_signo=%d, si_code=", s->si_signo);
	explain_name(x->out, codes, ARRAY_SIZE(codes), (uint32_t)s->si_code);
	fprintf(x->out, ", si_pid=%d, ...}", (int)s->si_pid);
}

void arg_sockaddr(const struct explain *x, int i)
{
	const struct sockaddr *a = explain_struct(x, i, (size_t)x->c->arg[i + 1]);
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	char ip[INET6_ADDRSTRLEN] = "?";

	if (!a)
		return;
	if (a->sa_family == AF_INET && x->c->arg[i + 1] >= sizeof(in)) {
		memcpy(&in, a, sizeof(in));
		inet_ntop(AF_INET, &in.sin_addr, ip, sizeof(ip));
		fprintf(x->out, "{AF_INET, %s, port %u}", ip, ntohs(in.sin_port));
	} else if (a->sa_family == AF_INET6 && x->c->arg[i + 1] >= sizeof(in6)) {
		memcpy(&in6, a, sizeof(in6));
		inet_ntop(AF_INET6, &in6.sin6_addr, ip, sizeof(ip));
		fprintf(x->out, "{AF_INET6, %s, port %u}", ip, ntohs(in6.sin6_port));
	} else {
		fprintf(x->out, "{sa_family=%u, ...}", a->sa_family);
	}
}

static void print_limit(FILE *out, uint64_t v)
{
	if (v == RLIM_INFINITY)
		fputs("RLIM_INFINITY", out);
	else
		fprintf(out, "%llu", (unsigned long long)v);
}

void arg_rlimit_pair(const struct explain *x, int i)
{
	const struct rlimit *l = explain_struct(x, i, sizeof(*l));

	if (!l)
		return;
	fputs("{rlim_cur=", x->out);
	print_limit(x->out, l->rlim_cur);
	fputs(", rlim_max=", x->out);
	print_limit(x->out, l->rlim_max);
	fputc('}', x->out);
}

void arg_clone_args(const struct explain *x, int i)
{
	const struct clone_args *a = explain_struct(x, i, CLONE_ARGS_SIZE_VER1);
	struct call flags = {.arg = {a ? a->flags : 0}};
	const int32_t *tid;

	if (!a)
		return;
	fputs("{flags=", x->out);
	arg_clone(&(struct explain){x->p, x->b, &flags, x->out}, 0);
	fprintf(x->out, ", exit_signal=%llu", (unsigned long long)a->exit_signal);
	tid = a->set_tid ? explain_data(x, a->set_tid, sizeof(*tid)) : NULL;
	if (tid)
		fprintf(x->out, ", set_tid=[%d%s]", *tid, a->set_tid_size > 1 ? ", ..." : "");
	fputc('}', x->out);
}

void arg_flock_struct(const struct explain *x, int i)
{
	static const struct explain_name types[] = {N(F_RDLCK), N(F_WRLCK), N(F_UNLCK)};
	const struct flock *l = explain_struct(x, i, sizeof(*l));

	if (!l)
		return;
	fputs("{l_type=", x->out);
	explain_name(x->out, types, ARRAY_SIZE(types), (uint64_t)l->l_type);
	fprintf(x->out, ", l_start=%lld, l_len=%lld}", (long long)l->l_start, (long long)l->l_len);
}

void arg_prctl_3(const struct explain *x, int i)
{
	const struct prctl_mm_map *m;

	if (x->c->arg[0] != PR_SET_MM || x->c->arg[1] != PR_SET_MM_MAP) {
		arg_hex(x, i);
		return;
	}
	m = explain_struct(x, i, sizeof(*m));
	if (!m)
		return;
	fprintf(x->out,
		"{start_code=%#llx, end_code=%#llx, start_brk=%#llx, brk=%#llx, "
		"start_stack=%#llx, arg_start=%#llx, env_start=%#llx, auxv_size=%u, exe_fd=%d}",
		(unsigned long long)m->start_code, (unsigned long long)m->end_code,
		(unsigned long long)m->start_brk, (unsigned long long)m->brk,
		(unsigned long long)m->start_stack, (unsigned long long)m->arg_start,
		(unsigned long long)m->env_start, m->auxv_size, (int)m->exe_fd);
}
