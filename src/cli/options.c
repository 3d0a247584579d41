/* What the commands have in common in their command lines. */
#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "wire/wire.h"

const char *cli_operand(const char *cmd, const char *what, int argc, char **argv)
{
	if (optind == argc)
		cli_usage(cmd, "which %s?", what);
	else if (optind + 1 < argc)
		cli_usage(cmd, "one %s only, not '%s', too", what, argv[optind + 1]);
	else
		return argv[optind];
	return NULL;
}

bool cli_options_json(int argc, char **argv, void (*usage)(void), bool *ret_json, int *ret_status)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) == 'j')
		*ret_json = true;
	if (c == -1)
		return true;
	if (c == 'h')
		usage();
	*ret_status = c == 'h' ? EXIT_DONE : EXIT_USAGE; /* getopt_long has said why */
	return false;
}

bool cli_creds_option(int c, const char *arg, struct wire_creds *creds)
{
	switch (c) {
	case CLI_KEY:
		creds->key = arg;
		return true;
	case CLI_CERT:
		creds->cert = arg;
		return true;
	case CLI_CERT_KEY:
		creds->cert_key = arg;
		return true;
	case CLI_CA:
		creds->ca = arg;
		return true;
	default:
		return false;
	}
}

bool cli_parse_size(const char *text, uint64_t *ret)
{
	static const char units[] = "KMGT";
	char *end;
	unsigned long long n;
	const char *unit;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || errno || !n)
		return false;
	unit = *end ? strchr(units, *end) : NULL;
	if (*end && (!unit || end[1]))
		return false;
	for (const char *u = units; unit && u <= unit; u++) {
		if (n > UINT64_MAX >> 10)
			return false;
		n <<= 10;
	}
	*ret = n;
	return true;
}
