/* Files that come along, at the destination: see carry_in.h. */
#include "migrate/carry_in.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fault.h"
#include "migrate/carry_path.h"

#define NS_PER_S 1000000000LL

int carry_in_init(struct carry_in *c, const struct migration_id *id, struct err *err)
{
	*c = (struct carry_in){.id = *id, .log = memfd_create("godwit-files", MFD_CLOEXEC)};
	return c->log < 0 ? err_sys(err, -errno, "cannot make a file in memory") : 0;
}

static void drop_file(struct carry_in_file *f)
{
	io_close_fd(&f->fd);
	free(f->temp);
	*f = (struct carry_in_file){.fd = -1, .seen = f->seen};
}

void carry_in_close(struct carry_in *c)
{
	for (size_t i = 0; c->file && i < c->list.n; i++)
		io_close_fd(&c->file[i].fd);
	io_close_fd(&c->log);
}

void carry_in_done(struct carry_in *c)
{
	for (size_t i = 0; c->file && i < c->list.n; i++)
		drop_file(&c->file[i]);
	free(c->file);
	free(c->unpacked);
	carry_list_done(&c->list);
	io_close_fd(&c->log);
	*c = (struct carry_in){.log = -1};
}

/* --- the list --- */

int carry_in_list(struct carry_in *c, const void *frame, size_t len, struct err *err)
{
	struct codec in = codec_reader(frame, len);
	struct carry_list l = {0};
	struct carry_in_file *file;

	carry_codec(&in, &l);
	if (!codec_ended(&in)) {
		carry_list_done(&l);
		return err_set(err, -EPROTO, "a malformed list of files came");
	}
	file = io_alloc(l.n + 1, sizeof(*file), err);
	if (!file) {
		carry_list_done(&l);
		return err->error;
	}
	for (size_t i = 0; i < l.n; i++) {
		struct carried *old = carry_find(&c->list, l.v[i].path);

		file[i] = (struct carry_in_file){.fd = -1};
		if (old && old->type == l.v[i].type) {
			file[i] = c->file[old - c->list.v];
			c->file[old - c->list.v] = (struct carry_in_file){.fd = -1};
		}
	}
	/* What the program does not have open any more: undo finds its name in the log. */
	for (size_t i = 0; i < c->list.n; i++) {
		if (c->file[i].temp)
			unlink(c->file[i].temp);
		drop_file(&c->file[i]);
	}
	carry_list_done(&c->list);
	free(c->file);
	c->list = l;
	c->file = file;
	c->is_used = true;
	return 0;
}

static bool same_boot(const struct process *p)
{
	__cleanup_buf struct buf boot = {0};

	return p->system.boot_id &&
	       !io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &boot) &&
	       !strncmp(boot.p, p->system.boot_id, 36);
}

/* As at any restart: shared storage, or a copy that somebody made with its times. */
static bool is_same(const struct carried *f, const struct stat *st, bool boot)
{
	if (f->ino == st->st_ino && (!boot || f->dev == st->st_dev))
		return true;
	return (uint64_t)st->st_size == f->size &&
	       st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec == f->mtime_ns;
}

static int refuse_other(const struct carried *f, const char *what, struct err *err)
{
	err_refuse(err, "cannot take '%s' along: %s of that name is there already", f->path, what);
	return err_hint(err,
			"nothing is overwritten: move it away over there, if it is not needed");
}

/* Room for what comes, on the file system of this folder: a file system at a time. */
struct need {
	dev_t dev;
	uint64_t bytes;
};

static int check_room(struct need *need, size_t *n, int dir, const struct carried *f,
		      struct err *err)
{
	struct statvfs v;
	struct stat st;
	uint64_t room;
	size_t i = 0;

	if (fstat(dir, &st) || fstatvfs(dir, &v) || !v.f_blocks)
		return 0;
	while (i < *n && need[i].dev != st.st_dev)
		i++;
	if (i == *n)
		need[(*n)++] = (struct need){.dev = st.st_dev};
	need[i].bytes += f->size;
	room = (geteuid() ? v.f_bavail : v.f_bfree) * v.f_frsize;
	if (need[i].bytes <= room)
		return 0;
	err_set(err, -ENOSPC,
		"the disk has no room for '%s' and what else comes along: %llu KiB are "
		"needed, %llu KiB are free",
		f->path, (unsigned long long)(need[i].bytes >> 10),
		(unsigned long long)(room >> 10));
	return err_hint(err, "make room there, or choose another host");
}

static int judge_one(const struct carried *f, struct carry_in_file *out, bool boot,
		     struct need *need, size_t *nneed, struct err *err)
{
	const char *name, *missing;
	__cleanup_fd int dir = carry_walk(f->path, NULL, NULL, &name, &missing, err);
	char self[32];
	struct stat st;

	if (dir < 0)
		return dir;
	if (!missing && !fstatat(dir, name, &st, 0)) {
		bool is_folder = S_ISDIR(st.st_mode);

		if (is_folder != (f->type == CARRY_FOLDER) || (!is_folder && !S_ISREG(st.st_mode)))
			return refuse_other(f, "something else", err);
		if (is_folder || is_same(f, &st, boot))
			return 0;
		if ((uint64_t)st.st_size != f->size)
			return refuse_other(f, "another file", err);
		out->compare = true;
	} else if (!missing && errno != ENOENT) {
		return err_sys(err, -errno, "cannot look at '%s'", f->path);
	}
	out->lacks = true;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", dir);
	if (faccessat(AT_FDCWD, self, W_OK | X_OK, AT_EACCESS)) {
		err_sys(err, -errno, "cannot put '%s' there", f->path);
		return err_hint(err, "the program's user must be able to write to the folder");
	}
	return f->type == CARRY_FILE ? check_room(need, nneed, dir, f, err) : 0;
}

int carry_in_judge(struct carry_in *c, const struct process *p, bool *ret_new, struct err *err)
{
	__cleanup_free struct need *need = io_alloc(c->list.n + 1, sizeof(*need), err);
	bool boot = same_boot(p);
	size_t nneed = 0;
	int ret = need ? 0 : err->error;

	*ret_new = false;
	for (size_t i = 0; i < c->list.n && !ret; i++) {
		struct carry_in_file *f = &c->file[i];

		/* One that was here at the first look is looked at again by the restart. */
		if (f->seen)
			continue;
		f->seen = true;
		ret = judge_one(&c->list.v[i], f, boot, need, &nneed, err);
		*ret_new = true;
	}
	return ret;
}

/* --- making --- */

static int note(struct carry_in *c, char what, const char *temp, const char *path, int fd,
		struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct stat st = {0};

	if (fd >= 0 && fstat(fd, &st))
		return err_sys(err, -errno, "cannot look at '%s'", temp);
	/* Names may hold newlines: NUL ends each. */
	buf_printf(&b, "%c%llu %llu", what, (unsigned long long)st.st_dev,
		   (unsigned long long)st.st_ino);
	buf_add(&b, "", 1);
	buf_add(&b, temp, strlen(temp) + 1);
	buf_add(&b, path, strlen(path) + 1);
	if (b.failed || io_write_all(c->log, b.p, b.len))
		return err_set(err, -ENOMEM, "cannot note what is made");
	return 0;
}

static int made_folder(void *arg, const char *folder, struct err *err)
{
	return note(arg, 'D', "", folder, -1, err);
}

static int make_file(struct carry_in *c, size_t i, int dir, struct err *err)
{
	const struct carried *f = &c->list.v[i];
	struct carry_in_file *out = &c->file[i];
	const char *slash = strrchr(f->path, '/');
	char id[33], temp[PATH_MAX];
	int ret;

	migration_id_text(&c->id, id);
	snprintf(temp, sizeof(temp), "%.*s/.godwit-%.16s-%u", (int)(slash - f->path), f->path, id,
		 c->made++);
	/* For its owner alone, until all of it is there. */
	out->fd = openat(dir, strrchr(temp, '/') + 1,
			 O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out->fd < 0)
		return err_sys(err, -errno, "cannot make '%s', for '%s'", temp, f->path);
	ret = note(c, 'F', temp, f->path, out->fd, err);
	out->temp = strdup(temp);
	if (!ret && !out->temp)
		ret = err_set(err, -ENOMEM, "out of memory");
	if (ret)
		unlink(temp);
	return ret;
}

static int make_one(struct carry_in *c, size_t i, struct err *err)
{
	const struct carried *f = &c->list.v[i];
	const char *name, *missing;
	__cleanup_fd int dir = carry_walk(f->path, made_folder, c, &name, &missing, err);

	if (dir < 0)
		return dir;
	if (f->type == CARRY_FILE)
		return make_file(c, i, dir, err);
	/* Less what the umask takes, and no bits that others' programs heed. */
	if (mkdirat(dir, name, f->mode & 0777) && errno != EEXIST)
		return err_sys(err, -errno, "cannot make the folder '%s'", f->path);
	c->file[i].lacks = false;
	c->file[i].same = true;
	return made_folder(c, f->path, err);
}

int carry_in_prepare(struct carry_in *c, struct err *err)
{
	int ret = 0;

	if (!c->unpacked)
		c->unpacked = io_alloc(1, CARRY_DATA, err);
	if (!c->unpacked)
		return err->error;
	for (size_t i = 0; i < c->list.n && !ret; i++)
		if (c->file[i].lacks && !c->file[i].temp)
			ret = make_one(c, i, err);
	fault_point("files made");
	return ret;
}

int carry_in_take(struct carry_in *c, const void *frame, size_t len, struct err *err)
{
	struct carry_piece p;
	int ret;

	if (!c->unpacked)
		return err_set(err, -EPROTO, "a piece of a file came that does not belong there");
	if ((ret = carry_piece_decode(frame, len, c->unpacked, &p, err)))
		return ret;
	if (p.index >= c->list.n || c->file[p.index].fd < 0)
		return err_set(err, -EPROTO, "a piece came of a file that was not asked for");
	if (p.at < c->file[p.index].next || p.at % CARRY_BLOCK)
		return err_set(err, -EPROTO, "a piece of a file came out of order");
	c->file[p.index].next = p.at + p.len;
	ret = io_pwrite_all(c->file[p.index].fd, p.data, p.len, p.at);
	if (ret)
		err_sys(err, ret, "cannot write '%s'", c->list.v[p.index].path);
	return ret == -ENOSPC ? err_hint(err, "the disk over there is full") : ret;
}

/* --- the end of it --- */

static bool same_bytes(int fd, const char *path, uint64_t size)
{
	size_t cap = 256u << 10;
	__cleanup_fd int other = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	__cleanup_free char *a = malloc(cap), *b = malloc(cap);
	struct stat st;

	if (other < 0 || !a || !b || fstat(other, &st) || (uint64_t)st.st_size != size)
		return false;
	for (uint64_t at = 0; at < size; at += cap) {
		size_t n = size - at < cap ? (size_t)(size - at) : cap;

		if (io_pread_all(fd, a, n, at) || io_pread_all(other, b, n, at) || memcmp(a, b, n))
			return false;
	}
	return true;
}

static int sync_file(int fd, const char *path, struct err *err)
{
	if (!fsync(fd))
		return 0;
	err_sys(err, -errno, "cannot write '%s' to the disk", path);
	return err->error == -ENOSPC ? err_hint(err, "the disk over there is full") : err->error;
}

static int end_one(const struct carried *f, struct carry_in_file *out, struct err *err)
{
	struct timespec t[2] = {{.tv_nsec = UTIME_OMIT},
				{f->mtime_ns / NS_PER_S, f->mtime_ns % NS_PER_S}};

	if (ftruncate(out->fd, (off_t)f->size) || futimens(out->fd, t))
		return err_sys(err, -errno, "cannot write '%s'", f->path);
	/* Some file systems find only now that they have no room. */
	if (!out->compare)
		return sync_file(out->fd, f->path, err);
	if (!same_bytes(out->fd, f->path, f->size))
		return refuse_other(f, "another file", err);
	unlink(out->temp);
	drop_file(out);
	out->same = true;
	return 0;
}

void carry_in_from_start(struct carry_in *c)
{
	for (size_t i = 0; i < c->list.n; i++)
		c->file[i].next = 0;
}

int carry_in_end(struct carry_in *c, bool is_last, struct err *err)
{
	int ret = 0;

	/* Of the first list the sizes are old already: more may have come. */
	for (size_t i = 0; i < c->list.n && !ret; i++)
		if (c->file[i].fd >= 0)
			/* Written out while the program runs, there is less to write when it
			 * stands still. */
			ret = is_last ? end_one(&c->list.v[i], &c->file[i], err)
				      : sync_file(c->file[i].fd, c->list.v[i].path, err);
	carry_in_from_start(c);
	fault_point("files taken");
	return ret;
}

const char *carry_in_stand_in(const struct carry_in *c, const char *path)
{
	const struct carried *f = carry_find(&c->list, path);
	const struct carry_in_file *in = f ? &c->file[f - c->list.v] : NULL;

	if (!in || (!in->lacks && !in->same))
		return NULL;
	return in->temp ? in->temp : path;
}

/* --- the names --- */

/* The folder that has the name. */
static int sync_folder_of(const char *path, struct err *err)
{
	const char *name, *missing;
	__cleanup_fd int dir = carry_walk(path, NULL, NULL, &name, &missing, err);
	__cleanup_fd int readable =
		dir < 0 ? -1 : openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return dir;
	/* EINVAL: a file system without a disk. */
	if (readable >= 0 && fsync(readable) && errno != EINVAL)
		return err_sys(err, -errno, "cannot write the folder of '%s' to the disk", path);
	return 0;
}

/* Of the folders in which something was made: each once, but where names of several alternate. */
static int sync_folders(const struct carry_in *c, struct err *err)
{
	__cleanup_free char *text = NULL;
	const char *last = "";
	size_t last_len = 0;
	struct stat st;
	int ret = 0;

	if (c->log < 0 || fstat(c->log, &st) || !st.st_size)
		return 0;
	text = io_alloc(1, (size_t)st.st_size + 3, err);
	if (!text)
		return err->error;
	if ((ret = io_pread_all(c->log, text, (size_t)st.st_size, 0)))
		return err_sys(err, ret, "cannot read what was made");
	for (const char *p = text; p < text + st.st_size && !ret;) {
		const char *temp = p + strlen(p) + 1, *path = temp + strlen(temp) + 1;
		size_t len = (size_t)(strrchr(path, '/') - path);

		p = path + strlen(path) + 1;
		if (len == last_len && !strncmp(path, last, len))
			continue;
		last = path;
		last_len = len;
		ret = sync_folder_of(path, err);
	}
	return ret;
}

int carry_in_place(struct carry_in *c, struct err *err)
{
	for (size_t i = 0; i < c->list.n; i++) {
		const struct carried *f = &c->list.v[i];
		struct carry_in_file *in = &c->file[i];

		if (in->fd < 0)
			continue;
		/* No bit that gives rights to who runs it. */
		if (fchmod(in->fd, f->mode & 0777))
			return err_sys(err, -errno, "cannot give '%s' its mode", f->path);
		if (sync_file(in->fd, f->path, err))
			return err->error;
		if (!renameat2(AT_FDCWD, in->temp, AT_FDCWD, f->path, RENAME_NOREPLACE))
			continue;
		if (errno == EEXIST)
			return refuse_other(f, "another file", err);
		/* Old file systems cannot say "only if there is none". */
		if (errno != EINVAL || linkat(AT_FDCWD, in->temp, AT_FDCWD, f->path, 0) ||
		    unlink(in->temp))
			return err_sys(err, -errno, "cannot give '%s' its name", f->path);
	}
	fault_point("files placed");
	/* What has been decided must not be without its files: a host that crashes right after it
	 * has them. */
	return sync_folders(c, err);
}

void carry_in_keep(struct carry_in *c)
{
	if (c->log >= 0 && ftruncate(c->log, 0))
		return; /* a memfd can */
}

static void undo_one(const char *head, const char *temp, const char *path)
{
	unsigned long long dev = 0, ino = 0;
	struct stat st;

	if (*head == 'D') {
		rmdir(path); /* what somebody put into it meanwhile keeps it */
		return;
	}
	sscanf(head + 1, "%llu %llu", &dev, &ino);
	if (!lstat(temp, &st) && st.st_dev == dev && st.st_ino == ino)
		unlink(temp);
	if (!lstat(path, &st) && st.st_dev == dev && st.st_ino == ino)
		unlink(path);
}

void carry_in_undo(struct carry_in *c)
{
	__cleanup_free char *text = NULL;
	__cleanup_free size_t *at = NULL;
	struct stat st;
	size_t len, n = 0;

	if (c->log < 0 || fstat(c->log, &st) || !st.st_size)
		return;
	len = (size_t)st.st_size;
	text = malloc(len);
	at = malloc(len * sizeof(*at));
	if (!text || !at || io_pread_all(c->log, text, len, 0))
		return;
	/* The last first: folders when they are empty. */
	for (size_t i = 0; i < len;) {
		at[n] = i;
		for (int k = 0; k < 3 && i < len; k++)
			i += strnlen(text + i, len - i) + 1;
		if (i > len)
			break;
		n++;
	}
	while (n--) {
		const char *head = text + at[n], *temp = head + strlen(head) + 1;

		undo_one(head, temp, temp + strlen(temp) + 1);
	}
	carry_in_keep(c);
}
