/*
 * Pre-copy: memory goes over while the program runs.
 *
 * 1. a first stop, as short as a checkpoint's without the pages: the state is
 *    captured, so that the destination can look whether it could take it, and the
 *    tracking of writes begins (track/track.h);
 * 2. while the program runs, round by round: the pages that were written since the last
 *    round, first all of them;
 * 3. when what is left fits the pause wanted, or stops shrinking, the last stop: the
 *    state is captured again, and only pages that were written since are sent.
 *
 * A page that was copied while it changed is told again by the next round or the
 * last stop, since it is armed before it is copied.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fault.h"
#include "proc/maps.h"
#include "migrate/source.h"
#include "track/track.h"

/* A round that is not smaller than this part of the smallest is in vain. */
#define SHRINK 0.75
#define VAIN_MAX 2
/* At most so many after the last look from outside, until a round finds so little. */
#define LAST_ROUNDS 3
#define LITTLE_BYTES (256u << 10)

struct ranges {
	struct span {
		uint64_t start, end;
	} * v;
	size_t n, cap;
	struct err *err;
};

int source_begin_tracking(struct source *s, struct err *err)
{
	struct err why = ERR_INIT;
	int ret = track_start(&s->job.remote, &s->track, &why);

	if (!ret)
		return 0;
	if (ret != -ENOTSUP) {
		*err = why;
		return ret;
	}
	/* Then it stays stopped while all of it is sent. */
	s->track = NULL;
	snprintf(s->result->why_total, sizeof(s->result->why_total), "%.255s", why.what);
	return 0;
}

int source_let_run(struct source *s, struct err *err)
{
	if (!s->track)
		return 0;
	s->memfd = fcntl(s->job.remote.memfd, F_DUPFD_CLOEXEC, 0);
	if (s->memfd < 0)
		return err_sys(err, -errno, "cannot keep the memory of process %d open",
			       s->job_options.pid);
	remote_release(&s->job.remote);
	s->job.released = true;
	fault_point("runs on");
	return 0;
}

static int add_range(void *arg, uint64_t start, uint64_t end)
{
	struct ranges *r = arg;
	struct span *v = io_grow(r->v, &r->cap, r->n + 1, sizeof(*r->v), r->err);

	if (!v)
		return r->err->error;
	r->v = v;
	r->v[r->n++] = (struct span){start, end};
	return 0;
}

/* Bytes at addr that could be read, whole pages; 0: it is not there any more. */
static size_t read_running(const struct source *s, uint64_t addr, uint8_t *to, size_t len)
{
	struct iovec local = {to, len}, remote = {(void *)(uintptr_t)addr, len};
	ssize_t n = process_vm_readv(s->job.remote.speaker, &local, 1, &remote, 1, 0);

	/* Memory that its own protection hides is still to be moved; and the thread that spoke for
	 * it may have ended. */
	if (n < 0 && errno == ESRCH)
		n = pread(s->memfd, to, len, (off_t)addr);
	else if (n < (ssize_t)PAGE_SIZE_4K)
		n = pread(s->memfd, to, PAGE_SIZE_4K, (off_t)addr);
	return n < 0 ? 0 : ALIGN_DOWN((size_t)n, PAGE_SIZE_4K);
}

static int send_range(struct source *s, uint64_t start, uint64_t end, struct err *err)
{
	while (start < end) {
		size_t room = sender_room(&s->sender);
		size_t n = end - start < room ? (size_t)(end - start) : room;
		int ret = 0;

		n = read_running(s, start, s->sender.data + s->sender.len, n);
		if (n)
			ret = sender_add(&s->sender, start, n, err);
		/* A page that went away meanwhile is in no run at the stop, or in one
		 * that is sent then. */
		n = n ? n : PAGE_SIZE_4K;
		if (ret || (ret = source_sent(s, n, err)))
			return ret;
		start += n;
	}
	return 0;
}

static int send_ranges(struct source *s, const struct ranges *r, struct err *err)
{
	for (size_t i = 0; i < r->n; i++) {
		int ret = send_range(s, r->v[i].start, r->v[i].end, err);

		if (ret)
			return ret;
	}
	return sender_flush(&s->sender, err);
}

/*
 * The mappings that the pages of this round are in.  They are mapped over there as
 * they are here: piece by piece, as their pages come, they would never become one
 * again (the kernel does not join areas whose pages were made apart), and a later
 * mremap() of the program's would fail.
 */
static int find_mappings(const struct source *s, const struct ranges *r, struct ranges *out,
			 struct err *err)
{
	__cleanup_buf struct buf text = {0};
	__cleanup_fd int procfd = remote_open_proc(s->job_options.pid, "", O_RDONLY | O_DIRECTORY);
	struct proc_maps maps = {0};
	size_t k = 0;
	int ret = procfd < 0 ? procfd : io_read_file(procfd, "maps", &text);

	if (ret)
		return err_sys(err, ret, "cannot read the maps of process %d", s->job_options.pid);
	ret = proc_parse_maps(text.p, &maps, err);
	for (size_t i = 0; i < maps.n && k < r->n && !ret; i++) {
		while (k < r->n && r->v[k].end <= maps.v[i].start)
			k++;
		if (k < r->n && r->v[k].start < maps.v[i].end && !maps.v[i].shared &&
		    !maps.v[i].ino)
			ret = add_range(out, maps.v[i].start, maps.v[i].end);
	}
	proc_maps_done(&maps);
	return ret;
}

/* What is still on its way would be taken while the program stands still. */
static int hear_taken(struct source *s, struct err *err)
{
	char none[1];
	size_t len;

	return proto_expect(s->w, &s->reader, FRAME_TAKEN, none, 0, &len, err);
}

/* r: NULL before a stop. */
static int begin_round(struct source *s, uint32_t number, const struct ranges *r, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct codec c = codec_writer(&b);
	struct ranges m = {.err = err};
	int ret = r ? find_mappings(s, r, &m, err) : 0;
	bool is_empty = !m.n;

	codec_u32(&c, &number);
	codec_array(&c, &m.v, &m.n, sizeof(*m.v), 16, PROTO_FILES_MAX / 16);
	for (size_t i = 0; i < m.n; i++) {
		codec_u64(&c, &m.v[i].start);
		codec_u64(&c, &m.v[i].end);
	}
	free(m.v);
	if (ret)
		return ret;
	wire_deadline(s->w, s->o->timeout_ms);
	ret = proto_send_buf(s->w, FRAME_ROUND, &b, err);
	return ret || !is_empty ? ret : hear_taken(s, err);
}

/* The bytes were written since the round before began; the first sends all there is. */
static void begin_report(struct source *s, int64_t now, uint64_t bytes)
{
	struct migrate_round *round = &s->result->rounds[s->result->nrounds];
	uint64_t took, rate = 0;

	round->begun = (uint64_t)(now - s->begun_ns);
	if (s->result->nrounds) {
		took = round->begun - round[-1].begun;
		rate = took ? (uint64_t)((double)bytes * 1e9 / (double)took) : 0;
	}
	progress_stage(&s->progress, STAGE_ROUND, bytes, rate);
}

/* One round; *ret_bytes were written since the last.  1: let that be the last stop's. */
static int one_round(struct source *s, struct ranges *r, double *rate, uint64_t *ret_bytes,
		     struct err *err)
{
	struct migrate_result *m = s->result;
	struct migrate_round *round = &m->rounds[m->nrounds];
	uint64_t sent = s->sender.sent_bytes;
	int64_t begun;
	int ret;

	r->n = 0;
	if ((ret = track_check(s->track, err)) ||
	    (ret = track_round(s->track, add_range, r, ret_bytes, err)))
		return ret;
	begun = wire_now();
	begin_report(s, begun, *ret_bytes);
	/* One more number than there are rounds: zero is for what comes to fresh memory. */
	if ((ret = begin_round(s, m->nrounds, r, err)) || (ret = send_ranges(s, r, err)))
		return ret;
	fault_point("round sent");
	round->pages = *ret_bytes / PAGE_SIZE_4K;
	round->ns = (uint64_t)(wire_now() - begun);
	round->sent_bytes = s->sender.sent_bytes - sent;
	m->nrounds++;
	if (round->ns && *ret_bytes)
		*rate = (double)*ret_bytes * 1e9 / (double)round->ns;
	return 0;
}

int source_send_rounds(struct source *s, struct err *err)
{
	struct ranges r = {.err = err};
	uint64_t bytes = 0, best = 0;
	double rate = 1e9;
	unsigned vain = 0;
	int ret = 0;

	while (s->track && s->result->nrounds < MIGRATE_ROUNDS_MAX) {
		if ((ret = one_round(s, &r, &rate, &bytes, err)))
			break;
		/* What is written while a round is sent is about what the round before
		 * found, as long as its length: an upper bound for the next. */
		if ((double)bytes / rate * 1e3 <= s->o->max_pause_ms)
			break;
		/* Against the best so far: a program that writes now more, now less (one
		 * with a garbage collector) would else shrink again and again. */
		if (best && (double)bytes > SHRINK * (double)best)
			vain++;
		else
			best = bytes;
		if (vain >= VAIN_MAX)
			break;
	}
	free(r.v);
	return ret;
}

/*
 * What was written while we looked: a few rounds more, each as long as it takes to send
 * what the one before it left, until that is next to nothing.
 */
static int send_last_rounds(struct source *s, struct err *err)
{
	struct ranges r = {.err = err};
	uint64_t bytes = 0, before = UINT64_MAX;
	double rate = 0;
	int ret = 0;

	for (int i = 0; i < LAST_ROUNDS && s->result->nrounds < MIGRATE_ROUNDS_MAX; i++) {
		ret = one_round(s, &r, &rate, &bytes, err);
		if (ret || bytes <= LITTLE_BYTES || (double)bytes > SHRINK * (double)before)
			break;
		before = bytes;
	}
	free(r.v);
	return ret;
}

int source_look_again(struct source *s, struct err *err)
{
	int ret;

	if (!s->track)
		return 0;
	s->early = io_alloc(1, sizeof(*s->early), err);
	if (!s->early)
		return err->error;
	*s->early = s->job;
	/* What pointed into the job moves along. */
	s->early->capture.remote = &s->early->remote;
	if ((ret = job_init(&s->job, &s->job_options, s->early->front, err)))
		return ret;
	s->job.capture.tracked = true;
	/* It takes 10 ms a GiB; then what has piled up on the way is waited for. */
	if ((ret = job_look(&s->job, err)) ||
	    (ret = begin_round(s, s->result->nrounds, NULL, err)) ||
	    (ret = send_last_rounds(s, err)))
		return ret;
	return begin_round(s, s->result->nrounds, NULL, err);
}

int source_mark_unchanged(struct source *s, struct err *err)
{
	struct process *p = s->job.proc;
	int ret;

	if (!s->track)
		return 0;
	if ((ret = track_check(s->track, err)))
		return ret;
	s->unchanged = io_alloc(p->nruns + 1, sizeof(bool), err);
	if (!s->unchanged)
		return err->error;
	for (size_t i = 0; i < p->nruns; i++) {
		s->unchanged[i] = p->runs[i].flags & RUN_UNCHANGED;
		p->runs[i].flags &= ~(uint32_t)RUN_UNCHANGED; /* no part of the format */
	}
	return 0;
}

void source_end_tracking(struct source *s)
{
	track_stop(s->track);
	s->track = NULL;
	io_close_fd(&s->memfd);
	if (s->early)
		job_done(s->early);
	free(s->early);
	s->early = NULL;
}
