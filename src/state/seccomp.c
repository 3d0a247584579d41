/*
 * Seccomp filters: seccomp(2), PR_SET_NO_NEW_PRIVS.
 *
 * Each thread has a list of filters, all of which are asked; a new thread has its creator's.  The
 * image holds each filter once, and for each thread the numbers of its own.  How a program that
 * has some is worked on: remote/guarded.c.
 *
 * They are set last of all, in their order.  Those with which the lists of all threads begin are
 * set by the first thread for all of them (SECCOMP_FILTER_FLAG_TSYNC), so that they are the same
 * for the kernel, too: a later TSYNC of the program's asks for that (kernel/seccomp.c,
 * seccomp_can_sync_threads).  Threads that share others get copies.
 *
 * Only root suspends them meanwhile.  Anybody else needs no_new_privs, and filters that let
 * pass what is left to do: the call that sets the next one, and the munmap() of our scratch
 * mapping.
 */
#include "state/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/report.h"
#include "state/state.h"

#define FILTERS_MAX (1u << 16)
/* kernel/seccomp.c, MAX_INSNS_PER_PATH: of all filters of a thread, each counted with 4 more. */
#define PATH_MAX_INSNS 32768u
#define MORE_PER_FILTER 4u

/* --- capture --- */

static bool is_same(const struct seccomp_filter *a, const struct seccomp_filter *b)
{
	return a->flags == b->flags && a->n == b->n &&
	       !memcmp(a->insns, b->insns, a->n * sizeof(*a->insns));
}

/* Takes f over: its number, or a negative errno. */
static int number_of(struct process *p, struct seccomp_filter *f, size_t *cap, struct err *err)
{
	void *v;

	for (size_t i = 0; i < p->nfilters; i++)
		if (is_same(&p->filters[i], f))
			return (int)i;
	if (p->nfilters == FILTERS_MAX)
		return err_refuse(err, "it has more than %u seccomp filters", FILTERS_MAX);
	if (!(v = io_grow(p->filters, cap, p->nfilters + 1, sizeof(*f), err)))
		return err->error;
	p->filters = v;
	p->filters[p->nfilters] = *f;
	f->insns = NULL;
	return (int)p->nfilters++;
}

/* Who set a filter without no_new_privs had a right for it, which the restarter has to have. */
static int refuse_rights(const struct process *p, const struct tracee *t, struct err *err)
{
	if (t->no_new_privs || !p->uid)
		return 0;
	return err_refuse_as(err, REFUSED_SECCOMP_RIGHTS,
			     "thread %d of user %u has a seccomp filter without no_new_privs",
			     t->tid, p->uid);
}

static int read_thread(struct capture *c, struct process *p, size_t i, size_t *cap, struct err *err)
{
	const struct tracee *t = &c->remote->threads[i];
	struct thread_filters *tf = &p->thread_filters[i];
	struct seccomp_filter *v = NULL;
	size_t n = 0;
	int ret = remote_filters(t, &v, &n, err);

	tf->no_new_privs = t->no_new_privs;
	if (!ret && n && !(ret = refuse_rights(p, t, err)) &&
	    !(tf->v = io_alloc(n, sizeof(*tf->v), err)))
		ret = err->error;
	for (size_t k = 0; k < n && !ret; k++) {
		int number = number_of(p, &v[k], cap, err);

		if (number < 0)
			ret = number;
		else
			tf->v[tf->n++] = (uint32_t)number;
	}
	remote_free_filters(v, n);
	return ret;
}

static int capture(struct capture *c, struct process *p, struct err *err)
{
	size_t cap = 0;
	int ret = 0;

	if (!c->remote->guarded)
		return 0;
	p->thread_filters = io_alloc(c->remote->n, sizeof(*p->thread_filters), err);
	if (!p->thread_filters)
		return err->error;
	p->nthread_filters = c->remote->n;
	for (size_t i = 0; i < c->remote->n && !ret; i++)
		ret = read_thread(c, p, i, &cap, err);
	return ret;
}

static bool is_needed(const struct process *p)
{
	return p->nthread_filters;
}

/* --- image --- */

static void codec_filter(struct codec *c, struct seccomp_filter *f)
{
	_Static_assert(sizeof(*f->insns) == 8, "struct sock_filter");
	codec_u32(c, &f->flags);
	codec_array(c, &f->insns, &f->n, sizeof(*f->insns), sizeof(*f->insns), BPF_MAXINSNS);
	for (size_t i = 0; i < f->n; i++)
		codec_bytes(c, &f->insns[i], sizeof(f->insns[i]));
}

static void codec(struct codec *c, struct process *p)
{
	codec_array(c, &p->filters, &p->nfilters, sizeof(*p->filters), 8, FILTERS_MAX);
	for (size_t i = 0; i < p->nfilters; i++)
		codec_filter(c, &p->filters[i]);
	codec_array(c, &p->thread_filters, &p->nthread_filters, sizeof(*p->thread_filters), 8,
		    1u << 22);
	for (size_t i = 0; i < p->nthread_filters; i++) {
		struct thread_filters *t = &p->thread_filters[i];

		codec_u32(c, &t->no_new_privs);
		codec_array(c, &t->v, &t->n, sizeof(*t->v), sizeof(*t->v), PATH_MAX_INSNS);
		for (size_t k = 0; k < t->n; k++)
			codec_u32(c, &t->v[k]);
	}
}

static int validate_thread(const struct process *p, size_t i, struct err *err)
{
	const struct thread_filters *t = &p->thread_filters[i];
	size_t insns = 0;

	for (size_t k = 0; k < t->n; k++) {
		if (t->v[k] >= p->nfilters)
			return err_image(err, "thread %zu has seccomp filter %u of %zu", i + 1,
					 t->v[k], p->nfilters);
		insns += p->filters[t->v[k]].n + MORE_PER_FILTER;
	}
	if (insns > PATH_MAX_INSNS)
		return err_image(err, "the seccomp filters of thread %zu are too long", i + 1);
	return 0;
}

static int validate(const struct process *p, struct err *err)
{
	if (p->nthread_filters && p->nthread_filters != p->nthreads)
		return err_image(err, "the note on seccomp is of %zu threads, not of %zu",
				 p->nthread_filters, p->nthreads);
	for (size_t i = 0; i < p->nfilters; i++)
		if (!p->filters[i].n || p->filters[i].flags & ~(uint32_t)SECCOMP_FILTER_FLAG_LOG)
			return err_image(err, "seccomp filter %zu is malformed", i);
	for (size_t i = 0; i < p->nthread_filters; i++) {
		int ret = validate_thread(p, i, err);

		if (ret)
			return ret;
	}
	return 0;
}

/* --- restart --- */

bool seccomp_is_set(const struct process *p)
{
	for (size_t i = 0; i < p->nthread_filters; i++)
		if (p->thread_filters[i].n)
			return true;
	return false;
}

/* With how many filters do the lists of all threads begin alike? */
static size_t common(const struct process *p)
{
	const struct thread_filters *t = p->thread_filters;
	size_t n = t[0].n;

	for (size_t i = 1; i < p->nthread_filters; i++) {
		size_t k = 0;

		while (k < n && k < t[i].n && t[i].v[k] == t[0].v[k])
			k++;
		n = k;
	}
	return n;
}

/* CAP_SYS_ADMIN, and in no user namespace: the kernel asks for both (kernel/ptrace.c,
 * check_ptrace_options), and that we have no filter ourselves. */
static bool may_suspend(bool *has_right)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2] = {{0}};
	__cleanup_buf struct buf b = {0};
	unsigned inside, outside, len;

	*has_right = !syscall(SYS_capget, &h, d) && d[0].effective & 1u << (CAP_SYS_ADMIN % 32);
	return *has_right && prctl(PR_GET_SECCOMP) == 0 &&
	       !io_read_file(AT_FDCWD, "/proc/self/uid_map", &b) &&
	       sscanf(b.p, "%u %u %u", &inside, &outside, &len) == 3 && !inside && !outside &&
	       len == UINT32_MAX;
}

/* Do the first n filters of a thread let it pass? */
static bool lets_pass(const struct process *p, const struct thread_filters *t, size_t n, long nr,
		      uint64_t first)
{
	const uint64_t arg[6] = {first};
	struct seccomp_data d = bpf_call(nr, arg, 0);

	for (size_t k = 0; k < n; k++)
		if (!bpf_lets_pass(&p->filters[t->v[k]], 1, &d))
			return false;
	return true;
}

static int check_thread(const struct process *p, size_t i, struct err *err)
{
	const struct thread_filters *t = &p->thread_filters[i];
	const char *call = NULL;

	for (size_t k = 1; k < t->n && !call; k++)
		if (!lets_pass(p, t, k, SYS_seccomp, SECCOMP_SET_MODE_FILTER))
			call = "seccomp(), by which the next one is set";
	if (!call && i == 0 && !lets_pass(p, t, t->n, SYS_munmap, 0))
		call = "munmap(), which the restart makes last";
	if (!call)
		return 0;
	err_refuse(err, "a seccomp filter of thread %d forbids %s", p->threads[i].tid, call);
	return err_hint(err, "only root can suspend it for that");
}

static int check(struct restore *r, const struct process *p, struct err *err)
{
	bool has_right, suspends = may_suspend(&has_right);

	(void)r;
	if (!seccomp_is_set(p))
		return 0;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL) && errno != EFAULT)
		return err_refuse(err, "no seccomp filter can be set here: %s", strerror(errno));
	for (size_t i = 0; i < p->nthread_filters; i++) {
		const struct thread_filters *t = &p->thread_filters[i];
		int ret;

		if (t->n && !t->no_new_privs && !has_right) {
			err_perm(err,
				 "thread %d set its seccomp filter by a right, without "
				 "no_new_privs",
				 p->threads[i].tid);
			return err_hint(err, "it takes CAP_SYS_ADMIN: restart it as root");
		}
		if (!suspends && (ret = check_thread(p, i, err)))
			return ret;
	}
	return 0;
}

static void set_filter(struct program *g, const struct seccomp_filter *f, unsigned flags)
{
	struct sock_fprog prog = {.len = (unsigned short)f->n};
	size_t len = f->n * sizeof(*f->insns);
	uint64_t at;

	program_reserve(g, PROGRAM_PIECE(len) + PROGRAM_PIECE(sizeof(prog)));
	at = program_data(g, f->insns, len);
	memcpy(&prog.filter, &at, sizeof(at));
	at = program_data(g, &prog, sizeof(prog));
	program_call_want(g, 0, flags ? "a seccomp filter of all threads" : "a seccomp filter",
			  SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | f->flags, at, 0, 0, 0);
}

void seccomp_restore(struct restore *r, const struct process *p)
{
	struct program *g = r->prog;
	size_t all = p->nthread_filters > 1 ? common(p) : 0;

	for (size_t i = 0; i < p->nthread_filters; i++) {
		program_thread(g, (uint32_t)i);
		if (p->thread_filters[i].no_new_privs)
			program_call(g, "no_new_privs", SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0,
				     0);
	}
	program_thread(g, 0);
	for (size_t k = 0; k < all; k++)
		set_filter(g, &p->filters[p->thread_filters[0].v[k]], SECCOMP_FILTER_FLAG_TSYNC);
	for (size_t i = 0; i < p->nthread_filters; i++) {
		const struct thread_filters *t = &p->thread_filters[i];

		program_thread(g, (uint32_t)i);
		for (size_t k = all; k < t->n; k++)
			set_filter(g, &p->filters[t->v[k]], 0);
	}
	program_thread(g, 0);
}

/* --- */

static void show(const struct process *p, struct report *rep)
{
	if (!p->nthread_filters)
		return;
	report_section(rep, "seccomp", "Seccomp filters");
	report_u64(rep, "filters", "filters", p->nfilters);
	report_list(rep, "threads", NULL);
	for (size_t i = 0; i < p->nthread_filters; i++) {
		const struct thread_filters *t = &p->thread_filters[i];
		size_t insns = 0;

		for (size_t k = 0; k < t->n; k++)
			insns += p->filters[t->v[k]].n;
		report_item(rep);
		report_line(rep, "thread %d: %zu, of %zu instructions", p->threads[i].tid, t->n,
			    insns);
		report_u64(rep, "filters", NULL, t->n);
		report_u64(rep, "instructions", NULL, insns);
		report_bool(rep, "no_new_privs", NULL, t->no_new_privs);
		report_end(rep);
	}
	report_end(rep);
	report_end(rep);
}

static void done(struct process *p)
{
	remote_free_filters(p->filters, p->nfilters);
	for (size_t i = 0; p->thread_filters && i < p->nthread_filters; i++)
		free(p->thread_filters[i].v);
	free(p->thread_filters);
}

const struct state_ops state_seccomp = {
	.name = "seccomp filters",
	.note = NOTE_SECCOMP,
	.optional = true,
	.capture = capture,
	.is_needed = is_needed,
	.codec = codec,
	.validate = validate,
	.check = check,
	.show = show,
	.done = done,
};
