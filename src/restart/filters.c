/*
 * Seccomp filters and capabilities of the program that is made: the third program, when nothing
 * else is left to be done.  (A fed one has had its signals and its locks by then.)
 */
#include <errno.h>

#include "restart/internal.h"
#include "state/capabilities.h"
#include "state/seccomp.h"

int rebuild_third_program(struct rebuild *b, struct err *err)
{
	struct restore *r = &b->restore;

	program_done(&b->prog);
	program_init(&b->prog, r->scratch + r->scratch_len - REMOTE_DATA_LEN, REMOTE_DATA_LEN,
		     REMOTE_CALL_CAP, err);
	r->prog = &b->prog;
	seccomp_restore(r, &b->proc);
	capabilities_restore(r, &b->proc);
	return b->prog.failed ? err_set(err, -ENOMEM, "cannot plan the restart") : 0;
}

int rebuild_set_filters(struct rebuild *b, struct err *err)
{
	int ret;

	if (!seccomp_is_set(&b->proc) && !capabilities_differ(&b->proc))
		return 0;
	ret = rebuild_third_program(b, err);
	if (!ret && seccomp_is_set(&b->proc))
		ret = remote_guard_new(&b->remote, err);
	if (!ret)
		ret = remote_run(&b->remote, &b->prog, err);
	program_done(&b->prog);
	return ret;
}
