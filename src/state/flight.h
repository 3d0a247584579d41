/*
 * Descriptors in flight: passed by SCM_RIGHTS (unix(7)), and not received yet.
 *
 * An open file that is in flight and nowhere else gets a number of its own in the file table,
 * from file_table.flight_from on: above all of the program's.  So each kind of file is captured,
 * stored and restored as any other; what has such a number is sent and closed at a restart.
 */
#ifndef GODWIT_STATE_FLIGHT_H
#define GODWIT_STATE_FLIGHT_H

#include "state/file_kinds.h"

#define FLIGHT_RIGHTS_MAX 253u /* descriptors of one message: SCM_MAX_FD */

/* Is that number one of those? */
bool flight_has(const struct file_table *t, int fd);

/* --- capture: state/files.c --- */

/* Reads what is unread in Unix sockets, and finds the files in it, until no new one comes. */
int flight_capture(struct file_scan *s, struct err *err) __must_check;
/* Closes what was held of them. */
void flight_release(struct file_scan *s);
/* The file of a descriptor of ours, which is closed: its index, new or known. */
int flight_intern(struct file_scan *s, int ours, uint32_t *ret, struct err *err) __must_check;

/* --- restart: state/files_restore.c --- */

/* Has f, or its other end, unread messages with descriptors?  They are sent when all are there. */
bool flight_waits(const struct file_table *t, const struct open_file *f);
/* Sends them, and closes what the program has not. */
int flight_restore(struct file_restore *fr, struct err *err) __must_check;

#endif
