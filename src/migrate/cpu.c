/* Does the program use what the destination's CPU lacks?  See source.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "code/code.h"
#include "migrate/source.h"

/*
 * The destination looks, too, when it has the program, and has the last word.  Here it is
 * known before a page is sent, and to one who only asks.
 */
int source_check_code(struct source *s, struct err *err)
{
	struct arch_features missing = cpu_missing(s->job.proc, &s->there->cpu);
	__cleanup_fd int fd = -1;
	struct code_memory m;
	int ret;

	if (arch_features_empty(&missing))
		return 0;
	fd = remote_open_proc(s->job_options.pid, "mem", O_RDONLY);
	if (fd < 0)
		return err_sys(err, fd, "cannot read the memory of process %d", s->job_options.pid);
	code_memory_fd(s->job.proc, &fd, &m);
	ret = code_check(&m, &missing, false, err);
	if (!ret)
		s->result->cpu_differs = true;
	return ret;
}
