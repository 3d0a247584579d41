/* godwit settle: migrations whose outcome this host does not know. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "base/report.h"
#include "migrate/lacks.h"
#include "migrate/settle.h"

static int usage(FILE *out, int status)
{
	fprintf(out,
		"usage: godwit settle [--resume ID | --drop ID]\n\n"
		"Asks the other hosts what became of migrations that were cut off at the moment "
		"of\n"
		"the handover, and lets the program go on here, or ends it, as they answer.  "
		"Tells\n"
		"which programs came here by post-copy and still lack pages.\n\n"
		"      --resume ID    it went on nowhere: let it go on here, without asking\n"
		"      --drop ID      it went on over there: end it here, without asking\n");
	return status;
}

struct work {
	enum settle_order order;
	const char *only;
	unsigned seen, open;
};

static void tell(const char *id, const struct journal_record *r, enum settle_result how)
{
	switch (how) {
	case SETTLED_TAKEN:
		printf("%s: %s went on on %s; its copy here is gone\n", id, r->program, r->to);
		break;
	case SETTLED_RESUMED:
		printf("%s: %s did not go on on %s: it goes on here, process %d\n", id, r->program,
		       r->to, r->pid);
		break;
	case SETTLED_SAVED:
		printf("%s: %s did not go on on %s, and process %d is gone", id, r->program, r->to,
		       r->pid);
		printf(*r->image ? ": godwit restart %s\n" : "\n", r->image);
		break;
	case SETTLE_LACKS:
		printf("%s: %s runs on %s and lacks pages that are here, in process %d, which must "
		       "not be ended: the connection was cut\n",
		       id, r->program, r->to, r->pid);
		break;
	case SETTLED_LOST:
		printf("%s: %s runs on %s and lacks pages that were in process %d, which is gone: "
		       "it "
		       "can never go on; end it there\n",
		       id, r->program, r->to, r->pid);
		break;
	case SETTLE_ASK:
		printf("%s: %s began to go on on %s and has ended, nobody saw how; process %d "
		       "stands "
		       "still here: --resume or --drop\n",
		       id, r->program, r->to, r->pid);
		break;
	case SETTLE_LATER:
		printf("%s: %s does not answer; %s, process %d, stands still\n", id, r->to,
		       r->program, r->pid);
		break;
	}
}

static int one(void *arg, const struct migration_id *id)
{
	struct work *w = arg;
	struct err err = ERR_INIT;
	enum settle_result how;
	struct journal_record r;
	char text[33];

	migration_id_text(id, text);
	if (w->only && strcmp(w->only, text))
		return 0;
	w->seen++;
	if (settle_one(id, w->order, 10000, &how, &r, &err)) {
		if (err.error == -ENOENT)
			return 0; /* settled while we looked */
		w->open++;
		cli_fail("settle", &err);
		return 0;
	}
	tell(text, &r, how);
	w->open += how == SETTLE_LATER || how == SETTLE_LACKS || how == SETTLE_ASK;
	return 0;
}

/* On the other side: programs that run here, and whose pages are elsewhere. */
static int one_that_lacks(void *arg, const struct migration_id *id)
{
	struct work *w = arg;
	struct err err = ERR_INIT;
	struct journal_record r;
	struct lacks l;
	char text[33], missing[16], all[16];
	int ret = lacks_look(id, &r, &l, &err);

	if (ret < 0) {
		w->open++;
		cli_fail("settle", &err);
	}
	if (ret <= 0)
		return 0;
	w->seen++;
	migration_id_text(id, text);
	report_size(missing, l.missing);
	report_size(all, l.all);
	if (!l.is_followed)
		printf("%s: %s, process %d, runs here and lacks pages that are on %s; nothing of "
		       "godwit's is left here that could take them: end it\n",
		       text, r.program, r.pid, r.from);
	else
		printf("%s: %s, process %d, runs here and lacks %s of %s, which are on %s: %s; "
		       "%u of its threads wait%s for a page\n",
		       text, r.program, r.pid, missing, all, r.from,
		       l.is_connected
			       ? "they are on their way"
			       : "the connection is cut, 'godwit settle' there makes another",
		       l.waiting, l.waiting == 1 ? "s" : "");
	w->open += !l.is_connected;
	return 0;
}

int cmd_settle(int argc, char **argv)
{
	static const struct option options[] = {
		{"resume", required_argument, NULL, 'r'},
		{"drop", required_argument, NULL, 'd'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct work w = {.order = ORDER_ASK};
	struct err err = ERR_INIT;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h')
			return usage(stdout, EXIT_DONE);
		if (c != 'r' && c != 'd')
			return usage(stderr, EXIT_USAGE);
		if (w.only)
			return cli_usage("settle", "one of --resume and --drop");
		w.order = c == 'r' ? ORDER_RESUME : ORDER_DROP;
		w.only = optarg;
	}
	if (optind < argc)
		return cli_usage("settle", "'%s' is too much", argv[optind]);
	if (journal_each(ROLE_SOURCE, one, &w, &err))
		return cli_fail("settle", &err);
	if (!w.only && journal_each(ROLE_TARGET, one_that_lacks, &w, &err))
		return cli_fail("settle", &err);
	if (w.only && !w.seen)
		return cli_usage("settle", "there is no migration '%s'", w.only);
	if (!w.seen)
		printf("nothing to settle\n");
	return w.open ? EXIT_FAILED : EXIT_DONE;
}
