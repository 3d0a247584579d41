/*
 * Regular files and directories: offset, flags, append, close-on-exec, descriptors
 * that share an offset and such that do not, high descriptor numbers.
 * test: build=static
 */
#include <sys/stat.h>

#include "subject.h"

static int make(const char *name, int flags, size_t n)
{
	char buf[10000];
	int fd = must(open(name, O_CREAT | O_TRUNC | O_RDWR, 0640));

	fill(buf, n, n);
	must(write(fd, buf, n));
	close(fd);
	return must(open(name, flags));
}

int main(int argc, char **argv)
{
	char buf[10000], want[10000];
	struct stat st;

	subject_init(argc, argv);
	int rd = make("file-read", O_RDONLY, 5000);
	must(lseek(rd, 1234, SEEK_SET));
	int wr = make("file-write", O_WRONLY | O_CLOEXEC, 100);
	must(lseek(wr, 50, SEEK_SET));
	int app = make("file-append", O_RDWR | O_APPEND | O_NONBLOCK, 200);
	must(lseek(app, 10, SEEK_SET));
	int far = make("file-far", O_RDWR | O_NOATIME, 10);
	must(lseek(far, 5LL << 30, SEEK_SET));
	int dup_a = make("file-dup", O_RDWR, 3000), dup_b = must(dup(dup_a));
	int dup_c = must(fcntl(dup_a, F_DUPFD_CLOEXEC, 700));
	int twice = must(open("file-dup", O_RDWR));
	must(lseek(dup_a, 700, SEEK_SET));
	must(lseek(twice, 900, SEEK_SET));
	int dir = must(open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	int direct = open("file-read", O_RDONLY | O_DIRECT);
	int space = make("name with space (deleted)", O_RDONLY, 10);
	int empty = make("empty", O_RDWR, 0);
	subject_wait();

	check(lseek(rd, 0, SEEK_CUR) == 1234, "read: offset %ld", (long)lseek(rd, 0, SEEK_CUR));
	fill(want, 5000, 5000);
	check(read(rd, buf, 5000) == 3766 && !memcmp(buf, want + 1234, 3766), "read: content");
	check(write(rd, "x", 1) < 0 && errno == EBADF, "a read-only descriptor can be written");
	check(!(fcntl(rd, F_GETFD) & FD_CLOEXEC), "read: close-on-exec is set");
	check(lseek(wr, 0, SEEK_CUR) == 50, "write: offset");
	check(fcntl(wr, F_GETFD) & FD_CLOEXEC, "write: close-on-exec is lost");
	check(write(wr, "HERE", 4) == 4, "write fails");
	check(read(wr, buf, 1) < 0, "a write-only descriptor can be read");
	must(stat("file-write", &st));
	check(st.st_size == 100, "file-write has %ld bytes", (long)st.st_size);
	int fl = fcntl(app, F_GETFL);
	check((fl & (O_APPEND | O_NONBLOCK | O_ACCMODE)) == (O_APPEND | O_NONBLOCK | O_RDWR),
	      "append: flags %o", fl);
	check(lseek(app, 0, SEEK_CUR) == 10, "append: offset");
	must(write(app, "end", 3));
	must(fstat(app, &st));
	check(st.st_size == 203, "append: the file has %ld bytes", (long)st.st_size);
	check(lseek(far, 0, SEEK_CUR) == 5LL << 30, "an offset beyond 4 GiB differs");
	check(fcntl(far, F_GETFL) & O_NOATIME, "O_NOATIME is lost");
	check(lseek(dup_b, 0, SEEK_CUR) == 700 && lseek(twice, 0, SEEK_CUR) == 900, "dup: offset");
	must(read(dup_a, buf, 11));
	check(lseek(dup_b, 0, SEEK_CUR) == 711, "duplicates do not share their offset");
	check(dup_c >= 700 && lseek(dup_c, 0, SEEK_CUR) == 711,
	      "the high duplicate does not share");
	check(fcntl(dup_c, F_GETFD) & FD_CLOEXEC, "the high duplicate's close-on-exec is lost");
	check(!(fcntl(dup_b, F_GETFD) & FD_CLOEXEC), "a duplicate got close-on-exec");
	check(lseek(twice, 0, SEEK_CUR) == 900, "a second open file shares an offset");
	check(fstatat(dir, "file-read", &st, 0) == 0, "the directory descriptor is useless");
	if (direct >= 0)
		check(fcntl(direct, F_GETFL) & O_DIRECT, "O_DIRECT is lost");
	check(read(space, buf, 20) == 10, "a file with a strange name differs");
	check(read(empty, buf, 1) == 0, "the empty file is not empty");
	for (int fd = 3; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			check(fd == rd || fd == wr || fd == app || fd == far || fd == dup_a ||
				      fd == dup_b || fd == dup_c || fd == twice || fd == dir ||
				      fd == direct || fd == space || fd == empty,
			      "descriptor %d is open, from nowhere", fd);
	return subject_done();
}
