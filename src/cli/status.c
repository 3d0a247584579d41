/* The status line: see status.h. */
#include "cli/status.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/utf8.h"

/* Columns that a terminal has if it does not say. */
#define WIDTH 80

/* Columns that are to be taken away. */
static size_t shown;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Of the process that has a job: /proc/PID/stat, or -1. */
static int job_fd = -1;

bool status_is_wanted(void)
{
	return isatty(STDERR_FILENO);
}

void status_share(void)
{
	int low = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);

	if (low < 0)
		return;
	job_fd = fcntl(low, F_DUPFD_CLOEXEC, 3); /* 0-2 may be closed */
	close(low);
}

/* tcgetpgrp(3) tells only those whose terminal it is; the guardian of a restart has none. */
static bool is_foreground(void)
{
	char text[512];
	const char *p;
	int group = -1, front = -2;
	ssize_t n;

	if (job_fd < 0)
		return tcgetpgrp(STDERR_FILENO) == getpgrp();
	n = pread(job_fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	p = strrchr(text, ')');
	return p && sscanf(p, ") %*c %*d %d %*d %*d %d", &group, &front) == 2 && group == front;
}

static size_t width(void)
{
	struct winsize w = {0};

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) || !w.ws_col)
		return WIDTH;
	return w.ws_col;
}

/* At most max columns of the text, to out; returns the columns.  One a character, as in all
 * that we show here but for names from the Far East, which are then cut a bit early. */
static size_t cut(const char *text, size_t max, char *out, size_t cap)
{
	size_t columns = 0, at = 0;

	for (const char *p = text; *p && columns < max; columns++) {
		size_t n = utf8_len(p);
		bool plain = n && (unsigned char)*p >= ' ' && *p != 0x7f;

		if (at + 5 > cap)
			break;
		memcpy(out + at, plain ? p : "?", plain ? n : 1);
		at += plain ? n : 1;
		p += n ? n : 1;
	}
	out[at] = '\0';
	return columns;
}

/* In one write(), that nobody sees half of it.  Spaces do what not every terminal has a
 * sequence for. */
static void put(const char *text, size_t columns)
{
	char line[2048];
	size_t rest = shown > columns ? shown - columns : 0;
	int n;

	if (rest >= width())
		rest = width() - 1; /* it has become narrower */
	n = snprintf(line, sizeof(line), "\r%s%*s%s", text, (int)rest, "", columns ? "" : "\r");
	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0)
		return; /* the terminal is gone */
	shown = columns;
}

void status_show(const char *fmt, ...)
{
	char text[512], line[512];
	size_t columns;
	va_list ap;

	if (!is_foreground())
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* The last column stays free: some terminals go to the next line there. */
	columns = cut(text, width() - 1, line, sizeof(line));
	pthread_mutex_lock(&lock);
	put(line, columns);
	pthread_mutex_unlock(&lock);
}

void status_clear(void)
{
	pthread_mutex_lock(&lock);
	if (shown)
		put("", 0);
	pthread_mutex_unlock(&lock);
}

void status_print(const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&lock);
	if (shown)
		put("", 0);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	pthread_mutex_unlock(&lock);
}

const char *status_amount(char out[static 40], uint64_t done, uint64_t all)
{
	static const char *const unit[] = {"KiB", "MiB", "GiB", "TiB"};
	double scale = 1024;
	size_t u = 0;

	while ((double)all / scale >= 1024 && u < 3) {
		scale *= 1024;
		u++;
	}
	snprintf(out, 40, "%.1f of %.1f %s", (double)done / scale, (double)all / scale, unit[u]);
	return out;
}
