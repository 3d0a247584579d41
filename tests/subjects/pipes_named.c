/*
 * A named pipe, both ends within the process, with unread content; kept, or refused.
 * test: doors=attach refuse=ok
 */
#include <sys/stat.h>

#include "subject.h"

int main(int argc, char **argv)
{
	char now[100];

	subject_init(argc, argv);
	unlink("named");
	must(mkfifo("named", 0600));
	int r = must(open("named", O_RDONLY | O_NONBLOCK)), w = must(open("named", O_WRONLY));
	must(write(w, "fifo", 4));
	subject_wait();

	check(read(r, now, 100) == 4 && !memcmp(now, "fifo", 4), "the content");
	must(write(w, "again", 5));
	check(read(r, now, 100) == 5, "it does not work");
	return subject_done();
}
