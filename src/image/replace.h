/*
 * A file that takes the place of another one, completely or not at all.
 * Private to src/image/.
 */
#ifndef GODWIT_IMAGE_REPLACE_H
#define GODWIT_IMAGE_REPLACE_H

#include <stdbool.h>

#include "base/err.h"

struct replacement {
	char *path;     /* as given by the caller */
	char *dir;      /* its directory */
	char *base;     /* its last component */
	char temp[256]; /* name of the temporary file in dir, "" while it has none */
	int dirfd, fd;  /* -1 when not open */
	bool committed;
};

/* Opens a new file, mode 0600, for reading and writing (r->fd).  Refuses a
 * path that is there and no regular file. */
int replace_open(struct replacement *r, const char *path, struct err *err) __must_check;
/* fsync, rename over path, fsync of the directory. */
int replace_commit(struct replacement *r, struct err *err) __must_check;
/* Closes; drops the file unless committed.  For a zeroed *r as well. */
void replace_done(struct replacement *r);

#endif
