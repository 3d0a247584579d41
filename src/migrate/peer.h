/* The other host: what a person calls it, and how to get a stream to it. */
#ifndef GODWIT_MIGRATE_PEER_H
#define GODWIT_MIGRATE_PEER_H

#include <stdbool.h>
#include <sys/types.h>

#include "wire/wire.h"

/* All strings are the caller's. */
struct peer {
	const char *to;          /* "tls://host:port" or "[user@]host" */
	struct wire_creds creds; /* for tls:// */
	const char *ssh;         /* command, split by the shell; "ssh" */
	const char *remote;      /* the godwit over there; "godwit" */
	const char *args;        /* for its `receive`, words for the shell over there; or NULL */
	bool batch;              /* nobody can be asked for a password */
};

struct peer_link {
	struct wire w;
	pid_t ssh; /* the child, or 0 */
};

/* One way to know each other, and all that belongs to it?  who: for messages.  -EINVAL,
 * exit 2. */
int creds_check(const struct wire_creds *c, const char *who, struct err *err) __must_check;
/* Is it a name that peer_dial can do anything with?  -EINVAL, exit 2. */
int peer_check(const struct peer *p, struct err *err) __must_check;
/* Connects, up to an authenticated stream. */
int peer_dial(const struct peer *p, int timeout_ms, struct peer_link *ret,
	      struct err *err) __must_check;
/* The first answer did not come: says why in *err, where ssh knows it better. */
void peer_explain(const struct peer *p, struct peer_link *l, struct err *err);
void peer_close(struct peer_link *l);

#endif
