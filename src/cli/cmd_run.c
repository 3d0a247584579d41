/* godwit run */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/leave.h"
#include "run/run.h"

#define NS_PER_S 1000000000ULL
#define YEAR_S (366ULL * 24 * 3600)

static int usage(FILE *out, int status)
{
	fprintf(out,
		"usage: godwit run -o IMAGE [--every TIME] [--keep N] [--incremental]\n"
		"                  [--compress[=LEVEL]] [--portable[=LEVEL]]\n"
		"                  [--pause=live|short|copy] [--threads N] [--new-ids | "
		"--same-ids]\n"
		"                  [--files=keep] [-q] [--] PROGRAM [ARGUMENTS]\n\n"
		"Starts PROGRAM, or goes on from IMAGE where that exists: the same line, given\n"
		"again after every interruption, finishes the job.\n\n"
		"  -o, --output IMAGE   where its checkpoints go; removed when it ends with 0\n"
		"      --every TIME     make one that often: 30s, 10m, 2h\n"
		"      --keep N         keep N older ones, as IMAGE.1, IMAGE.2, ...\n"
		"      --incremental    store only what was written since the one before; "
		"complete\n"
		"                       ones come now and then; IMAGE.part-N is what they stand "
		"on\n"
		"      --compress[=LEVEL]  write them as zstd, level 1 to 19 (default: 1)\n"
		"      --portable[=v2]  start it without the CPU features that other machines may\n"
		"                       lack: v2 (default) or v3, as in x86-64-v2\n"
		"      --pause=HOW      copy, live or short, as for godwit checkpoint (default: "
		"live)\n"
		"      --threads N      copy with N threads, 1 to 4\n"
		"      --new-ids, --same-ids, --files=keep\n"
		"                       as for godwit restart\n"
		"  -q, --quiet          only errors\n\n"
		"SIGTERM, SIGUSR1, SIGXCPU: make a checkpoint, end the program, and leave with\n"
		"status 85. Otherwise the exit status is that of the program.\n");
	return status;
}

/* 30s, 10m, 2h, 1d, plain seconds; with a decimal point if need be. */
static bool parse_time(const char *s, uint64_t *ret_ns)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
	double v;
	char *end;

	if (*s < '0' || *s > '9')
		return false; /* strtod(3) takes signs, spaces, "inf" and "nan" */
	errno = 0;
	v = strtod(s, &end);
	for (size_t i = 0; !errno && i < sizeof(units) / sizeof(*units); i++)
		if (!strcmp(end, units[i].unit)) {
			v *= units[i].seconds;
			if (!(v > 0 && v <= (double)YEAR_S))
				return false;
			*ret_ns = (uint64_t)(v * (double)NS_PER_S);
			return *ret_ns > 0;
		}
	return false;
}

static bool parse_number(const char *s, unsigned long min, unsigned long max, unsigned *ret)
{
	char *end;
	unsigned long v;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	v = strtoul(s, &end, 10);
	*ret = (unsigned)v;
	return !*end && !errno && v >= min && v <= max;
}

/* What glibc's own functions, chosen when the program starts, must do without. */
#define WITHOUT_AVX512                                                                             \
	"-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512CD,-AVX512ER,-AVX512PF,-AVX512_VBMI,"       \
	"-AVX512_VBMI2,-AVX512_VNNI,-AVX512_BITALG,-AVX512_IFMA,-AVX512_VPOPCNTDQ,-AVX512_BF16,"   \
	"-AVX512_FP16,-AMX_TILE,-AMX_INT8,-AMX_BF16,-RTM"

static const char *parse_level(const char *s)
{
	if (!s || !strcmp(s, "v2"))
		return "glibc.cpu.hwcaps=" WITHOUT_AVX512
		       ",-AVX2,-AVX,-FMA,-FMA4,-F16C,-BMI1,-BMI2,-LZCNT,-MOVBE,-XSAVEC";
	return strcmp(s, "v3") ? NULL : "glibc.cpu.hwcaps=" WITHOUT_AVX512;
}

static void notice(void *arg, const char *text)
{
	cli_notice(arg, text);
}

static void complain(void *arg, const struct err *err)
{
	(void)cli_fail(arg, err);
}

static bool parse_pause(const char *s, enum checkpoint_pause *ret)
{
	*ret = !strcmp(s, "live") ? PAUSE_LIVE : !strcmp(s, "short") ? PAUSE_SHORT : PAUSE_COPY;
	return *ret != PAUSE_COPY || !strcmp(s, "copy");
}

struct run_line {
	struct run_options o;
	struct image_packing packing;
	bool quiet;
	int status; /* to leave with, when the line is not to be run */
};

static bool wrong(struct run_line *l, int status)
{
	l->status = status;
	return false;
}

static bool take_ids(struct run_line *l, enum ids_policy wanted)
{
	if (l->o.ids != IDS_AUTO && l->o.ids != wanted)
		return wrong(l, cli_usage("run", "new ids or the same ids, not both"));
	l->o.ids = wanted;
	return true;
}

static bool take_level(struct run_line *l, const char *s)
{
	unsigned level;

	if (!parse_number(s, 1, IMAGE_PACK_LEVEL_MAX, &level))
		return wrong(l,
			     cli_usage("run", "--compress=%s: 1 to %d?", s, IMAGE_PACK_LEVEL_MAX));
	l->packing = (struct image_packing){.pack = image_pack, .level = (int)level};
	l->o.packing = &l->packing;
	return true;
}

static bool take_option(struct run_line *l, int c)
{
	switch (c) {
	case 'o':
		l->o.image = optarg;
		return true;
	case 'e':
		return parse_time(optarg, &l->o.every_ns) ||
		       wrong(l, cli_usage("run", "--every %s: 30s, 10m, 2h?", optarg));
	case 'k':
		return parse_number(optarg, 0, RUN_KEEP_MAX, &l->o.keep) ||
		       wrong(l, cli_usage("run", "--keep %s: a number up to %d?", optarg,
					  RUN_KEEP_MAX));
	case 'i':
		l->o.incremental = true;
		return true;
	case 'z':
		return take_level(l, optarg ? optarg : "1");
	case 'P':
		return (l->o.tunables = parse_level(optarg)) ||
		       wrong(l, cli_usage("run", "--portable=%s: v2 or v3?", optarg));
	case 'p':
		return parse_pause(optarg, &l->o.pause) ||
		       wrong(l, cli_usage("run", "--pause=%s: copy, live or short?", optarg));
	case 't':
		return parse_number(optarg, 1, 4, &l->o.threads) ||
		       wrong(l, cli_usage("run", "--threads %s: 1 to 4?", optarg));
	case 'n':
	case 's':
		return take_ids(l, c == 'n' ? IDS_NEW : IDS_SAME);
	case 'f':
		l->o.files = strcmp(optarg, "keep") ? FILES_CUT : FILES_KEEP;
		return !strcmp(optarg, "keep") || !strcmp(optarg, "cut") ||
		       wrong(l, cli_usage("run", "--files=%s: cut or keep?", optarg));
	case 'q':
		l->quiet = true;
		return true;
	case 'h':
		return wrong(l, usage(stdout, 0));
	default:
		return wrong(l, usage(stderr, EXIT_USAGE));
	}
}

static bool parse_line(struct run_line *l, int argc, char **argv)
{
	static const struct option options[] = {
		{"output", required_argument, NULL, 'o'},
		{"every", required_argument, NULL, 'e'},
		{"keep", required_argument, NULL, 'k'},
		{"incremental", no_argument, NULL, 'i'},
		{"compress", optional_argument, NULL, 'z'},
		{"portable", optional_argument, NULL, 'P'},
		{"pause", required_argument, NULL, 'p'},
		{"threads", required_argument, NULL, 't'},
		{"new-ids", no_argument, NULL, 'n'},
		{"same-ids", no_argument, NULL, 's'},
		{"files", required_argument, NULL, 'f'},
		{"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c;

	/* '+': what comes after the program's name is the program's. */
	while ((c = getopt_long(argc, argv, "+o:qh", options, NULL)) != -1)
		if (!take_option(l, c))
			return false;
	if (!l->o.image || !*l->o.image)
		return wrong(l, cli_usage("run", "where do the checkpoints go? -o IMAGE"));
	if (optind >= argc)
		return wrong(l, cli_usage("run", "which program?"));
	l->o.argv = argv + optind;
	l->o.argc = (size_t)(argc - optind);
	return true;
}

int cmd_run(int argc, char **argv)
{
	struct run_line line = {.o = {.pause = PAUSE_LIVE}};
	struct run_listener l = {.complain = complain, .leave = leave_as, .arg = (char[]){"run"}};
	struct err err = ERR_INIT;
	int status = 0, ret;

	if (!parse_line(&line, argc, argv))
		return line.status;
	if (!line.quiet)
		l.notice = notice;
	ret = run(&line.o, &l, &status, &err);
	if (ret == RUN_SAVED)
		return RUN_EXIT_SAVED;
	if (ret == RUN_ENDED)
		return leave_as(status);
	if (ret == RUN_FAILED)
		return status;
	ret = cli_fail("run", &err);
	return status ? status : ret;
}
