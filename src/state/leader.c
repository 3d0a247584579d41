/*
 * A leader that has ended while other threads run on (pthread_exit(3) in main()): its name,
 * which is the process's, and the status with which it ended.  (Kernels without
 * synchronize_group_exit() in kernel/exit.c give that to the parent if no thread calls
 * exit_group(2), others that of the last thread.)  Whoever joins it finds what the kernel has
 * cleared in the memory.
 *
 * At a restart the new process's leader makes the threads, and ends in the same way.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/io.h"
#include "base/report.h"
#include "proc/status.h"
#include "state/state.h"

static int capture(struct capture *c, struct process *p, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct proc_stat st;
	char name[48];
	int ret;

	p->leader_ended = remote_leader_has_ended(c->remote);
	if (!p->leader_ended)
		return 0;
	snprintf(name, sizeof(name), "task/%d/stat", c->remote->pid);
	if ((ret = state_read_proc(c, name, &b, err)) || (ret = proc_parse_stat(b.p, &st, err)))
		return ret;
	memcpy(p->comm, st.comm, sizeof(p->comm));
	p->comm[sizeof(p->comm) - 1] = '\0';
	p->leader_status = (uint32_t)st.exit_code >> 8 & 0xff; /* wait(2), WEXITSTATUS */
	return 0;
}

static bool is_needed(const struct process *p)
{
	return p->leader_ended;
}

static void codec(struct codec *c, struct process *p)
{
	p->leader_ended = true;
	codec_u32(c, &p->leader_status);
}

static int validate(const struct process *p, struct err *err)
{
	if (p->leader_status > 255)
		return err_image(err, "the first thread ended with status %u", p->leader_status);
	if (!p->leader_ended && p->threads[0].tid != p->pid)
		return err_image(err, "the first thread is %d, not the leader %d",
				 p->threads[0].tid, p->pid);
	for (size_t i = 0; p->leader_ended && i < p->nthreads; i++)
		if (p->threads[i].tid == p->pid)
			return err_image(err, "the leader %d has ended, and is a thread", p->pid);
	return 0;
}

void leader_restore(struct restore *r, const struct process *p)
{
	struct program *g = r->prog;

	if (r->drop_rights)
		threads_drop_rights(g);
	program_call(g, "name of the first thread, and the process", SYS_prctl, PR_SET_NAME,
		     program_data(g, p->comm, sizeof(p->comm)), 0, 0, 0, 0);
}

static void show(const struct process *p, struct report *rep)
{
	if (!p->leader_ended)
		return;
	report_section(rep, "first_thread", "First thread");
	report_u64(rep, "status", NULL, p->leader_status);
	report_line(rep, "has ended, with status %u; others run on", p->leader_status);
	report_end(rep);
}

const struct state_ops state_leader = {
	.name = "the first thread",
	.note = NOTE_LEADER,
	.optional = true,
	.capture = capture,
	.is_needed = is_needed,
	.codec = codec,
	.validate = validate,
	.show = show,
};
