/* What a migration would do, step by step. */
#ifndef GODWIT_CLI_MIGRATE_EXPLAIN_H
#define GODWIT_CLI_MIGRATE_EXPLAIN_H

#include "base/report.h"
#include "migrate/migrate.h"

/* The steps of one that was asked about, with this program's numbers, to an open report. */
void migrate_explain(struct report *rep, const struct migrate_options *o,
		     const struct migrate_result *r);

/* Of a step, by its name: what it does; NULL if nobody has written that. */
const char *migrate_step_text(const char *name);

#endif
