/* godwit show --svg: a picture of the address space in an image. */
#ifndef GODWIT_CLI_SHOW_MAP_H
#define GODWIT_CLI_SHOW_MAP_H

#include "base/err.h"
#include "image/image.h"
#include "state/process.h"

/* Writes it to the file `path`, or to stdout for "-". */
int show_map(const struct image *img, const struct process *p, const char *path,
	     struct err *err) __must_check;

#endif
