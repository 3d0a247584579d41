/* Records on the disk: see journal.h. */
#include "migrate/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proc/status.h"

#define RECORD_MAX 12288
/* What a destination remembers, it may forget after so long. */
#define KEEP_S (14 * 24 * 3600)

static int own_folder(const char *dir, struct err *err)
{
	struct stat st;

	if (mkdir(dir, 0700) && errno != EEXIST)
		return err_sys(err, -errno, "cannot make the folder '%s'", dir);
	if (lstat(dir, &st) || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
	    (st.st_mode & 077)) {
		err_perm(err, "'%s' is not a folder of yours alone", dir);
		return err_hint(err,
				"it must be yours, with mode 0700; or name one in GODWIT_STATE");
	}
	return 0;
}

static int make_parents(char *path, struct err *err)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0700) && errno != EEXIST && errno != EROFS && errno != EACCES)
			return err_sys(err, -errno, "cannot make the folder '%s'", path);
		*slash = '/';
	}
	return 0;
}

int journal_path(const char *name, char *out, size_t cap, struct err *err)
{
	const char *own = getenv("GODWIT_STATE"), *xdg = getenv("XDG_STATE_HOME"),
		   *home = getenv("HOME");
	char dir[900];
	int n, ret;

	if (own && *own == '/')
		n = snprintf(dir, sizeof(dir), "%s", own);
	else if (xdg && *xdg == '/')
		n = snprintf(dir, sizeof(dir), "%s/godwit", xdg);
	else if (home && *home == '/' && !access(home, W_OK | X_OK))
		n = snprintf(dir, sizeof(dir), "%s/.local/state/godwit", home);
	else
		n = snprintf(dir, sizeof(dir), "/var/tmp/godwit-%u", geteuid());
	if (n >= (int)sizeof(dir))
		return err_set(err, -ENAMETOOLONG, "the name of the state folder is too long");
	if ((ret = make_parents(dir, err)) || (ret = own_folder(dir, err)))
		return ret;
	if (snprintf(out, cap, "%s/%s", dir, name) >= (int)cap)
		return err_set(err, -ENAMETOOLONG, "the name of the state folder is too long");
	return 0;
}

static int record_path(const struct migration_id *id, enum journal_role role, struct journal *j,
		       struct err *err)
{
	char text[33], name[40];

	migration_id_text(id, text);
	snprintf(name, sizeof(name), "%c-%s", role, text);
	return journal_path(name, j->path, sizeof(j->path), err);
}

/* A file that has no name yet; or, where the file system has none such, one that is no record's:
 * *ret_name, else "". */
static int open_nameless(struct journal *j, char *ret_name, size_t cap, struct err *err)
{
	const char *slash = strrchr(j->path, '/');
	char dir[sizeof(j->path)];

	*ret_name = '\0';
	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - j->path), j->path);
	j->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (j->fd < 0) {
		snprintf(ret_name, cap, "%s.new-%d", j->path, getpid());
		unlink(ret_name); /* of another process, which had our number */
		j->fd = open(ret_name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	}
	return j->fd < 0 ? err_sys(err, -errno, "cannot make '%s'", j->path) : 0;
}

/* -EEXIST when there is one of that name. */
static int give_name(const struct journal *j, const char *temporary, struct err *err)
{
	char self[64];
	int ret;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", j->fd);
	ret = *temporary ? linkat(AT_FDCWD, temporary, AT_FDCWD, j->path, 0)
			 : linkat(AT_FDCWD, self, AT_FDCWD, j->path, AT_SYMLINK_FOLLOW);
	if (ret)
		err_sys(err, -errno, "cannot make '%s'", j->path);
	if (*temporary)
		unlink(temporary);
	return ret ? err->error : 0;
}

int journal_create(const struct migration_id *id, enum journal_role role,
		   const struct journal_record *r, struct journal *j, struct err *err)
{
	char temporary[sizeof(j->path) + 32];
	int ret = record_path(id, role, j, err);

	j->fd = -1;
	if (ret || (ret = open_nameless(j, temporary, sizeof(temporary), err)))
		return ret;
	if (journal_lock(j, 0))
		ret = err_set(err, -EAGAIN, "'%s' is locked", j->path);
	if (!ret)
		ret = journal_write(j, r, err);
	if (!ret)
		ret = give_name(j, temporary, err);
	else if (*temporary)
		unlink(temporary);
	if (ret)
		journal_close(j);
	return ret;
}

int journal_open(const struct migration_id *id, enum journal_role role, struct journal *j,
		 struct err *err)
{
	int ret = record_path(id, role, j, err);

	j->fd = -1;
	if (ret)
		return ret;
	j->fd = open(j->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	return j->fd < 0 ? err_sys(err, -errno, "cannot open '%s'", j->path) : 0;
}

void journal_close(struct journal *j)
{
	io_close_fd(&j->fd);
}

int journal_lock(struct journal *j, int ms)
{
	struct timespec step = {.tv_nsec = 5 * 1000 * 1000};

	for (int left = ms;; left -= 5) {
		if (!flock(j->fd, LOCK_EX | LOCK_NB))
			return 0;
		if (errno != EWOULDBLOCK || left <= 0)
			return -EAGAIN;
		nanosleep(&step, NULL);
	}
}

void journal_unlock(struct journal *j)
{
	flock(j->fd, LOCK_UN);
}

int journal_write(struct journal *j, const struct journal_record *r, struct err *err)
{
	char text[RECORD_MAX];
	int n = snprintf(text, sizeof(text),
			 "state=%d\npid=%d\nstart=%llu\nboot=%s\nprogram=%s\nto=%s\nkey=%s\n"
			 "cert=%s\ncert-key=%s\nca=%s\nssh=%s\nremote=%s\nimage=%s\nlater=%d\n"
			 "from=%s\nend=1\n",
			 r->state, r->pid, (unsigned long long)r->start, r->boot, r->program, r->to,
			 r->key, r->cert, r->cert_key, r->ca, r->ssh, r->remote, r->image, r->later,
			 r->from);
	int ret;

	if (n >= (int)sizeof(text))
		return err_set(err, -E2BIG, "the record '%s' would be too long", j->path);
	/* Padded: a shorter record leaves nothing of the one before. */
	memset(text + n, '\n', sizeof(text) - (size_t)n);
	ret = io_pwrite_all(j->fd, text, sizeof(text), 0);
	return ret ? err_sys(err, ret, "cannot write '%s'", j->path) : 0;
}

static const char *value_of(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *p = text; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
		if (!strncmp(p, key, len) && p[len] == '=')
			return p + len + 1;
	return "";
}

static void take_text(const char *text, const char *key, char *out, size_t cap)
{
	const char *v = value_of(text, key);
	size_t n = strcspn(v, "\n");

	snprintf(out, cap, "%.*s", (int)n, v);
}

int journal_read(struct journal *j, struct journal_record *r, struct err *err)
{
	char text[RECORD_MAX + 1];
	ssize_t n = pread(j->fd, text, RECORD_MAX, 0);

	*r = (struct journal_record){0};
	if (n < 0)
		return err_sys(err, -errno, "cannot read '%s'", j->path);
	text[n] = '\0';
	r->state = (enum journal_state)atoi(value_of(text, "state"));
	if (!*value_of(text, "end") || !r->state)
		return err_set(err, -EBADMSG, "'%s' is incomplete", j->path);
	r->pid = (pid_t)atoi(value_of(text, "pid"));
	r->start = strtoull(value_of(text, "start"), NULL, 10);
	r->later = atoi(value_of(text, "later"));
	take_text(text, "from", r->from, sizeof(r->from));
	take_text(text, "boot", r->boot, sizeof(r->boot));
	take_text(text, "program", r->program, sizeof(r->program));
	take_text(text, "to", r->to, sizeof(r->to));
	take_text(text, "key", r->key, sizeof(r->key));
	take_text(text, "cert", r->cert, sizeof(r->cert));
	take_text(text, "cert-key", r->cert_key, sizeof(r->cert_key));
	take_text(text, "ca", r->ca, sizeof(r->ca));
	take_text(text, "ssh", r->ssh, sizeof(r->ssh));
	take_text(text, "remote", r->remote, sizeof(r->remote));
	take_text(text, "image", r->image, sizeof(r->image));
	return 0;
}

void journal_remove(struct journal *j)
{
	if (j->fd >= 0)
		unlink(j->path);
	journal_close(j);
}

static bool parse_id(const char *name, enum journal_role role, struct migration_id *id)
{
	if (name[0] != (char)role || name[1] != '-' || strlen(name) != 34 ||
	    strspn(name + 2, "0123456789abcdef") != 32)
		return false;
	for (size_t i = 0; i < 16; i++) {
		unsigned v;

		sscanf(name + 2 + 2 * i, "%2x", &v);
		id->bytes[i] = (uint8_t)v;
	}
	return true;
}

static void forget_old(DIR *dir, const char *name)
{
	struct stat st;

	if (name[0] == ROLE_TARGET && !fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW) &&
	    st.st_mtime + KEEP_S < time(NULL))
		unlinkat(dirfd(dir), name, 0);
}

int journal_each(enum journal_role role, int (*fn)(void *arg, const struct migration_id *id),
		 void *arg, struct err *err)
{
	char path[1200];
	struct migration_id id;
	struct dirent *d;
	int ret = journal_path("", path, sizeof(path), err);
	DIR *dir = ret ? NULL : opendir(path);

	if (ret)
		return ret;
	if (!dir)
		return err_sys(err, -errno, "cannot open '%s'", path);
	while (!ret && (d = readdir(dir))) {
		if (parse_id(d->d_name, role, &id))
			ret = fn(arg, &id);
		forget_old(dir, d->d_name);
	}
	closedir(dir);
	return ret;
}

/* --- processes --- */

uint64_t journal_start_time(pid_t pid)
{
	__cleanup_buf struct buf b = {0};
	unsigned long long start = 0;
	char path[64], state = 'X';
	int threads = 0;
	const char *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (pid <= 0 || io_read_file(AT_FDCWD, path, &b) || !(p = strrchr(b.p, ')')))
		return 0;
	sscanf(p,
	       ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d %*d %llu",
	       &state, &threads, &start);
	/* A first thread may have ended, and others run on. */
	return state == 'X' || (state == 'Z' && threads < 2) ? 0 : start;
}

void journal_boot_id(char out[40])
{
	__cleanup_buf struct buf b = {0};

	out[0] = '\0';
	if (!io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &b))
		snprintf(out, 40, "%.36s", b.p);
}

bool journal_lives(const struct journal_record *r)
{
	char boot[40];

	journal_boot_id(boot);
	return !strcmp(boot, r->boot) && r->start && journal_start_time(r->pid) == r->start;
}
