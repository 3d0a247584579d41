/* A destination that waits: TLS, a process for each connection. */
#ifndef GODWIT_MIGRATE_SERVE_H
#define GODWIT_MIGRATE_SERVE_H

#include "migrate/target.h"

struct serve_options {
	const char *listen; /* "addr:port", ":port": every address, port 0: any */
	struct wire_creds creds;
	/* With certificates: the source's must have one of these names; none: any will do. */
	const char *const *names;
	size_t nnames;
	struct target_options target;
};

/* Until SIGTERM or SIGINT; then 0.  Programs that came go on. */
int serve(const struct serve_options *o, struct err *err) __must_check;

#endif
