/*
 * --pause=short: the program is stopped for a snapshot of its memory (remote/snapshot.h),
 * which is copied while it runs.
 *
 * What the snapshot lacks is copied while the program is stopped: blocks that hold any
 * of it, whole.  Where no snapshot can be made, all is, and the person is told why.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/io.h"
#include "checkpoint/internal.h"
#include "checkpoint/slots.h"
#include "state/memory.h"

int short_snapshot(struct job *j, struct err *err)
{
	struct err why = ERR_INIT;
	int ret;

	if (j->proc->subreaper) {
		err_set(&why, -ENOTSUP,
			"process %d is a child subreaper, which would meet the snapshot",
			j->o->pid);
		ret = err_hint(&why, "--pause=live needs no snapshot");
	} else {
		ret = remote_snapshot(&j->remote, &j->snapshot, &why);
	}
	j->has_snapshot = !ret;
	if (ret && ret != -ENOTSUP)
		*err = why;
	if (ret != -ENOTSUP)
		return ret;
	capture_notice(&j->capture, "%s", why.what);
	capture_notice(&j->capture, "the program is stopped while its memory is copied (hint: %s)",
		       why.hint);
	return 0;
}

/* Shared memory goes on changing; pages of a file that has no name any more may, too. */
static bool is_missing(const struct process *p, const struct mapping *m, uint64_t start,
		       uint64_t end)
{
	return m->kind == MAPPING_SHMEM || m->kind == MAPPING_HUGE || m->flags & MAPPING_DELETED ||
	       advice_keeps_from_copy(p, start, end);
}

/* --- by the block --- */

int short_copy_stopped(struct job *j, struct err *err)
{
	const struct process *p = j->proc;
	int ret;

	if (!j->has_snapshot)
		return job_copy_memory(j, err);
	j->stays = io_alloc(image_writer_blocks(j->writer) + 1, 1, err);
	if (!j->stays)
		return err->error;
	for (size_t i = 0; i < p->nruns && !(p->runs[i].flags & RUN_CLEAN); i++) {
		const struct run *r = &p->runs[i];
		uint64_t first = j->run_at[i] / IMAGE_BLOCK;
		uint64_t last = (j->run_at[i + 1] - 1) / IMAGE_BLOCK;

		if (is_missing(p, &p->mappings[r->mapping], r->start, r->start + r->len))
			for (uint64_t b = first; b <= last; b++)
				j->stays[b] = 1;
	}
	ret = job_copy_blocks(j, j->stays, 1, false, err);
	j->source = &j->snapshot;
	return ret;
}

int short_copy_running(struct job *j, struct err *err)
{
	int ret;

	if (!j->has_snapshot)
		return 0;
	if ((ret = short_check(j, err)) || (ret = job_copy_blocks(j, j->stays, 0, true, err)))
		return ret;
	short_end(j);
	return 0;
}

/* --- by the piece --- */

/* Both lists rise by address; each piece lies in mappings, perhaps in several. */
int short_split(struct job *j, struct slot_list *pieces, struct slot_list *missing, struct err *err)
{
	const struct process *p = j->proc;
	struct slot_list rest = {0};
	size_t k = 0;
	int ret = 0;

	missing->n = 0;
	for (size_t i = 0; i < pieces->n && !ret; i++) {
		struct slot s = pieces->v[i];

		while (s.len && !ret) {
			const struct mapping *m;
			struct slot part = s;

			while (k < p->nmappings && p->mappings[k].end <= s.start)
				k++;
			m = k < p->nmappings ? &p->mappings[k] : NULL;
			if (m && m->end - s.start < s.len)
				part.len = m->end - s.start;
			ret = slot_list_add(m && is_missing(p, m, part.start, part.start + part.len)
						    ? missing
						    : &rest,
					    part, err);
			s.start += part.len;
			s.off += part.len;
			s.len -= part.len;
		}
	}
	slot_list_done(pieces);
	*pieces = rest;
	return ret;
}

/* --- both --- */

int short_check(struct job *j, struct err *err)
{
	__cleanup_fd int procfd = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d", j->snapshot.pid);
	procfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (procfd < 0)
		return err_sys(err, -errno, "cannot open '%s'", path);
	return advice_check_copy(j->proc, procfd, err);
}

void short_end(struct job *j)
{
	fault_point("snapshot read");
	remote_snapshot_end(&j->snapshot);
}
