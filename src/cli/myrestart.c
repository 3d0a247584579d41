/* myrestart: godwit restart under its small name, as the only file of ours. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/leave.h"

int main(int argc, char **argv)
{
	struct restart_options o = {.ids = IDS_AUTO};

	if (argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		printf("usage: myrestart IMAGE\n\nWakes the program in IMAGE (myckpt) up, here.\n");
		return 0;
	}
	if (argc != 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: myrestart IMAGE\n");
		return EXIT_USAGE;
	}
	o.image = argv[1];
	return restart_and_leave(&o, false);
}
