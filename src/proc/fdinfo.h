/* Parser of /proc/PID/fdinfo/FD: text in, structs out.  proc_pid_fdinfo(5). */
#ifndef GODWIT_PROC_FDINFO_H
#define GODWIT_PROC_FDINFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* What an epoll descriptor watches. */
struct fdinfo_epoll {
	int32_t fd; /* as it was when the entry was made */
	uint32_t events;
	uint64_t data, ino; /* ino: of the file watched */
};

enum fdinfo_lock_kind {
	FDINFO_POSIX = 1,
	FDINFO_OFD,
	FDINFO_FLOCK,
	FDINFO_LEASE,
	FDINFO_BREAKING, /* a lease that somebody waits for */
	FDINFO_OTHER
};

/* A file lock that was taken by means of this open file description. */
struct fdinfo_lock {
	uint32_t kind;
	bool is_write;
	int64_t start, end; /* bytes, inclusive; end INT64_MAX: to the end of the file */
};

#define FDINFO_HANDLE_MAX 128 /* bytes (MAX_HANDLE_SZ) */

/* What an inotify watches. */
struct fdinfo_watch {
	int32_t wd;
	uint32_t mask;
	uint64_t ino, sdev; /* sdev: as the kernel counts devices */
	uint32_t handle_len, handle_type;
	uint8_t handle[FDINFO_HANDLE_MAX]; /* open_by_handle_at(2) */
};

struct fdinfo {
	int64_t pos;
	uint32_t flags; /* O_*, O_CLOEXEC is the descriptor's */
	bool has_eventfd;
	uint64_t eventfd_count;
	int64_t eventfd_id;    /* -1: not shown (Linux < 5.2) */
	int eventfd_semaphore; /* 0, 1, or -1: not shown (Linux < 6.5) */
	bool has_timerfd;
	int32_t timerfd_clock;
	uint32_t timerfd_settime;
	uint64_t timerfd_ticks;
	int64_t timerfd_value_ns, timerfd_interval_ns;
	bool has_signalfd;
	uint64_t signalfd_mask; /* bit signo - 1 */
	struct fdinfo_epoll *epoll;
	size_t nepoll, epoll_cap;
	struct fdinfo_lock *locks;
	size_t nlocks, locks_cap;
	struct fdinfo_watch *watches;
	size_t nwatches, watches_cap;
};

/* Lines that are not known are skipped.  On failure nothing is left to free. */
int proc_parse_fdinfo(const char *text, struct fdinfo *ret, struct err *err) __must_check;
void fdinfo_done(struct fdinfo *f);

#endif
