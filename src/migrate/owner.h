/* Whose programs a destination takes. */
#ifndef GODWIT_MIGRATE_OWNER_H
#define GODWIT_MIGRATE_OWNER_H

#include "migrate/target.h"

/*
 * May a program of user uid and group gid go on here?  Both are what the source says: who
 * may open a stream (the key, a certificate, a login by ssh) is trusted with all users that
 * are allowed here, and with no others.  -EPERM.
 */
int owner_check(uid_t uid, gid_t gid, const struct target_options *o, struct err *err) __must_check;
/* For a while this process works on files as they do, and then as before. */
int owner_enter(uid_t uid, gid_t gid, struct err *err) __must_check;
void owner_leave(void);
/* This process becomes theirs, without any other groups.  As root, or as uid. */
int owner_become(uid_t uid, gid_t gid, struct err *err) __must_check;

#endif
