/* godwit checkpoint */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "checkpoint/checkpoint.h"
#include "cli/cli.h"
#include "cli/status.h"

static int usage(FILE *out, int status)
{
	fprintf(out,
		"usage: godwit checkpoint PID [-o IMAGE] [--pause=copy|short|live] [--incremental] "
		"[--kill]\n"
		"                             [-q] [-v]\n\n"
		"Saves the running program PID to IMAGE (default: myckpt) and lets it go on.\n\n"
		"  -o, --output IMAGE   where to; replaced atomically when it exists\n"
		"      --kill           end the program once the image is safe\n"
		"      --pause=short    stop the program only for a snapshot of its memory (a "
		"fork),\n"
		"                       and copy that while it runs\n"
		"      --pause=live     copy the memory while the program runs, and stop it only\n"
		"                       for what it wrote meanwhile (default: copy)\n"
		"      --incremental    store only what was written since the last incremental\n"
		"                       checkpoint of the program, whose image is the parent\n"
		"      --compress[=LEVEL]  write the image as zstd, level 1 to 19 (default: 1)\n"
		"      --threads N      copy with N threads, 1 to 4 (default: as many as cores)\n"
		"  -q, --quiet          only errors\n"
		"  -v, --verbose        say how long it took\n");
	return status;
}

static bool parse_number(const char *s, long min, long max, long *ret)
{
	char *end;

	errno = 0;
	*ret = strtol(s, &end, 10);
	return *s && !*end && !errno && *ret >= min && *ret <= max;
}

static bool parse_pause(const char *s, enum checkpoint_pause *ret)
{
	static const char *const names[] = {
		[PAUSE_COPY] = "copy",
		[PAUSE_LIVE] = "live",
		[PAUSE_SHORT] = "short",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(s, names[i])) {
			*ret = (enum checkpoint_pause)i;
			return true;
		}
	return false;
}

static void report(const struct checkpoint_options *o, const struct checkpoint_result *r,
		   bool verbose)
{
	const char *kind = r->has_parent ? ", incremental" : ", complete";
	char rounds[48] = "", packed[64] = "";

	if (o->pause == PAUSE_LIVE)
		snprintf(rounds, sizeof(rounds), ", copied in %u round%s", r->rounds,
			 r->rounds == 1 ? "" : "s");
	else if (r->has_snapshot)
		snprintf(rounds, sizeof(rounds), ", copied from a snapshot");
	if (o->packing)
		snprintf(packed, sizeof(packed), " (of %.1f MiB)",
			 (double)r->plain_bytes / 1048576);
	fprintf(stderr,
		"godwit: process %d is saved in '%s': %u thread%s, %.1f MiB%s%s%s; stopped for "
		"%.2f "
		"ms, %.2f ms in all\n",
		o->pid, o->image, r->nthreads, r->nthreads == 1 ? "" : "s",
		(double)r->image_bytes / 1048576, packed, rounds, o->incremental ? kind : "",
		(double)r->pause_ns / 1e6, (double)r->total_ns / 1e6);
	for (uint32_t i = 0; verbose && i < r->nsteps; i++)
		fprintf(stderr, "godwit:   %-12s %8.3f ms\n", r->steps[i].name,
			(double)r->steps[i].ns / 1e6);
}

int cmd_checkpoint(int argc, char **argv)
{
	static const struct option options[] = {
		{"output", required_argument, NULL, 'o'},
		{"kill", no_argument, NULL, 'k'},
		{"pause", required_argument, NULL, 'p'},
		{"incremental", no_argument, NULL, 'i'},
		{"compress", optional_argument, NULL, 'z'},
		{"threads", required_argument, NULL, 't'},
		{"quiet", no_argument, NULL, 'q'},
		{"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct checkpoint_options o = {.image = "myckpt"};
	struct image_packing packing;
	struct checkpoint_result result;
	struct err err = ERR_INIT;
	bool quiet = false, verbose = false;
	long n;
	const char *operand;
	int c;

	while ((c = getopt_long(argc, argv, "o:qvh", options, NULL)) != -1) {
		switch (c) {
		case 'o':
			o.image = optarg;
			break;
		case 'k':
			o.kill = true;
			break;
		case 'p':
			if (!parse_pause(optarg, &o.pause))
				return cli_usage("checkpoint", "--pause=%s: copy, short or live?",
						 optarg);
			break;
		case 'i':
			o.incremental = true;
			break;
		case 'z':
			if (!parse_number(optarg ? optarg : "1", 1, IMAGE_PACK_LEVEL_MAX, &n))
				return cli_usage("checkpoint", "--compress=%s: 1 to %d?", optarg,
						 IMAGE_PACK_LEVEL_MAX);
			packing = (struct image_packing){.pack = image_pack, .level = (int)n};
			o.packing = &packing;
			break;
		case 't':
			if (!parse_number(optarg, 1, 4, &n)) {
				fprintf(stderr,
					"godwit: checkpoint: '%s' is not a number of threads\n"
					"hint: 1 to 4\n",
					optarg);
				return EXIT_USAGE;
			}
			o.threads = (unsigned)n;
			break;
		case 'q':
			quiet = true;
			break;
		case 'v':
			verbose = true;
			break;
		case 'h':
			return usage(stdout, 0);
		default:
			return usage(stderr, EXIT_USAGE);
		}
	}
	if (!(operand = cli_operand("checkpoint", "PID", argc, argv)))
		return EXIT_USAGE;
	if (!parse_number(operand, 1, 1 << 22, &n)) {
		fprintf(stderr,
			"godwit: checkpoint: '%s' is not a process id\n"
			"hint: see the process ids with: ps -u $USER\n",
			operand);
		return EXIT_USAGE;
	}
	o.pid = (pid_t)n;
	struct guardian_listener listener = {
		.notice = quiet ? NULL : cli_notice,
		.progress = !quiet && status_is_wanted() ? cli_progress : NULL,
		.arg = (char[]){"checkpoint"},
	};
	int ret = checkpoint(&o, &listener, &result, &err);

	cli_progress_end();
	if (ret)
		return cli_fail("checkpoint", &err);
	if (!quiet && (verbose || status_is_wanted()))
		report(&o, &result, verbose);
	return 0;
}
