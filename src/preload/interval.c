/*
 * GODWIT_INTERVAL: see interval.h.
 *
 * A timer of the program's own would be the program's to see, to use up, and to have in its
 * image.  A signal would kill a program that has put a handler of its own in place of ours.
 * So this process, which is nobody's child, makes the checkpoint from outside: no system
 * call of the program sees it.
 */
#include "preload/interval.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "checkpoint/checkpoint.h"
#include "remote/remote.h"

#define DAY_S 86400.0

static bool parse_interval(const char *s, uint64_t *ret_ms)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}};
	char *end;
	double v;

	if (*s < '0' || *s > '9')
		return false;
	v = strtod(s, &end);
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(end, units[i].unit)) {
			v *= units[i].seconds;
			*ret_ms = v >= 0.01 && v <= 20 * DAY_S ? (uint64_t)(v * 1000) : 0;
			return *ret_ms > 0;
		}
	return false;
}

/* The beginning of the stack: random, and another one for each program executed. */
static bool read_stack_start(pid_t pid, unsigned long *ret)
{
	__cleanup_buf struct buf b = {0};
	char path[48];
	char *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", remote_find_speaker(pid));
	if (io_read_file(AT_FDCWD, path, &b) || !(p = strrchr(b.p, ')')))
		return false;
	for (int field = 2; field < 28 && p; field++)
		p = strchr(p + 1, ' ');
	*ret = p ? strtoul(p, NULL, 10) : 0;
	return p;
}

static void notice(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "godwit: %s\n", text);
}

/* Says why it failed, but not the same again and again. */
static void save(const struct checkpoint_options *o, struct err *last)
{
	struct guardian_listener listener = {.notice = notice};
	struct checkpoint_result result;
	struct err err = ERR_INIT;
	__cleanup_fd int cwd = remote_open_proc(o->pid, "cwd", O_PATH | O_DIRECTORY);

	if (cwd < 0 || fchdir(cwd))
		return;
	if (checkpoint(o, &listener, &result, &err) && err.error != -ESRCH &&
	    strcmp(err.what, last->what)) {
		fprintf(stderr, "godwit: checkpoint: %s\n", err.what);
		if (err.hint[0])
			fprintf(stderr, "hint: %s\n", err.hint);
	}
	*last = err;
}

static void save_at_intervals(const struct checkpoint_options *o, int pidfd, uint64_t every_ms,
			      unsigned long stack)
{
	uint64_t next = io_now_ns() + every_ms * 1000000;
	struct err last = ERR_INIT;

	for (;;) {
		struct pollfd p = {.fd = pidfd, .events = POLLIN};
		uint64_t now = io_now_ns();
		unsigned long here;

		if (now < next) {
			if (poll(&p, 1, (int)((next - now) / 1000000 + 1)) > 0)
				return;
			continue;
		}
		if (!read_stack_start(o->pid, &here) || here != stack)
			return;
		save(o, &last);
		next = io_now_ns() + every_ms * 1000000;
	}
}

int save_from_outside(pid_t pid, const char *interval, const char *image, int told)
{
	struct checkpoint_options o = {.pid = pid, .image = image};
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	unsigned long stack;
	uint64_t every_ms;
	pid_t self;

	if (!parse_interval(interval, &every_ms)) {
		fprintf(stderr, "godwit: GODWIT_INTERVAL is '%s'; seconds, or 30s, 10m, 2h\n",
			interval);
		return EXIT_USAGE;
	}
	if (pidfd < 0 || pid != getppid() || !read_stack_start(pid, &stack))
		return EXIT_FAILED;
	self = fork();
	if (self < 0)
		return EXIT_FAILED;
	if (self > 0) /* where Yama is on, the program must name it */
		return io_write_all(told, &self, sizeof(self)) ? EXIT_FAILED : 0;
	setsid();
	prctl(PR_SET_NAME, "godwit-interval");
	/* What it writes goes where the program's messages go; nothing else is held open. */
	for (int fd = 0; fd <= told; fd++)
		if (fd != pidfd && fd != 2)
			close(fd);
	save_at_intervals(&o, pidfd, every_ms, stack);
	_exit(0);
}
