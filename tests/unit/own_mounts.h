/* A mount namespace of the test's own; an ordinary user's stands in a user namespace,
 * in which he is himself. */
#ifndef GODWIT_TEST_OWN_MOUNTS_H
#define GODWIT_TEST_OWN_MOUNTS_H

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static inline bool own_mounts_write(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	close(fd);
	return ok;
}

/* False where that is not allowed. */
static inline bool own_mounts(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char u[64], g[64];

	if (unshare(uid ? CLONE_NEWUSER | CLONE_NEWNS : CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return false;
	snprintf(u, sizeof(u), "%u %u 1\n", uid, uid);
	snprintf(g, sizeof(g), "%u %u 1\n", gid, gid);
	return !uid || (own_mounts_write("/proc/self/uid_map", u) &&
			own_mounts_write("/proc/self/setgroups", "deny") &&
			own_mounts_write("/proc/self/gid_map", g));
}

#endif
