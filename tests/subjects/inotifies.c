/*
 * inotify: a directory, one below it, a file; watches with gaps in their numbers,
 * more of them than ten, one that was written to before; events come after the restart as before.
 */
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "subject.h"

static int read_event(int fd, char *name, uint32_t *mask)
{
	char buf[4096] __attribute__((aligned(8)));
	struct pollfd p = {.fd = fd, .events = POLLIN};
	const struct inotify_event *e = (void *)buf;

	if (poll(&p, 1, 5000) != 1 || read(fd, buf, sizeof(buf)) < (ssize_t)sizeof(*e))
		return -1;
	strcpy(name, e->len ? e->name : "");
	*mask = e->mask;
	return e->wd;
}

static void touch(const char *name)
{
	close(must(open(name, O_CREAT | O_WRONLY, 0600)));
}

#define MANY 20

/* The kernel shows their numbers as hexadecimal ones. */
static int watch_many(void)
{
	char name[40];
	int fd = must(inotify_init1(0));

	for (int i = 1; i <= MANY; i++) {
		snprintf(name, sizeof(name), "many%d", i);
		mkdir(name, 0700);
		if (must(inotify_add_watch(fd, name, IN_CREATE)) != i)
			die("watches are not numbered from 1");
	}
	return fd;
}

static void check_many(int fd)
{
	char name[300];
	uint32_t mask;

	for (int i = 1; i <= MANY; i++) {
		snprintf(name, sizeof(name), "many%d/event", i);
		touch(name);
		check(read_event(fd, name, &mask) == i, "the event of watch %d", i);
	}
}

int main(int argc, char **argv)
{
	char name[300];
	uint32_t mask = 0;

	subject_init(argc, argv);
	mkdir("watched", 0700);
	mkdir("watched/below", 0700);
	touch("watched/file");
	int fd = must(inotify_init1(IN_CLOEXEC));
	int gone = must(inotify_add_watch(fd, "watched", IN_CREATE));
	must(inotify_rm_watch(fd, gone));
	int dir = must(inotify_add_watch(fd, "watched", IN_CREATE));
	gone = must(inotify_add_watch(fd, "/", IN_CREATE));
	must(inotify_rm_watch(fd, gone));
	int below = must(inotify_add_watch(fd, "watched/below", IN_CREATE | IN_ONLYDIR));
	int file = must(inotify_add_watch(fd, "watched/file", IN_MODIFY | IN_ONESHOT));
	int twin = must(dup(fd)), bare = must(inotify_init1(IN_NONBLOCK));
	int many = watch_many();
	check(read_event(fd, name, &mask) >= 0, "no event of a removed watch");
	touch("watched/before");
	check(read_event(fd, name, &mask) == dir && !strcmp(name, "before"), "no event");
	subject_wait();

	touch("watched/after");
	check(read_event(twin, name, &mask) == dir && mask == IN_CREATE && !strcmp(name, "after"),
	      "an event of the directory: '%s', %#x", name, mask);
	touch("watched/below/deep");
	check(read_event(fd, name, &mask) == below && !strcmp(name, "deep"), "an event below: '%s'",
	      name);
	int f = must(open("watched/file", O_WRONLY));
	for (int i = 0; i < 2; i++)
		must(write(f, "x", 1));
	check(read_event(fd, name, &mask) == file && mask == IN_MODIFY, "an event of the file");
	check_many(many);
	check(inotify_rm_watch(fd, dir) == 0, "the directory's watch is not there");
	check(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(bare, F_GETFL) & O_NONBLOCK, "flags");
	check(read(bare, name, sizeof(name)) < 0 && errno == EAGAIN, "an event of nothing");
	return subject_done();
}
