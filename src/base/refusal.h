/*
 * What a program may have at a checkpoint that Godwit refuses: the one list of it,
 * with the remedies.  Descriptors of a kind that is refused altogether are in
 * state/file_rules.c.  The table in godwit(1) is compared with both
 * (tests/unit/man_kinds.c), and each line of it has its test
 * (tests/e2e/refusals.t).
 *
 * What only this kernel or this machine lacks is err_refuse()d, by name, and no
 * line of the table: godwit doctor shows that.
 */
#ifndef GODWIT_BASE_REFUSAL_H
#define GODWIT_BASE_REFUSAL_H

#include <stdio.h>

#include "base/err.h"

enum refusal {
	/* The process and its threads. */
	REFUSED_CHILD,
	REFUSED_VFORK,
	REFUSED_TRACED,
	REFUSED_32_BIT,
	REFUSED_SECCOMP,
	REFUSED_SECCOMP_STRICT,
	REFUSED_SECCOMP_ASKS,
	REFUSED_SECCOMP_HEAL,
	REFUSED_SECCOMP_RIGHTS,
	REFUSED_SHADOW_STACK,
	REFUSED_NO_BELL,
	REFUSED_TWO_USERS,
	REFUSED_LOST_CALL,
	REFUSED_POSIX_TIMER,
	REFUSED_DEADLINE,
	REFUSED_DIRECTORY_GONE,
	REFUSED_OWN_DESCRIPTORS,
	REFUSED_OWN_DIRECTORY,
	REFUSED_OWN_CAPABILITIES,
	REFUSED_HIGH_DESCRIPTOR,
	/* Its memory. */
	REFUSED_SHARED_MEMORY,
	REFUSED_SYSV,
	REFUSED_SECRET,
	REFUSED_KERNEL_MEMORY,
	REFUSED_DEVICE_MEMORY,
	REFUSED_HUGE,
	REFUSED_PROTECTION_KEY,
	REFUSED_SHARED_FILE,
	/* What its descriptors are in. */
	REFUSED_CONTENT_LARGE,
	REFUSED_CONTENT_FOREIGN,
	REFUSED_CONTENT_CLOSED,
	REFUSED_CONTENT_LOCK,
	REFUSED_CONTENT_HUGE,
	REFUSED_FILE_GONE,
	REFUSED_LEASE_BREAKING,
	REFUSED_LEASE_ALONE,
	REFUSED_OWNER,
	REFUSED_DNOTIFY,
	REFUSED_DIRECTORY_LOCK,
	REFUSED_PATH_GONE,
	REFUSED_DEVICE_GONE,
	REFUSED_KERNEL_FILE_GONE,
	REFUSED_KERNEL_FILE_OTHER,
	REFUSED_EPOLL_STALE,
	REFUSED_INOTIFY_UNREAD,
	REFUSED_INOTIFY_HIDDEN,
	REFUSED_INOTIFY_NUMBERS,
	REFUSED_FIFO_PACKETS,
	REFUSED_FIFO_GONE,
	REFUSED_FOREIGN_END,
	REFUSED_IN_FLIGHT,
	REFUSED_CREDENTIALS,
	REFUSED_LARGE_MESSAGE,
	REFUSED_UNIX_LONE,
	REFUSED_UNIX_GONE,
	REFUSED_UNIX_UNREAD,
	REFUSED_UNIX_WAITING,
	REFUSED_MULTICAST,
	REFUSED_PTY_CONTROLS,
	REFUSED_PTY_FOREIGN,
	REFUSED_PTY_UNOPENED,
	REFUSED_PTY_STATE,
	REFUSED_END,
};

/* err_refuse(), and the remedy of the list. */
int err_refuse_as(struct err *err, enum refusal kind, const char *fmt, ...) __printf_like(3, 4);

const char *refusal_remedy(enum refusal kind);

/* "refused\tNAME\tREMEDY\n" for each. */
void refusals_print(FILE *out);

#endif
