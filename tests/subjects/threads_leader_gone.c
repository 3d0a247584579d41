/*
 * The first thread has ended (pthread_exit); another goes on for the process.
 * test: doors=attach refuse=ok
 */
#include "subject.h"

static void *run(void *arg)
{
	char state = 'R';

	/* The leader is a zombie from here on. */
	while (state != 'Z') {
		char text[300] = "";
		int fd = must(open("/proc/self/stat", O_RDONLY));

		must(read(fd, text, sizeof(text) - 1));
		close(fd);
		state = strrchr(text, ')')[2];
		nap(1);
	}
	subject_wait();
	exit(subject_done());
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t t;

	subject_init(argc, argv);
	if (pthread_create(&t, NULL, run, NULL))
		die("pthread_create");
	pthread_exit(NULL);
}
