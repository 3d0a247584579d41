/*
 * Writes one line to the file `log` for each ping, and reads from `input`.  The
 * lines must be there once each.  Second argument: append, plain, read or mapped.
 */
#include "subject.h"

static int log_fd = -1, input_fd = -1, lines;

static void on_ping(void)
{
	char line[40];
	int n = snprintf(line, sizeof(line), "line %d\n", ++lines);

	if (log_fd >= 0 && write(log_fd, line, n) != n)
		die("cannot write to the log: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	const char *how = argc > 2 ? argv[2] : "append";
	char all[10000] = "", want[10000] = "";

	subject_init(argc, argv);
	if (!strcmp(how, "read"))
		input_fd = must(open("input", O_RDONLY));
	else
		log_fd = must(open(
			"log", O_CREAT | O_TRUNC | O_RDWR | (strcmp(how, "append") ? 0 : O_APPEND),
			0644));
	if (input_fd >= 0)
		must(read(input_fd, all, 5));
	subject_on_ping = on_ping;
	subject_wait();

	if (log_fd >= 0) {
		for (int i = 1; i <= lines; i++)
			sprintf(want + strlen(want), "line %d\n", i);
		int fd = must(open("log", O_RDONLY));
		must(read(fd, all, sizeof(all) - 1));
		check(!strcmp(all, want), "the log differs: %s", all);
	} else {
		check(lseek(input_fd, 0, SEEK_CUR) == 5, "the offset differs");
	}
	return subject_done();
}
