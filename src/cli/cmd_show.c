/* godwit show: what is in an image, for a person or as JSON. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/report.h"
#include "cli/cli.h"
#include "image/image.h"
#include "state/state.h"

static void usage(void)
{
	fputs("usage: godwit show IMAGE [--json]\n"
	      "\n"
	      "Prints what a checkpoint holds: program, when, host, threads with registers,\n"
	      "mappings and how much of each is stored, files, signals.\n"
	      "Exit status: 0, or 5 when IMAGE is no image or is damaged.\n",
	      stdout);
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
static void show_process(struct report *rep, const struct process *p)
{
	for (size_t i = 0; state_kinds[i]; i++)
		if (state_kinds[i]->show)
			state_kinds[i]->show(p, rep);
	state_threads.show(p, rep);
}

static int show(const char *path, bool json, struct err *err)
{
	struct image *img = NULL;
	struct process p;
	struct report rep;
	int ret = image_open(path, &img, err);

	if (ret)
		return ret;
	ret = process_load(img, &p, err);
	if (!ret) {
		report_init(&rep, stdout, json);
		show_image(&rep, img);
		show_process(&rep, &p);
		if ((ret = report_done(&rep)))
			err_sys(err, ret, "cannot write to standard output");
		process_done(&p);
	}
	image_close(img);
	return ret;
}

int cmd_show(int argc, char **argv)
{
	struct err err = ERR_INIT;
	bool json = false;
	const char *operand;
	int status;

	if (!cli_options_json(argc, argv, usage, &json, &status))
		return status;
	if (!(operand = cli_operand("show", "IMAGE", argc, argv)))
		return EXIT_USAGE;
	return show(operand, json, &err) ? cli_fail("show", &err) : EXIT_DONE;
}
