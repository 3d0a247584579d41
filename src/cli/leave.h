/* Restarting from a command, and ending as the program ended. */
#ifndef GODWIT_CLI_LEAVE_H
#define GODWIT_CLI_LEAVE_H

#include <stdbool.h>

#include "restart/restart.h"

/* Restarts; returns an exit status only when it failed, only explained, or
 * stayed as the parent of a program that has exited.  A program that died of a signal is
 * followed: this process dies of the same one. */
int restart_and_leave(const struct restart_options *o, bool quiet);

/* Leaves as a program did, by its status from waitpid(2): returns the exit status, or dies
 * of the same signal. */
int leave_as(int status);

#endif
