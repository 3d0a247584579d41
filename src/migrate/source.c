/*
 * A migration, step by step, on the source: the lists below are its documentation.
 *
 * Until COMMIT is sent any failure, and the death of the command, lead to the same
 * end: the program goes on here, and the destination drops what it has built.
 */
#include "migrate/source.h"
#include "state/files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fault.h"
#include "migrate/candidate.h"
#include "migrate/postcopy.h"
#include "migrate/relay.h"
#include "migrate/settle.h"
#include "state/memory.h"
#include "track/keeper.h"
#include "track/track.h"

static int look(struct source *s, struct err *err)
{
	return job_look(&s->job, err);
}

/* There is one tracker at a time; should the move fail, the next image is complete. */
static int look_alone(struct source *s, struct err *err)
{
	keeper_end(s->job_options.pid);
	return look(s, err);
}

static int stop(struct source *s, struct err *err)
{
	return job_stop(&s->job, err);
}

static int prepare(struct source *s, struct err *err)
{
	return job_prepare(&s->job, err);
}

static int collect(struct source *s, struct err *err)
{
	return job_collect(&s->job, err);
}

static int give_back(struct source *s, struct err *err)
{
	return job_give_back(&s->job, err);
}

struct step {
	const char *name;
	int (*run)(struct source *s, struct err *err);
	size_t phase; /* offset in struct migrate_result of the sum it counts for */
};

#define PHASE(x) offsetof(struct migrate_result, x)

static const struct step total_copy[] = {
	{"look", look, PHASE(total)},
	{"stop", stop, PHASE(suspension)},
	{"prepare", prepare, PHASE(checkpoint)},
	{"collect", collect, PHASE(checkpoint)},
	{"give back", give_back, PHASE(checkpoint)},
	{"model", source_send_model, PHASE(checkpoint)},
	{"verdict", source_hear_verdict, PHASE(transfer)},
	{"code", source_check_code, PHASE(transfer)},
	{"files", source_carry, PHASE(transfer)},
	{"pages", source_send_pages, PHASE(transfer)},
	{"ready", source_hear_ready, PHASE(handover)},
	{"hand over", source_hand_over, PHASE(handover)},
	{NULL, NULL, 0},
};

static const struct step post_copy[] = {
	{"look", look, PHASE(total)},
	{"stop", stop, PHASE(suspension)},
	{"prepare", prepare, PHASE(checkpoint)},
	{"collect", collect, PHASE(checkpoint)},
	{"give back", give_back, PHASE(checkpoint)},
	{"model", source_send_model, PHASE(checkpoint)},
	{"verdict", source_hear_verdict, PHASE(transfer)},
	{"code", source_check_code, PHASE(transfer)},
	{"files", source_carry, PHASE(transfer)},
	{"what comes later", source_choose_later, PHASE(transfer)},
	{"pages", source_send_pages, PHASE(transfer)},
	{"ready", source_hear_ready, PHASE(handover)},
	{"hand over", source_hand_over, PHASE(handover)},
	{NULL, NULL, 0},
};

/* The last look, unless nothing could be tracked: then the program still stands as it
 * was at the first. */
static int stop_again(struct source *s, struct err *err)
{
	return s->track ? job_stop(&s->job, err) : 0;
}

static int prepare_again(struct source *s, struct err *err)
{
	return s->track ? job_prepare(&s->job, err) : 0;
}

static int collect_again(struct source *s, struct err *err)
{
	return s->track ? job_collect(&s->job, err) : 0;
}

static int give_back_again(struct source *s, struct err *err)
{
	return s->track ? job_give_back(&s->job, err) : 0;
}

static int send_model_again(struct source *s, struct err *err)
{
	return s->track ? source_send_model(s, err) : 0;
}

static const struct step pre_copy[] = {
	{"look", look_alone, PHASE(total)},
	{"stop", stop, PHASE(total)},
	{"prepare", prepare, PHASE(total)},
	{"collect", collect, PHASE(total)},
	{"track", source_begin_tracking, PHASE(total)},
	{"give back", give_back, PHASE(total)},
	{"early model", source_make_model, PHASE(total)},
	{"let run", source_let_run, PHASE(total)},
	{"send model", source_send_made_model, PHASE(bulk)},
	{"verdict", source_hear_verdict, PHASE(bulk)},
	{"code", source_check_code, PHASE(bulk)},
	{"files", source_carry, PHASE(bulk)},
	{"rounds", source_send_rounds, PHASE(bulk)},
	{"files meanwhile", source_carry_on, PHASE(bulk)},
	{"look again", source_look_again, PHASE(bulk)},
	{"stop again", stop_again, PHASE(suspension)},
	{"prepare", prepare_again, PHASE(checkpoint)},
	{"collect", collect_again, PHASE(checkpoint)},
	{"give back", give_back_again, PHASE(checkpoint)},
	{"what is left", source_mark_unchanged, PHASE(checkpoint)},
	{"model", send_model_again, PHASE(checkpoint)},
	{"files again", source_carry_last, PHASE(transfer)},
	{"pages", source_send_pages, PHASE(transfer)},
	{"ready", source_hear_ready, PHASE(handover)},
	{"hand over", source_hand_over, PHASE(handover)},
	{NULL, NULL, 0},
};

static int end_tracking(struct source *s, struct err *err)
{
	(void)err;
	track_stop(s->track);
	s->track = NULL;
	return 0;
}

/* A keeper would be ended for the move; who only asks leaves it as it is. */
static int ask_tracking(struct source *s, struct err *err)
{
	struct err why = ERR_INIT;
	int ret = keeper_check(s->job_options.pid, &why);

	if (ret > 0)
		return 0;
	if (ret != -ENOTSUP)
		return source_begin_tracking(s, err);
	snprintf(s->result->why_total, sizeof(s->result->why_total), "%.255s", why.what);
	return 0;
}

/* Who only asks hears, too, whether writes could be tracked; the verdict is that of a total
 * copy. */
static const struct step ask_precopy[] = {
	{"look", look, PHASE(total)},
	{"stop", stop, PHASE(suspension)},
	{"prepare", prepare, PHASE(checkpoint)},
	{"collect", collect, PHASE(checkpoint)},
	{"track", ask_tracking, PHASE(checkpoint)},
	{"give back", give_back, PHASE(checkpoint)},
	{"track no more", end_tracking, PHASE(checkpoint)},
	{"model", source_send_model, PHASE(checkpoint)},
	{"verdict", source_hear_verdict, PHASE(transfer)},
	{"code", source_check_code, PHASE(transfer)},
	{NULL, NULL, 0},
};

static const struct step *steps_of(enum migrate_mode mode)
{
	return mode == MODE_TOTAL ? total_copy : mode == MODE_PRECOPY ? pre_copy : post_copy;
}

const char *migrate_step_name(enum migrate_mode mode, size_t i)
{
	return steps_of(mode)[i].name;
}

/* A peer that refuses says so and hangs up: then writing fails first. */
static void hear_why(struct source *s, struct err *err)
{
	struct err why = ERR_INIT;
	char buf[1];
	size_t len;

	if (s->reader.is_refused || s->w->fd < 0 ||
	    (err->error != -EPIPE && err->error != -ECONNRESET))
		return;
	wire_deadline(s->w, 1000);
	if (proto_recv(s->w, &s->reader, buf, 0, &len, &why) < 0 && s->reader.is_refused)
		*err = why;
}

/* Who only asks hears the verdict of a total copy: the program was looked at, and goes on. */
static int run_steps(struct source *s, const struct step *steps, struct err *err)
{
	int ret = 0;

	for (size_t i = 0; steps[i].name && !ret; i++) {
		uint64_t *sum = (uint64_t *)(void *)((char *)s->result + steps[i].phase);
		int64_t begun = wire_now();

		ret = steps[i].run(s, err);
		*sum += (uint64_t)(wire_now() - begun);
		if (s->o->ask_only && steps[i].run == source_check_code)
			break;
	}
	return ret;
}

static void notice(void *arg, const char *text)
{
	char line[1100];

	snprintf(line, sizeof(line), "over there: %s", text);
	guardian_notice(((struct source *)arg)->job.front, line);
}

/* What the command hands its guardian. */
struct order {
	const struct migrate_options *o;
	struct peer_link *link;
	struct migration_id id;
	pid_t program;
	struct proto_welcome welcome;
};

static void report(struct source *s, int64_t ended)
{
	struct migrate_result *r = s->result;

	r->nthreads = (uint32_t)s->job.proc->nthreads;
	snprintf(r->program, sizeof(r->program), "%s", s->job.proc->comm);
	r->memory_bytes = memory_stored_bytes(s->job.proc);
	r->sent_bytes += s->sender.sent_bytes;
	r->pages = s->sender.npages;
	r->zero_pages = s->sender.nzero;
	r->files = s->o->ask_only ? s->carry.lacks : s->carry.sent_files;
	r->files_bytes = s->o->ask_only ? s->carry.lacks_bytes : s->carry.bytes;
	/* What comes after the answer, the end of the copy here, is only of the total. */
	if (s->done_ns)
		r->handover -= (uint64_t)(ended - s->done_ns);
	r->packed_from = s->sender.packer.from_bytes;
	r->packed_to = s->sender.packer.to_bytes;
	r->mode = s->later.n ? MODE_POSTCOPY : r->nrounds ? MODE_PRECOPY : MODE_TOTAL;
	r->total = (uint64_t)(ended - s->begun_ns);
}

/* Wherever the interruption was noticed, this is what the person wants to know. */
static void say_interrupted(const struct source *s, struct err *err)
{
	if (err->error != -ECANCELED || s->reader.is_refused || !job_is_cancelled(&s->job))
		return;
	*err = ERR_INIT;
	err_set(err, -ECANCELED, "interrupted: process %d goes on here", s->o->pid);
}

/* Runs in the guardian. */
/* A program that runs may have removed or replaced a file since its state was looked at:
 * what the other host misses then, the program misses no more. */
static bool is_out_of_date(const struct source *s)
{
	const struct file_table *t = s->job.proc ? s->job.proc->files : NULL;
	struct stat st;

	for (size_t i = 0; t && i < t->nfiles; i++)
		if (t->files[i].kind == FILE_REGULAR &&
		    (stat(t->files[i].path, &st) || st.st_ino != t->files[i].ino))
			return true;
	return false;
}

static int work(void *arg, int front, void *result, struct err *err)
{
	struct order *order = arg;
	struct source s = {
		.o = order->o,
		.link = order->link,
		.w = &order->link->w,
		.id = order->id,
		.there = &order->welcome,
		.result = result,
		.journal = {.fd = -1},
		.memfd = -1,
		.carry = {.max = order->o->copy_max},
		.again = {.w = {.fd = -1, .out_fd = -1, .cancel_fd = -1}},
		.job_options = {.pid = order->program},
		.begun_ns = wire_now(),
		.progress = {.front = front},
	};
	int ret = job_init(&s.job, &s.job_options, front, err);

	if (ret)
		return ret;
	s.reader = (struct proto_reader){.notice = notice, .arg = &s};
	s.w->cancel_fd = front;
	ret = sender_init(&s.sender, s.w, s.o->timeout_ms, err);
	if (!ret)
		ret = run_steps(&s,
				s.o->ask_only && s.o->mode == MODE_PRECOPY ? ask_precopy
				: s.o->ask_only                            ? total_copy
									   : steps_of(s.o->mode),
				err);
	if (ret) {
		hear_why(&s, err);
		if (s.reader.is_refused && is_out_of_date(&s))
			ret = err->error = -EAGAIN;
		job_explain_end(&s.job, err);
		say_interrupted(&s, err);
	} else if (s.o->ask_only) {
		s.result->outcome = MIGRATE_ASKED;
	}
	report(&s, wire_now());
	/* The guardian's own error may come in after the verdict of the peer. */
	if (ret && !s.reader.is_refused && s.w->fd >= 0) {
		wire_deadline(s.w, 1000);
		proto_refuse(s.w, err);
	}
	job_done(&s.job);
	sender_done(&s.sender);
	carry_out_done(&s.carry);
	journal_close(&s.journal);
	late_done(&s.late);
	source_end_tracking(&s);
	free(s.known);
	free(s.unchanged);
	lazy_ranges_done(&s.later);
	return ret;
}

/* --- in the command --- */

static int greet(struct order *order, struct err *err)
{
	const struct migrate_options *o = order->o;
	struct wire *w = &order->link->w;
	struct codec c;
	struct proto_reader reader = {0};
	char buf[PROTO_SMALL_MAX];
	size_t len;
	int ret;

	if ((ret = proto_send_hello(w, o->ask_only ? PURPOSE_ASK : PURPOSE_MIGRATE, &order->id,
				    err)) ||
	    (ret = proto_expect(w, &reader, FRAME_WELCOME, buf, sizeof(buf), &len, err))) {
		if (!reader.is_refused)
			peer_explain(&o->peer, order->link, err);
		return ret;
	}
	c = codec_reader(buf, len);
	proto_welcome_codec(&c, &order->welcome);
	if (!codec_ended(&c) || !order->welcome.host || !order->welcome.tool ||
	    !order->welcome.kernel || order->welcome.required & ~PROTO_REQUIRED_KNOWN)
		return err_set(err, -EPROTO, "%s sent a malformed greeting", w->peer);
	return 0;
}

/* The guardian was killed: before it asked, the program went on by itself; after
 * that its record is there. */
static int after_guardian(struct order *order, int timeout_ms, struct migrate_result *result,
			  struct err *err)
{
	struct journal_record r;
	enum settle_result how;
	struct err why = ERR_INIT;
	int ret = settle_one(&order->id, ORDER_ASK, timeout_ms, &how, &r, &why);

	if (ret == -ENOENT)
		return err->error;
	if (!ret && how == SETTLED_TAKEN) {
		result->outcome = MIGRATE_MOVED;
		*err = ERR_INIT;
		return 0;
	}
	if (!ret && how == SETTLED_RESUMED)
		return err->error;
	if (!ret && how == SETTLED_LOST)
		return source_lost(order->o->peer.to, order->program, err);
	settle_in_background(&order->id);
	*err = ERR_INIT;
	if (!ret && how == SETTLE_LACKS)
		return source_still_lends(order->o->peer.to, order->program, 0, err);
	err_set(err, -EINPROGRESS,
		"the guardian process was killed at the moment of the handover, and %s does not "
		"answer: process %d stands still",
		order->o->peer.to, order->program);
	err->exit = EXIT_AFTER_COMMIT;
	return err_hint(err, "godwit goes on asking, a day long; 'godwit settle' asks at once");
}

static int run_guardian(struct order *order, const struct guardian_listener *listener,
			struct migrate_result *ret_result, struct err *err)
{
	int ret = guardian_run(work, order, ret_result, sizeof(*ret_result), listener, err);

	if (ret == -EPIPE && !strncmp(err->what, "the guardian", 12)) {
		*ret_result = (struct migrate_result){0};
		err->hint[0] = '\0';
		wire_done(&order->link->w); /* else the other side would wait for us */
		ret = after_guardian(order, order->o->timeout_ms, ret_result, err);
	}
	snprintf(ret_result->host, sizeof(ret_result->host), "%s", order->welcome.host);
	snprintf(ret_result->tool, sizeof(ret_result->tool), "%s", order->welcome.tool);
	snprintf(ret_result->kernel, sizeof(ret_result->kernel), "%s", order->welcome.kernel);
	ret_result->free_memory = order->welcome.free_memory;
	return ret;
}

/* Where post-copy is not safe: pre-copy, and says so. */
static int choose_mode(struct order *order, struct migrate_options *o,
		       const struct guardian_listener *listener, struct err *err)
{
	char why[600] = "", text[700];
	int ret = 0;

	if (o->mode != MODE_POSTCOPY || o->ask_only)
		return 0;
	if (o->follow)
		snprintf(why, sizeof(why), "its input and output go by the same connection");
	else
		ret = postcopy_ask(&order->link->w, order->program, why, sizeof(why), err);
	if (ret || !*why)
		return ret;
	o->mode = MODE_PRECOPY;
	snprintf(text, sizeof(text), "post-copy is not possible (%s): doing pre-copy", why);
	if (listener && listener->notice)
		listener->notice(listener->arg, text);
	return 0;
}

static int migrate_once(const struct migrate_options *options,
			const struct guardian_listener *listener,
			void (*moved)(void *arg, const struct migrate_result *r), void *arg,
			struct migrate_result *ret_result, struct err *err)
{
	struct peer_link link;
	struct migrate_options own = *options, *o = &own;
	struct order order = {.o = o, .link = &link};
	int ret;

	if ((ret = peer_check(&o->peer, err)) || (ret = candidate_check(o->pid, err)) ||
	    (ret = migration_id_new(&order.id, err)) ||
	    (ret = checkpoint_find_program(o->pid, &order.program, err)))
		return ret;
	if ((ret = peer_dial(&o->peer, o->timeout_ms, &link, err)))
		return ret;
	ret = greet(&order, err);
	if (!ret)
		ret = choose_mode(&order, o, listener, err);
	if (!ret)
		ret = run_guardian(&order, listener, ret_result, err);
	if (!ret && moved)
		moved(arg, ret_result);
	if (!ret && ret_result->outcome == MIGRATE_MOVED && o->follow)
		ret = relay_follow(&link.w, &ret_result->status, err);
	peer_close(&link);
	proto_welcome_done(&order.welcome);
	return ret;
}

/* What stands in the way may do so for a moment only: a thread in the very function that
 * another CPU asks to be chosen again, a file that the program has just removed.  Nothing
 * has happened then. */
#define TRIES 10

int migrate(const struct migrate_options *o, const struct guardian_listener *listener,
	    void (*moved)(void *arg, const struct migrate_result *r), void *arg,
	    struct migrate_result *ret_result, struct err *err)
{
	int ret = 0;

	for (int i = 0; i < TRIES; i++) {
		*err = ERR_INIT;
		*ret_result = (struct migrate_result){0};
		ret = migrate_once(o, listener, moved, arg, ret_result, err);
		if (ret != -EAGAIN || o->ask_only)
			break;
	}
	return ret;
}
