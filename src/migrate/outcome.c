/* What became of a migration: see outcome.h. */
#include "migrate/outcome.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A guardian that died a moment ago takes its half-built program with it, a little
 * later than its lock; and whoever waits for that program notes how it ended. */
#define SETTLED_S 3

static bool is_fresh(const struct journal *j)
{
	struct stat st;

	return !fstat(j->fd, &st) && time(NULL) < st.st_mtime + SETTLED_S;
}

static enum proto_outcome judge_going(const struct journal *j, const struct journal_record *r)
{
	if (is_fresh(j))
		return OUTCOME_PENDING;
	if (!journal_lives(r))
		return OUTCOME_UNKNOWN;
	return r->later ? OUTCOME_LACKS : OUTCOME_TAKEN;
}

static enum proto_outcome judge(struct journal *j, struct err *err)
{
	struct journal_record r;

	if (journal_read(j, &r, err)) {
		if (is_fresh(j))
			return OUTCOME_PENDING; /* about to be written */
		r = (struct journal_record){.state = STATE_READY};
		*err = ERR_INIT;
	}
	switch (r.state) {
	case STATE_TAKEN:
		return OUTCOME_TAKEN;
	case STATE_GOING:
		return judge_going(j, &r);
	case STATE_LACKS:
		return OUTCOME_LACKS;
	case STATE_NEVER:
	case STATE_ENDED:
		return OUTCOME_NEVER;
	default:
		r.state = STATE_NEVER;
		return journal_write(j, &r, err) ? OUTCOME_PENDING : OUTCOME_NEVER;
	}
}

enum proto_outcome outcome_decide(const struct migration_id *id, struct err *err)
{
	struct journal_record never = {.state = STATE_NEVER};
	enum proto_outcome ret = OUTCOME_PENDING;
	struct journal j;

	if (!journal_create(id, ROLE_TARGET, &never, &j, err)) {
		/* Never heard of it: now nobody will. */
		journal_close(&j);
		return OUTCOME_NEVER;
	}
	journal_close(&j);
	if (err->error != -EEXIST)
		return OUTCOME_PENDING;
	*err = ERR_INIT;
	if (journal_open(id, ROLE_TARGET, &j, err))
		return OUTCOME_PENDING;
	if (!journal_lock(&j, 2000))
		ret = judge(&j, err);
	journal_close(&j);
	return ret;
}

int outcome_tell(struct wire *w, const struct migration_id *id, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct codec c = codec_writer(&b);
	uint32_t outcome = outcome_decide(id, err);

	if (err->error)
		return err->error;
	codec_u32(&c, &outcome);
	return proto_send_buf(w, FRAME_OUTCOME, &b, err);
}

int outcome_ask(struct wire *w, uint32_t purpose, const struct migration_id *id, struct err *err)
{
	struct codec in;
	struct proto_reader reader = {0};
	char answer[64];
	uint32_t outcome = 0;
	size_t len;
	int ret;

	if ((ret = proto_send_hello(w, purpose, id, err)) ||
	    (ret = proto_expect(w, &reader, FRAME_OUTCOME, answer, sizeof(answer), &len, err)))
		return ret;
	in = codec_reader(answer, len);
	codec_u32(&in, &outcome);
	if (!codec_ended(&in) || outcome < OUTCOME_NEVER || outcome > OUTCOME_LACKS)
		return err_set(err, -EPROTO, "%s sent a malformed answer", w->peer);
	return (int)outcome;
}
