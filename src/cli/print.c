/* Errors and notices on stderr: the only place that prints them. */
#include <stdarg.h>
#include <stdio.h>

#include "base/io.h"
#include "cli/cli.h"
#include "cli/status.h"

#define NS_PER_S 1000000000ULL

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
	status_print("godwit: %s: %s\n", (const char *)arg, text);
}

void cli_progress(void *arg, uint64_t done, uint64_t all)
{
	static uint64_t begun, part_begun, last;
	uint64_t now = io_now_ns();
	char amount[40];
	double rate;

	(void)arg;
	if (done >= all) {
		status_clear();
		return;
	}
	if (!begun)
		begun = now;
	if (!part_begun || done < last)
		part_begun = now; /* work of another kind, with a rate of its own */
	last = done;
	if (now - begun < NS_PER_S || now - part_begun < NS_PER_S / 10 || !done)
		return; /* short work needs no clock */
	rate = (double)done / ((double)(now - part_begun) / 1e9);
	status_show("godwit: %s, %.0f MiB/s, %.0f s left", status_amount(amount, done, all),
		    rate / 1048576, (double)(all - done) / rate);
}

void cli_progress_end(void)
{
	status_clear();
}
