/*
 * The handover, on the source: docs/PROTOCOL.md tells it with the names used here.
 *
 *   asked    the journal says whom to ask
 *   held     the program is in a group stop: if all of ours die it still stands still
 *   unlocked its locks for writing are given up (source_locks.c)
 *   COMMIT   from here on only the destination's answer decides
 *
 * An answer is DONE, a refusal, or what outcome_ask() hears on new connections.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "migrate/outcome.h"
#include "migrate/postcopy.h"
#include "migrate/settle.h"
#include "migrate/source.h"
#include "state/memory.h"

/* How long the guardian itself asks, before it leaves that to others. */
#define DOUBT_MS 15000

static int decode_times(const void *p, size_t len, struct proto_times *t, struct err *err)
{
	struct codec c = codec_reader(p, len);

	proto_times_codec(&c, t);
	return codec_ended(&c) ? 0 : err_set(err, -EPROTO, "malformed answer");
}

int source_hear_ready(struct source *s, struct err *err)
{
	struct proto_times t = {0};
	uint8_t buf[64];
	size_t len;
	int ret;

	wire_deadline(s->w, s->o->timeout_ms);
	ret = proto_expect(s->w, &s->reader, FRAME_READY, buf, sizeof(buf), &len, err);
	if (ret || (ret = decode_times(buf, len, &t, err)))
		return ret;
	s->result->mapping = t.mapping;
	s->result->building = t.building;
	fault_point("ready heard");
	return 0;
}

static void copy_text(char *out, size_t cap, const char *text)
{
	snprintf(out, cap, "%s", text ? text : "");
}

/* Who settles may work in another folder. */
static void copy_path(char *out, size_t cap, const char *path)
{
	__cleanup_free char *whole = path ? realpath(path, NULL) : NULL;

	copy_text(out, cap, whole ? whole : path);
}

static int write_journal(struct source *s, struct err *err)
{
	const struct peer *p = &s->o->peer;
	struct journal_record r = {.state = STATE_ASKED, .pid = s->job.remote.pid};

	r.start = journal_start_time(r.pid);
	journal_boot_id(r.boot);
	copy_text(r.program, sizeof(r.program), s->job.proc->comm);
	copy_text(r.to, sizeof(r.to), p->to);
	copy_path(r.key, sizeof(r.key), p->creds.key);
	copy_path(r.cert, sizeof(r.cert), p->creds.cert);
	copy_path(r.cert_key, sizeof(r.cert_key), p->creds.cert_key);
	copy_path(r.ca, sizeof(r.ca), p->creds.ca);
	copy_text(r.ssh, sizeof(r.ssh), p->ssh);
	copy_text(r.remote, sizeof(r.remote), p->remote);
	return journal_create(&s->id, ROLE_SOURCE, &r, &s->journal, err);
}

/* --- the ends --- */

/*
 * How long the program stood still, as it saw it, with two clocks that are never compared:
 * the source's from the stop until it sends COMMIT, the destination's from when it hears
 * that until it lets the program go.  What lies between is COMMIT's way: somewhere in
 * what the source waits for the answer beyond the destination's time.  At the least: from
 * when all threads stood, to when the first was to be let go.  At the most: from when the
 * first was asked to stop, to when all had been let go.
 */
static void reckon_downtime(struct source *s, const struct proto_times *t)
{
	struct migrate_result *r = s->result;
	uint64_t here = (uint64_t)s->commit_ns - s->job.stopped_ns;
	uint64_t waited = (uint64_t)(s->done_ns - s->commit_ns);
	bool is_sane = t->releasing <= t->released && t->released <= t->answering &&
		       t->answering <= waited;
	uint64_t way = is_sane ? waited - t->answering : waited;

	r->downtime_min =
		here - (r->suspension < here ? r->suspension : here) + (is_sane ? t->releasing : 0);
	r->downtime_max = here + way + (is_sane ? t->released : 0);
	r->downtime = r->downtime_min + (r->downtime_max - r->downtime_min) / 2;
	r->rest.begun = s->job.stopped_ns - (uint64_t)s->begun_ns;
	r->rest.ns = r->downtime;
}

static int send_late(struct source *s, uint32_t type, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct codec c = codec_writer(&b);

	late_codec(&c, &s->late.v, &s->late.n);
	return proto_send_buf(s->w, type, &b, err);
}

static void look_at_the_dying(void *arg, pid_t tid)
{
	struct source *s = arg;
	struct err ignored = ERR_INIT;

	if (late_look_process(&s->late, tid, &ignored))
		ignored = ERR_INIT; /* then it is as if they had come a moment later */
}

/* t: zeros if the destination did not tell. */
static int moved(struct source *s, const struct proto_times *t)
{
	struct err ignored = ERR_INIT;

	s->result->outcome = MIGRATE_MOVED;
	if (!s->done_ns)
		s->done_ns = wire_now();
	reckon_downtime(s, t);
	fault_point("done heard");
	s->late.n = 0; /* those went with COMMIT */
	if (late_look(&s->late, &s->job.remote, NULL, &ignored))
		ignored = ERR_INIT;
	remote_kill_watched(&s->job.remote, look_at_the_dying, s);
	s->job.released = true;
	fault_point("killed");
	/* Where it had to be asked about there is no way to send them any more. */
	if (s->w->fd >= 0 && send_late(s, FRAME_SIGNALS, &ignored))
		ignored = ERR_INIT;
	journal_remove(&s->journal);
	return 0;
}

/* It goes on here, as if nothing had been. */
static int stays(struct source *s, struct err *err)
{
	pid_t pid = s->job.remote.pid;

	source_take_locks_back(s);
	remote_release(&s->job.remote);
	s->job.released = true;
	if (s->held)
		kill(pid, SIGCONT);
	journal_remove(&s->journal);
	return err->error;
}

/* As a checkpoint; the program stands still, so there is no hurry. */
static int save_all(struct source *s, char *path, size_t cap, struct err *err)
{
	struct job *j = &s->job;
	char id[33], name[48];
	int ret;

	migration_id_text(&s->id, id);
	snprintf(name, sizeof(name), "%s.image", id);
	if ((ret = journal_path(name, path, cap, err)))
		return ret;
	s->job_options.image = path;
	image_writer_close(j->writer);
	j->writer = NULL;
	if ((ret = image_writer_open(path, &j->writer, err)) ||
	    (ret = image_writer_set_data_size(j->writer, memory_stored_bytes(j->proc), err)) ||
	    (ret = job_write_notes(j, err)) || (ret = job_copy_memory(j, err)) ||
	    (ret = job_copy_files(j, err)) || (ret = job_write_segments(j, err)))
		return ret;
	return image_writer_commit(j->writer, err);
}

static int save(struct source *s, char *path, size_t cap, struct err *err)
{
	struct remote_covered covered;
	int ret, e;

	remote_cover(&s->job.remote, &covered);
	ret = save_all(s, path, cap, err);
	e = remote_uncover(&s->job.remote, &covered);
	return ret || !e ? ret
			 : err_sys(err, e, "cannot write to the vdso of process %d",
				   s->job.remote.pid);
}

static int doubt(struct source *s, struct err *err)
{
	struct journal_record r;
	struct err why = ERR_INIT;
	char image[1024] = "";

	s->result->outcome = MIGRATE_DOUBT;
	/* Who interrupts now has nothing to call off. */
	s->job.front = -1;
	if (save(s, image, sizeof(image), &why))
		image[0] = '\0';
	if (!journal_read(&s->journal, &r, &why)) {
		copy_text(r.image, sizeof(r.image), image);
		if (journal_write(&s->journal, &r, &why))
			image[0] = '\0';
	}
	remote_release(&s->job.remote);
	s->job.released = true;
	journal_close(&s->journal);
	settle_in_background(&s->id);
	*err = ERR_INIT;
	err_set(err, -EINPROGRESS,
		"the connection to %s ended at the moment of the handover, and it does not answer: "
		"nobody knows whether the program went on there; process %d stands still%s%s",
		s->o->peer.to, s->job.o->pid, *image ? ", and is saved in " : "", image);
	err->exit = EXIT_AFTER_COMMIT;
	return err_hint(err, "godwit goes on asking, a day long; 'godwit settle' asks at once");
}

/* It runs over there, and its pages are here. */
static int lend_pages(struct source *s, const struct proto_times *t, struct err *err)
{
	int ret;

	if (!s->done_ns)
		s->done_ns = wire_now();
	fault_point("over there");
	ret = source_serve_pages(s, err);
	if (!ret) {
		ret = moved(s, t);
		peer_close(&s->again);
		return ret;
	}
	s->result->outcome = MIGRATE_DOUBT;
	s->job.front = -1;
	remote_release(&s->job.remote);
	s->job.released = true;
	if (ret == -ENODATA) {
		journal_remove(&s->journal);
		return ret;
	}
	journal_close(&s->journal);
	settle_in_background(&s->id);
	return ret;
}

static void pause_a_little(void)
{
	struct timespec t = {.tv_nsec = 500 * 1000 * 1000};

	nanosleep(&t, NULL);
}

/* The answer did not come: asks on new connections, for a while. */
static int ask_again(struct source *s, struct err *err)
{
	int64_t end = wire_now() + DOUBT_MS * INT64_C(1000000);
	struct peer peer = s->o->peer;

	peer.batch = true;
	peer.args = NULL;
	wire_done(s->w);
	guardian_notice(s->job.front, "the destination vanished during the handover; asking it "
				      "what became of the program");
	do {
		struct err why = ERR_INIT;
		struct peer_link l;
		int outcome = peer_dial(&peer, 5000, &l, &why);

		if (!outcome) {
			wire_deadline(&l.w, 5000);
			outcome = outcome_ask(&l.w, PURPOSE_SETTLE, &s->id, &why);
			peer_close(&l);
		}
		if (outcome == OUTCOME_TAKEN)
			return moved(s, &(struct proto_times){0});
		if (outcome == OUTCOME_LACKS)
			return lend_pages(s, &(struct proto_times){0}, err);
		if (outcome == OUTCOME_NEVER)
			return stays(s, err);
		if (outcome == OUTCOME_UNKNOWN)
			break;
		pause_a_little();
	} while (wire_now() < end);
	return doubt(s, err);
}

/* Stops it for good, and finds the signals that came since it was looked at. */
static int hold(struct source *s, struct err *err)
{
	struct remote *r = &s->job.remote;
	struct remote_taken taken = {.n = 0};
	int ret;

	if ((ret = late_init(&s->late, s->job.proc, err)) ||
	    (ret = late_look(&s->late, r, NULL, err)) || (ret = remote_hold(r, &taken, err)))
		return ret;
	s->held = true;
	return late_look(&s->late, r, &taken, err);
}

int source_hand_over(struct source *s, struct err *err)
{
	struct proto_times t = {0};
	uint8_t buf[64];
	size_t len;
	int ret;

	if (job_is_cancelled(&s->job))
		return err_set(err, -ECANCELED, "interrupted");
	if ((ret = write_journal(s, err))) {
		journal_remove(&s->journal);
		return ret;
	}
	fault_point("asked");
	if ((ret = hold(s, err)))
		return stays(s, err);
	fault_point("held");
	if ((ret = source_give_locks_up(s, err)))
		return stays(s, err);
	fault_point("unlocked");
	s->w->cancel_fd = -1;
	/* What follows DONE is for the command, which has a buffer of its own. */
	s->w->is_exact = s->o->follow;
	progress_stage(&s->progress, STAGE_HANDOVER, 0, 0);
	wire_deadline(s->w, s->o->timeout_ms);
	s->commit_ns = wire_now();
	ret = send_late(s, FRAME_COMMIT, err);
	fault_point("commit sent");
	/* Even one that could not be sent may have come: the answer decides. */
	if (!ret)
		ret = proto_expect(s->w, &s->reader, FRAME_DONE, buf, sizeof(buf), &len, err);
	if (!ret && !decode_times(buf, len, &t, err)) {
		s->result->building += t.released;
		s->result->pid = (pid_t)t.pid;
		return s->later.n ? lend_pages(s, &t, err) : moved(s, &t);
	}
	if (s->reader.is_refused)
		return stays(s, err);
	return ask_again(s, err);
}
