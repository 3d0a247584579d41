/* A picture of a migration: its rounds over time, and how much each sent. */
#ifndef GODWIT_CLI_MIGRATE_PLOT_H
#define GODWIT_CLI_MIGRATE_PLOT_H

#include "migrate/migrate.h"

struct plot {
	const char *path;
	int fd; /* -1: none is wanted */
	bool is_new;
};

/* Before the migration: a file that cannot be written is a reason not to begin. */
int migrate_plot_open(struct plot *p, const char *path, struct err *err) __must_check;
/* Draws one that has moved, and closes.  pid: it had here. */
int migrate_plot_draw(struct plot *p, pid_t pid, const struct migrate_result *r,
		      struct err *err) __must_check;
/* Nothing was drawn: leaves no file that was not there.  Accepts one that is closed. */
void migrate_plot_drop(struct plot *p);

#endif
