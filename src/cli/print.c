/* Errors and notices on stderr: the only place that prints them. */
#include <stdio.h>

#include "cli/cli.h"

int cli_fail(const char *cmd, const struct err *err)
{
	fprintf(stderr, "godwit: %s: %s\n", cmd, err->what);
	if (err->hint[0])
		fprintf(stderr, "hint: %s\n", err->hint);
	return err->exit;
}

void cli_notice(void *arg, const char *text)
{
	fprintf(stderr, "godwit: %s: %s\n", (const char *)arg, text);
}
