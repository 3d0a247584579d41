/* Files that go along, at the source: see carry_out.h. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "migrate/carry_out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "state/lease.h"

#define NS_PER_S 1000000000LL
/* Times of files go by the kernel's tick: a change so soon after the copy need not show. */
#define TICK_NS 100000000LL

static int64_t ns_of(const struct timespec *t)
{
	return t->tv_sec * NS_PER_S + t->tv_nsec;
}

/* --- the list --- */

static int add(struct carry_list *l, const char *path, uint32_t type, const struct stat *st,
	       struct err *err)
{
	struct carried *v;

	if (l->n == CARRY_MAX)
		return err_set(err, -E2BIG, "the program has too many files to take along");
	v = io_grow(l->v, &l->cap, l->n + 1, sizeof(*v), err);
	if (!v)
		return err->error;
	l->v = v;
	v[l->n] = (struct carried){
		.path = strdup(path),
		.type = type,
		.mode = st->st_mode & 07777,
		.dev = st->st_dev,
		.ino = st->st_ino,
		.size = type == CARRY_FILE ? (uint64_t)st->st_size : 0,
		.mtime_ns = ns_of(&st->st_mtim) > 0 ? ns_of(&st->st_mtim) : 0,
	};
	return v[l->n++].path ? 0 : err_set(err, -ENOMEM, "out of memory");
}

/* What has not that name any more is refused by the capture, or by the destination. */
static int add_path(struct carry_list *l, const char *path, uint32_t type, struct err *err)
{
	struct stat st;

	if (path[0] != '/' || !path[1] || carry_find(l, path) || stat(path, &st) ||
	    (type == CARRY_FOLDER ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode)))
		return 0;
	return add(l, path, type, &st, err);
}

static int add_all(struct carry_list *l, const struct process *p, struct err *err)
{
	int ret = add_path(l, p->cwd, CARRY_FOLDER, err);

	for (size_t i = 0; p->files && i < p->files->nfiles && !ret; i++) {
		const struct open_file *f = &p->files->files[i];

		/* To open it would break that; the other side refuses it by name. */
		if (f->kind == FILE_REGULAR && lease_of(f))
			continue;
		if (f->kind == FILE_REGULAR || f->kind == FILE_DIRECTORY)
			ret = add_path(l, f->path,
				       f->kind == FILE_REGULAR ? CARRY_FILE : CARRY_FOLDER, err);
	}
	/* A mapping that is its own has its pages by the wire; a shared one needs the file. */
	for (size_t i = 0; i < p->nmappings && !ret; i++)
		if (p->mappings[i].kind == MAPPING_SHARED && p->mappings[i].file)
			ret = add_path(l, p->mapped_files[p->mappings[i].file - 1].path, CARRY_FILE,
				       err);
	return ret;
}

static bool is_written(const struct process *p, const char *path)
{
	for (size_t i = 0; i < p->nmappings; i++)
		if (p->mappings[i].kind == MAPPING_SHARED && p->mappings[i].file &&
		    !strcmp(p->mapped_files[p->mappings[i].file - 1].path, path))
			return true;
	return false;
}

static void drop_all(struct carry_out *c)
{
	for (size_t i = 0; c->file && i < c->list.n; i++)
		free(c->file[i].hash);
	free(c->file);
	c->file = NULL;
	carry_list_done(&c->list);
}

int carry_out_list(struct carry_out *c, const struct process *p, bool *ret_new, struct err *err)
{
	struct carry_list l = {0};
	int ret = add_all(&l, p, err);
	struct carry_out_file *file = ret ? NULL : io_alloc(l.n + 1, sizeof(*file), err);

	if (!file) {
		carry_list_done(&l);
		return err->error;
	}
	*ret_new = false;
	for (size_t i = 0; i < l.n; i++) {
		struct carried *old = carry_find(&c->list, l.v[i].path);

		if (old && old->type == l.v[i].type) {
			file[i] = c->file[old - c->list.v];
			c->file[old - c->list.v].hash = NULL;
		}
		*ret_new = *ret_new || !file[i].seen;
		file[i].written = is_written(p, l.v[i].path);
	}
	drop_all(c);
	c->list = l;
	c->file = file;
	return 0;
}

int carry_out_send_list(struct carry_out *c, struct wire *w, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct codec out = codec_writer(&b);

	carry_codec(&out, &c->list);
	if (out.bad || b.failed || b.len > PROTO_FILES_MAX)
		return err_set(err, -E2BIG, "the list of the program's files is too long");
	return proto_send_buf(w, FRAME_CARRY, &b, err);
}

int carry_out_verdict(struct carry_out *c, const bool *lacks, size_t n, struct err *err)
{
	const struct carried *largest = NULL;
	uint64_t all = 0;

	if (n != c->list.n)
		return err_set(err, -EPROTO, "a malformed verdict on files came");
	c->lacks = 0;
	for (size_t i = 0; i < n; i++) {
		const struct carried *f = &c->list.v[i];

		/* Once is enough: what comes has been made there. */
		if (!c->file[i].seen)
			c->file[i].lacks = lacks[i] && f->type == CARRY_FILE;
		c->file[i].seen = true;
		if (!c->file[i].lacks)
			continue;
		all += f->size;
		c->lacks++;
		if (!largest || f->size > largest->size)
			largest = f;
	}
	c->lacks_bytes = all;
	if (all <= c->max)
		return 0;
	err_refuse(err,
		   "files of %llu MiB would have to be taken along, the largest is '%s' (%llu "
		   "MiB); --copy-files allows %llu MiB",
		   (unsigned long long)(all >> 20), largest->path,
		   (unsigned long long)(largest->size >> 20), (unsigned long long)(c->max >> 20));
	return err_hint(err, "--copy-files=SIZE allows more; or put them there before");
}

/* --- the bytes --- */

/* 0, or the negative errno; for a file that the program still has, when it stands still. */
static int open_file(const struct carried *f, struct stat *st, struct err *err)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 || fstat(fd, st)) {
		err_sys(err, -errno, "cannot read '%s' to take it along", f->path);
		err_hint(err, "put it on the other host by other means, or make it readable");
	} else if (st->st_dev != f->dev || st->st_ino != f->ino) {
		err_set(err, -ESTALE, "'%s' is another file than it was", f->path);
	} else {
		return fd;
	}
	io_close_fd(&fd);
	return err->error;
}

static bool is_unchanged(const struct carry_out_file *o, const struct stat *st)
{
	return o->has_copy && !o->written && o->ino == st->st_ino &&
	       o->size == (uint64_t)st->st_size && o->mtime_ns == ns_of(&st->st_mtim) &&
	       o->ctime_ns == ns_of(&st->st_ctim) && o->ctime_ns < o->copied_ns - TICK_NS;
}

static bool is_zero(const uint8_t *p, size_t len)
{
	return !p[0] && !memcmp(p, p + 1, len - 1);
}

/* Is the block to be sent?  A hole that never was anything else is one over there, too. */
static bool is_news(uint64_t *hash, const uint8_t *p, size_t len)
{
	uint64_t h;

	if (!*hash && is_zero(p, len))
		return false;
	h = XXH3_64bits(p, len) | 1; /* 0 says: never sent */
	if (*hash == h)
		return false;
	*hash = h;
	return true;
}

/* Those of its blocks that are news, neighbours together. */
static int send_chunk(struct carry_out *c, size_t i, struct sender *s, uint64_t at,
		      const uint8_t *data, size_t len, struct err *err)
{
	struct carry_out_file *o = &c->file[i];
	size_t from = 0;
	int ret = 0;

	for (size_t k = 0; k < len && !ret; k += CARRY_BLOCK) {
		size_t n = len - k < CARRY_BLOCK ? len - k : CARRY_BLOCK;
		bool news = is_news(&o->hash[(at + k) / CARRY_BLOCK], data + k, n);

		if (news)
			c->bytes += n;
		if (!news && from < k)
			ret = sender_file(s, (uint32_t)i, at + from, data + from, k - from, err);
		if (!news)
			from = k + n;
	}
	if (!ret && from < len)
		ret = sender_file(s, (uint32_t)i, at + from, data + from, len - from, err);
	return ret;
}

/* Up to what it has now; while the program runs it may grow, and shrink. */
static int send_file(struct carry_out *c, size_t i, struct sender *s, int fd, uint64_t size,
		     struct err *err)
{
	__cleanup_free uint8_t *buf = io_alloc(1, CARRY_DATA, err);
	struct carry_out_file *o = &c->file[i];
	size_t blocks = (size_t)((size + CARRY_BLOCK - 1) / CARRY_BLOCK);
	uint64_t *hash = o->hash;

	if (!buf)
		return err->error;
	/* Those behind the end stay: so much of the file was sent once. */
	if (blocks > o->nhash) {
		hash = io_grow(o->hash, &o->hash_cap, blocks, sizeof(*hash), err);
		if (!hash)
			return err->error;
		memset(hash + o->nhash, 0, (blocks - o->nhash) * sizeof(*hash));
		o->hash = hash;
		o->nhash = blocks;
	}
	for (uint64_t at = 0; at < size;) {
		size_t want = size - at < CARRY_DATA ? (size_t)(size - at) : CARRY_DATA;
		ssize_t n = pread(fd, buf, want, (off_t)at);
		int ret;

		if (n < 0)
			return err_sys(err, -errno, "cannot read '%s'", c->list.v[i].path);
		if (n == 0)
			break;
		/* A block that ends in the middle of the file would be taken for its whole. */
		if ((size_t)n < want)
			n = n > (ssize_t)CARRY_BLOCK ? n - n % (ssize_t)CARRY_BLOCK : n;
		if ((ret = send_chunk(c, i, s, at, buf, (size_t)n, err)))
			return ret;
		if (n % (ssize_t)CARRY_BLOCK)
			break;
		at += (size_t)n;
	}
	return 0;
}

static int send_one(struct carry_out *c, size_t i, struct sender *s, bool is_last, struct err *err)
{
	struct carry_out_file *o = &c->file[i];
	struct err why = ERR_INIT;
	struct timespec now;
	struct stat st;
	__cleanup_fd int fd = open_file(&c->list.v[i], &st, &why);
	int ret;

	/* While it runs it may close and remove files: the last look decides. */
	if (fd < 0 && (is_last || (why.error != -ENOENT && why.error != -ESTALE))) {
		*err = why;
		return err->error;
	}
	if (fd < 0 || is_unchanged(o, &st))
		return 0;
	clock_gettime(CLOCK_REALTIME, &now);
	if ((ret = send_file(c, i, s, fd, (uint64_t)st.st_size, err)))
		return ret;
	c->sent_files += !o->has_copy;
	o->has_copy = true;
	o->copied_ns = ns_of(&now);
	o->ino = st.st_ino;
	o->size = (uint64_t)st.st_size;
	o->mtime_ns = ns_of(&st.st_mtim);
	o->ctime_ns = ns_of(&st.st_ctim);
	return 0;
}

int carry_out_send(struct carry_out *c, struct sender *s, bool is_last, int timeout_ms,
		   struct err *err)
{
	int ret = 0;

	for (size_t i = 0; i < c->list.n && !ret; i++)
		if (c->file[i].lacks) {
			wire_deadline(s->w, timeout_ms);
			ret = send_one(c, i, s, is_last, err);
		}
	return ret;
}

void carry_out_done(struct carry_out *c)
{
	drop_all(c);
}
