/*
 * O_PATH descriptors: of a file, a directory, a symbolic link, a socket's file.
 */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "subject.h"

static bool is_same(int fd, const char *name)
{
	struct stat a, b;

	return !fstat(fd, &a) && !lstat(name, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int main(int argc, char **argv)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "path_socket"};
	char text[32] = "", link[64];

	subject_init(argc, argv);
	close(must(open("path_file", O_CREAT | O_RDWR, 0600)));
	mkdir("path_dir", 0700);
	unlink("path_link");
	must(symlink("nowhere", "path_link"));
	unlink("path_socket");
	int s = must(socket(AF_UNIX, SOCK_DGRAM, 0));
	must(bind(s, (void *)&name, sizeof(name)));
	close(s);
	int file = must(open("path_file", O_PATH | O_CLOEXEC));
	int dir = must(open("path_dir", O_PATH | O_DIRECTORY));
	int sym = must(open("path_link", O_PATH | O_NOFOLLOW));
	int sock = must(open("path_socket", O_PATH));
	int twin = must(dup(dir));
	subject_wait();

	check(is_same(file, "path_file"), "the file");
	check(fcntl(file, F_GETFD) == FD_CLOEXEC, "close-on-exec");
	check(is_same(dir, "path_dir"), "the directory");
	check(is_same(twin, "path_dir"), "its duplicate");
	check(is_same(sym, "path_link"), "the link");
	check(readlinkat(sym, "", text, sizeof(text)) == 7 && !memcmp(text, "nowhere", 7),
	      "where it leads");
	check(is_same(sock, "path_socket"), "the socket's file");
	for (int i = 0; i < 2; i++)
		check(fcntl(i ? dir : file, F_GETFL) & O_PATH, "O_PATH is lost");
	snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
	int again = open(link, O_RDWR);
	check(again >= 0 && write(again, "x", 1) == 1, "opening by the descriptor");
	int below = openat(dir, "inside", O_CREAT | O_RDWR, 0600);
	check(below >= 0, "opening below the directory: %s", strerror(errno));
	return subject_done();
}
