/*
 * Signal handlers, and signals pending for the process.  Masks and
 * thread-directed signals are with the threads.  signal(7), sigaction(2).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/io.h"
#include "base/report.h"
#include "state/state.h"

#define NSIG_KERNEL 64
#define SIGSET_BYTES 8

static bool is_fixed(int sig)
{
	return sig == SIGKILL || sig == SIGSTOP;
}

static int capture(struct capture *c, struct process *p, struct err *err)
{
	struct program prog;
	uint64_t out = 0;
	int ret;

	program_init(&prog, c->remote->data, REMOTE_DATA_LEN, REMOTE_CALL_CAP, err);
	program_reserve(&prog, sizeof(p->sigactions) + 64);
	out = program_data(&prog, NULL, sizeof(p->sigactions));
	for (int sig = 1; sig <= NSIG_KERNEL; sig++)
		program_call(&prog, "read signal handlers", SYS_rt_sigaction, (uint64_t)sig, 0,
			     out + (uint64_t)(sig - 1) * sizeof(p->sigactions[0]), SIGSET_BYTES, 0,
			     0);
	ret = remote_run(c->remote, &prog, err);
	program_done(&prog);
	if (!ret && (ret = remote_read(c->remote, out, p->sigactions, sizeof(p->sigactions))))
		err_sys(err, ret, "cannot read the signal handlers");
	if (ret)
		return ret;
	/* Among them: SIGHUP, which the kernel sends to a group that is stopped when the last
	 * process above it ends (kernel/exit.c, kill_orphaned_pgrp): at each restart it would
	 * die of it.  Test: sighup_before_its_first_instruction. */
	if (c->is_unborn)
		return 0;
	return state_peek_pending(c->remote->speaker, true, &p->pending, &p->npending, err);
}

static void codec(struct codec *c, struct process *p)
{
	for (int i = 0; i < NSIG_KERNEL; i++) {
		codec_u64(c, &p->sigactions[i].handler);
		codec_u64(c, &p->sigactions[i].flags);
		codec_u64(c, &p->sigactions[i].restorer);
		codec_u64(c, &p->sigactions[i].mask);
	}
	codec_pending(c, &p->pending, &p->npending);
}

static int restore(struct restore *r, const struct process *p, struct err *err)
{
	(void)err;
	for (int sig = 1; sig <= NSIG_KERNEL; sig++) {
		if (is_fixed(sig))
			continue;
		program_reserve(r->prog, sizeof(p->sigactions[0]) + 16);
		uint64_t a =
			program_data(r->prog, &p->sigactions[sig - 1], sizeof(p->sigactions[0]));

		program_call(r->prog, "signal handler", SYS_rt_sigaction, (uint64_t)sig, a, 0,
			     SIGSET_BYTES, 0, 0);
	}
	for (size_t i = 0; i < p->npending; i++) {
		const siginfo_t *si = (const void *)p->pending[i].info;

		program_reserve(r->prog, sizeof(p->pending[i]) + 16);
		uint64_t a = program_data(r->prog, &p->pending[i], sizeof(p->pending[i]));

		program_call(r->prog, "pending signal", SYS_rt_sigqueueinfo, (uint64_t)r->new_pid,
			     (uint64_t)si->si_signo, a, 0, 0, 0);
	}
	return 0;
}

static int validate(const struct process *p, struct err *err)
{
	for (size_t i = 0; i < p->npending; i++) {
		const siginfo_t *si = (const void *)p->pending[i].info;

		if (si->si_signo < 1 || si->si_signo > NSIG_KERNEL)
			return err_image(err, "a pending signal has number %d", si->si_signo);
	}
	return 0;
}

static void done(struct process *p)
{
	free(p->pending);
}

static void name_signal(char *out, size_t len, int sig)
{
	const char *name = sigabbrev_np(sig);

	if (name)
		snprintf(out, len, "SIG%s", name);
	else
		snprintf(out, len, "signal %d", sig);
}

static void show_action(struct report *rep, const struct process *p, int sig)
{
	const struct sigaction_state *a = &p->sigactions[sig - 1];
	bool is_ignored = a->handler == (uint64_t)(uintptr_t)SIG_IGN;
	char name[32], symbol[256];

	name_signal(name, sizeof(name), sig);
	state_symbol(p, a->handler, symbol, sizeof(symbol));
	report_item(rep);
	report_i64(rep, "signal", NULL, sig);
	report_str(rep, "name", NULL, "%s", name);
	report_bool(rep, "ignored", NULL, is_ignored);
	report_hex(rep, "handler", NULL, a->handler);
	report_opt(rep, "symbol", NULL, is_ignored ? NULL : symbol);
	report_hex(rep, "flags", NULL, a->flags);
	report_hex(rep, "mask", NULL, a->mask);
	if (is_ignored)
		report_line(rep, "%-10s ignored", name);
	else
		report_line(rep, "%-10s %s%s", name, symbol,
			    a->flags & SA_RESTART ? ", SA_RESTART" : "");
	report_end(rep);
}

/* Also for the signals of single threads: see threads.c. */
void state_show_pending(struct report *rep, const struct pending_signal *v, size_t n)
{
	report_list(rep, "pending", NULL);
	for (size_t i = 0; i < n; i++) {
		siginfo_t si;
		char name[32];

		memcpy(&si, v[i].info, sizeof(si));
		name_signal(name, sizeof(name), si.si_signo);
		report_item(rep);
		report_i64(rep, "signal", NULL, si.si_signo);
		report_str(rep, "name", NULL, "%s", name);
		report_i64(rep, "code", NULL, si.si_code);
		report_line(rep, "%-10s pending", name);
		report_end(rep);
	}
	report_end(rep);
}

static void show(const struct process *p, struct report *rep)
{
	report_section(rep, "signals", "Signals");
	report_list(rep, "actions", NULL);
	for (int sig = 1; sig <= NSIG_KERNEL; sig++)
		if (p->sigactions[sig - 1].handler != (uint64_t)(uintptr_t)SIG_DFL)
			show_action(rep, p, sig);
	report_end(rep);
	state_show_pending(rep, p->pending, p->npending);
	report_end(rep);
}

const struct state_ops state_signals = {
	.name = "signals",
	.note = NOTE_SIGNALS,
	.capture = capture,
	.codec = codec,
	.validate = validate,
	.restore = restore,
	.show = show,
	.done = done,
};
