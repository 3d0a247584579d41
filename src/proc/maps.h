/* Parser of /proc/PID/maps: text in, structs out, no policy.  proc(5). */
#ifndef GODWIT_PROC_MAPS_H
#define GODWIT_PROC_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct proc_map {
	uint64_t start, end, offset; /* bytes; [start, end) */
	uint32_t prot;               /* PROT_* */
	bool shared;
	bool deleted;     /* the name ended in " (deleted)"; that ending is taken off */
	uint64_t dev;     /* as makedev() */
	uint64_t ino;     /* 0: no file */
	const char *name; /* "" when there is none; points into the text */
};

struct proc_maps {
	struct proc_map *v;
	size_t n, cap;
};

/*
 * Parses a whole maps file.  The text is changed in place (names are
 * terminated and the kernel's octal escapes of newlines decoded) and must live
 * as long as the result.  A line that is not of the known form gives -EPROTO.
 */
int proc_parse_maps(char *text, struct proc_maps *ret, struct err *err) __must_check;
void proc_maps_done(struct proc_maps *m);

#endif
