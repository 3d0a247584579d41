/*
 * Files without a name: one deleted while open, by several descriptions and
 * mappings; one made with O_TMPFILE, with a hole.
 */
#include <sys/stat.h>

#include "subject.h"

#define SIZE 9000
#define FAR (3l << 30)

int main(int argc, char **argv)
{
	char buf[SIZE], now[SIZE], link[64];
	struct stat st;

	subject_init(argc, argv);
	int fd = must(open("doomed", O_CREAT | O_TRUNC | O_RDWR | O_APPEND, 0640));
	fill(buf, sizeof(buf), 1);
	must(write(fd, buf, sizeof(buf)));
	int reader = must(open("doomed", O_RDONLY | O_CLOEXEC)), twin = must(dup(reader));
	char *p = must(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	char *shared = must(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096));
	p[100] ^= 1;
	must(unlink("doomed"));
	must(lseek(fd, 777, SEEK_SET));
	must(lseek(reader, 5, SEEK_SET));
	int tmp = open(".", O_TMPFILE | O_RDWR, 0600);
	if (tmp >= 0)
		must(pwrite(tmp, "far", 3, FAR));
	subject_wait();

	check(lseek(fd, 0, SEEK_CUR) == 777, "offset differs");
	check(pread(fd, now, SIZE, 0) == SIZE && !memcmp(buf, now, SIZE), "content differs");
	buf[100] ^= 1;
	check(!memcmp(buf, p, 8192), "mapped content differs");
	check(!memcmp(buf + 4096, shared, SIZE - 4096), "shared content differs");
	shared[1] = 'x';
	check(pread(reader, now, 1, 4097) == 1 && *now == 'x', "the mapping is of another file");
	check(write(fd, "end", 3) == 3 && pread(reader, now, 3, SIZE) == 3 &&
		      !memcmp(now, "end", 3),
	      "it is not appended to, or not by the other one");
	check(lseek(twin, 0, SEEK_CUR) == 5, "the reader's offset differs");
	check((fcntl(reader, F_GETFL) & O_ACCMODE) == O_RDONLY && write(reader, "x", 1) < 0,
	      "the reader can write");
	check(fcntl(reader, F_GETFD) == FD_CLOEXEC && !fcntl(twin, F_GETFD), "close-on-exec");
	check(!fstat(fd, &st) && st.st_nlink == 0 && (st.st_mode & 0777) == 0640,
	      "links %d, mode %o", (int)st.st_nlink, st.st_mode & 0777);
	if (tmp >= 0) {
		check(!fstat(tmp, &st) && st.st_size == FAR + 3 && st.st_blocks < 100,
		      "the far one's size or hole");
		check(pread(tmp, now, 4, FAR) == 3 && !memcmp(now, "far", 3), "the far end");
		snprintf(link, sizeof(link), "/proc/self/fd/%d", tmp);
		unlink("named");
		check(!linkat(AT_FDCWD, link, AT_FDCWD, "named", AT_SYMLINK_FOLLOW),
		      "it cannot get a name: %s", strerror(errno));
	}
	return subject_done();
}
