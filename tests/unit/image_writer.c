/* The old image survives every failure; the new one is there completely or not. */
#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "image_bytes.h"
#include "own_mounts.h"
#include "tap.h"

static char dir[64], path[96];
static struct err err;
static struct image_writer *writer;

static void start(void)
{
	strcpy(dir, "/tmp/image-writer-XXXXXX");
	CHECK(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/image", dir);
	err = ERR_INIT;
}

static unsigned files_in_dir(void)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	CHECK(d);
	for (struct dirent *e; (e = readdir(d));)
		n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
	closedir(d);
	return n;
}

/* Also a check that nothing but these files is left. */
static void finish(unsigned files)
{
	CHECK_INT(files_in_dir(), files);
	if (files)
		CHECK(!unlink(path));
	CHECK(!rmdir(dir));
}

/* An old image with 4 KiB of memory, a new one with 8 KiB. */
static void write_old(void)
{
	CHECK(!sample_write(path, 4096, 1, 1, &err));
}

static void is_image(uint64_t data_size)
{
	struct err e = ERR_INIT;
	struct image *img;

	CHECK(!image_open(path, &img, &e));
	CHECK_INT(image_data_size(img), data_size);
	CHECK(!image_verify_blocks(img, 0, image_blocks(img), NULL, &e));
	image_close(img);
}

/* From now on the system call fails so, for us alone: no file system that
 * misbehaves on demand is needed.  mask: bits of argument 2 that must be set. */
static void deny(int nr, uint32_t mask, int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, mask, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {ARRAY_SIZE(code), code};

	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		SKIP("no seccomp filters here");
}

#define TMPFILE_BIT (O_TMPFILE & ~O_DIRECTORY)

/* --- the way it should go --- */

static void a_new_image_replaces_the_old_one(void)
{
	start();
	write_old();
	CHECK(!sample_write(path, 8192, 1, 1, &err));
	is_image(8192);
	finish(1);
}

static void it_has_no_name_until_it_is_complete(void)
{
	start();
	CHECK(!sample_begin(path, 8192, 1, 1, &writer, &err));
	CHECK_INT(files_in_dir(), 0);
	CHECK(!image_writer_commit(writer, &err));
	CHECK_INT(files_in_dir(), 1);
	is_image(8192);
	image_writer_close(writer);
	finish(1);
}

static void without_o_tmpfile_it_has_another_name(void)
{
	start();
	write_old();
	deny(SYS_openat, TMPFILE_BIT, EOPNOTSUPP);
	CHECK(!sample_begin(path, 8192, 1, 1, &writer, &err));
	CHECK_INT(files_in_dir(), 2);
	is_image(4096);
	CHECK(!image_writer_commit(writer, &err));
	image_writer_close(writer);
	is_image(8192);
	finish(1);
}

static void what_is_given_up_leaves_nothing(void)
{
	start();
	write_old();
	CHECK(!sample_begin(path, 8192, 1, 1, &writer, &err));
	image_writer_close(writer);
	deny(SYS_openat, TMPFILE_BIT, EOPNOTSUPP);
	CHECK(!sample_begin(path, 8192, 1, 1, &writer, &err));
	image_writer_close(writer);
	is_image(4096);
	finish(1);
}

static void the_mode_is_0600_whatever_the_umask(void)
{
	static const mode_t masks[] = {0, 022, 0777};
	struct stat st;

	start();
	for (size_t i = 0; i < ARRAY_SIZE(masks); i++) {
		umask(masks[i]);
		CHECK(!sample_write(path, 4096, 0, 1, &err));
		CHECK(!stat(path, &st));
		CHECK_INT(st.st_mode & 07777, 0600);
	}
	finish(1);
}

static void plain_and_relative_names(void)
{
	start();
	CHECK(!chdir(dir));
	CHECK(!sample_write("image", 4096, 0, 1, &err));
	is_image(4096);
	CHECK(!sample_write("./image", 8192, 0, 1, &err));
	is_image(8192);
	finish(1);
}

static void the_longest_name(void)
{
	char name[400];

	start();
	snprintf(name, sizeof(name), "%s/", dir);
	memset(name + strlen(dir) + 1, 'n', 255);
	name[strlen(dir) + 1 + 255] = '\0';
	CHECK(!sample_write(name, 4096, 0, 1, &err)); /* its name was free */
	CHECK(!sample_write(name, 8192, 0, 1, &err)); /* replaces, by a temporary name */
	CHECK_INT(files_in_dir(), 1);
	CHECK(!unlink(name));
	finish(0);
}

/* --- names left by the dead, names held by the living --- */

static void temp_name(char out[128], unsigned slot)
{
	snprintf(out, 128, "%s.godwit-%u", path, slot);
}

static void what_killed_writers_left_is_taken_away(void)
{
	char temp[128];

	start();
	write_old();
	for (unsigned i = 0; i < 8; i++) {
		int fd;

		temp_name(temp, i);
		fd = open(temp, O_CREAT | O_WRONLY, 0600);
		CHECK(fd >= 0 && write(fd, "half", 4) == 4 && !close(fd));
	}
	CHECK(!image_writer_open(path, &writer, &err)); /* at once, before the next commit */
	CHECK_INT(files_in_dir(), 1);
	image_writer_close(writer);
	is_image(4096);
	finish(1);
}

static void what_a_living_writer_holds_is_left_alone(void)
{
	char temp[128];
	int fd;

	start();
	write_old();
	temp_name(temp, 0);
	fd = open(temp, O_CREAT | O_WRONLY, 0600);
	CHECK(fd >= 0 && !flock(fd, LOCK_EX) && write(fd, "half", 4) == 4);
	CHECK(!sample_write(path, 8192, 1, 1, &err));
	is_image(8192);
	CHECK_INT(files_in_dir(), 2);
	CHECK(!unlink(temp));
	finish(1);
}

static void names_that_are_no_leftovers_are_left_alone(void)
{
	char temp[128], other[128];

	start();
	write_old();
	temp_name(temp, 0);
	temp_name(other, 1);
	CHECK(!mkfifo(temp, 0600) && !symlink(path, other));
	CHECK(!sample_write(path, 8192, 1, 1, &err));
	is_image(8192);
	CHECK(!unlink(temp) && !unlink(other));
	finish(1);
}

static void when_all_temporary_names_are_held_it_says_so(void)
{
	char temp[128];

	start();
	write_old();
	for (unsigned i = 0; i < 8; i++) {
		temp_name(temp, i);
		CHECK(!mkfifo(temp, 0600));
	}
	CHECK_INT(sample_write(path, 8192, 1, 1, &err), -EBUSY);
	CHECK(strstr(err.what, path) && err.hint[0]);
	is_image(4096);
	for (unsigned i = 0; i < 8; i++) {
		temp_name(temp, i);
		CHECK(!unlink(temp));
	}
	finish(1);
}

static void write_many(unsigned seed)
{
	for (unsigned i = 0; i < 60; i++) {
		struct err e = ERR_INIT;

		if (sample_write(path, 4096ull * (1 + (seed + i) % 5), seed, 1, &e)) {
			dprintf(1, "# %s\n", e.what);
			_exit(1);
		}
	}
	_exit(0);
}

/* Killed anywhere, several at once, with and without O_TMPFILE. */
static void writers_that_are_killed_at_any_moment(void)
{
	pid_t pids[4];

	start();
	write_old();
	for (unsigned round = 0; round < 40; round++) {
		struct err e = ERR_INIT;
		struct image *img;

		for (unsigned i = 0; i < 4; i++) {
			pids[i] = fork();
			if (pids[i] == 0) {
				if (i & 1)
					deny(SYS_openat, TMPFILE_BIT, EOPNOTSUPP);
				write_many(round + i);
			}
		}
		usleep(round * 150); /* only spreads the moments: none is expected */
		for (unsigned i = 0; i < 4; i++)
			if (i != round % 4)
				CHECK(!kill(pids[i], SIGKILL));
		for (unsigned i = 0; i < 4; i++) {
			int status;

			CHECK(waitpid(pids[i], &status, 0) == pids[i]);
			CHECK(i != round % 4 || status == 0); /* the one that lives succeeds */
		}
		CHECK(!image_open(path, &img, &e));
		CHECK(!image_verify_blocks(img, 0, image_blocks(img), NULL, &e));
		image_close(img);
		CHECK(files_in_dir() <= 1 + 8);
	}
	/* The next one removes what is left. */
	CHECK(!sample_write(path, 8192, 1, 1, &err));
	is_image(8192);
	finish(1);
}

/* --- places where no image can be --- */

static void refused(const char *name, int error, enum exit_code code, const char *words)
{
	err = ERR_INIT;
	CHECK_INT(image_writer_open(name, &writer, &err), error);
	CHECK_INT(err.exit, code);
	CHECK(strstr(err.what, name));
	if (!strstr(err.what, words))
		CHECK_STR(err.what, words);
}

static void names_that_are_no_regular_file_are_refused(void)
{
	char other[128];

	start();
	refused(dir, -EEXIST, EXIT_FAILED, "no regular file");
	refused("/tmp/", -EISDIR, EXIT_FAILED, "no file name");
	refused("/tmp/..", -EISDIR, EXIT_FAILED, "no file name");
	refused("", -EISDIR, EXIT_FAILED, "no file name");
	refused("/dev/null", -EEXIST, EXIT_FAILED, "no regular file");
	write_old();
	snprintf(other, sizeof(other), "%s/link", dir);
	CHECK(!symlink("image", other));
	refused(other, -EEXIST, EXIT_FAILED, "no regular file");
	CHECK(strstr(err.hint, "symbolic link"));
	CHECK(!unlink(other));
	CHECK(!mkfifo(other, 0600));
	refused(other, -EEXIST, EXIT_FAILED, "no regular file");
	CHECK(!unlink(other));
	finish(1);
}

static void directories_that_cannot_be_used(void)
{
	char gone[128];

	start();
	snprintf(gone, sizeof(gone), "%s/none/image", dir);
	refused(gone, -ENOENT, EXIT_FAILED, "No such file or directory");
	refused("/proc/self/status/image", -ENOTDIR, EXIT_FAILED, "Not a directory");
	/* Nobody can make a file there; others than root are told so first. */
	if (geteuid())
		refused("/proc/image", -EACCES, EXIT_PERMISSION, "");
	else
		refused("/proc/image", -ENOENT, EXIT_FAILED, "");
	if (geteuid() == 0)
		CHECK(!seteuid(65534));
	refused("/usr/image", -EACCES, EXIT_PERMISSION, "Permission denied");
	CHECK(err.hint[0]);
	if (getuid() == 0)
		CHECK(!seteuid(0));
	finish(0);
}

/* --- disks that fail --- */

static void fails(int error, const char *words)
{
	err = ERR_INIT;
	CHECK_INT(sample_write(path, 3 * IMAGE_BLOCK, 100, 30000, &err), error);
	CHECK_INT(err.exit, EXIT_FAILED);
	CHECK(strstr(err.what, path));
	if (!strstr(err.what, words))
		CHECK_STR(err.what, words);
	is_image(4096);
	finish(1);
}

static void an_io_error_of_write(void)
{
	start();
	write_old();
	deny(SYS_pwrite64, 0, EIO);
	fails(-EIO, "Input/output error");
}

static void an_io_error_of_fsync(void)
{
	start();
	write_old();
	deny(SYS_fsync, 0, EIO);
	fails(-EIO, "Input/output error");
}

static void an_error_of_rename(void)
{
	start();
	write_old();
	deny(SYS_renameat, 0, EPERM);
	err = ERR_INIT;
	CHECK_INT(sample_write(path, 8192, 1, 1, &err), -EPERM);
	is_image(4096);
	finish(1);
}

static void a_disk_quota(void)
{
	start();
	write_old();
	deny(SYS_pwrite64, 0, EDQUOT);
	fails(-EDQUOT, "Disk quota exceeded");
}

static void a_limit_on_file_sizes(void)
{
	static const rlim_t at[] = {4096, 600000, 1578000, 1600000, 3000000};

	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		struct rlimit l = {at[i], RLIM_INFINITY}, none = {RLIM_INFINITY, RLIM_INFINITY};

		start();
		write_old();
		signal(SIGXFSZ, SIG_IGN);
		CHECK(!setrlimit(RLIMIT_FSIZE, &l));
		fails(-EFBIG, "File too large");
		CHECK(strstr(err.hint, "ulimit -f"));
		CHECK(!setrlimit(RLIMIT_FSIZE, &none));
	}
}

/* A tmpfs of our own that is too small, at every stage of the file. */
static void a_full_disk(void)
{
	static const unsigned sizes[] = {64, 700, 1560, 1700, 2700, 4100};
	char options[64];

	start();
	if (!own_mounts()) {
		finish(0);
		SKIP("no mount namespace here");
	}
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		snprintf(options, sizeof(options), "size=%uk", sizes[i] + 32);
		if (mount("none", dir, "tmpfs", 0, options))
			SKIP("cannot mount a tmpfs here");
		write_old();
		err = ERR_INIT;
		CHECK_INT(sample_write(path, 3 * IMAGE_BLOCK, 100, 30000, &err), -ENOSPC);
		CHECK(strstr(err.what, "No space left on device") && strstr(err.what, path));
		CHECK(strstr(err.hint, "make room"));
		is_image(4096);
		CHECK_INT(files_in_dir(), 1);
		CHECK(!umount(dir));
	}
	CHECK(!rmdir(dir));
}

/* --- the interface --- */

struct worker {
	pthread_t thread;
	unsigned first;
	int ret;
};

static void *write_every_third(void *arg)
{
	uint8_t *block = malloc(IMAGE_BLOCK);
	struct worker *me = arg;

	for (uint64_t i = me->first; !me->ret && i < 30; i += 3) {
		memset(block, (int)i + 1, IMAGE_BLOCK);
		me->ret = image_writer_block(writer, i, block, IMAGE_BLOCK);
	}
	free(block);
	return NULL;
}

static void blocks_from_three_threads_while_notes_are_added(void)
{
	struct worker w[3] = {{.first = 0}, {.first = 1}, {.first = 2}};
	uint8_t *block = malloc(IMAGE_BLOCK);
	struct image *img;

	start();
	CHECK(!image_writer_open(path, &writer, &err));
	CHECK(!image_writer_set_data_size(writer, 30 * IMAGE_BLOCK, &err));
	for (size_t i = 0; i < 3; i++)
		CHECK(!pthread_create(&w[i].thread, NULL, write_every_third, &w[i]));
	CHECK(!sample_notes(writer, 300, &err));
	for (size_t i = 0; i < 3; i++)
		CHECK(!pthread_join(w[i].thread, NULL) && !w[i].ret);
	CHECK(!image_writer_commit(writer, &err));
	image_writer_close(writer);
	CHECK(!image_open(path, &img, &err));
	for (unsigned i = 0; i < 30; i++) {
		CHECK_INT(image_read_block(img, i, block, &err), IMAGE_BLOCK);
		CHECK(block[0] == i + 1 && block[IMAGE_BLOCK - 1] == i + 1);
	}
	image_close(img);
	free(block);
	finish(1);
}

static void an_incomplete_image_is_never_committed(void)
{
	uint8_t *block = calloc(1, IMAGE_BLOCK);

	start();
	CHECK(!image_writer_open(path, &writer, &err));
	CHECK(image_writer_block(writer, 0, block, 4096) == -EINVAL);
	CHECK(!image_writer_set_data_size(writer, IMAGE_BLOCK + 4096, &err));
	CHECK_INT(image_writer_blocks(writer), 2);
	CHECK(image_writer_block(writer, 0, block, 4096) == -EINVAL);
	CHECK(image_writer_block(writer, 1, block, IMAGE_BLOCK) == -EINVAL);
	CHECK(image_writer_block(writer, 2, block, 4096) == -EINVAL);
	CHECK(!image_writer_block(writer, 1, block, 4096));
	CHECK(image_writer_block(writer, 1, block, 4096) == -EALREADY);
	CHECK(image_writer_commit(writer, &err) < 0);
	image_writer_close(writer);
	free(block);
	finish(0);
}

static void calls_that_cannot_be(void)
{
	start();
	CHECK(!image_writer_open(path, &writer, &err));
	CHECK(image_writer_note(writer, "GODWIT", 1, "x", 1, &err) < 0);
	CHECK(image_writer_set_data_size(writer, 4095, &err) < 0);
	CHECK(image_writer_set_data_size(writer, UINT64_MAX - 4095, &err) < 0);
	CHECK(!image_writer_set_data_size(writer, 0, &(struct err){0}));
	CHECK(image_writer_set_data_size(writer, 0, &err) < 0);
	CHECK(image_writer_note(writer, "", 1, "x", 1, &err) < 0);
	CHECK(image_writer_note(writer, "SIXTEEN LETTERS!", 1, "x", 1, &err) < 0);
	CHECK(!image_writer_note_begin(writer, "GODWIT", 1, 3, &(struct err){0}));
	CHECK(!image_writer_note_add(writer, "x", 1, &(struct err){0}));
	CHECK(image_writer_note(writer, "GODWIT", 1, "x", 1, &err) < 0);
	CHECK(image_writer_note_add(writer, "xxx", 3, &err) < 0);
	CHECK(image_writer_segment(writer, 4096, 4096, 0, 0, PF_R, &err) < 0);
	CHECK(image_writer_commit(writer, &err) < 0);
	CHECK(!image_writer_note_add(writer, "yz", 2, &(struct err){0}));
	CHECK(!image_writer_segment(writer, 8192, 4096, 0, 0, PF_R, &(struct err){0}));
	CHECK(image_writer_segment(writer, 4096, 4096, 0, 0, PF_R, &err) < 0);
	CHECK(image_writer_segment(writer, 12288, 4096, 4096, 4096, PF_R, &err) < 0);
	CHECK(image_writer_note(writer, "GODWIT", 1, "x", 1, &err) < 0);
	CHECK(!image_writer_commit(writer, &(struct err){0}));
	image_writer_close(writer);
	image_writer_close(NULL);
	is_image(0);
	finish(1);
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(a_new_image_replaces_the_old_one),
		TEST(it_has_no_name_until_it_is_complete),
		TEST(without_o_tmpfile_it_has_another_name),
		TEST(what_is_given_up_leaves_nothing),
		TEST(the_mode_is_0600_whatever_the_umask),
		TEST(plain_and_relative_names),
		TEST(the_longest_name),
		TEST(what_killed_writers_left_is_taken_away),
		TEST(what_a_living_writer_holds_is_left_alone),
		TEST(names_that_are_no_leftovers_are_left_alone),
		TEST(when_all_temporary_names_are_held_it_says_so),
		TEST(writers_that_are_killed_at_any_moment),
		TEST(names_that_are_no_regular_file_are_refused),
		TEST(directories_that_cannot_be_used),
		TEST(an_io_error_of_write),
		TEST(an_io_error_of_fsync),
		TEST(an_error_of_rename),
		TEST(a_disk_quota),
		TEST(a_limit_on_file_sizes),
		TEST(a_full_disk),
		TEST(blocks_from_three_threads_while_notes_are_added),
		TEST(an_incomplete_image_is_never_committed),
		TEST(calls_that_cannot_be),
	};

	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
