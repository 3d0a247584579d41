/* What the subcommands share with main.c, which has the table of them. */
#ifndef GODWIT_CLI_CLI_H
#define GODWIT_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* argv[0] is "godwit: NAME".  Each returns the exit status. */
int cmd_checkpoint(int argc, char **argv);
int cmd_restart(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_flatten(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_migrate(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_receive(int argc, char **argv);
int cmd_settle(int argc, char **argv);
int cmd_key(int argc, char **argv);

/* Prints "godwit: CMD: what" and the hint on stderr; returns the exit status
 * that the error asks for. */
int cli_fail(const char *cmd, const struct err *err);

/* Wrong command line: prints "godwit: CMD: what" and a hint on stderr; returns EXIT_USAGE. */
int cli_usage(const char *cmd, const char *fmt, ...) __printf_like(2, 3);

/* The only operand after the options that getopt_long took, or NULL: wrong command
 * line, and said so.  what: the name it has in the usage. */
const char *cli_operand(const char *cmd, const char *what, int argc, char **argv);

/* Takes the options of a command that has but --json and --help.  False: all is said,
 * leave with *ret_status. */
bool cli_options_json(int argc, char **argv, void (*usage)(void), bool *ret_json, int *ret_status);

/* "500M": bytes, or with K, M, G, T; more than zero.  False: it is no size. */
bool cli_parse_size(const char *text, uint64_t *ret);

struct wire_creds;
/* --key, --cert, --cert-key and --ca for a table of getopt_long, and what takes them:
 * true if c is one of them. */
#define CLI_CREDS_OPTIONS                                                                          \
	{"key", required_argument, NULL, CLI_KEY}, {"cert", required_argument, NULL, CLI_CERT},    \
		{"cert-key", required_argument, NULL, CLI_CERT_KEY},                               \
	{                                                                                          \
		"ca", required_argument, NULL, CLI_CA                                              \
	}
enum { CLI_KEY = 1024, CLI_CERT, CLI_CERT_KEY, CLI_CA };
bool cli_creds_option(int c, const char *arg, struct wire_creds *creds);

/* A notice of the command whose name is arg, on stderr. */
void cli_notice(void *arg, const char *text);

/* Bytes done of all, on a terminal, once the work has taken a second: for a meter, too; and
 * the end of that line. */
void cli_progress(void *arg, uint64_t done, uint64_t all);
void cli_progress_end(void);

#endif
