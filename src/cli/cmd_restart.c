/* godwit restart, and what it shares with myrestart: the way out. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/leave.h"
#include "restart/restart.h"
#include "state/files.h"

static int usage(FILE *out, int status)
{
	fprintf(out,
		"usage: godwit restart [--new-ids | --same-ids] [--files=keep] [--fd=N=PATH] "
		"[--explain] "
		"IMAGE\n\n"
		"Wakes the program in IMAGE up, here: it goes on as a child of your shell.\n\n"
		"      --new-ids      godwit becomes the program; its process id is new\n"
		"      --same-ids     the program has its old ids; godwit stays as its parent\n"
		"      --files=keep   do not cut files that have grown back to their old size\n"
		"      --fd=N=PATH    descriptor N becomes the file PATH; N=&0, &1, &2: the "
		"shell's\n"
		"      --explain      print every system call that the new process would run\n"
		"  -q, --quiet        only errors\n");
	return status;
}

/* "7=/some/file", "7=&1" */
static bool parse_fd(const char *arg, struct restart_fd *ret)
{
	char *end;
	long n = strtol(arg, &end, 10);

	if (*arg < '0' || *arg > '9' || *end != '=' || !end[1] || n >= FILES_MAX)
		return false;
	*ret = (struct restart_fd){.fd = (int)n, .source = end + 1};
	return end[1] != '&' || (end[2] >= '0' && end[2] <= '2' && !end[3]);
}

int cmd_restart(int argc, char **argv)
{
	static const struct option options[] = {
		{"new-ids", no_argument, NULL, 'n'},     {"same-ids", no_argument, NULL, 's'},
		{"files", required_argument, NULL, 'f'}, {"fd", required_argument, NULL, 'd'},
		{"explain", no_argument, NULL, 'e'},     {"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0},
	};
	struct restart_fd fds[64];
	struct restart_options o = {.ids = IDS_AUTO, .fds = fds};
	enum ids_policy wanted;
	bool quiet = false;
	const char *operand;
	int c;

	while ((c = getopt_long(argc, argv, "qh", options, NULL)) != -1) {
		switch (c) {
		case 'n':
		case 's':
			wanted = c == 'n' ? IDS_NEW : IDS_SAME;
			if (o.ids != IDS_AUTO && o.ids != wanted)
				return cli_usage("restart", "new ids or the same ids, not both");
			o.ids = wanted;
			break;
		case 'f':
			if (strcmp(optarg, "keep") && strcmp(optarg, "cut"))
				return cli_usage("restart", "--files is cut or keep, not '%s'",
						 optarg);
			o.files = strcmp(optarg, "keep") ? FILES_CUT : FILES_KEEP;
			break;
		case 'd':
			if (o.nfds == ARRAY_SIZE(fds) || !parse_fd(optarg, &fds[o.nfds]))
				return cli_usage("restart",
						 "--fd is N=PATH or N=&0, &1, &2, not '%s'",
						 optarg);
			o.nfds++;
			break;
		case 'e':
			o.explain = true;
			break;
		case 'q':
			quiet = true;
			break;
		case 'h':
			return usage(stdout, 0);
		default:
			return usage(stderr, EXIT_USAGE);
		}
	}
	if (!(operand = cli_operand("restart", "IMAGE", argc, argv)))
		return EXIT_USAGE;
	o.image = operand;
	return restart_and_leave(&o, quiet);
}
