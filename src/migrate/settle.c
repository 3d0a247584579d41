/*
 * Settling: see settle.h.  The source's copy stands still, in a group stop, and only
 * who holds the record's lock may let it go or end it.
 */
#include "migrate/settle.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/guardian.h"
#include "migrate/outcome.h"
#include "migrate/postcopy.h"

#define DAY_S (24 * 3600)
#define ANSWER_LOST 100 /* beside the outcomes: it lacks pages, and they are gone */

void settle_peer(const struct journal_record *r, struct peer *p)
{
	*p = (struct peer){
		.to = r->to,
		.creds = {.key = *r->key ? r->key : NULL,
			  .cert = *r->cert ? r->cert : NULL,
			  .cert_key = *r->cert_key ? r->cert_key : NULL,
			  .ca = *r->ca ? r->ca : NULL},
		.ssh = *r->ssh ? r->ssh : NULL,
		.remote = *r->remote ? r->remote : NULL,
		.batch = true,
	};
}

/* It runs over there; its copy here, which stands still, has the pages. */
static int lend(struct peer_link *l, const struct journal_record *r, int timeout_ms,
		struct err *err)
{
	struct store_stats stats = {0};
	/* No process has this number: then the other side hears that they are lost. */
	pid_t pid = journal_lives(r) ? r->pid : INT_MAX;

	switch (store_serve(&l->w, pid, timeout_ms, &stats, NULL, NULL, err)) {
	case STORE_ALL:
		return OUTCOME_TAKEN;
	case STORE_LOST:
		return ANSWER_LOST;
	default:
		return OUTCOME_LACKS;
	}
}

static int ask(const struct migration_id *id, const struct journal_record *r, int timeout_ms,
	       struct err *err)
{
	struct peer_link l;
	struct peer p;
	int ret;

	settle_peer(r, &p);
	if ((ret = peer_dial(&p, timeout_ms, &l, err)))
		return ret;
	wire_deadline(&l.w, timeout_ms);
	ret = outcome_ask(&l.w, PURPOSE_PAGES, id, err);
	if (ret == OUTCOME_LACKS)
		ret = lend(&l, r, timeout_ms, err);
	peer_close(&l);
	return ret;
}

/* By pidfd: the start time was compared after it had been opened. */
static bool send_to(const struct journal_record *r, int sig)
{
	__cleanup_fd int pidfd = (int)syscall(SYS_pidfd_open, r->pid, 0);

	return pidfd >= 0 && journal_lives(r) &&
	       !syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);
}

static enum settle_result drop(struct journal *j, const struct journal_record *r)
{
	send_to(r, SIGKILL);
	if (*r->image)
		unlink(r->image);
	journal_remove(j);
	return SETTLED_TAKEN;
}

static enum settle_result resume(struct journal *j, const struct journal_record *r)
{
	if (!send_to(r, SIGCONT)) {
		/* The host was booted, or somebody ended it: the image is what is left. */
		journal_remove(j);
		return SETTLED_SAVED;
	}
	if (*r->image)
		unlink(r->image);
	journal_remove(j);
	return SETTLED_RESUMED;
}

int settle_one(const struct migration_id *id, enum settle_order order, int timeout_ms,
	       enum settle_result *ret_result, struct journal_record *r, struct err *err)
{
	struct journal j;
	int ret = journal_open(id, ROLE_SOURCE, &j, err);

	if (ret)
		return ret;
	/* Its guardian may still be at work. */
	if (journal_lock(&j, timeout_ms)) {
		journal_close(&j);
		return err_set(err, -EBUSY, "godwit is still at work on this migration");
	}
	ret = access(j.path, F_OK) ? err_set(err, -ENOENT, "it was settled meanwhile")
				   : journal_read(&j, r, err);
	if (ret) {
		journal_close(&j);
		return ret;
	}
	ret = order == ORDER_RESUME ? OUTCOME_NEVER
	      : order == ORDER_DROP ? OUTCOME_TAKEN
				    : ask(id, r, timeout_ms, err);
	fault_point("outcome heard");
	switch (ret) {
	case OUTCOME_TAKEN:
		*ret_result = drop(&j, r);
		return 0;
	case OUTCOME_NEVER:
		*ret_result = resume(&j, r);
		return 0;
	case ANSWER_LOST:
		journal_remove(&j);
		*ret_result = SETTLED_LOST;
		return 0;
	case OUTCOME_LACKS:
		*ret_result = SETTLE_LACKS;
		break;
	case OUTCOME_UNKNOWN:
		*ret_result = SETTLE_ASK;
		break;
	default:
		*ret_result = SETTLE_LATER;
	}
	journal_close(&j);
	return 0;
}

static void keep_asking(const struct migration_id *id)
{
	time_t end = time(NULL) + DAY_S;

	for (unsigned pause = 1; time(NULL) < end; pause = pause < 60 ? pause * 2 : 60) {
		struct err err = ERR_INIT;
		enum settle_result result;
		struct journal_record r;
		int ret = settle_one(id, ORDER_ASK, 10000, &result, &r, &err);

		if (ret == -ENOENT || (!ret && result != SETTLE_LATER && result != SETTLE_LACKS))
			_exit(0);
		sleep(pause);
	}
	_exit(1);
}

void settle_in_background(const struct migration_id *id)
{
	pid_t child = fork();

	if (child == 0) {
		int null = open("/dev/null", O_RDWR);

		setsid();
		prctl(PR_SET_NAME, "godwit-settle");
		for (int i = 0; null >= 0 && i < 3; i++)
			dup2(null, i);
		syscall(SYS_close_range, 3, ~0U, 0);
		/* Nobody's child. */
		if (fork() != 0)
			_exit(0);
		keep_asking(id);
	}
	if (child > 0)
		waitpid(child, NULL, 0);
}
