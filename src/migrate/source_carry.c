/* Files that are taken along, in the order of a migration: see source.h. */
#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "migrate/source.h"

int source_send_carry_list(struct source *s, struct err *err)
{
	bool is_new;
	int ret;

	if (!s->o->copy_files)
		return 0;
	if ((ret = carry_out_list(&s->carry, s->job.proc, &is_new, err)))
		return ret;
	/* After a later list the destination speaks only if there is something new. */
	s->carry_asks = is_new;
	wire_deadline(s->w, s->o->timeout_ms);
	return carry_out_send_list(&s->carry, s->w, err);
}

static int send_lot(struct source *s, bool is_last, struct err *err)
{
	int ret = carry_out_send(&s->carry, &s->sender, is_last, s->o->timeout_ms, err);

	if (ret)
		return ret;
	wire_deadline(s->w, s->o->timeout_ms);
	ret = proto_send(s->w, FRAME_CARRIED, NULL, 0, err);
	fault_point("files sent");
	return ret;
}

int source_carry(struct source *s, struct err *err)
{
	uint64_t before = s->carry.bytes;
	int ret = s->o->copy_files ? send_lot(s, !s->track, err) : 0;

	if (!s->track)
		s->result->files_last_bytes = s->carry.bytes - before;
	return ret;
}

int source_carry_on(struct source *s, struct err *err)
{
	if (!s->o->copy_files || !s->track)
		return 0;
	return carry_out_send(&s->carry, &s->sender, false, s->o->timeout_ms, err);
}

int source_carry_last(struct source *s, struct err *err)
{
	uint64_t before = s->carry.bytes;
	int ret = 0;

	if (!s->o->copy_files || !s->track)
		return 0;
	if (s->carry_asks)
		ret = source_hear_files(s, err);
	if (!ret)
		ret = send_lot(s, true, err);
	s->result->files_last_bytes = s->carry.bytes - before;
	return ret;
}
