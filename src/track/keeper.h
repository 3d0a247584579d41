/*
 * The keeper: what holds the tracking of one program between two commands.
 *
 * A small process that owns the userfaultfd and a note of whoever started it (which
 * image has what was not written to since).  It ends with the program; when it
 * is gone, the kernel's tracking is gone, and everything counts as written.  It
 * listens on a Unix socket in the abstract namespace, named by user and
 * program, for processes of the same user and of root.
 *
 * Who takes the tracking from it has one end of that socket: if he does not give a new
 * note before he closes it, the keeper ends, since pages may have been armed
 * whose content is nowhere.
 */
#ifndef GODWIT_TRACK_KEEPER_H
#define GODWIT_TRACK_KEEPER_H

#include <stddef.h>
#include <sys/types.h>

#include "track/track.h"

#define KEEPER_COMM "godwit-keeper"
#define KEEPER_NOTE_MAX 8192u /* bytes */

/*
 * Asks the keeper of process pid.  1: *ret_track, the note (cap bytes of room)
 * and *ret_sock are filled; 0: there is none.
 */
int keeper_take(pid_t pid, struct track **ret_track, void *note, size_t cap, int *ret_sock,
		struct err *err) __must_check;
/* Gives the tracking back to it, with the note of now.  Closes sock, frees t. */
int keeper_give_back(int sock, struct track *t, const void *note, size_t len,
		     struct err *err) __must_check;
/* Starts one for a tracking that has none; it is a child of the caller.  Frees t. */
int keeper_start(pid_t pid, struct track *t, const void *note, size_t len,
		 struct err *err) __must_check;
/* Is there one, and may what it tracks be believed?  It goes on as it was.  1: yes; 0: there is
 * none; -ENOTSUP as track_check(). */
int keeper_check(pid_t pid, struct err *err) __must_check;
/* Ends the keeper of process pid, if there is one, and its tracking. */
void keeper_end(pid_t pid);

#endif
