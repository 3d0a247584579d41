/*
 * Descriptors, from one process to another: a child builds some state and
 * stops; it is captured from outside, goes through the codec, and is checked
 * and restored: a second child runs the calls of the program one by one, as the
 * engine would, and then verifies what it has.
 */
#include "state/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>

#include "base/io.h"
#include "state/file_kinds.h"
#include "tap.h"

#define DATA_LEN 262144u
#define COMPLAIN 1020 /* where the new process says what is wrong; below the usual limit */

static struct err err;
static struct process proc;
static struct remote target;
static char notices[8192];
static char dir[] = "/tmp/godwit-files-XXXXXX";
static enum files_policy policy;
static int shell[3] = {-1, -1, -1}; /* descriptors of the restarting shell, or /dev/null */

static void take_notice(void *arg, const char *text)
{
	size_t n = strlen(notices);

	(void)arg;
	snprintf(notices + n, sizeof(notices) - n, "%s\n", text);
}

static char *in_dir(const char *name)
{
	static char path[4][256];
	static int i;

	i = (i + 1) % 4;
	snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
	return path[i];
}

static void remove_dir(void)
{
	char command[300];

	snprintf(command, sizeof(command), "rm -rf '%s'/*", dir);
	CHECK_INT(system(command), 0);
}

/* Descriptors as a program has them that was started with /dev/null for all. */
static void fresh_descriptors(const int *std, unsigned keep)
{
	for (int i = 0; i < 3; i++) {
		int fd = std && std[i] >= 0 ? std[i] : open("/dev/null", O_RDWR);

		CHECK_INT(fcntl(fd, F_DUPFD, 100 + i) >= 0, 1);
	}
	for (int i = 0; i < 3; i++)
		CHECK_INT(dup2(100 + i, i), i);
	CHECK_INT(close_range(3, keep - 1, 0), 0);
	CHECK_INT(close_range(keep + 1, ~0U, 0), 0);
}

static void open_target(pid_t pid)
{
	char path[32];
	static struct tracee leader;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	leader.tid = pid;
	target = (struct remote){.pid = pid, .threads = &leader, .n = 1, .memfd = -1};
	target.pidfd = pidfd_open(pid, 0);
	target.procfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK(target.pidfd >= 0 && target.procfd >= 0);
}

static pid_t start_target(void (*build)(void), const int *std)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		alarm(TAP_SECONDS);
		fresh_descriptors(std, COMPLAIN);
		close(COMPLAIN);
		build();
		raise(SIGSTOP);
		_exit(0);
	}
	CHECK_INT(waitpid(pid, &status, WUNTRACED), pid);
	CHECK(WIFSTOPPED(status));
	open_target(pid);
	return pid;
}

/* Through the bytes of an image and back. */
static void through_image(void)
{
	struct buf b = {0}, again = {0};
	struct codec c = codec_writer(&b);

	state_files.codec(&c, &proc);
	CHECK(!c.bad && !b.failed);
	state_files.done(&proc);
	memset(&proc, 0, sizeof(proc));
	c = codec_reader(b.p, b.len);
	state_files.codec(&c, &proc);
	CHECK(!c.bad && c.left == 0);
	if (state_files.validate(&proc, &err))
		printf("# %s\n", err.what);
	CHECK_INT(err.error, 0);
	c = codec_writer(&again);
	state_files.codec(&c, &proc);
	CHECK_INT(again.len, b.len);
	CHECK(!memcmp(again.p, b.p, b.len));
	buf_done(&b);
	buf_done(&again);
}

static int capture_only(void (*build)(void), const int *std)
{
	pid_t pid = start_target(build, std);
	struct capture c = {.remote = &target, .proc = &proc, .notice = take_notice};
	int e;

	err = ERR_INIT;
	memset(&proc, 0, sizeof(proc));
	e = state_files.capture(&c, &proc, &err);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(target.pidfd);
	close(target.procfd);
	return e;
}

static void capture(void (*build)(void), const int *std)
{
	if (capture_only(build, std))
		printf("# %s\n# hint: %s\n", err.what, err.hint);
	CHECK_INT(err.error, 0);
	through_image();
}

static void run_batch(struct program *p, struct batch *b)
{
	memcpy((void *)(uintptr_t)p->data_base, b->data, b->data_len);
	for (size_t i = 0; i < b->n; i++) {
		struct call *c = &b->calls[i];
		long n = syscall(c->nr, c->arg[0], c->arg[1], c->arg[2], c->arg[3], c->arg[4],
				 c->arg[5]);

		c->ret = n < 0 ? -errno : n;
		if ((c->expect == EXPECT_OK && c->ret < 0) ||
		    (c->expect == EXPECT_VALUE && c->ret != c->want)) {
			dprintf(COMPLAIN, "# call %ld (%s): %lld, not %lld\n", (long)c->nr, c->why,
				(long long)c->ret, (long long)c->want);
			_exit(1);
		}
	}
}

/* The new process.  The image's descriptor is 3, in the way of many a program. */
static void become(void (*verify)(void))
{
	void *data =
		mmap(NULL, DATA_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct program prog;
	struct restore r = {.prog = &prog,
			    .proc = &proc,
			    .files = policy,
			    .image_fd = 3,
			    .notice = take_notice};
	struct stat before, after;

	program_init(&prog, (uint64_t)(uintptr_t)data, DATA_LEN, 1024, &err);
	for (int fd = 0; fd < 4; fd++)
		program_fd_mark(&prog, fd, true);
	CHECK_INT(state_files.restore(&r, &proc, &err), 0);
	CHECK_INT(dup2(1, COMPLAIN), COMPLAIN);
	fresh_descriptors(shell, COMPLAIN);
	CHECK_INT(open("/", O_PATH), 3);
	fstat(3, &before);
	for (size_t i = 0; i < prog.n; i++)
		run_batch(&prog, &prog.batches[i]);
	CHECK_INT(fstat(r.image_fd, &after), 0);
	CHECK_INT(after.st_ino, before.st_ino);
	CHECK_INT(close(r.image_fd), 0);
	for (int fd = 0; fd < 1000; fd++)
		if ((fcntl(fd, F_GETFD) >= 0) != !!files_find(proc.files, fd)) {
			dprintf(COMPLAIN, "# fd %d: there or not there\n", fd);
			_exit(1);
		}
	verify();
	_exit(0);
}

static int check_only(void)
{
	struct restore r = {.proc = &proc, .files = policy, .notice = take_notice};

	notices[0] = '\0';
	err = ERR_INIT;
	return state_files.check(&r, &proc, &err);
}

static void act(void)
{
	struct restore r = {.proc = &proc, .files = policy, .notice = take_notice};

	CHECK_INT(state_files.act(&r, &proc, &err), 0);
}

static void restore(void (*verify)(void))
{
	int status;
	pid_t pid;

	if (check_only())
		printf("# %s\n# hint: %s\n", err.what, err.hint);
	CHECK_INT(err.error, 0);
	act();
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		alarm(TAP_SECONDS);
		become(verify);
	}
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
}

/* In the new process stdout may be anything. */
#define MUST(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			dprintf(COMPLAIN, "# %s:%d: not true: %s (errno %d)\n", __FILE__,          \
				__LINE__, #cond, errno);                                           \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

static bool has_cloexec(int fd)
{
	return fcntl(fd, F_GETFD) & FD_CLOEXEC;
}

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

/* As in a container that does not let kcmp through. */
static void deny(uint32_t nr)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = ARRAY_SIZE(code), .filter = code};

	CHECK_INT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	CHECK_INT(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
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
	CHECK_INT(check_only(), -ESTALE);
	CHECK(strstr(err.what, "shorter") && strstr(err.what, "fd 3") && err.hint[0]);
	CHECK_INT(rename(in_dir("log"), in_dir("other")), 0);
	CHECK_INT(check_only(), -ESTALE);
	CHECK(strstr(err.what, "not there"));
	CHECK_INT(close(open(in_dir("log"), O_CREAT | O_WRONLY, 0600)), 0);
	append_to(in_dir("log"), "one\ntwo\n");
	CHECK_INT(check_only(), -ESTALE);
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

/* --- what comes from the shell --- */

static void build_inherited(void)
{
	int fl = fcntl(0, F_GETFL);

	fcntl(0, F_SETFL, fl | O_NONBLOCK);
	CHECK_INT(dup2(1, 9), 9);
	CHECK_INT(fcntl(1, F_DUPFD_CLOEXEC, 20), 20);
}

static void verify_inherited(void)
{
	char c[4];

	MUST(fcntl(0, F_GETFL) & O_NONBLOCK);
	MUST(read(0, c, 4) == 2 && !memcmp(c, "in", 2));
	MUST(write(1, "1", 1) == 1 && write(9, "9", 1) == 1 && write(20, "20", 2) == 2);
	MUST(has_cloexec(20) && !has_cloexec(9));
}

static void pipes_to_others_become_the_shells(void)
{
	int in[2], out[2], new_in[2], new_out[2], std[3];
	char got[16] = "";

	CHECK(!pipe(in) && !pipe(out) && !pipe(new_in) && !pipe(new_out));
	CHECK_INT(write(in[1], "lost", 4), 4);
	std[0] = in[0];
	std[1] = std[2] = out[1];
	capture(build_inherited, std);
	CHECK(strstr(notices, "4 bytes"));
	CHECK_INT(files_find(proc.files, 20)->kind, FILE_INHERITED);
	CHECK_INT(write(new_in[1], "in", 2), 2);
	shell[0] = new_in[0];
	shell[1] = new_out[1];
	restore(verify_inherited);
	CHECK_INT(read(new_out[0], got, 16), 4);
	CHECK_STR(got, "1920");
}

/* A new pseudo-terminal: its terminal side; the master stays open. */
static int terminal(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), unlock = 0, fd;

	CHECK(master >= 0 && !ioctl(master, TIOCSPTLCK, &unlock));
	fd = open(ptsname(master), O_RDWR | O_NOCTTY);
	CHECK(fd >= 0);
	return fd;
}

static void build_terminal(void)
{
	CHECK_INT(dup3(0, 255, O_CLOEXEC), 255);
	CHECK_INT(dup2(open("/proc/self/fd/1", O_WRONLY | O_NOCTTY), 10), 10); /* on its own */
	CHECK_INT(close(3), 0);
	CHECK_INT(dup2(open("/dev/null", O_WRONLY), 2), 2);
	CHECK_INT(close(3), 0);
}

static void verify_terminal(void)
{
	struct stat shells, st;

	MUST(isatty(0) && isatty(1) && isatty(255) && isatty(10) && !isatty(2));
	MUST(!fstat(0, &shells) && !fstat(255, &st) && st.st_rdev == shells.st_rdev);
	MUST(!fstat(10, &st) && st.st_rdev == shells.st_rdev);
	MUST(has_cloexec(255) && !has_cloexec(10));
}

static void a_terminal_becomes_the_shells(void)
{
	int tty = terminal();
	int std[3] = {tty, tty, tty};

	capture(build_terminal, std);
	CHECK_INT(files_find(proc.files, 255)->kind, FILE_INHERITED);
	shell[0] = shell[1] = shell[2] = terminal();
	restore(verify_terminal);
}

static void build_terminal_elsewhere(void)
{
	CHECK_INT(dup2(0, 5), 5);
	CHECK_INT(dup2(1, 0), 0);
}

static void verify_no_terminal(void)
{
	struct stat st, null;

	MUST(!stat("/dev/null", &null) && !fstat(5, &st) && st.st_rdev == null.st_rdev);
}

/* No controlling terminal in this session: nothing better than /dev/null. */
static void a_terminal_that_none_matches_needs_a_terminal(void)
{
	int std[3] = {terminal(), -1, -1};

	setsid();
	capture(build_terminal_elsewhere, std);
	CHECK_INT(check_only(), 0);
	CHECK(strstr(notices, "/dev/null"));
	restore(verify_no_terminal);
}

static void build_ended_input(void) {}

static void verify_ended_input(void)
{
	char got[16];

	MUST(read(0, got, 16) == 4 && !memcmp(got, "rest", 4) && read(0, got, 16) == 0);
}

/* echo data | prog: the end of the input, and what was not read, are the program's. */
static void input_that_has_ended_is_kept(void)
{
	int in[2], std[3] = {-1, -1, -1};

	CHECK_INT(pipe2(in, O_CLOEXEC), 0);
	CHECK_INT(write(in[1], "rest", 4), 4);
	CHECK_INT(close(in[1]), 0);
	std[0] = in[0];
	capture(build_ended_input, std);
	CHECK_INT(files_find(proc.files, 0)->kind, FILE_PIPE);
	restore(verify_ended_input);
}

static void build_foreign_pipe(void)
{
	int p[2];

	CHECK_INT(pipe(p), 0);
	if (fork() == 0) {
		close(p[0]);
		for (;;)
			pause();
	}
	close(p[1]);
}

static void a_pipe_to_another_process_is_refused(void)
{
	CHECK_INT(capture_only(build_foreign_pipe, NULL), -ENOTSUP);
	CHECK_INT(err.exit, EXIT_UNSUPPORTED);
	CHECK(strstr(err.what, "cannot save 'pipe:[") && strstr(err.what, "(fd 3 of process"));
	CHECK(err.hint[0]);
}

/* --- pipes --- */

static void build_pipes(void)
{
	int p[2];
	char big[70000];

	memset(big, 'x', sizeof(big));
	CHECK_INT(pipe2(p, O_NONBLOCK), 0); /* 3, 4 */
	CHECK_INT(write(4, "unread", 6), 6);
	CHECK_INT(pipe2(p, O_CLOEXEC), 0); /* 5, 6: large, and the numbers swapped */
	CHECK(fcntl(6, F_SETPIPE_SZ, 1 << 20) > 0);
	CHECK_INT(write(6, big, sizeof(big)), sizeof(big));
	CHECK_INT(dup2(5, 10), 10);
	CHECK_INT(dup2(6, 5), 5);
	CHECK_INT(dup2(10, 6), 6);
	CHECK_INT(close(10), 0);
	CHECK_INT(pipe(p), 0); /* 7, 8: no more writer */
	CHECK_INT(write(8, "last", 4), 4);
	CHECK_INT(close(8), 0);
	CHECK_INT(pipe(p), 0); /* 8, 9: no more reader */
	CHECK_INT(close(8), 0);
	CHECK_INT(open("/proc/self/fd/3", O_RDONLY), 8); /* another description of a reader */
}

/* 1000 bytes do not fit behind 4000 in a page: full at 64,000 bytes. */
static void build_full(void)
{
	char part[1000];
	int p[2], n = 0;

	memset(part, 'f', sizeof(part));
	CHECK_INT(pipe2(p, O_NONBLOCK), 0);
	while (write(4, part, sizeof(part)) == sizeof(part))
		n++;
	CHECK_INT(n, 64);
	CHECK_INT(read(3, part, 300), 300);
}

static void verify_full(void)
{
	static char got[70000];

	MUST(write(4, got, 1000) == -1 && errno == EAGAIN);
	MUST(read(3, got, sizeof(got)) == 63700 && got[0] == 'f' && got[63699] == 'f');
	MUST(read(3, got, 1) == -1 && errno == EAGAIN);
}

static void a_full_pipe_is_full_again(void)
{
	capture(build_full, NULL);
	restore(verify_full);
}

static void build_packets(void)
{
	int p[2];

	CHECK_INT(pipe2(p, O_DIRECT), 0);
	CHECK_INT(write(4, "one", 3), 3);
	CHECK_INT(write(4, "three", 5), 5);
	CHECK_INT(pipe2(p, O_DIRECT | O_NONBLOCK), 0);
	CHECK_INT(write(6, "left", 4), 4);
	CHECK_INT(close(6), 0);
}

static void verify_packets(void)
{
	char got[100];

	MUST(read(3, got, 100) == 3 && read(3, got, 100) == 5 && !memcmp(got, "three", 5));
	MUST(write(4, "a", 1) == 1 && write(4, "b", 1) == 1 && read(3, got, 100) == 1);
	MUST(read(5, got, 100) == 4 && read(5, got, 100) == 0);
}

static void packets_are_kept_apart(void)
{
	capture(build_packets, NULL);
	restore(verify_packets);
}

static void verify_pipes(void)
{
	static char got[80000];
	ssize_t n = 0, k;

	MUST((fcntl(3, F_GETFL) & O_NONBLOCK) && (fcntl(4, F_GETFL) & O_NONBLOCK));
	MUST(!(fcntl(8, F_GETFL) & O_NONBLOCK) && !has_cloexec(3) && !has_cloexec(4));
	MUST(read(8, got, 3) == 3 && !memcmp(got, "unr", 3));
	MUST(read(3, got, 80000) == 3 && !memcmp(got, "ead", 3));
	MUST(read(3, got, 80000) == -1 && errno == EAGAIN);
	MUST(write(4, "more", 4) == 4 && read(3, got, 8) == 4);
	MUST(fcntl(6, F_GETPIPE_SZ) == 1 << 20);
	fcntl(6, F_SETFL, O_NONBLOCK);
	while ((k = read(6, got + n, sizeof(got) - (size_t)n)) > 0)
		n += k;
	MUST(n == 70000 && got[0] == 'x' && got[69999] == 'x');
	MUST(write(5, "y", 1) == 1 && read(6, got, 1) == 1);
	MUST(read(7, got, 100) == 4 && !memcmp(got, "last", 4) && read(7, got, 100) == 0);
	signal(SIGPIPE, SIG_IGN);
	MUST(write(9, "z", 1) == -1 && errno == EPIPE);
}

static void pipes_keep_content_capacity_and_hang_up(void)
{
	capture(build_pipes, NULL);
	restore(verify_pipes);
}

/* --- counters, timers, signals, epoll --- */

static void build_counters(void)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u64 = 0x123456789abcdef0};
	struct itimerspec once = {.it_value = {3600, 0}}, soon = {{7200, 0}, {0, 1}},
			  date = {.it_value = {4000000000, 5}};
	sigset_t mask;
	uint64_t big = 1ull << 40;

	CHECK_INT(eventfd(5, EFD_SEMAPHORE | EFD_NONBLOCK), 3);
	CHECK_INT(eventfd(0, EFD_CLOEXEC), 4);
	CHECK_INT(write(4, &big, 8), 8);
	CHECK_INT(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), 5);
	CHECK_INT(timerfd_settime(5, 0, &once, NULL), 0);
	CHECK_INT(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC), 6);
	CHECK_INT(timerfd_settime(6, 0, &soon, NULL), 0);
	CHECK_INT(timerfd_create(CLOCK_REALTIME, 0), 7);
	CHECK_INT(timerfd_settime(7, TFD_TIMER_ABSTIME, &date, NULL), 0);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGRTMIN + 3);
	CHECK_INT(signalfd(-1, &mask, SFD_NONBLOCK), 8);
	CHECK_INT(epoll_create1(EPOLL_CLOEXEC), 9);
	CHECK_INT(epoll_ctl(9, EPOLL_CTL_ADD, 3, &ev), 0);
	ev = (struct epoll_event){.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 7};
	CHECK_INT(epoll_ctl(9, EPOLL_CTL_ADD, 6, &ev), 0);
	CHECK_INT(dup(3), 10);
	CHECK_INT(epoll_ctl(9, EPOLL_CTL_ADD, 10, &ev), 0);
	CHECK_INT(timerfd_create(CLOCK_MONOTONIC, 0), 11); /* not armed */
	CHECK_INT(dup(9), 12);
	while (poll(&(struct pollfd){.fd = 6, .events = POLLIN}, 1, -1) != 1)
		;
}

static void verify_counters(void)
{
	struct epoll_event ev[8];
	struct signalfd_siginfo si;
	struct itimerspec it;
	sigset_t mask;
	uint64_t n = 0;
	bool seen = false;

	MUST(read(3, &n, 8) == 8 && n == 1 && (fcntl(3, F_GETFL) & O_NONBLOCK));
	MUST(read(10, &n, 8) == 8 && n == 1);
	MUST(read(4, &n, 8) == 8 && n == 1ull << 40 && has_cloexec(4));
	MUST(!timerfd_gettime(5, &it) && it.it_value.tv_sec > 3500 && it.it_value.tv_sec <= 3600);
	MUST(!timerfd_gettime(11, &it) && it.it_value.tv_sec == 0 && it.it_value.tv_nsec == 0);
	MUST(epoll_wait(12, ev, 8, 0) == 3 && has_cloexec(9) && !has_cloexec(12));
	for (int i = 0; i < 3; i++)
		seen |= ev[i].data.u64 == 0x123456789abcdef0;
	MUST(seen && epoll_wait(9, ev, 8, 0) == 0); /* edge, and once only */
	MUST(read(6, &n, 8) == 8 && n == 1);
	MUST(!timerfd_gettime(6, &it) && it.it_interval.tv_sec == 7200);
	MUST(it.it_value.tv_sec > 7000 && it.it_value.tv_sec <= 7200);
	MUST(!timerfd_gettime(7, &it));
	MUST(llabs(it.it_value.tv_sec + time(NULL) - 4000000000) <= 1);
	sigfillset(&mask);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	kill(getpid(), SIGUSR2);
	MUST(read(8, &si, sizeof(si)) == -1 && errno == EAGAIN);
	kill(getpid(), SIGRTMIN + 3);
	MUST(read(8, &si, sizeof(si)) == sizeof(si) && (int)si.ssi_signo == SIGRTMIN + 3);
}

static void counters_timers_signals_and_epolls_go_on(void)
{
	capture(build_counters, NULL);
	restore(verify_counters);
}

static void build_stale_epoll(void)
{
	struct epoll_event ev = {.events = EPOLLIN};

	CHECK_INT(eventfd(0, 0), 3);
	CHECK_INT(dup(3), 4);
	CHECK_INT(epoll_create1(0), 5);
	CHECK_INT(epoll_ctl(5, EPOLL_CTL_ADD, 3, &ev), 0);
	close(3);
}

/* The number is taken by another eventfd: the same inode, only kcmp can tell. */
static void build_reused_epoll(void)
{
	build_stale_epoll();
	CHECK_INT(eventfd(0, 0), 3);
}

static void build_nested_epoll(void)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 33};

	CHECK_INT(epoll_create1(0), 3);
	CHECK_INT(epoll_create1(0), 4);
	CHECK_INT(epoll_ctl(3, EPOLL_CTL_ADD, 4, &ev), 0);
	CHECK_INT(eventfd(1, 0), 5);
	CHECK_INT(epoll_ctl(4, EPOLL_CTL_ADD, 5, &ev), 0);
}

static void verify_nested_epoll(void)
{
	struct epoll_event ev;
	uint64_t n;

	MUST(epoll_wait(3, &ev, 1, 0) == 1 && ev.data.u64 == 33);
	MUST(read(5, &n, 8) == 8 && epoll_wait(3, &ev, 1, 0) == 0);
}

static void an_epoll_may_watch_an_epoll(void)
{
	capture(build_nested_epoll, NULL);
	restore(verify_nested_epoll);
}

static void epolls_that_cannot_be_made_again_are_refused(void)
{
	CHECK_INT(capture_only(build_stale_epoll, NULL), -ENOTSUP);
	CHECK(strstr(err.what, "descriptor 3"));
	CHECK_INT(capture_only(build_reused_epoll, NULL), -ENOTSUP);
	CHECK(strstr(err.what, "descriptor 3"));
}

/* --- sockets --- */

static void build_pairs(void)
{
	int p[2], one = 1, size = 70000;
	static char big[60000];

	memset(big, 'b', sizeof(big));
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0); /* 3, 4 */
	CHECK_INT(write(3, "for4", 4), 4);
	CHECK_INT(write(4, "for", 3), 3);
	CHECK_INT(write(4, "3", 1), 1);
	CHECK_INT(shutdown(3, SHUT_WR), 0);
	CHECK_INT(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p),
		  0); /* 5, 6 */
	CHECK_INT(send(5, "first", 5, 0), 5);
	CHECK_INT(send(5, "", 0, 0), 0);
	CHECK_INT(send(5, big, sizeof(big), 0), sizeof(big));
	CHECK_INT(setsockopt(6, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)), 0);
	CHECK_INT(setsockopt(6, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	CHECK_INT(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, p), 0); /* 7, 8 */
	CHECK_INT(send(7, "a", 1, 0), 1);
	CHECK_INT(send(7, "bc", 2, 0), 2);
	CHECK_INT(close(7), 0);
	CHECK_INT(dup2(4, 11), 11);
}

static void verify_pairs(void)
{
	static char got[100000];
	int v = 0, peek = 0;
	socklen_t len = sizeof(v);

	MUST(read(11, got, 100) == 4 && !memcmp(got, "for4", 4));
	MUST(read(4, got, 100) == 0); /* shut */
	MUST(read(3, got, 100) == 4 && !memcmp(got, "for3", 4));
	MUST(write(4, "x", 1) == 1 && read(3, got, 100) == 1);
	MUST(send(3, "y", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
	MUST(recv(6, got, sizeof(got), 0) == 5 && !memcmp(got, "first", 5));
	MUST(recv(6, got, sizeof(got), 0) == 0);
	MUST(recv(6, got, sizeof(got), 0) == 60000 && got[59999] == 'b');
	MUST(recv(6, got, sizeof(got), 0) == -1 && errno == EAGAIN);
	MUST(has_cloexec(5) && has_cloexec(6) && !has_cloexec(3) && !has_cloexec(11));
	MUST(!getsockopt(6, SOL_SOCKET, SO_PASSCRED, &v, &len) && v == 1);
	MUST(!getsockopt(6, SOL_SOCKET, SO_SNDBUF, &v, &len) && v == 140000);
	MUST(!getsockopt(6, SOL_SOCKET, SO_PEEK_OFF, &peek, &len) && peek == -1);
	MUST(send(6, "z", 1, 0) == 1 && recv(5, got, 10, 0) == 1);
	MUST(recv(8, got, 10, 0) == 1 && recv(8, got, 10, 0) == 2 && recv(8, got, 10, 0) == 0);
	MUST(send(8, "z", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
}

static void socket_pairs_keep_messages_and_options(void)
{
	capture(build_pairs, NULL);
	restore(verify_pairs);
}

static void build_messages(void)
{
	int p[2];

	CHECK_INT(socketpair(AF_UNIX, SOCK_DGRAM, 0, p), 0); /* 3, 4 */
	CHECK_INT(send(3, "first", 5, 0), 5);
	CHECK_INT(send(3, "2", 1, 0), 1);
	CHECK_INT(send(3, "third", 5, 0), 5);
}

/* Timers that look the same; every third of them is a duplicate. */
static void build_many(void)
{
	for (int fd = 3; fd < 3 + 900; fd++)
		CHECK_INT(fd % 3 == 2 ? dup(fd - 1) : timerfd_create(CLOCK_MONOTONIC, 0), fd);
}

/* What was peeked at must still be there, and be peeked at from the beginning. */
static void capture_leaves_pipes_and_sockets_as_they_were(void)
{
	struct capture c = {.remote = &target, .proc = &proc, .notice = take_notice};
	pid_t pid = start_target(build_messages, NULL);
	int dup_fd, v = 0;
	socklen_t len = sizeof(v);
	char got[8];

	for (int i = 0; i < 3; i++) {
		err = ERR_INIT;
		memset(&proc, 0, sizeof(proc));
		CHECK_INT(state_files.capture(&c, &proc, &err), 0);
		CHECK_INT(files_find(proc.files, 4)->unix_pair.nunread, 3);
		state_files.done(&proc);
	}
	dup_fd = remote_getfd(&target, 4);
	CHECK(dup_fd >= 0 && !getsockopt(dup_fd, SOL_SOCKET, SO_PEEK_OFF, &v, &len));
	CHECK_INT(v, -1);
	CHECK_INT(recv(dup_fd, got, sizeof(got), 0), 5);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	pid = start_target(build_pipes, NULL);
	CHECK_INT(state_files.capture(&c, &proc, &err), 0);
	dup_fd = remote_getfd(&target, 3);
	CHECK(!ioctl(dup_fd, FIONREAD, &v));
	CHECK_INT(v, 6);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void build_rights(void)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {(char[]){'x'}, 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	int p[2];

	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memset(CMSG_DATA(h), 0, sizeof(int));
	CHECK_INT(sendmsg(3, &m, 0), 1);
}

static void without_pidfd_getfd_the_remedy_is_named(void)
{
	deny(SYS_pidfd_getfd);
	CHECK_INT(capture_only(build_messages, NULL), -EPERM);
	CHECK_INT(err.exit, EXIT_PERMISSION);
	CHECK(strstr(err.what, "fd 3") && strstr(err.hint, "SYS_PTRACE"));
}

static void many_descriptors_are_told_apart(void)
{
	struct rlimit lim;

	getrlimit(RLIMIT_NOFILE, &lim);
	lim.rlim_cur = lim.rlim_max < 6000 ? lim.rlim_max : 6000;
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &lim), 0);
	capture(build_many, NULL);
	CHECK_INT(proc.files->nfds, 3 + 900);
	CHECK_INT(proc.files->nfiles, 3 + 600);
	for (int fd = 3; fd < 3 + 900; fd++) {
		const struct open_file *f = files_find(proc.files, fd);

		CHECK((f == files_find(proc.files, fd - fd % 3 + 1)) == (fd % 3 != 0));
	}
}

static void descriptors_in_flight_are_refused(void)
{
	CHECK_INT(capture_only(build_rights, NULL), -ENOTSUP);
	CHECK(strstr(err.what, "SCM_RIGHTS"));
}

static void build_listeners(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 b = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 4};
	int one = 1;

	CHECK_INT(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), 3);
	CHECK_INT(setsockopt(3, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)), 0);
	CHECK_INT(bind(3, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_INT(listen(3, 37), 0);
	CHECK_INT(epoll_create1(0), 4);
	CHECK_INT(epoll_ctl(4, EPOLL_CTL_ADD, 3, &ev), 0);
	CHECK_INT(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), 5);
	CHECK_INT(setsockopt(5, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)), 0);
	CHECK_INT(setsockopt(5, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	CHECK_INT(bind(5, (struct sockaddr *)&b, sizeof(b)), 0);
	CHECK_INT(listen(5, 5), 0);
}

static uint16_t port_was;

static void verify_listeners(void)
{
	struct sockaddr_in a = {0};
	struct tcp_info info = {0};
	struct epoll_event ev;
	socklen_t len = sizeof(a), ilen = sizeof(info), vlen = sizeof(int);
	int v = 0, fd;

	MUST(!getsockname(3, (struct sockaddr *)&a, &len) && a.sin_port == port_was);
	MUST(!getsockopt(3, IPPROTO_TCP, TCP_INFO, &info, &ilen) && info.tcpi_sacked == 37);
	MUST(!getsockopt(3, SOL_SOCKET, SO_REUSEADDR, &v, &vlen) && v == 0);
	MUST(!getsockopt(3, SOL_SOCKET, SO_KEEPALIVE, &v, &vlen) && v == 1);
	MUST(!getsockopt(5, SOL_SOCKET, SO_REUSEADDR, &v, &vlen) && v == 1);
	MUST(!getsockopt(5, IPPROTO_IPV6, IPV6_V6ONLY, &v, &vlen) && v == 1);
	MUST(has_cloexec(5) && (fcntl(3, F_GETFL) & O_NONBLOCK));
	fd = socket(AF_INET, SOCK_STREAM, 0);
	MUST(!connect(fd, (struct sockaddr *)&a, len));
	MUST(epoll_wait(4, &ev, 1, 5000) == 1 && accept(3, NULL, NULL) >= 0);
}

static void listening_sockets_listen_again(void)
{
	struct sockaddr_in a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	capture(build_listeners, NULL);
	memcpy(&a, files_find(proc.files, 3)->listen.addr, sizeof(a));
	port_was = a.sin_port;
	restore(verify_listeners);
	CHECK(!bind(fd, (struct sockaddr *)&a, sizeof(a)) || errno == EADDRINUSE);
	CHECK_INT(listen(fd, 1), 0);
	CHECK_INT(check_only(), -EADDRINUSE);
	CHECK(strstr(err.what, "127.0.0.1:") && strstr(err.hint, "ss -ltnp"));
}

/* --- the kernel's files, listings, named pipes --- */

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

static void build_fifos(void)
{
	CHECK_INT(mkfifo(in_dir("fifo"), 0600), 0);
	CHECK_INT(open(in_dir("fifo"), O_RDONLY | O_NONBLOCK), 3);
	CHECK_INT(open(in_dir("fifo"), O_WRONLY | O_CLOEXEC), 4);
	CHECK_INT(open(in_dir("fifo"), O_RDONLY), 5);
	CHECK_INT(write(4, "unread", 6), 6);
	CHECK_INT(mkfifo(in_dir("both"), 0600), 0);
	CHECK_INT(open(in_dir("both"), O_RDWR), 6);
}

static void verify_fifos(void)
{
	char got[16];

	MUST((fcntl(3, F_GETFL) & O_NONBLOCK) && !(fcntl(5, F_GETFL) & O_NONBLOCK));
	MUST(!(fcntl(4, F_GETFL) & O_NONBLOCK) && has_cloexec(4) && !has_cloexec(3));
	MUST(read(5, got, 3) == 3 && read(3, got + 3, 13) == 3 && !memcmp(got, "unread", 6));
	MUST(write(6, "x", 1) == 1 && read(6, got, 16) == 1);
	MUST(close(4) == 0 && read(3, got, 1) == 0); /* nothing of ours holds it open */
}

static void named_pipes_keep_their_content(void)
{
	capture(build_fifos, NULL);
	restore(verify_fifos);
	remove_dir();
}

/* --- refusals --- */

static void build_connected(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);

	CHECK_INT(socket(AF_INET, SOCK_STREAM, 0), 3);
	CHECK(!bind(3, (struct sockaddr *)&a, sizeof(a)) && !listen(3, 1));
	CHECK(!getsockname(3, (struct sockaddr *)&a, &len));
	CHECK_INT(socket(AF_INET, SOCK_STREAM, 0), 4);
	CHECK_INT(connect(4, (struct sockaddr *)&a, len), 0);
}

static void build_udp(void)
{
	CHECK_INT(socket(AF_INET, SOCK_DGRAM, 0), 3);
}

static void build_netlink(void)
{
	CHECK_INT(socket(AF_NETLINK, SOCK_RAW, 0), 3);
}

static void build_unix_named(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", in_dir("sock"));
	CHECK_INT(socket(AF_UNIX, SOCK_STREAM, 0), 3);
	CHECK(!bind(3, (struct sockaddr *)&a, sizeof(a)) && !listen(3, 1));
}

static void build_deleted(void)
{
	CHECK_INT(open(in_dir("gone"), O_RDWR | O_CREAT, 0600), 3);
	CHECK_INT(unlink(in_dir("gone")), 0);
}

static void build_renamed(void)
{
	CHECK_INT(open(in_dir("was"), O_RDWR | O_CREAT, 0600), 3);
	CHECK_INT(link(in_dir("was"), in_dir("is")), 0);
	CHECK_INT(unlink(in_dir("was")), 0);
}

static void build_memfd(void)
{
	CHECK_INT(memfd_create("m", 0), 3);
}

static void build_path(void)
{
	CHECK_INT(open("/tmp", O_PATH), 3);
}

static void build_ptmx(void)
{
	CHECK_INT(open("/dev/ptmx", O_RDWR | O_NOCTTY), 3);
}

static void build_other_proc(void)
{
	CHECK_INT(open("/proc/1/stat", O_RDONLY), 3);
}

static void build_fifo_end(void)
{
	CHECK_INT(mkfifo(in_dir("fifo"), 0600), 0);
	CHECK_INT(open(in_dir("fifo"), O_RDONLY | O_NONBLOCK), 3);
}

static void build_pidfd(void)
{
	CHECK_INT(pidfd_open(getpid(), 0), 3);
}

static void build_inotify(void)
{
	CHECK_INT(syscall(SYS_inotify_init1, 0), 3);
}

static void build_namespace(void)
{
	CHECK_INT(open("/proc/self/ns/net", O_RDONLY), 3);
}

static void *sleep_forever(void *arg)
{
	CHECK_INT(unshare(CLONE_FILES), 0);
	*(volatile int *)arg = gettid();
	for (;;)
		pause();
	return NULL;
}

static void the_rest_is_refused_by_name(void)
{
	static const struct {
		void (*build)(void);
		const char *says;
	} cases[] = {
		{build_connected, "established TCP connection to 127.0.0.1:"},
		{build_udp, "UDP"},
		{build_netlink, "netlink"},
		{build_unix_named, "listening Unix socket '/tmp/godwit-files-"},
		{build_deleted, "deleted"},
		{build_renamed, "renamed"},
		{build_memfd, "memfd"},
		{build_other_proc, "another process"},
		{build_path, "O_PATH"},
		{build_fifo_end, "other end"},
		{build_ptmx, "pseudo-terminal"},
		{build_pidfd, "pidfd"},
		{build_inotify, "inotify"},
		{build_namespace, "namespace"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CHECK_INT(capture_only(cases[i].build, NULL), -ENOTSUP);
		if (!strstr(err.what, cases[i].says))
			printf("# %zu: %s\n", i, err.what);
		CHECK(strstr(err.what, cases[i].says));
		CHECK(strstr(err.what, "fd ") && strstr(err.what, "of process "));
		CHECK(err.hint[0]);
		CHECK_INT(err.exit, EXIT_UNSUPPORTED);
		state_files.done(&proc);
	}
	remove_dir();
}

static void a_thread_with_descriptors_of_its_own_is_refused(void)
{
	volatile int ready = 0;
	struct tracee threads[2] = {0};
	struct remote self = {.pid = getpid(), .threads = threads, .n = 2};
	struct capture c = {.remote = &self, .proc = &proc, .notice = take_notice};
	pthread_t t;

	err = ERR_INIT;
	CHECK_INT(pthread_create(&t, NULL, sleep_forever, (void *)&ready), 0);
	while (!ready)
		usleep(1000);
	threads[0].tid = getpid();
	threads[1].tid = ready;
	self.procfd = open("/proc/self", O_PATH | O_DIRECTORY);
	CHECK_INT(state_files.capture(&c, &proc, &err), -ENOTSUP);
	CHECK(strstr(err.what, "descriptors of its own"));
}

/* --- images from anybody --- */

static void damaged_notes_never_crash(void)
{
	struct buf b = {0};
	struct codec c = codec_writer(&b);
	unsigned seed = 1, accepted = 0;

	capture(build_pairs, NULL);
	state_files.codec(&c, &proc);
	state_files.done(&proc);
	for (int i = 0; i < 20000; i++) {
		char *copy = malloc(b.len);
		size_t len = i % 3 ? b.len : (size_t)rand_r(&seed) % b.len;

		memcpy(copy, b.p, b.len);
		for (int k = 0; k < i % 4; k++)
			copy[(size_t)rand_r(&seed) % (i % 2 ? b.len : 300)] ^= (char)rand_r(&seed);
		memset(&proc, 0, sizeof(proc));
		err = ERR_INIT;
		c = codec_reader(copy, len);
		state_files.codec(&c, &proc);
		if (!c.bad && !c.left && !state_files.validate(&proc, &err)) {
			char text[200];

			accepted++;
			for (size_t f = 0; f < proc.files->nfiles; f++)
				files_describe(proc.files, &proc.files->files[f], text,
					       sizeof(text));
		}
		state_files.done(&proc);
		free(copy);
	}
	CHECK(accepted > 0);
}

static void impossible_values_are_refused(void)
{
	capture(build_counters, NULL);
	proc.files->fds[3].file = 99;
	CHECK_INT(state_files.validate(&proc, &err), -EBADMSG);
	CHECK_INT(err.exit, EXIT_BAD_IMAGE);
	proc.files->fds[3].file = 3;
	err = ERR_INIT;
	CHECK_INT(state_files.validate(&proc, &err), 0);
	proc.files->fds[proc.files->nfds - 1].fd = FILES_MAX;
	CHECK_INT(state_files.validate(&proc, &err), -EBADMSG);
	err = ERR_INIT;
	proc.files->fds[proc.files->nfds - 1].fd = 3;
	CHECK_INT(state_files.validate(&proc, &err), -EBADMSG);
	err = ERR_INIT;
	proc.files->fds[proc.files->nfds - 1].fd = 12;
	proc.files->files[0].kind = FILE_KIND_END;
	CHECK_INT(state_files.validate(&proc, &err), -EBADMSG);
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
		TEST(pipes_to_others_become_the_shells),
		TEST(a_terminal_becomes_the_shells),
		TEST(a_terminal_that_none_matches_needs_a_terminal),
		TEST(input_that_has_ended_is_kept),
		TEST(a_pipe_to_another_process_is_refused),
		TEST(pipes_keep_content_capacity_and_hang_up),
		TEST(a_full_pipe_is_full_again),
		TEST(packets_are_kept_apart),
		TEST(counters_timers_signals_and_epolls_go_on),
		TEST(an_epoll_may_watch_an_epoll),
		TEST(files_of_the_kernel_are_opened_again),
		TEST(a_listing_goes_on),
		TEST(named_pipes_keep_their_content),
		TEST(epolls_that_cannot_be_made_again_are_refused),
		TEST(socket_pairs_keep_messages_and_options),
		TEST(capture_leaves_pipes_and_sockets_as_they_were),
		TEST(without_kcmp_offsets_tell_files_apart),
		TEST(without_pidfd_getfd_the_remedy_is_named),
		TEST(many_descriptors_are_told_apart),
		TEST(descriptors_in_flight_are_refused),
		TEST(listening_sockets_listen_again),
		TEST(the_rest_is_refused_by_name),
		TEST(a_thread_with_descriptors_of_its_own_is_refused),
		TEST(damaged_notes_never_crash),
		TEST(impossible_values_are_refused),
		TEST(high_descriptors_need_a_high_limit),
	};
	int ret;

	if (!mkdtemp(dir))
		return 1;
	ret = tap_main(tests, ARRAY_SIZE(tests), argc, argv);
	rmdir(dir);
	return ret;
}
