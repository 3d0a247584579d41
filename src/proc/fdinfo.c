/* /proc/PID/fdinfo/FD: see fdinfo.h. */
#include "proc/fdinfo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

#define NS_PER_S 1000000000LL

static int add_epoll(struct fdinfo *f, const char *line, struct err *err)
{
	struct fdinfo_epoll e = {0}, *v;
	const char *ino;

	if (sscanf(line, "tfd: %" SCNd32 " events: %" SCNx32 " data: %" SCNx64, &e.fd, &e.events,
		   &e.data) != 3)
		return err_set(err, -EPROTO, "fdinfo: strange line '%.80s'", line);
	ino = strstr(line, " ino:");
	if (ino)
		e.ino = strtoull(ino + 5, NULL, 16);
	v = io_grow(f->epoll, &f->epoll_cap, f->nepoll + 1, sizeof(e), err);
	if (!v)
		return err->error;
	f->epoll = v;
	v[f->nepoll++] = e;
	return 0;
}

/* lock:	1: POSIX  ADVISORY  WRITE 21512 fe:00:10953115 10 14 */
static int add_lock(struct fdinfo *f, const char *line, struct err *err)
{
	char kind[16], advice[16], mode[16], start[24], end[24];
	struct fdinfo_lock l = {.kind = FDINFO_OTHER}, *v;

	if (sscanf(line, "lock: %*d: %15s %15s %15s %*d %*s %23s %23s", kind, advice, mode, start,
		   end) != 5)
		return err_set(err, -EPROTO, "fdinfo: strange line '%.80s'", line);
	if (!strcmp(advice, "ADVISORY")) {
		if (!strcmp(kind, "POSIX"))
			l.kind = FDINFO_POSIX;
		else if (!strcmp(kind, "OFDLCK"))
			l.kind = FDINFO_OFD;
		else if (!strcmp(kind, "FLOCK"))
			l.kind = FDINFO_FLOCK;
	}
	if (!strcmp(kind, "LEASE")) /* fs/locks.c, lock_get_status */
		l.kind = !strcmp(advice, "ACTIVE") ? FDINFO_LEASE : FDINFO_BREAKING;
	l.is_write = !strcmp(mode, "WRITE");
	l.start = strtoll(start, NULL, 10);
	l.end = strcmp(end, "EOF") ? strtoll(end, NULL, 10) : INT64_MAX;
	v = io_grow(f->locks, &f->locks_cap, f->nlocks + 1, sizeof(l), err);
	if (!v)
		return err->error;
	f->locks = v;
	v[f->nlocks++] = l;
	return 0;
}

/* inotify wd:a ino:3c51a sdev:fe00000 mask:fff ignored_mask:0 fhandle-bytes:8
 * fhandle-type:1 f_handle:1ac5030000000000, on one line; the handle may be missing.
 * All are hexadecimal, also wd (fs/notify/fdinfo.c, inotify_fdinfo). */
static int add_watch(struct fdinfo *f, const char *line, struct err *err)
{
	struct fdinfo_watch w = {0}, *v;
	uint32_t wd;
	const char *handle = strstr(line, " fhandle-bytes:"), *hex = strstr(line, " f_handle:");

	if (sscanf(line, "inotify wd:%" SCNx32 " ino:%" SCNx64 " sdev:%" SCNx64 " mask:%" SCNx32,
		   &wd, &w.ino, &w.sdev, &w.mask) != 4)
		return err_set(err, -EPROTO, "fdinfo: strange line '%.80s'", line);
	w.wd = (int32_t)wd;
	if (handle && hex &&
	    sscanf(handle, " fhandle-bytes:%" SCNx32 " fhandle-type:%" SCNx32, &w.handle_len,
		   &w.handle_type) == 2 &&
	    w.handle_len <= sizeof(w.handle)) {
		hex += strlen(" f_handle:");
		for (uint32_t i = 0; i < w.handle_len; i++, hex += 2)
			if (sscanf(hex, "%2hhx", &w.handle[i]) != 1 || !hex[1])
				return err_set(err, -EPROTO, "fdinfo: strange line '%.80s'", line);
	} else {
		w.handle_len = 0;
	}
	v = io_grow(f->watches, &f->watches_cap, f->nwatches + 1, sizeof(w), err);
	if (!v)
		return err->error;
	f->watches = v;
	v[f->nwatches++] = w;
	return 0;
}

/* Saturates: the kernel shows at most KTIME_MAX, but who knows who wrote it. */
static int64_t to_ns(int64_t s, int64_t ns)
{
	int64_t all;

	if (__builtin_mul_overflow(s, NS_PER_S, &all) || __builtin_add_overflow(all, ns, &all))
		return INT64_MAX;
	return all;
}

static void parse_timerfd(struct fdinfo *f, const char *line)
{
	int64_t s, ns;

	if (sscanf(line, "clockid: %" SCNd32, &f->timerfd_clock) == 1)
		f->has_timerfd = true;
	sscanf(line, "ticks: %" SCNu64, &f->timerfd_ticks);
	sscanf(line, "settime flags: %" SCNo32, &f->timerfd_settime);
	if (sscanf(line, "it_value: (%" SCNd64 ", %" SCNd64 ")", &s, &ns) == 2)
		f->timerfd_value_ns = to_ns(s, ns);
	if (sscanf(line, "it_interval: (%" SCNd64 ", %" SCNd64 ")", &s, &ns) == 2)
		f->timerfd_interval_ns = to_ns(s, ns);
}

static int parse_line(struct fdinfo *f, const char *line, struct err *err)
{
	switch (line[0]) {
	case 'p':
		sscanf(line, "pos: %" SCNd64, &f->pos);
		return 0;
	case 'f':
		sscanf(line, "flags: %" SCNo32, &f->flags);
		return 0;
	case 'e':
		if (sscanf(line, "eventfd-count: %" SCNx64, &f->eventfd_count) == 1)
			f->has_eventfd = true;
		sscanf(line, "eventfd-id: %" SCNd64, &f->eventfd_id);
		sscanf(line, "eventfd-semaphore: %d", &f->eventfd_semaphore);
		return 0;
	case 's':
		if (sscanf(line, "sigmask: %" SCNx64, &f->signalfd_mask) == 1)
			f->has_signalfd = true;
		parse_timerfd(f, line);
		return 0;
	case 't':
		if (!strncmp(line, "tfd:", 4))
			return add_epoll(f, line, err);
		parse_timerfd(f, line);
		return 0;
	case 'i':
		if (!strncmp(line, "inotify ", 8))
			return add_watch(f, line, err);
		parse_timerfd(f, line);
		return 0;
	case 'c':
		parse_timerfd(f, line);
		return 0;
	case 'l':
		return strncmp(line, "lock:", 5) ? 0 : add_lock(f, line, err);
	}
	return 0;
}

int proc_parse_fdinfo(const char *text, struct fdinfo *ret, struct err *err)
{
	struct fdinfo f = {.eventfd_id = -1, .eventfd_semaphore = -1};

	while (*text) {
		size_t len = strcspn(text, "\n");
		char line[512];
		int ret_line;

		/* Longer lines exist (file systems add their own): none of ours are. */
		snprintf(line, sizeof(line), "%.*s",
			 len < sizeof(line) - 1 ? (int)len : (int)sizeof(line) - 1, text);
		if ((ret_line = parse_line(&f, line, err))) {
			fdinfo_done(&f);
			return ret_line;
		}
		text += len + (text[len] == '\n');
	}
	*ret = f;
	return 0;
}

void fdinfo_done(struct fdinfo *f)
{
	free(f->epoll);
	free(f->locks);
	free(f->watches);
	*f = (struct fdinfo){0};
}
