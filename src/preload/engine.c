/*
 * The engine that libckpt.so carries: checkpoints the program that started it.
 *
 *     godwit-engine PID IMAGE FROM-TO,...
 *     godwit-interval PID SECONDS IMAGE PIPE
 *
 * It is a child of the program, without exit signal, and inherits its open
 * files and its working directory: the first are closed, the second says where
 * a relative IMAGE goes.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "checkpoint/checkpoint.h"
#include "preload/interval.h"
#include "state/state.h"

static void notice(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "godwit: %s\n", text);
}

/* Where Yama is on, the program names us as its tracer right after it has
 * started us: until then the attach is denied. */
static int checkpoint_parent(const struct checkpoint_options *o, struct err *err)
{
	struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
	struct checkpoint_result result;
	int ret = -EPERM;

	for (int i = 0; i < 20 && ret == -EPERM; i++) {
		*err = ERR_INIT;
		if (i)
			nanosleep(&pause, NULL);
		ret = checkpoint(o, &(struct guardian_listener){.notice = notice}, &result, err);
	}
	return ret;
}

/* What images do without: hexadecimal, each with a comma behind it. */
static size_t parse_excluded(const char *text, struct memory_range *v, size_t max)
{
	size_t n = 0;
	int len;

	for (; n < max; n++, text += len)
		if (sscanf(text, "%" SCNx64 "-%" SCNx64 ",%n", &v[n].start, &v[n].end, &len) != 2)
			break;
	return n;
}

static int checkpoint_now(char **argv)
{
	static struct memory_range excluded[64];
	struct checkpoint_options o = {.ignore_child = getpid(),
				       .pid = (pid_t)atoi(argv[1]),
				       .image = argv[2],
				       .excluded = excluded};
	struct err err = ERR_INIT;

	o.nexcluded = parse_excluded(argv[3], excluded, ARRAY_SIZE(excluded));
	signal(SIGINT, SIG_IGN); /* Ctrl-C is for the program */
	if (o.pid != getppid() || !checkpoint_parent(&o, &err))
		return 0;
	fprintf(stderr, "godwit: checkpoint: %s\n", err.what);
	if (err.hint[0])
		fprintf(stderr, "hint: %s\n", err.hint);
	return err.exit;
}

static void close_from(int first)
{
	if (syscall(SYS_close_range, first, ~0U, 0))
		for (int fd = first; fd < 1024; fd++)
			close(fd);
}

int main(int argc, char **argv)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (argc == 5) {
		/* Out of the way of those that are closed. */
		if (dup2(atoi(argv[4]), 3) != 3)
			return EXIT_FAILED;
		close_from(4);
		return save_from_outside((pid_t)atoi(argv[1]), argv[2], argv[3], 3);
	}
	if (argc != 4)
		return EXIT_USAGE;
	close_from(3);
	return checkpoint_now(argv);
}
