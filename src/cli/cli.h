/* What the subcommands share with main.c, which has the table of them. */
#ifndef GODWIT_CLI_CLI_H
#define GODWIT_CLI_CLI_H

#include "base/err.h"

/* Each takes its own name as argv[0] and returns the exit status. */
int cmd_checkpoint(int argc, char **argv);
int cmd_restart(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_doctor(int argc, char **argv);

/* Prints "godwit: CMD: what" and the hint on stderr; returns the exit status
 * that the error asks for. */
int cli_fail(const char *cmd, const struct err *err);

/* A notice of the command whose name is arg, on stderr. */
void cli_notice(void *arg, const char *text);

#endif
