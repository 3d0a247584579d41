/*
 * Calls on files that fail.  Linked into $(B)/faulty/godwit, which is the very same
 * objects as godwit, with ld's --wrap for each name below: godwit is static, so that
 * nothing can be preloaded.
 *
 *   GODWIT_INJECT=KIND:N:WHAT     the Nth call of that kind, of all our processes together
 *   GODWIT_INJECT=KIND:N+:WHAT    that one and all that follow
 *   GODWIT_INJECT=KIND:0:WHAT     none
 *   GODWIT_INJECT_LOG=FILE        a line "CALL PATH" for each that failed; with 0, for all of that
 * kind
 *
 * KIND: write (all that changes a file or a directory), space (of those, what needs room),
 * read (opening, looking at, reading files and folders), data (reads and writes alone),
 * proc (reading below /proc), sync (fsync alone).  WHAT: EIO, ENOSPC, EINTR; short: half of what
 * was asked for; slow, slower: 10 ms, 50 ms later, and then as ever; kill: who makes the call dies
 * of SIGKILL.
 *
 * Counted are calls on regular files and directories.  Pipes, sockets, terminals and files in
 * memory have no disk below them that could fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
	WRITE = 1,
	SPACE = 2,
	READ = 4,
	DATA = 8,
	PROC = 16,
	SYNC = 32,
	SHORT = -1,
	SLOW = -2,
	SLOWER = -3,
	KILL = -4
};

static int wanted, what; /* one of the above; an errno, or SHORT */
static long first, last;
static const char *log_name;
static atomic_long *passed; /* shared by all processes that come of this one */

#define WRAP(type, name, ...)                                                                      \
	type __real_##name(__VA_ARGS__);                                                           \
	type __wrap_##name(__VA_ARGS__);                                                           \
	type __wrap_##name(__VA_ARGS__)

__attribute__((constructor)) static void begin(void)
{
	static const struct {
		const char *name;
		int v;
	} kinds[] = {{"write", WRITE}, {"space", SPACE}, {"read", READ},
		     {"data", DATA},   {"proc", PROC},   {"sync", SYNC}},
	  errors[] = {{"EIO", EIO},   {"ENOSPC", ENOSPC}, {"EINTR", EINTR}, {"short", SHORT},
		      {"slow", SLOW}, {"slower", SLOWER}, {"kill", KILL}};
	const char *s = getenv("GODWIT_INJECT");
	char kind[16], error[16], plus[4] = "";

	if (!s || (sscanf(s, "%15[a-z]:%ld:%15s", kind, &first, error) != 3 &&
		   sscanf(s, "%15[a-z]:%ld%1[+]:%15s", kind, &first, plus, error) != 4))
		return;
	last = *plus ? LONG_MAX : first;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(kinds[i].name, kind))
			wanted = kinds[i].v;
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (!strcmp(errors[i].name, error))
			what = errors[i].v;
	log_name = getenv("GODWIT_INJECT_LOG");
	passed = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (passed == MAP_FAILED || !wanted || !what)
		abort();
}

int __real_open64(const char *path, int flags, ...);
int __real_openat64(int dir, const char *path, int flags, ...);
int __real_close(int fd);
ssize_t __real_write(int fd, const void *p, size_t len);
int __real_fstat64(int fd, struct stat *st);

static void tell(const char *call, const char *path)
{
	int fd = log_name ? __real_open64(log_name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)
			  : -1;
	char line[PATH_MAX + 64];
	int n = snprintf(line, sizeof(line), "%s %s\n", call, path);

	if (fd < 0)
		return;
	if (__real_write(fd, line, (size_t)n) != n)
		abort();
	__real_close(fd);
}

static bool hits(int kinds, const char *call, const char *path)
{
	long n;

	if (!(kinds & wanted))
		return false;
	n = atomic_fetch_add(passed, 1) + 1;
	if (first && (n < first || n > last))
		return false;
	tell(call, path);
	if (!first)
		return false;
	if (what == KILL)
		raise(SIGKILL);
	if (what == SLOW || what == SLOWER) {
		struct timespec t = {.tv_nsec = (what == SLOW ? 10 : 50) * 1000 * 1000};

		nanosleep(&t, NULL);
		return false;
	}
	if (what > 0)
		errno = what;
	return true;
}

/* What a call on this descriptor counts as; its name in path. */
static int kinds_of(int kinds, int fd, char path[PATH_MAX])
{
	char self[64];
	struct stat st;
	ssize_t n;

	if (!wanted || __real_fstat64(fd, &st) || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		return 0;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	n = readlink(self, path, PATH_MAX - 1);
	path[n > 0 ? n : 0] = '\0';
	if (!strncmp(path, "/memfd:", 7) || !strncmp(path, "/dev/", 5) ||
	    !strncmp(path, "/sys/", 5))
		return 0;
	if (!strncmp(path, "/proc", 5))
		return kinds & READ ? PROC : 0;
	return kinds;
}

static bool fails(int kinds, const char *call, int fd)
{
	char path[PATH_MAX];
	int error = errno;
	bool ret = hits(kinds_of(kinds, fd, path), call, path);

	if (!ret)
		errno = error;
	return ret;
}

/* --- reads and writes --- */

static size_t half(size_t len)
{
	return len > 1 ? len / 2 : len;
}

#define MOVES(name, kinds, buffer, ...)                                                            \
	if (fails(kinds, #name, fd)) {                                                             \
		if (what != SHORT)                                                                 \
			return -1;                                                                 \
		len = half(len);                                                                   \
	}                                                                                          \
	return __real_##name(fd, buffer, len, ##__VA_ARGS__)

WRAP(ssize_t, write, int fd, const void *p, size_t len)
{
	MOVES(write, WRITE | SPACE | DATA, p);
}
WRAP(ssize_t, pwrite64, int fd, const void *p, size_t len, off_t at)
{
	MOVES(pwrite64, WRITE | SPACE | DATA, p, at);
}
WRAP(ssize_t, read, int fd, void *p, size_t len)
{
	MOVES(read, READ | DATA, p);
}
WRAP(ssize_t, pread64, int fd, void *p, size_t len, off_t at)
{
	MOVES(pread64, READ | DATA, p, at);
}

/* --- changes --- */

#define CHANGES(name, kinds, fd, ...)                                                              \
	return fails(kinds, #name, fd) ? -1 : __real_##name(__VA_ARGS__)
#define NAMES(name, kinds, path, ...)                                                              \
	return hits(kinds, #name, path) ? -1 : __real_##name(__VA_ARGS__)

WRAP(int, fsync, int fd)
{
	CHANGES(fsync, WRITE | SPACE | SYNC, fd, fd);
}
WRAP(int, ftruncate64, int fd, off_t len)
{
	CHANGES(ftruncate64, WRITE | SPACE, fd, fd, len);
}
WRAP(int, fchmod, int fd, mode_t mode)
{
	CHANGES(fchmod, WRITE, fd, fd, mode);
}
WRAP(int, flock, int fd, int how)
{
	CHANGES(flock, WRITE, fd, fd, how);
}
WRAP(int, futimens, int fd, const struct timespec t[2])
{
	CHANGES(futimens, WRITE, fd, fd, t);
}
WRAP(int, mkdir, const char *path, mode_t mode)
{
	NAMES(mkdir, WRITE | SPACE, path, path, mode);
}
WRAP(int, unlink, const char *path)
{
	NAMES(unlink, WRITE, path, path);
}
WRAP(int, unlinkat, int dir, const char *path, int flags)
{
	NAMES(unlinkat, WRITE, path, dir, path, flags);
}
WRAP(int, rename, const char *from, const char *to)
{
	NAMES(rename, WRITE | SPACE, to, from, to);
}
WRAP(int, renameat, int a, const char *from, int b, const char *to)
{
	NAMES(renameat, WRITE | SPACE, to, a, from, b, to);
}
WRAP(int, renameat2, int a, const char *from, int b, const char *to, unsigned flags)
{
	NAMES(renameat2, WRITE | SPACE, to, a, from, b, to, flags);
}
WRAP(int, linkat, int a, const char *from, int b, const char *to, int flags)
{
	NAMES(linkat, WRITE | SPACE, to, a, from, b, to, flags);
}

/* The kernel closes it in any case (close(2), "Dealing with error returns"). */
WRAP(int, close, int fd)
{
	bool is_written = wanted == WRITE && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
	bool bad = is_written && fails(WRITE, "close", fd);
	int ret = __real_close(fd);

	if (bad)
		errno = what;
	return bad ? -1 : ret;
}

/* --- opening and looking --- */

static int opened(int fd, const char *call)
{
	if (fd < 0 || !fails(READ, call, fd))
		return fd;
	__real_close(fd);
	errno = what;
	return -1;
}

static bool makes(int flags)
{
	return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
}

static mode_t mode_of(int flags, va_list ap)
{
	return makes(flags) ? va_arg(ap, mode_t) : 0;
}

int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	if (makes(flags))
		return hits(WRITE | SPACE, "open64", path) ? -1 : __real_open64(path, flags, mode);
	return opened(__real_open64(path, flags), "open64");
}

int __wrap_openat64(int dir, const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	if (makes(flags))
		return hits(WRITE | SPACE, "openat64", path)
			       ? -1
			       : __real_openat64(dir, path, flags, mode);
	return opened(__real_openat64(dir, path, flags), "openat64");
}

static int looked(int ret, const struct stat *st, const char *call, const char *path)
{
	if (ret || (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode)) || !strncmp(path, "/proc/", 6))
		return ret;
	return hits(READ, call, path) ? -1 : 0;
}

WRAP(int, stat64, const char *path, struct stat *st)
{
	return looked(__real_stat64(path, st), st, "stat64", path);
}
WRAP(int, lstat64, const char *path, struct stat *st)
{
	return looked(__real_lstat64(path, st), st, "lstat64", path);
}
WRAP(int, fstatat64, int dir, const char *path, struct stat *st, int flags)
{
	return looked(__real_fstatat64(dir, path, st, flags), st, "fstatat64", path);
}
WRAP(int, fstat64, int fd, struct stat *st)
{
	return fails(READ, "fstat64", fd) ? -1 : __real_fstat64(fd, st);
}
WRAP(off_t, lseek64, int fd, off_t at, int whence)
{
	return fails(READ, "lseek64", fd) ? -1 : __real_lseek64(fd, at, whence);
}
