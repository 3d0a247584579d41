/* Ending as the program ended: see leave.h. */
#include "cli/leave.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/meter.h"
#include "cli/cli.h"
#include "cli/status.h"

int leave_as(int status)
{
	struct rlimit none = {0, 0};
	sigset_t set;

	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	/* The program has left its core where it is wanted; ours would be noise. */
	setrlimit(RLIMIT_CORE, &none);
	signal(WTERMSIG(status), SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, WTERMSIG(status));
	raise(WTERMSIG(status));
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	return 128 + WTERMSIG(status);
}

int restart_and_leave(const struct restart_options *o, bool quiet)
{
	struct err err = ERR_INIT;
	int status = 0;
	struct meter meter = {.tell = cli_progress};
	struct restart_options with = *o;
	int ret;

	if (!quiet && !o->explain && status_is_wanted()) {
		status_share();
		with.meter = &meter;
	}
	ret = restart(&with, quiet ? NULL : cli_notice, (char[]){"restart"}, &status, &err);
	if (ret < 0)
		return cli_fail("restart", &err);
	return ret == 1 ? leave_as(status) : 0;
}
