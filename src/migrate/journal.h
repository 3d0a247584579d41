/*
 * The journal: one small file for each migration whose outcome somebody may ask for,
 * in a folder of the user's own.  It outlives us: `godwit settle` on the one host
 * and the answer on the other are read from it.
 *
 * The folder: $GODWIT_STATE, else $XDG_STATE_HOME/godwit, else
 * ~/.local/state/godwit, else /var/tmp/godwit-UID.  Mode 0700.
 *
 * Nobody writes a record without its lock (flock), and a destination's guardian
 * holds the lock from its decision until the program runs: who gets the lock and
 * reads "going" knows that the guardian died in between.
 *
 * Nothing is synced to the disk: a process that is killed loses nothing by that, and
 * a host that crashes loses the program, too.
 */
#ifndef GODWIT_MIGRATE_JOURNAL_H
#define GODWIT_MIGRATE_JOURNAL_H

#include <sys/types.h>

#include "migrate/proto.h"

enum journal_role { ROLE_SOURCE = 's', ROLE_TARGET = 'd' };

enum journal_state {
	/* destination */
	STATE_READY = 1, /* built; may still be given up */
	STATE_GOING = 2, /* being let go */
	STATE_TAKEN = 3, /* it went on */
	STATE_NEVER = 4, /* given up; no COMMIT will be heard */
	STATE_ENDED = 5, /* was being let go, and ended: by SIGKILL, which was ours */
	STATE_LACKS = 6, /* it went on, and pages of it are still to come */
	/* source */
	STATE_ASKED = 8, /* COMMIT was, or is about to be, sent */
};

struct journal_record {
	enum journal_state state;
	pid_t pid;      /* source: the program; destination: it, or its thin parent */
	uint64_t start; /* its start time, as in /proc/PID/stat */
	char boot[40];  /* boot id: pids of another boot mean nothing */
	char program[64];
	bool later;     /* destination: pages of it come later (post-copy) */
	char from[128]; /* destination: the source's host, for messages */
	/* Source alone: whom to ask, and where the program was saved ("": not yet). */
	char to[512], key[1024], cert[1024], cert_key[1024], ca[1024];
	char ssh[1024], remote[512], image[1024];
};

struct journal {
	int fd;
	char path[1200];
};

/* Makes a new record, with its lock taken: nobody finds it before it is whole.  -EEXIST when there
 * is one. */
int journal_create(const struct migration_id *id, enum journal_role role,
		   const struct journal_record *r, struct journal *ret,
		   struct err *err) __must_check;
/* Opens one, without the lock; -ENOENT. */
int journal_open(const struct migration_id *id, enum journal_role role, struct journal *ret,
		 struct err *err) __must_check;
void journal_close(struct journal *j);
/* Waits at most ms for the lock: 0, or -EAGAIN. */
int journal_lock(struct journal *j, int ms) __must_check;
void journal_unlock(struct journal *j);
int journal_write(struct journal *j, const struct journal_record *r, struct err *err) __must_check;
/* -EBADMSG in err for one that nobody finished writing. */
int journal_read(struct journal *j, struct journal_record *ret, struct err *err) __must_check;
/* Removes the file; the lock is held or nobody else cares. */
void journal_remove(struct journal *j);
/* Calls fn for every record of the role; stops when it returns non-zero, which is returned. */
int journal_each(enum journal_role role, int (*fn)(void *arg, const struct migration_id *id),
		 void *arg, struct err *err) __must_check;
/* A path in the folder: "NAME", made absolute. */
int journal_path(const char *name, char *out, size_t cap, struct err *err) __must_check;

/* Who a process is: its start time, or 0 when it is gone (or a zombie). */
uint64_t journal_start_time(pid_t pid);
void journal_boot_id(char out[40]);
/* Does the process of this record still live? */
bool journal_lives(const struct journal_record *r);

#endif
