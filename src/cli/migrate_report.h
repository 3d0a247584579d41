/* The table of the phases of a migration. */
#ifndef GODWIT_CLI_MIGRATE_REPORT_H
#define GODWIT_CLI_MIGRATE_REPORT_H

#include "migrate/migrate.h"

/* JSON on stdout, or text on stderr. */
void migrate_report(const struct migrate_options *o, const struct migrate_result *r, bool json);

#endif
