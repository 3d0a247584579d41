/* Errors and notices on stderr: the only place that prints them. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

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

static bool progress_shown;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void cli_progress(void *arg, uint64_t done, uint64_t all)
{
	static double begun;
	double took, rate;

	(void)arg;
	if (begun == 0)
		begun = now();
	took = now() - begun;
	if (took < 1 || !done)
		return; /* short work needs no clock */
	rate = (double)done / took;
	fprintf(stderr, "\rgodwit: %llu of %llu MiB, %.0f MiB/s, %.0f s left \033[K",
		(unsigned long long)done >> 20, (unsigned long long)all >> 20, rate / 1048576,
		(double)(all - done) / rate);
	progress_shown = true;
}

void cli_progress_end(void)
{
	if (progress_shown)
		fprintf(stderr, "\r\033[K");
	progress_shown = false;
}
