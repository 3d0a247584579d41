/* Ways to files by names that the other host has chosen. */
#ifndef GODWIT_MIGRATE_CARRY_PATH_H
#define GODWIT_MIGRATE_CARRY_PATH_H

#include <stddef.h>

#include "base/err.h"

/*
 * Opens the folder that path (plain and absolute) lies in, O_PATH; *ret_name is its last
 * part.  A symbolic link on the way is followed only where nobody but root and this user
 * could have put it.  Where folders are missing: make() is called for each, if it is not
 * NULL, with its path, when it has been made (mode 0777 less the umask); else, or
 * where the last one is missing, *ret_missing is the first that is, and the descriptor that of
 * the last that is there.
 */
int carry_walk(const char *path, int (*make)(void *arg, const char *folder, struct err *err),
	       void *arg, const char **ret_name, const char **ret_missing,
	       struct err *err) __must_check;

#endif
