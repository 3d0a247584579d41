/* What the source sends while its program stands still: see source.h. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fault.h"
#include "migrate/files.h"
#include "migrate/postcopy.h"
#include "migrate/room.h"
#include "migrate/source.h"
#include "state/memory.h"
#include "state/vdso.h"

int source_make_model(struct source *s, struct err *err)
{
	struct job *j = &s->job;
	int ret;

	if ((ret = source_check_locks(s, err)) || (ret = job_plan_copy(j, err)) ||
	    (ret = image_writer_open_memory(&j->writer, err)) ||
	    (ret = image_writer_set_data_size(j->writer, 0, err)) ||
	    (ret = job_write_notes(j, err)))
		return ret;
	return image_writer_commit(j->writer, err);
}

static int send_pieces(struct source *s, int fd, struct err *err)
{
	__cleanup_free uint8_t *buf = io_alloc(1, PROTO_PIECE, err);
	uint64_t at = 0, all = image_writer_size(s->job.writer);

	if (!buf)
		return err->error;
	while (at < all) {
		size_t n = all - at < PROTO_PIECE ? (size_t)(all - at) : PROTO_PIECE;
		int ret = io_pread_all(fd, buf, n, at);

		if (ret)
			return err_sys(err, ret, "cannot read the model");
		wire_deadline(s->w, s->o->timeout_ms);
		if ((ret = proto_send(s->w, FRAME_MODEL, buf, n, err)))
			return ret;
		at += n;
	}
	return 0;
}

static int send_files(struct source *s, struct err *err)
{
	struct process *p = s->job.proc;
	__cleanup_free uint64_t *hash = io_alloc(p->nmapped_files + 1, sizeof(*hash), err);
	__cleanup_buf struct buf b = {0};
	struct codec c = codec_writer(&b);
	size_t n = p->nmapped_files;
	uint32_t look = s->track && !s->early ? LOOK_EARLY : LOOK_LAST;

	codec_u32(&c, &look);
	if (!hash)
		return err->error;
	if (!s->early)
		files_hash(p, hash); /* later, the first verdict holds */
	codec_array(&c, &hash, &n, sizeof(*hash), 8, PROTO_FILES_MAX / 8);
	for (size_t i = 0; i < n; i++)
		codec_u64(&c, &hash[i]);
	return proto_send_buf(s->w, FRAME_FILES, &b, err);
}

int source_send_made_model(struct source *s, struct err *err)
{
	int ret = send_pieces(s, image_writer_fd(s->job.writer), err);

	if (ret)
		return ret;
	fault_point("model sent");
	ret = source_send_carry_list(s, err);
	return ret ? ret : send_files(s, err);
}

int source_send_model(struct source *s, struct err *err)
{
	int ret = source_make_model(s, err);

	return ret ? ret : source_send_made_model(s, err);
}

/* What is free is an estimate: only the question takes it for an answer. */
static int judge_memory(struct source *s, struct err *err)
{
	uint64_t needed = room_needed(s->job.proc, s->known), mib = 1 << 20;
	char text[200];

	s->result->needed_bytes = needed;
	if (needed <= s->there->free_memory)
		return 0;
	snprintf(text, sizeof(text),
		 "the program needs %llu MiB of memory, and %s has %llu MiB free",
		 (unsigned long long)(needed / mib), s->w->peer,
		 (unsigned long long)(s->there->free_memory / mib));
	if (!s->o->ask_only) {
		guardian_notice(s->job.front, text);
		return 0;
	}
	err_set(err, -ENOMEM, "%s", text);
	return err_hint(err, "end something over there, or choose another host");
}

static void bools(struct codec *c, bool **v, size_t *n, size_t max)
{
	codec_array(c, v, n, sizeof(**v), 1, max);
	for (size_t i = 0; i < *n; i++)
		codec_bool(c, &(*v)[i]);
}

/* Of n mapped files: which are known over there; and which of those to be taken along are
 * lacking. */
static int hear(struct source *s, bool **known, size_t n, struct err *err)
{
	size_t max = n + s->carry.list.n + 64, len, got = 0, nlacks = 0;
	__cleanup_free uint8_t *buf = io_alloc(1, max, err);
	__cleanup_free bool *lacks = NULL;
	struct codec c;
	int ret;

	if (!buf)
		return err->error;
	wire_deadline(s->w, s->o->timeout_ms);
	ret = proto_expect(s->w, &s->reader, FRAME_VERDICT, buf, max, &len, err);
	if (ret)
		return ret;
	c = codec_reader(buf, len);
	bools(&c, known, &got, max);
	bools(&c, &lacks, &nlacks, max);
	if (!codec_ended(&c) || got != n)
		return err_set(err, -EPROTO, "%s sent a malformed verdict", s->w->peer);
	return carry_out_verdict(&s->carry, lacks, nlacks, err);
}

int source_hear_files(struct source *s, struct err *err)
{
	bool *none = NULL;

	return hear(s, &none, 0, err);
}

int source_hear_verdict(struct source *s, struct err *err)
{
	int ret;

	free(s->known);
	s->known = NULL;
	if ((ret = hear(s, &s->known, s->job.proc->nmapped_files, err)))
		return ret;
	fault_point("verdict heard");
	return judge_memory(s, err);
}

/* --- pages --- */

int source_sent(struct source *s, uint64_t bytes, struct err *err)
{
	progress_done(&s->progress, s->progress.now.done + bytes);
	return job_is_cancelled(&s->job) ? err_set(err, -ECANCELED, "interrupted") : 0;
}

/* Of a run, from `done` to `end`. */
static int send_part(struct source *s, size_t i, uint64_t done, uint64_t end, struct err *err)
{
	const struct run *r = &s->job.proc->runs[i];

	while (done < end) {
		size_t room = sender_room(&s->sender);
		size_t n = end - done < room ? (size_t)(end - done) : room;
		int ret = job_gather(&s->job, s->job.run_at[i] + done, n,
				     s->sender.data + s->sender.len, err);

		if (ret || (ret = sender_add(&s->sender, r->start + done, n, err)) ||
		    (ret = source_sent(s, n, err)))
			return ret;
		done += n;
	}
	return 0;
}

/* But for what comes later. */
static int send_run(struct source *s, size_t i, struct err *err)
{
	const struct run *r = &s->job.proc->runs[i];
	uint64_t at = r->start, end = r->start + r->len;
	int ret = 0;

	while (at < end && !ret) {
		struct lazy_range later = later_next(&s->later, at, end);

		ret = send_part(s, i, at - r->start, later.start - r->start, err);
		at = later.end;
	}
	return ret;
}

/* Bytes that source_send_pages will send. */
static uint64_t rest_bytes(const struct source *s, const struct restore *view)
{
	const struct process *p = s->job.proc;
	uint64_t sum = 0;

	for (size_t i = 0; i < p->nruns; i++)
		if (!(s->unchanged && s->unchanged[i]) && memory_run_wanted(view, p, &p->runs[i]))
			sum += p->runs[i].len;
	return sum;
}

int source_send_pages(struct source *s, struct err *err)
{
	struct process *p = s->job.proc;
	__cleanup_free bool *known = io_alloc(p->nmapped_files + 1, sizeof(*known), err);
	const struct restore view = {
		.file_matches = known,
		.with_vdso = vdso_is_wanted(p, s->there->vdso_hash),
	};
	uint64_t pages = s->sender.npages, sent = s->sender.sent_bytes;
	int ret = 0;

	if (!known)
		return err->error;
	files_carry(s->early ? s->early->proc : p, s->known, p, known);
	progress_stage(&s->progress, STAGE_REST, rest_bytes(s, &view) - later_bytes(&s->later), 0);
	for (size_t i = 0; i < p->nruns && !ret; i++) {
		if (s->unchanged && s->unchanged[i])
			continue;
		if (!memory_run_wanted(&view, p, &p->runs[i])) {
			s->result->known_bytes += p->runs[i].len;
			continue;
		}
		ret = send_run(s, i, err);
	}
	if (ret || (ret = sender_flush(&s->sender, err)) || (ret = source_sync_locked(s, err)))
		return ret;
	s->result->rest.pages = s->sender.npages - pages;
	s->result->rest.sent_bytes = s->sender.sent_bytes - sent;
	fault_point("pages sent");
	wire_deadline(s->w, s->o->timeout_ms);
	return proto_send(s->w, FRAME_END, NULL, 0, err);
}
