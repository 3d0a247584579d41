/*
 * The status line: one line on a terminal that is written over again and again, while work
 * goes on, and taken away at its end.  Whatever else is printed on stderr goes
 * through cli.h, which takes it away first.
 */
#ifndef GODWIT_CLI_STATUS_H
#define GODWIT_CLI_STATUS_H

#include <stdbool.h>
#include <stdint.h>

/* Is stderr a terminal? */
bool status_is_wanted(void);
/* From here on the line is shown also by processes that we start, and in the place of which
 * another program may stand: they are in the background when the job is in which we are. */
void status_share(void);
/* Shows the line: cut to the terminal's width; not at all while we are in the
 * background, where the line is another's.  By any thread, as the others are. */
void status_show(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void status_clear(void);
/* A line that stays, in the place of the other. */
void status_print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "3.2 of 64.0 MiB", both in the unit of the larger one. */
const char *status_amount(char out[static 40], uint64_t done, uint64_t all);

#endif
