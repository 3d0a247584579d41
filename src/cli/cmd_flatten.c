/* godwit flatten: one complete image from an incremental one and those below it. */
#include <getopt.h>
#include <stdio.h>

#include "base/meter.h"
#include "checkpoint/flatten.h"
#include "cli/cli.h"
#include "cli/status.h"

static int usage(FILE *out, int status)
{
	fprintf(out,
		"usage: godwit flatten IMAGE -o OUT\n\n"
		"Writes a complete image to OUT: what IMAGE holds, and what those hold that it\n"
		"stands on (godwit checkpoint --incremental).  None of them is needed for OUT.\n\n"
		"  -o, --output OUT     replaced atomically when it exists\n"
		"  -q, --quiet          only errors\n");
	return status;
}

int cmd_flatten(int argc, char **argv)
{
	static const struct option options[] = {
		{"output", required_argument, NULL, 'o'},
		{"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	const char *out = NULL, *image;
	struct meter meter = {.tell = cli_progress};
	struct flatten_result r;
	struct err err = ERR_INIT;
	bool quiet = false;
	int c;

	while ((c = getopt_long(argc, argv, "o:qh", options, NULL)) != -1) {
		if (c == 'h')
			return usage(stdout, 0);
		if (c != 'o' && c != 'q')
			return usage(stderr, EXIT_USAGE);
		if (c == 'o')
			out = optarg;
		quiet = quiet || c == 'q';
	}
	if (!(image = cli_operand("flatten", "IMAGE", argc, argv)))
		return EXIT_USAGE;
	if (!out)
		return cli_usage("flatten", "where to?  -o OUT");
	quiet = quiet || !status_is_wanted();
	if (flatten(image, out, quiet ? NULL : &meter, &r, &err))
		return cli_fail("flatten", &err);
	if (!quiet)
		fprintf(stderr, "godwit: '%s' is complete: %zu image%s, %.1f MiB\n", out, r.images,
			r.images == 1 ? "" : "s", (double)r.image_bytes / 1048576);
	return 0;
}
