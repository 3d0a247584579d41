/* Errors and notices on stderr: the only place that prints them. */
#include <stdarg.h>
#include <stdio.h>

#include "cli/cli.h"

int cli_fail(const char *cmd, const struct err *err)
{
	fprintf(stderr, "godwit: %s: %s\n", cmd, err->what);
	if (err->hint[0])
		fprintf(stderr, "hint: %s\n", err->hint);
	return err->exit;
}

int cli_usage(const char *cmd, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "godwit: %s: ", cmd);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nhint: godwit %s --help\n", cmd);
	return EXIT_USAGE;
}

void cli_notice(void *arg, const char *text)
{
	fprintf(stderr, "godwit: %s: %s\n", (const char *)arg, text);
}
