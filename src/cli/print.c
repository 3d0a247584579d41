/* Errors and notices on stderr: the only place that prints them. */
#include <stdarg.h>
#include <stdio.h>

#include "base/io.h"
#include "cli/cli.h"
#include "cli/status.h"

int cli_fail(const char *cmd, const struct err *err)
{
	status_clear();
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
	status_clear();
	fprintf(stderr, "godwit: %s: %s\n", (const char *)arg, text);
}

void cli_progress(void *arg, uint64_t done, uint64_t all)
{
	static uint64_t begun;
	char amount[40];
	double took, rate;

	(void)arg;
	if (begun == 0)
		begun = io_now_ns();
	took = (double)(io_now_ns() - begun) / 1e9;
	if (took < 1 || !done)
		return; /* short work needs no clock */
	rate = (double)done / took;
	status_show("godwit: %s, %.0f MiB/s, %.0f s left", status_amount(amount, done, all),
		    rate / 1048576, (double)(all - done) / rate);
}

void cli_progress_end(void)
{
	status_clear();
}
