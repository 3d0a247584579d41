/*
 * What a program has told the kernel about itself beside its surroundings: for each
 * thread timer slack, parent-death signal, securebits, I/O priority, and whether it
 * is an I/O flusher; for the process oom_score_adj, which memory a core dump holds,
 * mlockall(MCL_FUTURE), PR_SET_MDWE, and the dumpable flag.
 *
 * The threads are asked in the round of state/threads.c.  What holds for all memory
 * that is mapped from then on comes last, when all of it is there.  The note is
 * written where anything is not as the kernel gives it to every program.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/report.h"
#include "proc/status.h"
#include "state/settings.h"
#include "state/state.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#define PR_GET_IO_FLUSHER 58
#endif
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif
#define COREDUMP_FILTER_DEFAULT 0x33 /* core(5) */
#define FUTURE 1u
#define FUTURE_ONFAULT 2u

/* --- capture: threads --- */

void settings_calls(struct call *calls, uint64_t out)
{
	const struct call c[SETTINGS_CALLS] = {
		{.nr = SYS_prctl, .arg = {PR_GET_TIMERSLACK}},
		{.nr = SYS_prctl, .arg = {PR_GET_PDEATHSIG, out}, .pointers = 2},
		{.nr = SYS_prctl, .arg = {PR_GET_SECUREBITS}},
		{.nr = SYS_prctl, .arg = {PR_GET_IO_FLUSHER}},
	};

	memcpy(calls, c, sizeof(c));
}

int settings_alloc(struct process *p, size_t nthreads, struct err *err)
{
	p->settings.threads = io_alloc(nthreads, sizeof(*p->settings.threads), err);
	if (!p->settings.threads)
		return err->error;
	p->settings.nthreads = nthreads;
	return 0;
}

/* Negative: not known here, or only with CAP_SYS_RESOURCE, as PR_GET_IO_FLUSHER is. */
static uint32_t answer(const struct wire_call *c)
{
	return (int64_t)c->ret > 0 ? (uint32_t)c->ret : 0;
}

/* A restart with the same ids has its thin parent's end end the program
 * (restart/ids.c): that is no setting of the program's. */
static bool is_ours(struct capture *c, size_t i, uint32_t signal)
{
	struct err ignored = ERR_INIT;
	struct proc_stat st;

	return i == 0 && signal == SIGKILL && !remote_stat(c->remote, &st, &ignored) &&
	       proc_has_comm(st.ppid, STATE_PARENT_COMM);
}

void settings_take(struct capture *c, struct process *p, size_t i, const struct wire_call *calls,
		   uint32_t out)
{
	int ioprio = c->remote->threads[i].ioprio;

	p->settings.threads[i] = (struct thread_settings){
		.timerslack_ns = (int64_t)calls[0].ret > 0 ? (uint64_t)calls[0].ret : 0,
		.death_signal = is_ours(c, i, out) ? 0 : out,
		.securebits = answer(&calls[2]),
		.ioprio = ioprio > 0 ? (uint32_t)ioprio : 0,
		.io_flusher = answer(&calls[3]),
	};
}

/* --- capture: the process --- */

static long read_number(struct capture *c, const char *name, int base, long otherwise)
{
	__cleanup_buf struct buf b = {0};

	return io_read_file(c->remote->procfd, name, &b) || !b.len ? otherwise
								   : strtol(b.p, NULL, base);
}

static unsigned long locked_kib(struct capture *c)
{
	__cleanup_buf struct buf b = {0};
	const char *at;

	if (io_read_file(c->remote->procfd, "status", &b) || !(at = strstr(b.p, "\nVmLck:")))
		return 0;
	return strtoul(at + 7, NULL, 10);
}

/*
 * Linux shows MCL_FUTURE nowhere.  A page that is mapped while it holds counts as
 * locked at once; it is there at once, too, unless MCL_ONFAULT was said.
 * 1. Nothing is locked: it does not hold, since our own scratch mapping would be.
 * 2. Else a page is mapped, and looked at.
 */
static int probe_future(struct capture *c, struct process *p, struct err *err)
{
	unsigned long before = locked_kib(c), after;
	struct program prog;
	uint64_t at, out;
	uint8_t there = 0;
	int ret;

	if (!before)
		return 0;
	program_init(&prog, c->remote->data, REMOTE_DATA_LEN, REMOTE_CALL_CAP, err);
	program_call(&prog, "map a page to see whether it is locked", SYS_mmap, 0, PAGE_SIZE_4K,
		     PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0)
		->expect = EXPECT_ANY;
	ret = remote_run(c->remote, &prog, err);
	at = ret ? 0 : (uint64_t)prog.batches[0].calls[0].ret;
	program_done(&prog);
	if (ret)
		return ret;
	if (at > (uint64_t)-4096) { /* EAGAIN: more locked memory than RLIMIT_MEMLOCK */
		p->settings.lock_future = at == (uint64_t)-EAGAIN ? FUTURE : 0;
		return 0;
	}
	after = locked_kib(c);
	program_init(&prog, c->remote->data, REMOTE_DATA_LEN, REMOTE_CALL_CAP, err);
	out = program_data(&prog, NULL, 8);
	program_call(&prog, "is it there", SYS_mincore, at, PAGE_SIZE_4K, out, 0, 0, 0);
	program_call(&prog, "unmap it", SYS_munmap, at, PAGE_SIZE_4K, 0, 0, 0, 0);
	ret = remote_run(c->remote, &prog, err);
	program_done(&prog);
	if (!ret && (ret = remote_read(c->remote, out, &there, 1)))
		err_sys(err, ret, "cannot read what mincore says");
	if (!ret && after > before)
		p->settings.lock_future = there & 1 ? FUTURE : FUTURE_ONFAULT;
	return ret;
}

static int capture(struct capture *c, struct process *p, struct err *err)
{
	struct program prog;
	int64_t mdwe;
	int ret;

	program_init(&prog, c->remote->data, REMOTE_DATA_LEN, REMOTE_CALL_CAP, err);
	program_call(&prog, "read PR_SET_MDWE (EINVAL before Linux 6.3)", SYS_prctl, PR_GET_MDWE, 0,
		     0, 0, 0, 0)
		->expect = EXPECT_ANY;
	ret = remote_run(c->remote, &prog, err);
	mdwe = ret ? 0 : (int64_t)prog.batches[0].calls[0].ret;
	program_done(&prog);
	if (ret)
		return ret;
	p->settings.mdwe = mdwe > 0 ? (uint32_t)mdwe : 0;
	p->settings.oom_score_adj = (int32_t)read_number(c, "oom_score_adj", 10, 0);
	p->settings.coredump_filter =
		(uint32_t)read_number(c, "coredump_filter", 16, COREDUMP_FILTER_DEFAULT);
	return probe_future(c, p, err);
}

static bool is_needed(const struct process *p)
{
	const struct settings *s = &p->settings;

	for (size_t i = 0; i < s->nthreads; i++) {
		const struct thread_settings *t = &s->threads[i];

		if (t->death_signal || t->securebits || t->ioprio >> IOPRIO_CLASS_SHIFT ||
		    t->io_flusher || t->timerslack_ns != p->timerslack_ns)
			return true;
	}
	return s->mdwe || s->oom_score_adj || s->lock_future || p->dumpable != 1 ||
	       s->coredump_filter != COREDUMP_FILTER_DEFAULT;
}

/* --- image --- */

static void codec(struct codec *c, struct process *p)
{
	struct settings *s = &p->settings;

	codec_i32(c, &s->oom_score_adj);
	codec_u32(c, &s->coredump_filter);
	codec_u32(c, &s->lock_future);
	codec_u32(c, &s->mdwe);
	codec_array(c, &s->threads, &s->nthreads, sizeof(*s->threads), 24, 1u << 22);
	for (size_t i = 0; i < s->nthreads; i++) {
		codec_u64(c, &s->threads[i].timerslack_ns);
		codec_u32(c, &s->threads[i].death_signal);
		codec_u32(c, &s->threads[i].securebits);
		codec_u32(c, &s->threads[i].ioprio);
		codec_u32(c, &s->threads[i].io_flusher);
	}
}

static int validate(const struct process *p, struct err *err)
{
	const struct settings *s = &p->settings;

	if (s->nthreads && s->nthreads != p->nthreads)
		return err_image(err, "the note on settings is of %zu threads, not of %zu",
				 s->nthreads, p->nthreads);
	for (size_t i = 0; i < s->nthreads; i++)
		if (s->threads[i].death_signal > 64)
			return err_image(err, "a thread's parent-death signal is %u",
					 s->threads[i].death_signal);
	if (s->lock_future > FUTURE_ONFAULT || s->oom_score_adj < -1000 || s->oom_score_adj > 1000)
		return err_image(err, "the note on settings is malformed");
	return 0;
}

/* --- restart --- */

/* What only root may say again. */
static int check(struct restore *r, const struct process *p, struct err *err)
{
	(void)err;
	if (!geteuid() || !p->settings.nthreads)
		return 0;
	if (p->settings.threads[0].securebits & ~(1u << 4))
		restore_notice(r, "it runs without its securebits: only root may set them");
	if (p->settings.threads[0].io_flusher)
		restore_notice(r, "it is no I/O flusher any more: only root may be one");
	return 0;
}

static void restore_process(struct program *g, const struct process *p)
{
	const struct settings *s = &p->settings;

	/* Root alone can still reach the memory of such a process. */
	if (p->dumpable != 1 && !geteuid())
		program_call(g, "dumpable", SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0, 0);
	/* EPERM: it may lock nothing here. */
	if (s->lock_future)
		program_call(g, "lock what it maps from now on", SYS_mlockall,
			     MCL_FUTURE | (s->lock_future == FUTURE_ONFAULT ? MCL_ONFAULT : 0), 0,
			     0, 0, 0, 0)
			->expect = EXPECT_ANY;
	if (s->mdwe)
		program_call(g, "no memory that is written to and executed", SYS_prctl, PR_SET_MDWE,
			     s->mdwe, 0, 0, 0, 0);
}

/* It follows whatever changes the thread's rights: that clears the signal and the bits
 * (prctl(2), PR_SET_PDEATHSIG). */
void settings_restore_thread(struct program *g, const struct process *p, size_t thread)
{
	const struct thread_settings *t;

	if (thread >= p->settings.nthreads)
		return;
	t = &p->settings.threads[thread];
	program_call(g, "timer slack", SYS_prctl, PR_SET_TIMERSLACK, t->timerslack_ns, 0, 0, 0, 0);
	if (t->securebits)
		program_call(g, "securebits", SYS_prctl,
			     t->securebits == 1u << 4 ? PR_SET_KEEPCAPS : PR_SET_SECUREBITS,
			     t->securebits == 1u << 4 ? 1 : t->securebits, 0, 0, 0, 0)
			->expect = EXPECT_ANY;
	if (t->death_signal)
		program_call(g, "parent-death signal", SYS_prctl, PR_SET_PDEATHSIG, t->death_signal,
			     0, 0, 0, 0);
	if (t->ioprio >> IOPRIO_CLASS_SHIFT)
		program_call(g, "I/O priority (EPERM: real-time, without the right)",
			     SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, t->ioprio, 0, 0, 0)
			->expect = EXPECT_ANY;
	if (t->io_flusher)
		program_call(g, "I/O flusher", SYS_prctl, PR_SET_IO_FLUSHER, 1, 0, 0, 0, 0)
			->expect = EXPECT_ANY;
	if (thread == 0)
		restore_process(g, p);
}

static void write_number(int procfd, const char *name, const char *fmt, int value)
{
	__cleanup_fd int fd = openat(procfd, name, O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		dprintf(fd, fmt, value);
}

void settings_write(int procfd, const struct process *p)
{
	if (!p->settings.nthreads)
		return;
	write_number(procfd, "oom_score_adj", "%d", p->settings.oom_score_adj);
	write_number(procfd, "coredump_filter", "0x%x", (int)p->settings.coredump_filter);
}

static void show(const struct process *p, struct report *rep)
{
	const struct settings *s = &p->settings;

	if (!s->nthreads)
		return;
	report_section(rep, "settings", "Settings");
	report_i64(rep, "oom_score_adj", "oom_score_adj", s->oom_score_adj);
	report_hex(rep, "coredump_filter", "coredump_filter", s->coredump_filter);
	report_u64(rep, "death_signal", s->threads[0].death_signal ? "parent-death signal" : NULL,
		   s->threads[0].death_signal);
	report_bool(rep, "lock_future", s->lock_future ? "locks what it maps" : NULL,
		    s->lock_future);
	report_bool(rep, "mdwe", s->mdwe ? "PR_SET_MDWE" : NULL, s->mdwe);
	report_end(rep);
}

static void done(struct process *p)
{
	free(p->settings.threads);
}

const struct state_ops state_settings = {
	.name = "the settings",
	.note = NOTE_SETTINGS,
	.optional = true,
	.capture = capture,
	.is_needed = is_needed,
	.codec = codec,
	.validate = validate,
	.check = check,
	.show = show,
	.done = done,
};
