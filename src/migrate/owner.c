/* Whose programs a destination takes: see owner.h. */
#include "migrate/owner.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/io.h"

#define GROUPS_MAX 65536

/* Has this user this group, as this host knows its users?  One that it does not know has
 * the group of the same number alone. */
static bool has_group(uid_t uid, gid_t gid, struct err *err)
{
	const struct passwd *pw = getpwuid(uid);
	__cleanup_free gid_t *groups = NULL;
	int n = GROUPS_MAX;

	if (!pw)
		return gid == (gid_t)uid;
	if (pw->pw_gid == gid)
		return true;
	groups = io_alloc(GROUPS_MAX, sizeof(*groups), err);
	if (!groups || getgrouplist(pw->pw_name, pw->pw_gid, groups, &n) < 0)
		return false;
	for (int i = 0; i < n; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

int owner_check(uid_t uid, gid_t gid, const struct target_options *o, struct err *err)
{
	bool allowed = false;

	if (uid == geteuid())
		return 0;
	for (size_t i = 0; geteuid() == 0 && i < o->nallow; i++)
		allowed = allowed || o->allow[i] == uid;
	if (!allowed) {
		err_perm(err, "it is a program of user %u, and this destination runs as user %u",
			 uid, geteuid());
		return err_hint(err,
				"run godwit serve or receive as that user, or as root with "
				"--allow-uid %u",
				uid);
	}
	/* Or the other host would choose among all groups of this one. */
	if (has_group(uid, gid, err))
		return 0;
	err_perm(err, "it is a program of group %u, and user %u is not in that group here", gid,
		 uid);
	return err_hint(err, "make the user a member of it on this host (usermod -aG), or run "
			     "godwit serve as that user");
}

int owner_enter(uid_t uid, gid_t gid, struct err *err)
{
	if (uid == geteuid())
		return 0;
	if (!setgroups(0, NULL) && !setegid(gid) && !seteuid(uid))
		return 0;
	err_sys(err, -errno, "cannot work as user %u", uid);
	owner_leave();
	return err->error;
}

void owner_leave(void)
{
	if (geteuid() == getuid() && getegid() == getgid())
		return;
	/* Its own real ids: cannot fail. */
	if (seteuid(getuid()) || setegid(getgid()))
		abort();
}

int owner_become(uid_t uid, gid_t gid, struct err *err)
{
	if (uid == geteuid())
		return 0;
	if (setgroups(0, NULL) || setgid(gid) || setuid(uid))
		return err_sys(err, -errno, "cannot become user %u", uid);
	/* Or that user's guardian could not trace it. */
	prctl(PR_SET_DUMPABLE, 1);
	return 0;
}
