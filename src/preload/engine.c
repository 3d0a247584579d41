/*
 * The engine that libckpt.so carries: checkpoints the program that started it.
 *
 *     godwit-engine PID IMAGE
 *
 * It is a child of the program, without exit signal, and inherits its open
 * files and its working directory: the first are closed, the second says where
 * a relative IMAGE goes.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "checkpoint/checkpoint.h"

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

int main(int argc, char **argv)
{
	struct checkpoint_options o = {.ignore_child = getpid()};
	struct err err = ERR_INIT;
	sigset_t none;

	if (argc != 3)
		return EXIT_USAGE;
	o.pid = (pid_t)atoi(argv[1]);
	o.image = argv[2];
	if (syscall(SYS_close_range, 3, ~0U, 0))
		for (int fd = 3; fd < 1024; fd++)
			close(fd);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGINT, SIG_IGN); /* Ctrl-C is for the program */
	if (o.pid != getppid() || !checkpoint_parent(&o, &err))
		return 0;
	fprintf(stderr, "godwit: checkpoint: %s\n", err.what);
	if (err.hint[0])
		fprintf(stderr, "hint: %s\n", err.hint);
	return err.exit;
}
