/* Regular files, directories, files of the kernel's. */
#include "files_fixture.h"

/* --- regular files --- */

static void build_regular(void)
{
	int fd = open(in_dir("a"), O_RDWR | O_CREAT | O_TRUNC, 0640);

	CHECK_INT(fd, 3);
	CHECK_INT(write(fd, "hello, world", 12), 12);
	lseek(fd, 5, SEEK_SET);
	CHECK_INT(dup2(fd, 7), 7);                             /* shares the offset */
	CHECK_INT(open(in_dir("a"), O_RDONLY | O_CLOEXEC), 4); /* does not */
	lseek(4, 10, SEEK_SET);
	CHECK_INT(open(in_dir("a"), O_WRONLY | O_APPEND | O_CLOEXEC), 5);
	CHECK_INT(open("/dev/zero", O_RDONLY | O_CLOEXEC), 6);
	CHECK_INT(open(dir, O_RDONLY | O_DIRECTORY), 8);
	CHECK_INT(dup3(5, 500, 0), 500);
}

static void verify_regular(void)
{
	char c[8] = "";

	MUST(read(3, c, 2) == 2 && !memcmp(c, ", ", 2));
	MUST(read(7, c, 2) == 2 && !memcmp(c, "wo", 2));
	MUST(read(4, c, 2) == 2 && !memcmp(c, "ld", 2));
	MUST(!has_cloexec(3) && !has_cloexec(7) && has_cloexec(4) && has_cloexec(5));
	MUST((fcntl(5, F_GETFL) & (O_ACCMODE | O_APPEND)) == (O_WRONLY | O_APPEND));
	MUST(!has_cloexec(500) && write(500, "!", 1) == 1 && lseek(5, 0, SEEK_CUR) == 13);
	MUST(has_cloexec(6) && read(6, c, 4) == 4 && !memcmp(c, "\0\0\0\0", 4));
	MUST(openat(8, "a", O_RDONLY) >= 0);
}

static void regular_files_keep_offsets_flags_and_sharing(void)
{
	capture(build_regular, NULL);
	restore(verify_regular);
	remove_dir();
}

static void without_kcmp_offsets_tell_files_apart(void)
{
	deny(SYS_kcmp);
	capture(build_regular, NULL);
	restore(verify_regular);
	remove_dir();
}

static void build_growing(void)
{
	int fd = open(in_dir("log"), O_WRONLY | O_CREAT | O_APPEND, 0640);

	CHECK_INT(write(fd, "one\n", 4), 4);
	CHECK_INT(open(in_dir("log"), O_RDONLY), 4);
}

static void append_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_APPEND);

	CHECK_INT(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void content_is(const char *path, const char *text)
{
	char got[256] = "";
	int fd = open(path, O_RDONLY);

	CHECK(fd >= 0);
	CHECK(read(fd, got, sizeof(got) - 1) >= 0);
	close(fd);
	CHECK_STR(got, text);
}

static void verify_growing(void)
{
	MUST(write(3, "two\n", 4) == 4);
	MUST(lseek(3, 0, SEEK_CUR) == 8);
}

static void a_file_that_grew_is_cut_back(void)
{
	struct stat st;

	capture(build_growing, NULL);
	append_to(in_dir("log"), "two\nthree\n");
	CHECK_INT(check_only(), 0);
	content_is(in_dir("log"), "one\ntwo\nthree\n"); /* check touches nothing */
	restore(verify_growing);
	content_is(in_dir("log"), "one\ntwo\n");
	content_is(in_dir("log.after-checkpoint"), "two\nthree\n");
	CHECK_INT(stat(in_dir("log.after-checkpoint"), &st), 0);
	CHECK_INT(st.st_mode & 0777, 0640);
	CHECK(strstr(notices, "log.after-checkpoint"));
	append_to(in_dir("log"), "more\n");
	restore(verify_growing);
	content_is(in_dir("log"), "one\ntwo\n");
	content_is(in_dir("log.after-checkpoint.1"), "two\nmore\n");
	policy = FILES_KEEP;
	append_to(in_dir("log"), "x");
	CHECK_INT(check_only(), 0);
	act();
	content_is(in_dir("log"), "one\ntwo\nx");
	remove_dir();
}

/* Cutting would pull the file from under the program that goes on. */
static void a_file_that_the_program_still_writes_is_not_cut(void)
{
	struct capture c = {.remote = &target, .proc = &proc, .notice = take_notice};
	pid_t pid = start_target(build_growing, NULL);

	err = ERR_INIT;
	memset(&proc, 0, sizeof(proc));
	CHECK_INT(state_files.capture(&c, &proc, &err), 0);
	proc.pid = pid;
	CHECK_INT(check_only(), 0);
	append_to(in_dir("log"), "two\n");
	CHECK_INT(check_only(), -EBUSY);
	CHECK(strstr(err.what, "still writes") && strstr(err.hint, "--files=keep"));
	policy = FILES_KEEP;
	CHECK_INT(check_only(), 0);
	policy = FILES_CUT;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK_INT(check_only(), 0);
	remove_dir();
}

static void files_that_are_not_the_same_are_refused(void)
{
	capture(build_growing, NULL);
	CHECK_INT(truncate(in_dir("log"), 2), 0);
	CHECK_INT(check_only(), -ENOTSUP);
	CHECK(strstr(err.what, "shorter") && strstr(err.what, "fd 3") && err.hint[0]);
	CHECK_INT(rename(in_dir("log"), in_dir("other")), 0);
	CHECK_INT(check_only(), -ENOTSUP);
	CHECK(strstr(err.what, "not there"));
	CHECK_INT(close(open(in_dir("log"), O_CREAT | O_WRONLY, 0600)), 0);
	append_to(in_dir("log"), "one\ntwo\n");
	CHECK_INT(check_only(), -ENOTSUP);
	CHECK(strstr(err.what, "another file"));
	content_is(in_dir("log"), "one\ntwo\n");
	CHECK_INT(access(in_dir("log.after-checkpoint"), F_OK), -1);
	remove_dir();
}

/* cp -p, or another file system: size and date say that it is the same. */
static void a_faithful_copy_is_accepted(void)
{
	char command[700];

	capture(build_growing, NULL);
	snprintf(command, sizeof(command), "cd '%s' && cp -p log copy && mv copy log", dir);
	CHECK_INT(system(command), 0);
	CHECK_INT(check_only(), 0);
	CHECK_STR(notices, "");
	restore(verify_growing);
	remove_dir();
}

static void a_file_modified_in_place_gives_a_notice(void)
{
	struct timespec later[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 2000000000}};

	capture(build_growing, NULL);
	CHECK_INT(utimensat(AT_FDCWD, in_dir("log"), later, 0), 0);
	CHECK_INT(check_only(), 0);
	CHECK(strstr(notices, "modified since"));
	remove_dir();
}

static void build_locks(void)
{
	struct flock l = {.l_type = F_WRLCK, .l_start = 10, .l_len = 5};
	struct flock r = {.l_type = F_RDLCK, .l_start = 100};

	CHECK_INT(open(in_dir("db"), O_RDWR | O_CREAT, 0600), 3);
	CHECK_INT(open(in_dir("db2"), O_RDWR | O_CREAT, 0600), 4);
	CHECK_INT(open(in_dir("db3"), O_RDWR | O_CREAT, 0600), 5);
	CHECK_INT(fcntl(3, F_SETLK, &l), 0);
	CHECK_INT(fcntl(3, F_SETLK, &r), 0);
	CHECK_INT(fcntl(4, F_OFD_SETLK, &l), 0);
	CHECK_INT(flock(5, LOCK_EX), 0);
	CHECK_INT(dup(3), 6);
}

static void verify_locks(void)
{
	struct fdinfo f;
	struct buf b = {0};
	char path[40];

	for (int fd = 3; fd < 6; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
		MUST(!io_read_file(AT_FDCWD, path, &b));
		MUST(!proc_parse_fdinfo(b.p, &f, &err));
		MUST(f.nlocks == (fd == 3 ? 2 : 1));
		MUST(f.locks[0].kind == (fd == 3   ? FDINFO_POSIX
					 : fd == 4 ? FDINFO_OFD
						   : FDINFO_FLOCK));
		MUST(f.locks[0].is_write);
		MUST(fd == 5 || (f.locks[0].start == 10 && f.locks[0].end == 14));
		MUST(fd != 3 || (f.locks[1].start == 100 && f.locks[1].end == INT64_MAX));
	}
}

static void locks_are_taken_again(void)
{
	struct flock l = {.l_type = F_WRLCK, .l_start = 12, .l_len = 1};
	int fd;

	capture(build_locks, NULL);
	restore(verify_locks);
	fd = open(in_dir("db"), O_RDWR);
	CHECK_INT(fcntl(fd, F_OFD_SETLK, &l), 0);
	CHECK_INT(check_only(), -EAGAIN);
	CHECK(strstr(err.what, "holds the lock"));
	close(fd);
	CHECK_INT(check_only(), 0);
	remove_dir();
}

/* --- the kernel's files, listings --- */

static void build_kernel_files(void)
{
	char buf[64];

	CHECK_INT(open("/proc/self/status", O_RDONLY | O_CLOEXEC), 3);
	CHECK_INT(read(3, buf, 6), 6);
	CHECK_INT(open("/proc/meminfo", O_RDONLY), 4);
	CHECK_INT(open("/proc/sys/kernel/ostype", O_RDONLY), 5);
}

static void verify_kernel_files(void)
{
	char buf[64] = "", path[64] = "";

	MUST(has_cloexec(3) && read(3, buf, 5) == 5);
	MUST(pread(3, buf, 6, 0) == 6 && !memcmp(buf, "Name:\t", 6));
	MUST(readlink("/proc/self/fd/3", path, sizeof(path)) > 0);
	MUST(strtol(path + strlen("/proc/"), NULL, 10) == getpid());
	MUST(read(4, buf, 9) == 9 && !memcmp(buf, "MemTotal:", 9));
	MUST(read(5, buf, 5) == 5 && !memcmp(buf, "Linux", 5));
}

static void files_of_the_kernel_are_opened_again(void)
{
	capture(build_kernel_files, NULL);
	restore(verify_kernel_files);
}

static ssize_t list(int fd, char *names, size_t size)
{
	/* struct linux_dirent64: the name is at 19 */
	char buf[128];
	ssize_t n, all = 0;

	names[0] = '\0';
	while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; all++) {
			uint16_t len;

			memcpy(&len, buf + i + 16, 2);
			strncat(names, buf + i + 19, size - strlen(names) - 1);
			i += len;
		}
	return all;
}

static void build_listing(void)
{
	char buf[128], name[8];

	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		CHECK_INT(close(open(in_dir(name), O_CREAT | O_WRONLY, 0600)), 0);
	}
	CHECK_INT(open(dir, O_RDONLY | O_DIRECTORY), 3);
	CHECK(syscall(SYS_getdents64, 3, buf, sizeof(buf)) > 0);
}

static void verify_listing(void)
{
	static char rest[1024], want[1024];
	char buf[128];
	int fd = open(dir, O_RDONLY | O_DIRECTORY);

	MUST(list(3, rest, sizeof(rest)) > 30);
	MUST(syscall(SYS_getdents64, fd, buf, sizeof(buf)) > 0);
	MUST(list(fd, want, sizeof(want)) > 30);
	MUST(!strcmp(rest, want));
}

static void a_listing_goes_on(void)
{
	capture(build_listing, NULL);
	restore(verify_listing);
	remove_dir();
}

static void high_descriptors_need_a_high_limit(void)
{
	struct rlimit lim;

	capture(build_regular, NULL);
	getrlimit(RLIMIT_NOFILE, &lim);
	lim.rlim_cur = 64; /* the soft limit is raised on the way */
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &lim), 0);
	CHECK_INT(check_only(), 0);
	lim.rlim_max = 400;
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &lim), 0);
	CHECK_INT(check_only(), -EMFILE);
	CHECK(strstr(err.hint, "ulimit -Hn"));
	remove_dir();
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(regular_files_keep_offsets_flags_and_sharing),
		TEST(a_file_that_grew_is_cut_back),
		TEST(a_file_that_the_program_still_writes_is_not_cut),
		TEST(files_that_are_not_the_same_are_refused),
		TEST(a_faithful_copy_is_accepted),
		TEST(a_file_modified_in_place_gives_a_notice),
		TEST(locks_are_taken_again),
		TEST(files_of_the_kernel_are_opened_again),
		TEST(a_listing_goes_on),
		TEST(without_kcmp_offsets_tell_files_apart),
		TEST(high_descriptors_need_a_high_limit),
	};

	return files_main(tests, ARRAY_SIZE(tests), argc, argv);
}
