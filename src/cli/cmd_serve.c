/* godwit serve, godwit receive: the two ways to be a destination. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "base/io.h"
#include "cli/cli.h"
#include "migrate/peer.h"
#include "migrate/serve.h"

#define ALLOW_MAX 64

static int usage_serve(FILE *out, int status)
{
	fprintf(out,
		"usage: godwit serve --listen ADDRESS:PORT --key FILE [OPTIONS]\n"
		"       godwit serve --listen ADDRESS:PORT --cert FILE --cert-key FILE --ca FILE\n"
		"                    [OPTIONS]\n\n"
		"Waits for programs that godwit migrate sends here.\n\n"
		"      --listen ADDRESS:PORT  where; :PORT is every address\n"
		"      --key FILE          the key that both hosts share (godwit key FILE)\n"
		"      --cert FILE, --cert-key FILE  or its certificate, and the private key\n"
		"      --ca FILE           the authority that signed the other hosts' "
		"certificates\n"
		"      --allow-name NAME   take programs only from a host whose certificate has "
		"this\n"
		"                          name; repeatable\n"
		"      --allow-uid UID     as root: take programs of this user, too; repeatable\n"
		"      --stdio WHERE       of the programs: null (default) or file:PATH, appended "
		"to\n"
		"      --new-ids, --same-ids, --files=keep   as godwit restart\n"
		"      --timeout SECONDS   for each step of the other side's (default 10)\n"
		"  -q, --quiet             only errors\n");
	return status;
}

static int usage_receive(FILE *out, int status)
{
	fprintf(out,
		"usage: godwit receive [OPTIONS]\n\n"
		"Takes one program from standard input and output: godwit migrate starts it by "
		"ssh.\n\n"
		"      --stdio WHERE       of the program: null (default), ssh, or file:PATH\n"
		"      --allow-uid UID, --new-ids, --same-ids, --files=keep, --timeout SECONDS\n"
		"                          as godwit serve\n");
	return status;
}

struct line {
	const char *name;
	bool receives;
	struct serve_options o;
	uid_t allow[ALLOW_MAX];
	const char *names[ALLOW_MAX];
	bool quiet;
};

static bool parse_number(const char *s, unsigned long max, unsigned long *ret)
{
	char *end;

	errno = 0;
	*ret = strtoul(s, &end, 10);
	return *s >= '0' && *s <= '9' && !*end && !errno && *ret <= max;
}

static int take_stdio(struct line *l, const char *arg)
{
	struct target_options *t = &l->o.target;

	if (!strcmp(arg, "null"))
		t->stdio = STDIO_NULL;
	else if (!strcmp(arg, "ssh") && l->receives)
		t->stdio = STDIO_WIRE;
	else if (!strncmp(arg, "file:", 5) && arg[5])
		t->stdio = STDIO_FILE;
	else
		return cli_usage(l->name, "--stdio is null%s or file:PATH, not '%s'",
				 l->receives ? ", ssh" : "", arg);
	t->stdio_file = t->stdio == STDIO_FILE ? arg + 5 : NULL;
	return EXIT_DONE;
}

enum {
	OPT_LISTEN = 256,
	OPT_NAME,
	OPT_ALLOW,
	OPT_STDIO,
	OPT_NEW,
	OPT_SAME,
	OPT_FILES,
	OPT_TIMEOUT
};

static int take_name(struct line *l, const char *arg)
{
	if (!*arg || l->o.nnames == ALLOW_MAX)
		return cli_usage(l->name, "'%s' is no name, or one too many", arg);
	l->names[l->o.nnames++] = arg;
	return EXIT_DONE;
}

static int take_option(struct line *l, int c, const char *arg)
{
	struct target_options *t = &l->o.target;
	unsigned long n;

	if (cli_creds_option(c, arg, &l->o.creds))
		return EXIT_DONE;
	switch (c) {
	case OPT_LISTEN:
		l->o.listen = arg;
		return EXIT_DONE;
	case OPT_NAME:
		return take_name(l, arg);
	case OPT_ALLOW:
		if (!parse_number(arg, UINT32_MAX - 1, &n) || t->nallow == ALLOW_MAX)
			return cli_usage(l->name, "'%s' is no user id", arg);
		l->allow[t->nallow++] = (uid_t)n;
		return EXIT_DONE;
	case OPT_STDIO:
		return take_stdio(l, arg);
	case OPT_NEW:
		t->ids = IDS_NEW;
		return EXIT_DONE;
	case OPT_SAME:
		t->ids = IDS_SAME;
		return EXIT_DONE;
	case OPT_FILES:
		if (strcmp(arg, "keep") && strcmp(arg, "cut"))
			return cli_usage(l->name, "--files is cut or keep, not '%s'", arg);
		t->files = strcmp(arg, "keep") ? FILES_CUT : FILES_KEEP;
		return EXIT_DONE;
	case OPT_TIMEOUT:
		if (!parse_number(arg, 3600, &n) || !n)
			return cli_usage(l->name, "'%s' is no number of seconds (1-3600)", arg);
		t->timeout_ms = (int)n * 1000;
		return EXIT_DONE;
	case 'q':
		l->quiet = true;
		return EXIT_DONE;
	default:
		return l->receives ? usage_receive(stderr, EXIT_USAGE)
				   : usage_serve(stderr, EXIT_USAGE);
	}
}

static int parse(struct line *l, int argc, char **argv)
{
	static const struct option options[] = {
		{"listen", required_argument, NULL, OPT_LISTEN},
		CLI_CREDS_OPTIONS,
		{"allow-name", required_argument, NULL, OPT_NAME},
		{"allow-uid", required_argument, NULL, OPT_ALLOW},
		{"stdio", required_argument, NULL, OPT_STDIO},
		{"new-ids", no_argument, NULL, OPT_NEW},
		{"same-ids", no_argument, NULL, OPT_SAME},
		{"files", required_argument, NULL, OPT_FILES},
		{"timeout", required_argument, NULL, OPT_TIMEOUT},
		{"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c, ret;

	l->o.target.allow = l->allow;
	l->o.names = l->names;
	l->o.target.timeout_ms = 10000;
	while ((c = getopt_long(argc, argv, "qh", options, NULL)) != -1)
		if (c == 'h')
			exit(l->receives ? usage_receive(stdout, EXIT_DONE)
					 : usage_serve(stdout, EXIT_DONE));
		else if ((ret = take_option(l, c, optarg)))
			return ret;
	if (optind < argc)
		return cli_usage(l->name, "'%s' is too much", argv[optind]);
	return EXIT_DONE;
}

int cmd_serve(int argc, char **argv)
{
	struct line l = {.name = "serve"};
	struct err err = ERR_INIT;
	int ret = parse(&l, argc, argv);

	if (ret)
		return ret;
	if (!l.o.listen)
		return cli_usage("serve", "where? --listen ADDRESS:PORT");
	if (!l.o.creds.key && !l.o.creds.cert)
		return cli_usage("serve", "nothing listens without a key: --key FILE, or --cert");
	if (l.o.nnames && !l.o.creds.cert)
		return cli_usage("serve", "--allow-name needs certificates: --cert");
	if (creds_check(&l.o.creds, l.o.listen, &err))
		return cli_fail("serve", &err);
	l.o.target.log = l.quiet ? NULL : cli_notice;
	l.o.target.arg = (char[]){"serve"};
	l.o.target.stays = true;
	ret = serve(&l.o, &err);
	return ret ? cli_fail("serve", &err) : EXIT_DONE;
}

/* Standard error is the terminal of who migrates, and says it there. */
static void log_system(void *arg, const char *text)
{
	openlog("godwit-receive", LOG_PID, LOG_DAEMON);
	syslog(LOG_INFO, "%s", text);
	closelog(); /* no descriptor stays that the program could get */
	(void)arg;
}

int cmd_receive(int argc, char **argv)
{
	struct line l = {.name = "receive", .receives = true};
	struct err err = ERR_INIT;
	struct wire w;
	int ret = parse(&l, argc, argv), in, out, null;

	if (ret)
		return ret;
	if (isatty(STDIN_FILENO))
		return cli_usage("receive",
				 "godwit migrate starts this by ssh; godwit serve waits");
	/* The stream moves away from 0 and 1: nothing must write into it by chance. */
	in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10);
	out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (in < 0 || out < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0) {
		err_sys(&err, -errno, "no standard input and output to talk by");
		return cli_fail("receive", &err);
	}
	signal(SIGPIPE, SIG_IGN);
	wire_init_pair(&w, in, out, "the other host");
	w.magic = PROTO_MAGIC;
	l.o.target.log = l.quiet ? NULL : log_system;
	ret = target_serve(&w, &l.o.target, &err);
	if (ret && !l.quiet)
		log_system(NULL, err.what);
	/* The other side has been told, and tells the person. */
	return ret ? err.exit : EXIT_DONE;
}
