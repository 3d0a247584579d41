/*
 * Descriptors, from one process to another: a child builds some state and
 * stops; it is captured from outside, goes through the codec, and is checked
 * and restored: a second child runs the calls of the program one by one, as the
 * engine would, and then verifies what it has.
 *
 *	capture(build, std);	a program with std (or NULL) as 0-2 that ran build()
 *	restore(verify);	a new process in which verify() uses MUST
 *
 * between the two, check_only() and act() are the steps of their own; err,
 * notices, proc, policy and shell (the restarting shell's 0-2) are at hand.
 */
#ifndef GODWIT_TEST_FILES_FIXTURE_H
#define GODWIT_TEST_FILES_FIXTURE_H

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

static __attribute__((unused)) struct err err;
static __attribute__((unused)) struct process proc;
static __attribute__((unused)) struct remote target;
static __attribute__((unused)) char notices[8192];
static __attribute__((unused)) char dir[] = "/tmp/godwit-files-XXXXXX";
static __attribute__((unused)) enum files_policy policy;
static __attribute__((unused)) int shell[3] = {
	-1, -1, -1}; /* descriptors of the restarting shell, or /dev/null */

static inline void take_notice(void *arg, const char *text)
{
	size_t n = strlen(notices);

	(void)arg;
	snprintf(notices + n, sizeof(notices) - n, "%s\n", text);
}

static inline char *in_dir(const char *name)
{
	static char path[4][256];
	static int i;

	i = (i + 1) % 4;
	snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
	return path[i];
}

static inline void remove_dir(void)
{
	char command[300];

	snprintf(command, sizeof(command), "rm -rf '%s'/*", dir);
	CHECK_INT(system(command), 0);
}

/* Descriptors as a program has them that was started with /dev/null for all. */
static inline void fresh_descriptors(const int *std, unsigned keep)
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

static inline void open_target(pid_t pid)
{
	char path[32];
	static struct tracee leader;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	leader.tid = pid;
	target = (struct remote){.pid = pid,
				 .speaker = pid,
				 .threads = &leader,
				 .n = 1,
				 .memfd = -1,
				 .threadfd = -1};
	target.pidfd = pidfd_open(pid, 0);
	target.procfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK(target.pidfd >= 0 && target.procfd >= 0);
}

static inline pid_t start_target(void (*build)(void), const int *std)
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
static inline void through_image(void)
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

static inline int capture_only(void (*build)(void), const int *std)
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

static inline void capture(void (*build)(void), const int *std)
{
	if (capture_only(build, std))
		printf("# %s\n# hint: %s\n", err.what, err.hint);
	CHECK_INT(err.error, 0);
	through_image();
}

static inline void run_batch(struct program *p, struct batch *b)
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
static inline void become(void (*verify)(void))
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

static inline int check_only(void)
{
	struct restore r = {.proc = &proc, .files = policy, .notice = take_notice};

	notices[0] = '\0';
	err = ERR_INIT;
	return state_files.check(&r, &proc, &err);
}

static inline void act(void)
{
	struct restore r = {.proc = &proc, .files = policy, .notice = take_notice};

	CHECK_INT(state_files.act(&r, &proc, &err), 0);
}

static inline void restore(void (*verify)(void))
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

static inline bool has_cloexec(int fd)
{
	return fcntl(fd, F_GETFD) & FD_CLOEXEC;
}
/* As in a container that does not let kcmp through. */
static inline void deny(uint32_t nr)
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

static inline int files_main(const struct tap_test *tests, size_t n, int argc, char **argv)
{
	int ret;

	if (!mkdtemp(dir))
		return 1;
	ret = tap_main(tests, n, argc, argv);
	rmdir(dir);
	return ret;
}

#endif
