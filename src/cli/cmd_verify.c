/*
 * godwit verify IMAGE: every checksum, structure and limit of an image.
 * Changes nothing, needs no privilege but to read the file.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "cli/cli.h"
#include "image/image.h"
#include "state/chain.h"
#include "state/memory.h"
#include "state/state.h"

static void usage(FILE *out)
{
	fputs("usage: godwit verify IMAGE\n"
	      "Check an image: every checksum, structure and limit.\n"
	      "Exit status: 0 the image is good, 5 it is damaged, incompatible or no image.\n",
	      out);
}

/* The images below an incremental one.  *ret is how many there are. */
static int verify_below(struct image *img, struct process *p, size_t *ret, struct err *err)
{
	struct chain chain = {0};
	int error = chain_open(img, p, &chain, err);

	for (size_t i = 1; i < chain.n && !error; i++)
		error = image_verify_blocks(chain.v[i].img, 0, image_blocks(chain.v[i].img), err);
	*ret = chain.n ? chain.n - 1 : 0;
	chain_done(&chain);
	return error;
}

static int verify(const char *path, struct err *err)
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
			ret = image_verify_blocks(img, 0, image_blocks(img), err);
		if (!ret)
			ret = verify_below(img, &p, &parents, err);
		if (parents)
			snprintf(below, sizeof(below), ", on %zu other%s", parents,
				 parents == 1 ? "" : "s");
		if (!ret && printf("%s: good: %zu thread%s, %.1f MiB of memory, %llu bytes%s\n",
				   path, p.nthreads, p.nthreads == 1 ? "" : "s",
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
	static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
	struct err err = ERR_INIT;
	const char *operand;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		usage(c == 'h' ? stdout : stderr);
		return c == 'h' ? EXIT_DONE : EXIT_USAGE;
	}
	if (!(operand = cli_operand("verify", "IMAGE", argc, argv)))
		return EXIT_USAGE;
	if (verify(operand, &err))
		return cli_fail("verify", &err);
	if (fflush(stdout)) {
		err_set(&err, -EIO, "cannot write to standard output");
		return cli_fail("verify", &err);
	}
	return EXIT_DONE;
}
