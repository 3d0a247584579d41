/* Stands in until the commands land. */
#include "cli/cli.h"
int __attribute__((weak)) cmd_show(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return 1;
}
