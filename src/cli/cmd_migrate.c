/* godwit migrate */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/leave.h"
#include "cli/migrate_plot.h"
#include "cli/migrate_report.h"
#include "cli/status.h"
#include "migrate/migrate.h"

static int usage(FILE *out, int status)
{
	fprintf(out,
		"usage: godwit migrate PID [USER@]HOST [OPTIONS]\n"
		"       godwit migrate PID tls://HOST:PORT --key FILE [OPTIONS]\n"
		"       godwit migrate PID tls://HOST:PORT --cert FILE --cert-key FILE --ca FILE\n"
		"                          [OPTIONS]\n\n"
		"Moves the running program PID to HOST, where it goes on: by ssh, which starts\n"
		"godwit over there, or to a waiting godwit serve.\n\n"
		"      --mode MODE         pre-copy (default): send while it runs, then what it "
		"wrote;\n"
		"                          total: stop, send all, go on over there;\n"
		"                          post-copy: go on over there at once, the memory "
		"follows\n"
		"      --max-pause MS      of pre-copy: the pause to aim at (default 20)\n"
		"      --dry-run           ask HOST whether it could take the program; move "
		"nothing\n"
		"      --explain           the same, and print what would be done, step by step\n"
		"      --stdio WHERE       of the program, over there: null (default), file:PATH, "
		"or\n"
		"                          ssh: carried here, and godwit stays (by ssh alone)\n"
		"      --copy-files[=SIZE] take along the files it has open that HOST lacks, and "
		"its\n"
		"                          folder; at most SIZE of them (default 1G)\n"
		"      --key FILE          the key that both hosts share (godwit key)\n"
		"      --cert FILE, --cert-key FILE  or this host's certificate, and the private "
		"key\n"
		"      --ca FILE           the authority that signed HOST's certificate\n"
		"      --timeout SECONDS   for each step of the other side's (default 10)\n"
		"      --ssh COMMAND       instead of ssh; also GODWIT_SSH\n"
		"      --remote-godwit PATH  the godwit of the other host\n"
		"      --json              report on standard output, as JSON\n"
		"      --plot FILE         draw the rounds over time (SVG)\n"
		"  -q, --quiet             only errors\n");
	return status;
}

struct line {
	struct migrate_options o;
	const char *stdio, *plot_file;
	struct plot plot;
	bool quiet, json;
};

static bool parse_number(const char *s, long min, long max, long *ret)
{
	char *end;

	errno = 0;
	*ret = strtol(s, &end, 10);
	return *s && !*end && !errno && *ret >= min && *ret <= max;
}

enum {
	OPT_MODE = 256,
	OPT_PAUSE,
	OPT_DRY,
	OPT_EXPLAIN,
	OPT_STDIO,
	OPT_COPY,
	OPT_TIMEOUT,
	OPT_SSH,
	OPT_REMOTE,
	OPT_JSON,
	OPT_PLOT
};

/* EXIT_DONE, or the status to leave with. */
static int take_option(struct line *l, int c, const char *arg)
{
	long n;

	if (cli_creds_option(c, arg, &l->o.peer.creds))
		return EXIT_DONE;
	switch (c) {
	case OPT_MODE:
		if (!strcmp(arg, "total"))
			l->o.mode = MODE_TOTAL;
		else if (!strcmp(arg, "pre-copy"))
			l->o.mode = MODE_PRECOPY;
		else if (!strcmp(arg, "post-copy"))
			l->o.mode = MODE_POSTCOPY;
		else
			return cli_usage("migrate", "there is no mode '%s'", arg);
		return EXIT_DONE;
	case OPT_PAUSE:
		if (!parse_number(arg, 1, 3600000, &n))
			return cli_usage("migrate", "'%s' is no number of milliseconds", arg);
		l->o.max_pause_ms = (int)n;
		return EXIT_DONE;
	case OPT_EXPLAIN:
		l->o.explain = true;
		l->o.ask_only = true;
		return EXIT_DONE;
	case OPT_DRY:
		l->o.ask_only = true;
		return EXIT_DONE;
	case OPT_STDIO:
		l->stdio = arg;
		return EXIT_DONE;
	case OPT_COPY:
		l->o.copy_files = true;
		if (arg && !cli_parse_size(arg, &l->o.copy_max))
			return cli_usage("migrate", "'%s' is no size: 500M, 2G", arg);
		return EXIT_DONE;
	case OPT_TIMEOUT:
		if (!parse_number(arg, 1, 3600, &n))
			return cli_usage("migrate", "'%s' is no number of seconds (1-3600)", arg);
		l->o.timeout_ms = (int)n * 1000;
		return EXIT_DONE;
	case OPT_SSH:
		l->o.peer.ssh = arg;
		return EXIT_DONE;
	case OPT_REMOTE:
		l->o.peer.remote = arg;
		return EXIT_DONE;
	case OPT_PLOT:
		l->plot_file = arg;
		return EXIT_DONE;
	case OPT_JSON:
		l->json = true;
		return EXIT_DONE;
	case 'q':
		l->quiet = true;
		return EXIT_DONE;
	default:
		return usage(stderr, EXIT_USAGE);
	}
}

/* The words for `godwit receive` over there. */
static int remote_words(struct line *l, char *out, size_t cap)
{
	const char *where = l->stdio ? l->stdio : "null";

	if (!strncmp(l->o.peer.to, "tls://", 6)) {
		if (l->stdio)
			return cli_usage("migrate",
					 "--stdio is for hosts reached by ssh; godwit serve "
					 "has an option of its own");
		return EXIT_DONE;
	}
	if (strcmp(where, "null") && strcmp(where, "ssh") && strncmp(where, "file:/", 6))
		return cli_usage("migrate", "--stdio is null, ssh or file:/PATH, not '%s'", where);
	if (strchr(where, '\'') || strlen(where) > 1000)
		return cli_usage("migrate", "no such file name, please");
	l->o.follow = !strcmp(where, "ssh");
	snprintf(out, cap, "'--stdio=%s' --timeout=%d", where, l->o.timeout_ms / 1000);
	l->o.peer.args = out;
	return EXIT_DONE;
}

static int parse(struct line *l, int argc, char **argv)
{
	static const struct option options[] = {
		{"mode", required_argument, NULL, OPT_MODE},
		{"max-pause", required_argument, NULL, OPT_PAUSE},
		{"dry-run", no_argument, NULL, OPT_DRY},
		{"explain", no_argument, NULL, OPT_EXPLAIN},
		{"stdio", required_argument, NULL, OPT_STDIO},
		{"copy-files", optional_argument, NULL, OPT_COPY},
		CLI_CREDS_OPTIONS,
		{"timeout", required_argument, NULL, OPT_TIMEOUT},
		{"ssh", required_argument, NULL, OPT_SSH},
		{"remote-godwit", required_argument, NULL, OPT_REMOTE},
		{"json", no_argument, NULL, OPT_JSON},
		{"plot", required_argument, NULL, OPT_PLOT},
		{"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	long pid;
	int c, ret;

	while ((c = getopt_long(argc, argv, "qh", options, NULL)) != -1)
		if (c == 'h')
			exit(usage(stdout, EXIT_DONE));
		else if ((ret = take_option(l, c, optarg)))
			return ret;
	if (argc - optind < 2)
		return cli_usage("migrate", optind == argc ? "which PID?" : "to which host?");
	if (l->plot_file && l->o.ask_only)
		return cli_usage("migrate", "--plot: a dry run has no rounds to draw");
	if (argc - optind > 2)
		return cli_usage("migrate", "one PID and one host only, not '%s', too",
				 argv[optind + 2]);
	if (!parse_number(argv[optind], 1, 1 << 22, &pid))
		return cli_usage("migrate", "'%s' is not a process id", argv[optind]);
	l->o.pid = (pid_t)pid;
	l->o.peer.to = argv[optind + 1];
	return EXIT_DONE;
}

static void report(void *arg, const struct migrate_result *r)
{
	struct line *l = arg;
	struct err err = ERR_INIT;

	status_clear();
	if (!l->quiet || l->json)
		migrate_report(&l->o, r, l->json);
	/* The program has moved, picture or not. */
	if (l->plot.fd >= 0 && r->outcome == MIGRATE_MOVED &&
	    migrate_plot_draw(&l->plot, l->o.pid, r, &err))
		cli_notice((char[]){"migrate"}, err.what);
}

int cmd_migrate(int argc, char **argv)
{
	struct line l = {.o = {.timeout_ms = 10000,
			       .mode = MODE_PRECOPY,
			       .max_pause_ms = 20,
			       .copy_max = 1 << 30},
			 .plot = {.fd = -1}};
	struct migrate_result result = {0};
	struct err err = ERR_INIT;
	char words[1200];
	int ret;

	l.o.peer.ssh = getenv("GODWIT_SSH");
	if ((ret = parse(&l, argc, argv)) || (ret = remote_words(&l, words, sizeof(words))))
		return ret;
	struct guardian_listener listener = {
		.notice = l.quiet ? NULL : cli_notice,
		.told = !l.quiet && status_is_wanted() ? migrate_show_progress : NULL,
		.arg = (char[]){"migrate"},
	};
	if (l.plot_file && migrate_plot_open(&l.plot, l.plot_file, &err))
		return cli_fail("migrate", &err);
	ret = migrate(&l.o, &listener, report, &l, &result, &err);
	status_clear();
	migrate_plot_drop(&l.plot);
	if (ret)
		return cli_fail("migrate", &err);
	return l.o.follow && result.outcome == MIGRATE_MOVED ? leave_as(result.status) : EXIT_DONE;
}
