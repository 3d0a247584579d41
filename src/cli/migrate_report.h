/* What a person, or a program, hears of a migration: while it goes on, and at its end. */
#ifndef GODWIT_CLI_MIGRATE_REPORT_H
#define GODWIT_CLI_MIGRATE_REPORT_H

#include "migrate/migrate.h"

/* guardian_listener.told: how far it is, on the status line. */
void migrate_show_progress(void *arg, const void *p, size_t len);

/* At the end: JSON on stdout, or text on stderr. */
void migrate_report(const struct migrate_options *o, const struct migrate_result *r, bool json);

const char *migrate_mode_name(enum migrate_mode mode);
/* Bytes a second that the program wrote between the begin of the round before and that of
 * round i; 0 for the first. */
uint64_t migrate_dirty_rate(const struct migrate_result *r, uint32_t i);

#endif
