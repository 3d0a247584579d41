/* godwit show: what is in an image, for a person or as JSON. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "base/io.h"
#include "base/report.h"
#include "cli/cli.h"
#include "cli/show_map.h"
#include "code/code.h"
#include "image/image.h"
#include "state/state.h"

struct choice {
	bool json, memory, files, threads; /* none of the last three: everything */
	bool code;                         /* what the machine code needs, instead */
	const char *svg;                   /* write a picture there instead, or NULL */
};

static int usage(FILE *out, int status)
{
	fputs("usage: godwit show [--memory] [--files] [--threads] [--json] IMAGE\n"
	      "       godwit show --code [--json] IMAGE\n"
	      "       godwit show --svg FILE IMAGE\n"
	      "\n"
	      "Prints what a checkpoint holds: program, when, host, threads with registers,\n"
	      "mappings and how much of each is stored, files, signals.\n"
	      "\n"
	      "      --memory, --files, --threads   only these\n"
	      "      --code                         what its machine code needs of a CPU\n"
	      "      --json                         for programs\n"
	      "      --svg FILE                     a picture of the address space: what is "
	      "stored,\n"
	      "                                     and how densely; - is standard output\n"
	      "\n"
	      "Exit status: 0, or 5 when IMAGE is no image or is damaged.\n",
	      out);
	return status;
}

static void show_image(struct report *rep, const struct image *img)
{
	report_opt(rep, "image", "image", image_path(img));
	report_bytes(rep, "bytes", "size", image_file_size(img));
	if (image_is_packed(img))
		report_bytes(rep, "compressed", "compressed", image_stored_size(img));
	report_u64(rep, "segments", NULL, image_segments(img));
}

/* The kinds in their order; threads are no note of their own but belong here. */
static void show_process(struct report *rep, const struct process *p, const struct choice *c)
{
	bool all = !c->memory && !c->files && !c->threads;

	for (size_t i = 0; state_kinds[i]; i++) {
		const struct state_ops *kind = state_kinds[i];
		bool is_memory = kind == &state_memory || kind == &state_advice;

		if (kind->show &&
		    (all || (c->memory && is_memory) || (c->files && kind == &state_files)))
			kind->show(p, rep);
	}
	if (all || c->threads)
		state_threads.show(p, rep);
}

static int print(struct image *img, const struct process *p, const struct choice *c,
		 struct err *err)
{
	struct report rep;
	int ret = 0, written;

	report_init(&rep, stdout, c->json);
	show_image(&rep, img);
	if (c->code)
		ret = code_show(p, img, &rep, err);
	else
		show_process(&rep, p, c);
	written = report_done(&rep);
	if (written && !ret)
		ret = err_sys(err, written, "cannot write to standard output");
	return ret;
}

static int show(const char *path, const struct choice *c, struct err *err)
{
	struct image *img = NULL;
	struct process p;
	int ret = image_open(path, &img, err);

	if (ret)
		return ret;
	ret = process_load(img, &p, err);
	if (!ret) {
		ret = c->svg ? show_map(img, &p, c->svg, err) : print(img, &p, c, err);
		process_done(&p);
	}
	image_close(img);
	return ret;
}

int cmd_show(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},  {"memory", no_argument, NULL, 'm'},
		{"files", no_argument, NULL, 'f'}, {"threads", no_argument, NULL, 't'},
		{"code", no_argument, NULL, 'c'},  {"svg", required_argument, NULL, 's'},
		{"help", no_argument, NULL, 'h'},  {NULL, 0, NULL, 0},
	};
	struct err err = ERR_INIT;
	struct choice c = {0};
	const char *operand;
	int o;

	while ((o = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (o) {
		case 'j':
			c.json = true;
			break;
		case 'm':
			c.memory = true;
			break;
		case 'f':
			c.files = true;
			break;
		case 't':
			c.threads = true;
			break;
		case 'c':
			c.code = true;
			break;
		case 's':
			c.svg = optarg;
			break;
		case 'h':
			return usage(stdout, EXIT_DONE);
		default:
			return usage(stderr, EXIT_USAGE);
		}
	}
	if (c.svg && (c.json || c.code || c.memory || c.files || c.threads))
		return cli_usage("show", "--svg is a picture of the memory, and nothing else");
	if (!(operand = cli_operand("show", "IMAGE", argc, argv)))
		return EXIT_USAGE;
	return show(operand, &c, &err) ? cli_fail("show", &err) : EXIT_DONE;
}
