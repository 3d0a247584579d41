/* Files without a name: see contents.h. */
#include "state/contents.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/report.h"
#include "state/flight.h"
#include "state/lease.h"

#define MEMFD_PREFIX "/memfd:"
#define DELETED " (deleted)"
#define MEMFD_NAME_MAX 249 /* bytes (mm/memfd.c) */

uint32_t contents_find(const struct process *p, uint64_t ino)
{
	for (size_t i = 0; i < p->ncontents; i++)
		if (p->contents[i].ino == ino)
			return (uint32_t)i;
	return UINT32_MAX;
}

/* --- capture --- */

static int refuse(const struct file_content *f, const char *what, enum refusal kind,
		  struct err *err)
{
	return err_refuse_as(err, kind, "cannot save '%s%.200s' (fd %d), a file without a name: %s",
			     f->is_memfd ? MEMFD_PREFIX : "", f->name, f->fd, what);
}

static int add_extent(struct file_content *f, int fd, uint64_t from, uint64_t len, uint64_t *budget,
		      struct err *err)
{
	struct content_extent *v, e = {.offset = from, .len = len};
	int ret;

	if (len > *budget)
		return refuse(f, "it and others like it hold more than 64 MiB",
			      REFUSED_CONTENT_LARGE, err);
	*budget -= len;
	v = reallocarray(f->extents, f->nextents + 1, sizeof(*v));
	if (v)
		f->extents = v;
	e.data = v ? malloc(len) : NULL;
	if (!e.data)
		return err_set(err, -ENOMEM, "out of memory");
	v[f->nextents++] = e;
	if ((ret = io_pread_all(fd, e.data, len, from)))
		return err_sys(err, ret, "cannot read '%.200s', a file without a name", f->name);
	return 0;
}

static int read_content(struct file_content *f, int fd, uint64_t *budget, struct err *err)
{
	off_t at = 0, end;

	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		end = lseek(fd, at, SEEK_HOLE);
		if (end <= at || (uint64_t)end > f->size)
			end = (off_t)f->size;
		if (end <= at)
			break;
		int ret = add_extent(f, fd, (uint64_t)at, (uint64_t)(end - at), budget, err);

		if (ret)
			return ret;
		at = end;
	}
	return 0;
}

/* "/memfd:NAME (deleted)", "/PATH (deleted)" */
static int take_name(struct file_content *f, const char *link, struct err *err)
{
	const char *from = f->is_memfd ? link + strlen(MEMFD_PREFIX) : link;
	size_t n = strlen(from), tail = strlen(DELETED);

	if (n >= tail && !strcmp(from + n - tail, DELETED))
		n -= tail;
	f->name = strndup(from, n);
	return f->name ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int add_file(struct process *p, int number, const char *path, const char *link,
		    const struct stat *st, uint64_t *budget, struct err *err)
{
	/* Opened anew, so that no offset of the program moves. */
	__cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct file_content *v, *f;
	int seals, ret;

	v = reallocarray(p->contents, p->ncontents + 1, sizeof(*v));
	if (!v)
		return err_set(err, -ENOMEM, "out of memory");
	p->contents = v;
	f = &v[p->ncontents++];
	*f = (struct file_content){
		.fd = number,
		.dev = st->st_dev,
		.ino = st->st_ino,
		.is_memfd = !strncmp(link, MEMFD_PREFIX, strlen(MEMFD_PREFIX)),
		.mode = st->st_mode & 07777,
		.size = (uint64_t)st->st_size,
	};
	if ((ret = take_name(f, link, err)))
		return ret;
	if (fd < 0)
		return refuse(f, strerror(errno), REFUSED_CONTENT_CLOSED, err);
	if (f->is_memfd && (seals = fcntl(fd, F_GET_SEALS)) > 0)
		f->seals = (uint32_t)seals;
	return read_content(f, fd, budget, err);
}

static bool is_of_huge_pages(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == HUGETLBFS_MAGIC;
}

/* One descriptor of the target's: is it of such a file, not yet seen? */
static int look_at_fd(struct capture *c, struct process *p, const char *name, uint64_t *budget,
		      struct err *err)
{
	char path[64], link[PATH_MAX + 16];
	size_t n, tail = strlen(DELETED);
	struct stat st;
	int number = atoi(name);

	snprintf(path, sizeof(path), "fd/%s", name);
	if (io_readlink(c->remote->procfd, path, link, sizeof(link)))
		return 0; /* state/files.c says so */
	n = strlen(link);
	if (link[0] != '/' || n < tail || strcmp(link + n - tail, DELETED) ||
	    !strncmp(link, "/secretmem", 10) || fstatat(c->remote->procfd, path, &st, 0) ||
	    !S_ISREG(st.st_mode) || st.st_nlink || contents_find(p, st.st_ino) != UINT32_MAX)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/fd/%s", c->remote->speaker, name);
	if (c->has_leases && lease_is_held(c->remote->pid, st.st_ino))
		return err_refuse_as(err, REFUSED_LEASE_ALONE,
				     "cannot save '%.200s' (fd %d of process %d): a file without a "
				     "name, with a lease for writing on it",
				     link, number, c->remote->pid);
	return is_of_huge_pages(path) ? 0 : add_file(p, number, path, link, &st, budget, err);
}

/* Has another process one of them open?  To go on with it alone would part them. */
static int look_at_process(struct process *p, int proc, const char *pid, struct err *err)
{
	char name[NAME_MAX + 32];
	struct dirent *e;
	struct stat st;
	uint32_t i;
	int fd, ret = 0;
	DIR *d;

	snprintf(name, sizeof(name), "%s/fd", pid);
	fd = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	while (d && !ret && (e = readdir(d))) {
		if (*e->d_name < '0' || *e->d_name > '9' || fstatat(dirfd(d), e->d_name, &st, 0) ||
		    !S_ISREG(st.st_mode) || st.st_nlink ||
		    (i = contents_find(p, st.st_ino)) == UINT32_MAX ||
		    p->contents[i].dev != st.st_dev)
			continue;
		snprintf(name, sizeof(name), "process %s has it, too", pid);
		ret = refuse(&p->contents[i], name, REFUSED_CONTENT_FOREIGN, err);
	}
	if (d)
		closedir(d);
	else if (fd >= 0)
		close(fd);
	return ret;
}

static int refuse_foreign(struct capture *c, struct process *p, struct err *err)
{
	DIR *proc = p->ncontents ? opendir("/proc") : NULL;
	struct dirent *e;
	int ret = 0;

	while (proc && !ret && (e = readdir(proc))) {
		int pid = atoi(e->d_name);

		if (pid > 0 && pid != c->remote->pid && pid != getpid() && pid != c->ignore_child)
			ret = look_at_process(p, dirfd(proc), e->d_name, err);
	}
	if (proc)
		closedir(proc);
	return ret;
}

static int capture(struct capture *c, struct process *p, struct err *err)
{
	int fd = openat(c->remote->procfd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	uint64_t budget = CONTENTS_MAX;
	struct dirent *e;

	c->has_leases = lease_is_any(c->remote->procfd);
	if (!d) {
		if (fd >= 0)
			close(fd);
		return 0; /* state/files.c says so */
	}
	while (!ret && (e = readdir(d)))
		if (*e->d_name >= '0' && *e->d_name <= '9')
			ret = look_at_fd(c, p, e->d_name, &budget, err);
	closedir(d);
	return ret ? ret : refuse_foreign(c, p, err);
}

/* --- image --- */

static bool is_needed(const struct process *p)
{
	return p->ncontents > 0;
}

static void codec(struct codec *c, struct process *p)
{
	codec_array(c, &p->contents, &p->ncontents, sizeof(*p->contents), 41, FILES_MAX);
	for (size_t i = 0; i < p->ncontents && !c->bad; i++) {
		struct file_content *f = &p->contents[i];

		codec_u64(c, &f->dev);
		codec_u64(c, &f->ino);
		codec_bool(c, &f->is_memfd);
		codec_u32(c, &f->mode);
		codec_u32(c, &f->seals);
		codec_u64(c, &f->size);
		codec_str(c, &f->name);
		codec_array(c, &f->extents, &f->nextents, sizeof(*f->extents), 12, FILES_MAX);
		for (size_t k = 0; k < f->nextents && !c->bad; k++) {
			codec_u64(c, &f->extents[k].offset);
			codec_blob(c, &f->extents[k].data, &f->extents[k].len);
		}
	}
}

static int validate_one(const struct file_content *f, uint64_t *budget, struct err *err)
{
	uint64_t at = 0;

	if (!f->name || (f->is_memfd ? strlen(f->name) > MEMFD_NAME_MAX : f->name[0] != '/') ||
	    f->mode & ~07777u || f->size > INT64_MAX || f->seals & ~0x3fu)
		return err_image(err, "a file without a name is impossible");
	for (size_t k = 0; k < f->nextents; k++) {
		const struct content_extent *e = &f->extents[k];

		if (!e->data || e->offset < at || e->offset > f->size ||
		    e->len > f->size - e->offset || e->len > *budget)
			return err_image(err, "a file without a name has impossible content");
		at = e->offset + e->len;
		*budget -= e->len;
	}
	return 0;
}

static int validate(const struct process *p, struct err *err)
{
	uint64_t budget = CONTENTS_MAX;
	int ret = 0;

	for (size_t i = 0; i < p->ncontents && !ret; i++)
		ret = validate_one(&p->contents[i], &budget, err);
	for (size_t i = 0; i < p->nmappings && !ret; i++) {
		const struct mapping *m = &p->mappings[i];

		if (m->flags & MAPPING_OF_CONTENT &&
		    (m->kind != MAPPING_SHMEM || contents_find(p, m->object) == UINT32_MAX))
			ret = err_image(err, "mapping %zu is of a file that is not there", i);
	}
	return ret;
}

/* --- restart --- */

/* Where such a file can be made: its old directory, or one for temporary files. */
static const char *choose_dir(const struct file_content *f, char *out, size_t size)
{
	const char *tmp = getenv("TMPDIR");
	const char *const others[] = {tmp && *tmp == '/' ? tmp : "/tmp", "/tmp", "/var/tmp"};

	snprintf(out, size, "%.*s", (int)(strrchr(f->name, '/') - f->name), f->name);
	for (size_t i = 0;; i++) {
		__cleanup_fd int try = open(*out ? out : "/", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

		if (try >= 0)
			return *out ? out : "/";
		if (i == ARRAY_SIZE(others))
			return NULL;
		snprintf(out, size, "%s", others[i]);
	}
}

static int check(struct restore *r, const struct process *p, struct err *err)
{
	char dir[PATH_MAX];

	(void)r;
	for (size_t i = 0; i < p->ncontents; i++) {
		if (p->contents[i].is_memfd || choose_dir(&p->contents[i], dir, sizeof(dir)))
			continue;
		err_sys(err, -errno, "cannot make the deleted file '%s' anew", p->contents[i].name);
		return err_hint(err, "it needs a directory where you may write, of a file system "
				     "with O_TMPFILE: its old one, or TMPDIR");
	}
	return 0;
}

static const char *why_of(struct file_restore *fr, const struct file_content *f, const char *what)
{
	return program_why(fr->prog, "%s '%.100s': %s", f->is_memfd ? "memfd" : "deleted file",
			   f->name, what);
}

static int make(struct file_restore *fr, const struct file_content *f)
{
	const char *why = why_of(fr, f, "made anew");
	unsigned sealable = f->seals == F_SEAL_SEAL ? 0 : MFD_ALLOW_SEALING;
	char dir[PATH_MAX];
	int fd;

	if (f->is_memfd)
		fd = program_fd_call(fr->prog, why, SYS_memfd_create,
				     program_str(fr->prog, f->name), MFD_CLOEXEC | sealable, 0, 0,
				     0);
	else
		fd = program_openat(fr->prog, why,
				    choose_dir(f, dir, sizeof(dir)) ? dir[0] ? dir : "/" : "/tmp",
				    O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return file_out_of_the_way(fr, fd);
}

static void fill(struct file_restore *fr, const struct file_content *f, int fd)
{
	size_t piece = ALIGN_DOWN(fr->prog->data_cap < 65536 ? fr->prog->data_cap : 65536, 16);
	const char *why = why_of(fr, f, "its content");

	program_call_want(fr->prog, 0, why_of(fr, f, "its size"), SYS_ftruncate, (unsigned)fd,
			  f->size, 0, 0, 0, 0);
	for (size_t k = 0; k < f->nextents; k++) {
		const struct content_extent *e = &f->extents[k];

		for (size_t off = 0; off < e->len; off += piece) {
			size_t n = e->len - off < piece ? e->len - off : piece;
			uint64_t addr = program_data(fr->prog, (const char *)e->data + off, n);

			program_call_want(fr->prog, (int64_t)n, why, SYS_pwrite64, (unsigned)fd,
					  addr, n, e->offset + off, 0, 0);
		}
	}
}

static void map(struct file_restore *fr, const struct file_content *f, int fd)
{
	for (size_t i = 0; i < fr->p->nmappings; i++) {
		const struct mapping *m = &fr->p->mappings[i];

		if (m->flags & MAPPING_OF_CONTENT && m->object == f->ino)
			program_call_want(fr->prog, (int64_t)m->start, why_of(fr, f, "mapped"),
					  SYS_mmap, m->start, m->end - m->start, m->prot,
					  MAP_SHARED | MAP_FIXED_NOREPLACE, (unsigned)fd,
					  m->offset);
	}
}

int contents_restore(struct file_restore *fr, int **ret, struct err *err)
{
	const struct process *p = fr->p;

	*ret = io_alloc(p->ncontents + 1, sizeof(**ret), err);
	if (!*ret)
		return err->error;
	for (size_t i = 0; i < p->ncontents; i++) {
		(*ret)[i] = make(fr, &p->contents[i]);
		fill(fr, &p->contents[i], (*ret)[i]);
		map(fr, &p->contents[i], (*ret)[i]);
	}
	return 0;
}

void contents_restore_end(struct file_restore *fr, const int *fds)
{
	for (size_t i = 0; i < fr->p->ncontents; i++) {
		const struct file_content *f = &fr->p->contents[i];

		program_call_want(fr->prog, 0, why_of(fr, f, "its mode"), SYS_fchmod,
				  (unsigned)fds[i], f->mode, 0, 0, 0, 0);
		if (f->seals && f->seals != F_SEAL_SEAL)
			program_call_want(fr->prog, 0, why_of(fr, f, "its seals"), SYS_fcntl,
					  (unsigned)fds[i], F_ADD_SEALS, f->seals, 0, 0, 0);
		program_close(fr->prog, why_of(fr, f, "in place by now"), fds[i]);
	}
}

static void show(const struct process *p, struct report *rep)
{
	if (!p->ncontents)
		return;
	report_list(rep, "contents", NULL);
	for (size_t i = 0; i < p->ncontents; i++) {
		const struct file_content *f = &p->contents[i];

		report_item(rep);
		report_str(rep, "name", NULL, "%s", f->name);
		report_bool(rep, "is_memfd", NULL, f->is_memfd);
		report_u64(rep, "size", NULL, f->size);
		report_line(rep, "with its content: %s%s, %llu bytes", f->is_memfd ? "memfd " : "",
			    f->name, (unsigned long long)f->size);
		report_end(rep);
	}
	report_end(rep);
}

static void done(struct process *p)
{
	for (size_t i = 0; i < p->ncontents; i++) {
		for (size_t k = 0; k < p->contents[i].nextents; k++)
			free(p->contents[i].extents[k].data);
		free(p->contents[i].extents);
		free(p->contents[i].name);
	}
	free(p->contents);
}

const struct state_ops state_contents = {
	.name = "files without a name",
	.note = NOTE_CONTENTS,
	.optional = true,
	.capture = capture,
	.is_needed = is_needed,
	.codec = codec,
	.validate = validate,
	.check = check,
	.show = show,
	.done = done,
};

/* --- their descriptors --- */

static int capture_unlinked(struct file_scan *s, struct open_file *f, struct err *err)
{
	if (s->info->nlocks)
		return file_refuse_as(s, err, REFUSED_CONTENT_LOCK,
				      "a file without a name, with a lock on it");
	f->unlinked.content = contents_find(s->p, s->st.st_ino);
	if (f->unlinked.content == UINT32_MAX && flight_has(s->table, s->fd))
		return file_refuse_as(s, err, REFUSED_IN_FLIGHT,
				      "a file without a name that is only in flight (SCM_RIGHTS)");
	if (f->unlinked.content == UINT32_MAX)
		return file_refuse_as(s, err, REFUSED_CONTENT_HUGE,
				      "a file without a name, of huge pages");
	return 0;
}

static void codec_unlinked(struct codec *c, struct open_file *f)
{
	codec_u32(c, &f->unlinked.content);
}

static int check_unlinked(struct restore *r, const struct file_table *t, const struct open_file *f,
			  struct err *err)
{
	if (!r->proc || f->unlinked.content < r->proc->ncontents)
		return 0;
	return err_image(err, "files: fd %d: its content is not there", file_lowest_fd(t, f));
}

static int restore_unlinked(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	unsigned cloexec = file_cloexec(fr, f);
	char path[48];
	int temp;

	(void)err;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fr->contents[f->unlinked.content]);
	temp = program_openat(
		fr->prog, file_why(fr, f, f->path), path,
		(int)((f->flags & FILE_REOPEN_FLAGS & ~(unsigned)O_DIRECTORY) | cloexec), 0);
	if (f->pos)
		program_call_want(fr->prog, f->pos, file_why(fr, f, "its offset"), SYS_lseek,
				  (unsigned)temp, (uint64_t)f->pos, SEEK_SET, 0, 0, 0);
	file_place(fr, f, temp, cloexec);
	return 0;
}

static void describe_unlinked(const struct file_table *t, const struct open_file *f,
			      struct buf *out)
{
	(void)t;
	buf_printf(out, "offset %lld, with its content", (long long)f->pos);
}

const struct file_ops file_unlinked = {
	.kind = FILE_UNLINKED,
	.name = "file without a name (memfd, deleted, O_TMPFILE)",
	.kept = "content, up to 64 MiB in all, offset, flags, mode, seals; what is mapped of it",
	.capture = capture_unlinked,
	.codec = codec_unlinked,
	.check = check_unlinked,
	.restore = restore_unlinked,
	.describe = describe_unlinked,
};
