/*
 * godwit verify IMAGE: every checksum, structure and limit of an image.
 * Changes nothing, needs no privilege but to read the file.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/meter.h"
#include "cli/cli.h"
#include "cli/status.h"
#include "image/image.h"
#include "state/chain.h"
#include "state/memory.h"
#include "state/state.h"

static void usage(FILE *out)
{
	fputs("usage: godwit verify [-q] IMAGE\n"
	      "Check an image: every checksum, structure and limit.\n"
	      "  -q, --quiet   print nothing but errors\n"
	      "Exit status: 0 the image is good, 5 it is damaged, incompatible or no image.\n",
	      out);
}

/* The images below an incremental one.  *ret is how many there are. */
static int verify_below(struct image *img, struct process *p, struct meter *meter, size_t *ret,
			struct err *err)
{
	struct chain chain = {0};
	int error = chain_open(img, p, &chain, err);

	if (!error)
		meter_begin(meter, chain_data_size(&chain) - image_data_size(img));
	for (size_t i = 1; i < chain.n && !error; i++)
		error = image_verify_blocks(chain.v[i].img, 0, image_blocks(chain.v[i].img), meter,
					    err);
	meter_end(meter);
	*ret = chain.n ? chain.n - 1 : 0;
	chain_done(&chain);
	return error;
}

static int verify_blocks(struct image *img, struct meter *meter, struct err *err)
{
	int ret;

	meter_begin(meter, image_data_size(img));
	ret = image_verify_blocks(img, 0, image_blocks(img), meter, err);
	meter_end(meter);
	return ret;
}

static int verify(const char *path, struct meter *meter, bool quiet, struct err *err)
{
	char below[40] = "";
	size_t parents = 0;
	struct image *img;
	struct process p;
	int ret = image_open(path, &img, err);

	if (ret)
		return ret;
	ret = process_load(img, &p, err);
	if (!ret) {
		ret = memory_check_places(&p, image_data_size(img), path, err);
		if (!ret)
			ret = verify_blocks(img, meter, err);
		if (!ret)
			ret = verify_below(img, &p, meter, &parents, err);
		if (parents)
			snprintf(below, sizeof(below), ", on %zu other%s", parents,
				 parents == 1 ? "" : "s");
		if (!ret && !quiet &&
		    printf("%s: good: %zu thread%s, %.1f MiB of memory, %llu bytes%s\n", path,
			   p.nthreads, p.nthreads == 1 ? "" : "s",
			   (double)image_data_size(img) / 1048576,
			   (unsigned long long)image_file_size(img), below) < 0)
			ret = err_set(err, -EIO, "cannot write to standard output");
		process_done(&p);
	}
	image_close(img);
	return ret;
}

int cmd_verify(int argc, char **argv)
{
	static const struct option options[] = {
		{"quiet", no_argument, NULL, 'q'}, {"help", no_argument, NULL, 'h'}, {0}};
	struct meter meter = {.tell = cli_progress};
	bool quiet = false;
	struct err err = ERR_INIT;
	const char *operand;
	int c;

	while ((c = getopt_long(argc, argv, "qh", options, NULL)) != -1) {
		if (c == 'q') {
			quiet = true;
			continue;
		}
		usage(c == 'h' ? stdout : stderr);
		return c == 'h' ? EXIT_DONE : EXIT_USAGE;
	}
	if (!(operand = cli_operand("verify", "IMAGE", argc, argv)))
		return EXIT_USAGE;
	if (verify(operand, quiet || !status_is_wanted() ? NULL : &meter, quiet, &err))
		return cli_fail("verify", &err);
	if (fflush(stdout)) {
		err_set(&err, -EIO, "cannot write to standard output");
		return cli_fail("verify", &err);
	}
	return EXIT_DONE;
}
