/*
 * Threads: registers, signal mask, pending signals, alternate stack, names, and
 * the addresses the kernel was told (robust list, rseq, tid).  The vector
 * registers (11 KiB a thread on some CPUs) are streamed by checkpoint/ and
 * restart/; they are never all in memory.
 */
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/report.h"
#include "state/capabilities.h"
#include "state/interrupted.h"
#include "state/settings.h"
#include "state/state.h"

/* Where remote_run_each puts the answers, in the thread's own data area. */
struct answers {
	struct {
		uint64_t sp;
		uint32_t flags, pad;
		uint64_t size;
	} altstack;
	uint64_t tid_address;
	uint64_t pending; /* of the thread and of the process, where blocked: all are */
	char comm[16];
	uint32_t death_signal;
};

#define OWN_CALLS 4

struct asking {
	struct capture *c;
	struct process *p;
	bool *peek; /* per thread: signals may be pending */
};

static int take_answers(void *arg, size_t i, const struct wire_call *calls, const void *data,
			struct err *err)
{
	struct asking *ask = arg;
	struct thread *t = &ask->p->threads[i];
	struct tracee *tracee = &ask->c->remote->threads[i];
	const struct answers *a = data;
	int ret = remote_ask_told(tracee);

	if (ret)
		return err_sys(err, ret, "cannot ask the kernel about thread %d", t->tid);
	if ((ret = capabilities_compare(ask->p, tracee, err)))
		return ret;
	if (calls[0].ret || calls[2].ret || calls[3].ret)
		return err_set(err, -EPROTO, "thread %d does not answer", t->tid);
	if (calls[1].ret) {
		err_refuse(err,
			   "this kernel does not tell where thread %d clears its id "
			   "(PR_GET_TID_ADDRESS)",
			   t->tid);
		return err_hint(err, "the kernel needs CONFIG_CHECKPOINT_RESTORE");
	}
	t->altstack_sp = a->altstack.sp;
	t->altstack_size = a->altstack.size;
	t->altstack_flags = a->altstack.flags & ~(uint32_t)SS_ONSTACK;
	t->tid_address = a->tid_address;
	t->robust_list = tracee->robust_list;
	t->robust_len = tracee->robust_len;
	memcpy(t->comm, a->comm, sizeof(t->comm));
	t->comm[sizeof(t->comm) - 1] = '\0';
	settings_take(ask->c, ask->p, i, &calls[OWN_CALLS], a->death_signal);
	ask->peek[i] = a->pending || (t->sigmask >> (ask->c->remote->bell - 1) & 1);
	return 0;
}

static int ask_threads(struct capture *c, struct process *p, struct err *err)
{
	struct call calls[OWN_CALLS + SETTINGS_CALLS] = {
		{.nr = SYS_sigaltstack,
		 .arg = {0, offsetof(struct answers, altstack)},
		 .pointers = 2},
		{.nr = SYS_prctl,
		 .arg = {PR_GET_TID_ADDRESS, offsetof(struct answers, tid_address)},
		 .pointers = 2},
		{.nr = SYS_prctl,
		 .arg = {PR_GET_NAME, offsetof(struct answers, comm)},
		 .pointers = 2},
		{.nr = SYS_rt_sigpending,
		 .arg = {offsetof(struct answers, pending), 8},
		 .pointers = 1},
	};
	__cleanup_free bool *peek = io_alloc(p->nthreads, sizeof(*peek), err);
	struct asking ask = {c, p, peek};
	int ret;

	settings_calls(&calls[OWN_CALLS], offsetof(struct answers, death_signal));
	if (!peek || (ret = settings_alloc(p, p->nthreads, err)))
		return err->error;
	ret = remote_run_each(c->remote, calls, ARRAY_SIZE(calls), sizeof(struct answers),
			      take_answers, &ask, err);
	for (size_t i = 0; i < p->nthreads && !ret; i++)
		if (peek[i])
			ret = state_peek_pending(c->remote->threads[i].tid, false,
						 &p->threads[i].pending, &p->threads[i].npending,
						 err);
	return ret;
}

/*
 * A thread stopped inside a restartable sequence: were its registers lent and
 * given back, the kernel would not see that it had been interrupted.  So it is
 * sent to the abort handler now, as the kernel does (kernel/rseq.c,
 * rseq_ip_fixup).
 */
static int leave_rseq(struct capture *c, struct tracee *t, struct thread *th, struct err *err)
{
	struct {
		uint32_t cpu_id_start, cpu_id;
		uint64_t cs;
	} area;
	struct {
		uint32_t version, flags;
		uint64_t start_ip, post_commit_offset, abort_ip;
	} cs;

	if (remote_read(c->remote, th->rseq_addr, &area, sizeof(area)) || !area.cs ||
	    remote_read(c->remote, area.cs, &cs, sizeof(cs)) ||
	    t->regs.rip - cs.start_ip >= cs.post_commit_offset)
		return 0;
	t->regs.rip = cs.abort_ip;
	if (ptrace(PTRACE_SETREGS, t->tid, 0, &t->regs))
		return err_sys(err, -errno, "cannot write the registers of thread %d", t->tid);
	area.cs = 0;
	if (remote_write(c->remote, th->rseq_addr + 8, &area.cs, 8))
		return err_set(err, -EFAULT, "cannot write the rseq area of thread %d", t->tid);
	return 0;
}

static int read_rseq(struct capture *c, struct tracee *t, struct thread *th, struct err *err)
{
	struct remote_rseq rseq;
	int ret = remote_rseq(t, &rseq);

	if (ret)
		return err_sys(err, ret, "cannot read the rseq area of thread %d", t->tid);
	th->rseq_addr = rseq.addr;
	th->rseq_len = rseq.len;
	th->rseq_sig = rseq.sig;
	th->rseq_flags = rseq.flags;
	/* A thread inside a system call is in no restartable sequence. */
	return th->rseq_addr && !arch_in_syscall(&t->regs) ? leave_rseq(c, t, th, err) : 0;
}

static int read_one(struct capture *c, struct tracee *t, struct thread *th, struct err *err)
{
	int ret;

	th->tid = t->ns_tid;
	if ((ret = read_rseq(c, t, th, err)))
		return ret;
	th->regs = t->regs;
	th->sigmask = t->sigmask;
	return interrupted_find(c->remote, th, err);
}

int threads_read_registers(struct capture *c, struct process *p, struct err *err)
{
	p->threads = io_alloc(c->remote->n, sizeof(*p->threads), err);
	if (!p->threads)
		return err->error;
	p->nthreads = c->remote->n;
	p->xstates = c->remote->kept;
	c->remote->kept = NULL;
	for (size_t i = 0; i < p->nthreads; i++) {
		const struct tracee *t = &c->remote->threads[i];
		int ret = read_one(c, &c->remote->threads[i], &p->threads[i], err);

		if (ret)
			return ret;
		if (t->kept_at) {
			p->threads[i].xstate = p->xstates + t->kept_at - 1;
			p->threads[i].xstate_len = (uint32_t)c->remote->kept_each;
		}
	}
	return 0;
}

void thread_codec(struct codec *c, struct thread *t)
{
	codec_i32(c, &t->tid);
	codec_bytes(c, t->comm, sizeof(t->comm));
	codec_bytes(c, &t->regs, sizeof(t->regs));
	codec_u64(c, &t->sigmask);
	codec_u64(c, &t->altstack_sp);
	codec_u64(c, &t->altstack_size);
	codec_u32(c, &t->altstack_flags);
	codec_u64(c, &t->robust_list);
	codec_u64(c, &t->robust_len);
	codec_u64(c, &t->tid_address);
	codec_u64(c, &t->rseq_addr);
	codec_u32(c, &t->rseq_len);
	codec_u32(c, &t->rseq_sig);
	codec_u32(c, &t->rseq_flags);
	codec_pending(c, &t->pending, &t->npending);
}

static int validate(const struct process *p, struct err *err)
{
	for (size_t i = 0; i < p->nthreads; i++) {
		const struct thread *t = &p->threads[i];

		if (t->tid <= 0 || t->comm[sizeof(t->comm) - 1])
			return err_image(err, "the note on thread %zu is malformed", i + 1);
		if (t->xstate_len != p->system.xstate_size)
			return err_image(err, "thread %d has %u bytes of vector registers, not %u",
					 t->tid, t->xstate_len, p->system.xstate_size);
		for (size_t k = 0; k < t->npending; k++) {
			const siginfo_t *si = (const void *)t->pending[k].info;

			if (si->si_signo < 1 || si->si_signo > 64)
				return err_image(err, "a pending signal of thread %d has number %d",
						 t->tid, si->si_signo);
		}
	}
	return 0;
}

/* The right to choose ids, in a user namespace of its own: see restart/ids.c. */
void threads_drop_rights(struct program *g)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};
	uint64_t head, data;

	program_call(g, "no rights of the restart's", SYS_prctl, PR_CAP_AMBIENT,
		     PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0);
	program_reserve(g, PROGRAM_PIECE(sizeof(h)) + PROGRAM_PIECE(sizeof(none)));
	head = program_data(g, &h, sizeof(h));
	data = program_data(g, none, sizeof(none));
	program_call(g, "no rights of the restart's", SYS_capset, head, data, 0, 0, 0, 0);
}

/* Run by each thread itself; restart/ has made them all. */
static int restore(struct restore *r, const struct process *p, struct err *err)
{
	struct program *g = r->prog;

	(void)err;
	for (size_t i = 0; i < p->nthreads; i++) {
		const struct thread *t = &p->threads[i];
		struct {
			uint64_t sp;
			uint32_t flags, pad;
			uint64_t size;
		} ss = {t->altstack_sp, t->altstack_flags, 0, t->altstack_size};

		program_thread(g, (uint32_t)i);
		if (r->drop_rights)
			threads_drop_rights(g);
		program_call(g, "address to clear at exit", SYS_set_tid_address, t->tid_address, 0,
			     0, 0, 0, 0);
		if (t->robust_list)
			program_call(g, "robust mutex list", SYS_set_robust_list, t->robust_list,
				     t->robust_len, 0, 0, 0, 0);
		if (t->rseq_addr)
			program_call(g, "restartable sequences", 334, t->rseq_addr, t->rseq_len,
				     t->rseq_flags, t->rseq_sig, 0, 0);
		program_reserve(g, sizeof(ss) + sizeof(t->comm) + 48);
		uint64_t a = program_data(g, &ss, sizeof(ss));
		uint64_t name = program_data(g, t->comm, sizeof(t->comm));

		program_call(g, "alternate signal stack", SYS_sigaltstack, a, 0, 0, 0, 0, 0);
		program_call(g, "thread name", SYS_prctl, PR_SET_NAME, name, 0, 0, 0, 0);
		scheduling_restore_thread(g, p, i);
		settings_restore_thread(g, p, i);
		for (size_t k = 0; k < t->npending; k++) {
			const siginfo_t *si = (const void *)t->pending[k].info;

			program_reserve(g, sizeof(t->pending[k]) + 16);
			uint64_t info = program_data(g, &t->pending[k], sizeof(t->pending[k]));

			program_call(g, "pending signal of the thread", SYS_rt_tgsigqueueinfo,
				     (uint64_t)r->new_pid, (uint64_t)r->new_tids[i],
				     (uint64_t)si->si_signo, info, 0, 0);
		}
	}
	program_thread(g, 0);
	return 0;
}

static void done(struct process *p)
{
	for (size_t i = 0; p->threads && i < p->nthreads; i++)
		free(p->threads[i].pending);
	free(p->threads);
	free(p->xstates);
}

static void show_registers(const struct user_regs_struct *r, struct report *rep)
{
	const struct {
		const char *name;
		uint64_t v;
	} regs[] = {
		{"rip", r->rip},         {"rsp", r->rsp},         {"rbp", r->rbp},
		{"rax", r->rax},         {"rbx", r->rbx},         {"rcx", r->rcx},
		{"rdx", r->rdx},         {"rsi", r->rsi},         {"rdi", r->rdi},
		{"r8", r->r8},           {"r9", r->r9},           {"r10", r->r10},
		{"r11", r->r11},         {"r12", r->r12},         {"r13", r->r13},
		{"r14", r->r14},         {"r15", r->r15},         {"eflags", r->eflags},
		{"fs_base", r->fs_base}, {"gs_base", r->gs_base}, {"orig_rax", r->orig_rax},
	};
	char line[160] = "";

	report_section(rep, "registers", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(regs); i++) {
		size_t n = strlen(line);

		report_hex(rep, regs[i].name, NULL, regs[i].v);
		snprintf(line + n, sizeof(line) - n, "  %8s %016llx", regs[i].name,
			 (unsigned long long)regs[i].v);
		if (i % 3 == 2) {
			report_line(rep, "  %s", line);
			line[0] = '\0';
		}
	}
	report_end(rep);
}

static void show_thread(const struct process *p, const struct thread *t, struct report *rep)
{
	char symbol[256];

	state_symbol(p, t->regs.rip, symbol, sizeof(symbol));
	report_item(rep);
	report_line(rep, "%d \"%.16s\" at %s", t->tid, t->comm, symbol);
	report_i64(rep, "tid", NULL, t->tid);
	report_str(rep, "comm", NULL, "%.16s", t->comm);
	report_str(rep, "symbol", NULL, "%s", symbol);
	show_registers(&t->regs, rep);
	report_u64(rep, "xstate_bytes", NULL, t->xstate_len);
	report_hex(rep, "sigmask", NULL, t->sigmask);
	if (t->sigmask)
		report_line(rep, "    blocked signals %#llx", (unsigned long long)t->sigmask);
	report_hex(rep, "altstack", NULL, t->altstack_sp);
	report_u64(rep, "altstack_bytes", NULL, t->altstack_size);
	report_hex(rep, "robust_list", NULL, t->robust_list);
	report_hex(rep, "rseq", NULL, t->rseq_addr);
	report_hex(rep, "tid_address", NULL, t->tid_address);
	state_show_pending(rep, t->pending, t->npending);
	report_end(rep);
}

static void show(const struct process *p, struct report *rep)
{
	char title[48];

	snprintf(title, sizeof(title), "Threads (%zu)", p->nthreads);
	report_list(rep, "threads", title);
	for (size_t i = 0; i < p->nthreads; i++)
		show_thread(p, &p->threads[i], rep);
	report_end(rep);
}

const struct state_ops state_threads = {
	.name = "threads",
	.note = NOTE_THREAD,
	.capture = ask_threads,
	.validate = validate,
	.restore = restore,
	.show = show,
	.done = done,
};
