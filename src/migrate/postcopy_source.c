/*
 * Post-copy, on the source: the question before it, and the store while it lasts.
 *
 * After the handover the program runs over there, and its copy here stands still until
 * the other side has all pages.  If the connection is cut, the source connects again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "migrate/outcome.h"
#include "migrate/postcopy.h"
#include "migrate/settle.h"

/* How long the guardian itself connects again, before it leaves that to others. */
#define AGAIN_MS 15000

int postcopy_ask(struct wire *w, pid_t program, char *why, size_t cap, struct err *err)
{
	struct proto_reader reader = {0};
	char path[64], buf[PROTO_SMALL_MAX], *text = NULL;
	struct stat st;
	struct codec c;
	uint32_t uid;
	size_t len;
	int ret;

	snprintf(path, sizeof(path), "/proc/%d", program);
	if (stat(path, &st))
		return err_sys(err, -errno, "there is no process %d", program);
	uid = st.st_uid;
	if ((ret = proto_send(w, FRAME_ASK_LATER, &uid, sizeof(uid), err)) ||
	    (ret = proto_expect(w, &reader, FRAME_MAY_LATER, buf, sizeof(buf), &len, err)))
		return ret;
	c = codec_reader(buf, len);
	codec_str(&c, &text);
	if (!codec_ended(&c) || !text || strlen(text) > 1024) {
		free(text);
		return err_set(err, -EPROTO, "%s sent a malformed answer", w->peer);
	}
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	snprintf(why, cap, "%s", text);
	free(text);
	return 0;
}

/* Signals that come to the copy here are for the program over there. */
static int send_meanwhile(struct source *s, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct codec c = codec_writer(&b);
	int ret;

	s->late.n = 0;
	if ((ret = late_look(&s->late, &s->job.remote, NULL, err)) || !s->late.n)
		return ret;
	late_codec(&c, &s->late.v, &s->late.n);
	return proto_send_buf(s->w, FRAME_MEANWHILE, &b, err);
}

#define LOOK_NS (100 * 1000 * 1000)

static void between(void *arg, uint64_t done, uint64_t all)
{
	struct source *s = arg;
	struct err ignored = ERR_INIT;

	if (!done)
		progress_stage(&s->progress, STAGE_FETCH, all, 0);
	progress_done(&s->progress, done);
	if (wire_now() - s->looked_ns < LOOK_NS)
		return;
	s->looked_ns = wire_now();
	if (send_meanwhile(s, &ignored))
		ignored = ERR_INIT; /* the next page finds out */
}

static int serve_once(struct source *s, uint64_t *left, struct err *err)
{
	struct migrate_result *r = s->result;
	struct store_stats stats = {0};
	int ret = store_serve(s->w, s->job.remote.pid, s->o->timeout_ms, &stats, between, s, err);

	r->asked_pages += stats.asked;
	r->pushed_pages += stats.pushed;
	r->sent_bytes += stats.sent_bytes;
	*left = stats.all - stats.asked - stats.pushed;
	return ret;
}

static void pause_a_little(unsigned n)
{
	struct timespec t = {.tv_nsec = (n < 8 ? 1 << n : 256) * 2 * 1000 * 1000};

	nanosleep(&t, NULL);
}

/* Connects again: an enum proto_outcome.  With OUTCOME_LACKS *l is the way. */
static int connect_again(struct source *s, struct peer_link *l, struct err *err)
{
	struct peer peer = s->o->peer;
	int ret;

	peer.batch = true;
	peer.args = NULL;
	if ((ret = peer_dial(&peer, 5000, l, err)))
		return ret;
	wire_deadline(&l->w, s->o->timeout_ms);
	ret = outcome_ask(&l->w, PURPOSE_PAGES, &s->id, err);
	if (ret != OUTCOME_LACKS)
		peer_close(l);
	return ret;
}

int source_still_lends(const char *to, pid_t pid, uint64_t pages, struct err *err)
{
	char how_many[40] = "some";

	if (pages)
		snprintf(how_many, sizeof(how_many), "%llu MiB",
			 (unsigned long long)((pages * PAGE_SIZE_4K >> 20) + 1));
	*err = ERR_INIT;
	err_set(err, -EINPROGRESS,
		"the connection to %s is cut: the program runs there, and %s of its pages are "
		"still "
		"here, in process %d, which stands still; over there it waits when it needs one, "
		"and can never go on if process %d is ended",
		to, how_many, pid, pid);
	err->exit = EXIT_AFTER_COMMIT;
	return err_hint(err, "godwit goes on connecting, a day long; 'godwit settle' does it at "
			     "once");
}

int source_lost(const char *to, pid_t pid, struct err *err)
{
	*err = ERR_INIT;
	err_set(err, -ENODATA,
		"process %d was ended while %s still needed its pages: the program can never go on "
		"there",
		pid, to);
	err->exit = EXIT_AFTER_COMMIT;
	return err_hint(err, "end it over there, and start it anew or from a checkpoint");
}

int source_serve_pages(struct source *s, struct err *err)
{
	int64_t begun = wire_now(), end = 0;
	uint64_t left = 0;
	unsigned tries = 0;
	int ret = -ENOTCONN;

	if (s->w->fd >= 0)
		ret = serve_once(s, &left, err);
	while (ret != STORE_ALL && ret != STORE_LOST) {
		if (!end) {
			guardian_notice(s->job.front,
					"the connection was cut while the program's pages went "
					"over; connecting again");
			end = wire_now() + AGAIN_MS * INT64_C(1000000);
			wire_done(&s->link->w);
		}
		*err = ERR_INIT;
		ret = connect_again(s, &s->again, err);
		if (ret == OUTCOME_LACKS) {
			s->w = &s->again.w;
			ret = serve_once(s, &left, err);
			if (ret == STORE_ALL)
				break;
			peer_close(&s->again);
			s->w = &s->link->w;
			end = 0;
			tries = 0;
		} else if (ret == OUTCOME_TAKEN) {
			ret = STORE_ALL;
		} else if (ret == OUTCOME_UNKNOWN || wire_now() > end) {
			break;
		} else {
			ret = -ENOTCONN;
			pause_a_little(tries++);
		}
	}
	s->result->later = (uint64_t)(wire_now() - begun);
	if (ret == STORE_LOST)
		return source_lost(s->o->peer.to, s->job.o->pid, err);
	if (ret != STORE_ALL)
		return source_still_lends(s->o->peer.to, s->job.o->pid, left, err);
	*err = ERR_INIT;
	return 0;
}
