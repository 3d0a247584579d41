/*
 * Signal handlers, and signals pending for the process.  Masks and
 * thread-directed signals are with the threads.  signal(7), sigaction(2).
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/io.h"
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
	return state_peek_pending(c->remote->pid, true, &p->pending, &p->npending, err);
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

const struct state_ops state_signals = {
	.name = "signals",
	.note = NOTE_SIGNALS,
	.capture = capture,
	.codec = codec,
	.validate = validate,
	.restore = restore,
	.done = done,
};
