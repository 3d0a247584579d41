/* godwit: the table of commands. */
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "cli/cli.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{"checkpoint", cmd_checkpoint, "save a running program to a file"},
	{"restart", cmd_restart, "wake a program up from its file"},
	{"run", cmd_run, "run a job that survives its interruptions"},
	{"show", cmd_show, "print what is in a file"},
	{"verify", cmd_verify, "check every checksum and structure of a file"},
	{"flatten", cmd_flatten, "make one complete file of incremental ones"},
	{"doctor", cmd_doctor, "say what this machine and user allow"},
	{"migrate", cmd_migrate, "move a running program to another host"},
	{"serve", cmd_serve, "wait for programs from other hosts"},
	{"receive", cmd_receive, "take one program from standard input (started by ssh)"},
	{"settle", cmd_settle, "settle migrations that were cut off at the handover"},
	{"key", cmd_key, "make the key that hosts share"},
};

static int usage(FILE *out, int status)
{
	fprintf(out, "usage: godwit COMMAND [ARGUMENTS]\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].help);
	fprintf(out, "\n'godwit COMMAND --help' says more; so does man godwit.\n");
	return status;
}

int main(int argc, char **argv)
{
	char title[64];

	if (argc < 2)
		return usage(stderr, EXIT_USAGE);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
		return usage(stdout, 0);
	if (!strcmp(argv[1], "--version")) {
		printf("godwit " GODWIT_VERSION "\n");
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(argv[1], commands[i].name)) {
			/* What getopt_long(3) begins its messages with. */
			snprintf(title, sizeof(title), "godwit: %s", commands[i].name);
			argv[1] = title;
			return commands[i].run(argc - 1, argv + 1);
		}
	fprintf(stderr, "godwit: there is no command '%s'\nhint: godwit --help lists them\n",
		argv[1]);
	return EXIT_USAGE;
}
