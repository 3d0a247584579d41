/*
 * The command line of the job that the program is: what `godwit run` was told to
 * run, so that it can tell whether an image is of the same job.  The program's own
 * argv will not do: scripts, env(1) and the like execute something else.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/report.h"
#include "state/state.h"

#define JOB_ARGS_MAX ((size_t)1 << 20)

static int capture_job(struct capture *c, struct process *p, struct err *err)
{
	if (!c->njob)
		return 0;
	p->job = io_alloc(c->njob, sizeof(*p->job), err);
	if (!p->job)
		return err->error;
	for (; p->njob < c->njob; p->njob++) {
		p->job[p->njob] = strdup(c->job[p->njob]);
		if (!p->job[p->njob])
			return err_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}

static bool is_needed(const struct process *p)
{
	return p->njob;
}

static void codec(struct codec *c, struct process *p)
{
	codec_array(c, &p->job, &p->njob, sizeof(*p->job), 4, JOB_ARGS_MAX);
	for (size_t i = 0; i < p->njob; i++)
		codec_str(c, &p->job[i]);
}

static int validate(const struct process *p, struct err *err)
{
	for (size_t i = 0; i < p->njob; i++)
		if (!p->job[i])
			return err_image(err, "its job has no argument %zu", i);
	return 0;
}

static void show(const struct process *p, struct report *rep)
{
	__cleanup_buf struct buf line = {0};

	if (!p->njob)
		return;
	for (size_t i = 0; i < p->njob; i++)
		buf_printf(&line, "%s%s", i ? " " : "", p->job[i]);
	report_section(rep, "job", "Job of godwit run");
	report_line(rep, "%-14s %s", "command", line.p ? line.p : "");
	report_list(rep, "argv", NULL);
	for (size_t i = 0; i < p->njob; i++)
		report_value(rep, p->job[i]);
	report_end(rep);
	report_end(rep);
}

static void done(struct process *p)
{
	for (size_t i = 0; p->job && i < p->njob; i++)
		free(p->job[i]);
	free(p->job);
}

const struct state_ops state_job = {
	.name = "the job",
	.note = NOTE_JOB,
	.optional = true,
	.capture = capture_job,
	.is_needed = is_needed,
	.codec = codec,
	.validate = validate,
	.show = show,
	.done = done,
};
