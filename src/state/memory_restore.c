/*
 * Memory at restart: is everything there that the mappings need, and the calls
 * that make them.
 *
 * Order of the calls: the new process's own mappings go, but for the vdso, the
 * vvar and our scratch area; vdso and vvar move to their old places, by way of
 * the hole, so that old and new place may overlap; every mapping is made, the
 * ones to be filled writable; one preadv() after another fills them from the
 * image; the protections follow; last the layout the kernel keeps.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <linux/prctl.h>
#include <unistd.h>

#include "base/io.h"
#include "image/elfid.h"
#include "state/chain.h"
#include "state/memory.h"
#include "state/memory_early.h"
#include "state/memory_huge.h"
#include "state/memory_sysv.h"

/* Reservations larger than this and hardly touched are mapped without
 * reserving swap, or the kernel's overcommit check would refuse them. */
#define RESERVE_LIMIT MEMORY_RESERVE_LIMIT
#define IOV_MAX_KERNEL 1024u
#define READ_MAX (512ULL << 20)

/* --- before the point of no return --- */

static bool same_file(const struct mapped_file *f, const struct stat *st)
{
	return f->ino == st->st_ino && f->size == (uint64_t)st->st_size &&
	       f->mtime_ns == (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* Does the file have the bytes that the image has of it? */
static bool same_content(const struct restore *r, const struct process *p, size_t file, int fd)
{
	__cleanup_free uint8_t *buf = malloc(2 << 16);
	struct err ignored = ERR_INIT;
	bool any = false;

	for (size_t i = 0; buf && i < p->nruns; i++) {
		const struct run *run = &p->runs[i];
		const struct mapping *m = &p->mappings[run->mapping];

		if (!(run->flags & RUN_CLEAN) || m->file != file + 1)
			continue;
		any = true;
		for (uint64_t done = 0; done < run->len; done += 1 << 16) {
			size_t n = run->len - done < 1 << 16 ? (size_t)(run->len - done) : 1 << 16;
			ssize_t got = pread(fd, buf, n,
					    (off_t)(m->offset + run->start - m->start + done));

			/* The last page is zeros behind the end of the file. */
			if (got < 0 || (got == 0 && n))
				return false;
			memset(buf + got, 0, n - (size_t)got);
			if (chain_read(r->chain, run, done, buf + (1 << 16), n, &ignored) ||
			    memcmp(buf, buf + (1 << 16), n))
				return false;
		}
	}
	return any;
}

/* 1 or 0, or -1: only the content can tell. */
static int looks_same(const struct mapped_file *f, int fd)
{
	uint8_t id[20];
	uint32_t len = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return 0;
	if (same_file(f, &st))
		return 1;
	if (f->build_id_len && !elf_build_id(fd, id, &len))
		return len == f->build_id_len && !memcmp(id, f->build_id, len);
	return -1;
}

bool memory_file_matches(const struct mapped_file *f)
{
	__cleanup_fd int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	return looks_same(f, fd) == 1;
}

static bool file_matches(const struct restore *r, const struct process *p, size_t i)
{
	const struct mapped_file *f = &p->mapped_files[i];
	__cleanup_fd int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int same = looks_same(f, fd);

	if (same >= 0)
		return same;
	return same_content(r, p, i, fd);
}

static int check_shared(const struct restore *r, const struct mapping *m,
			const struct mapped_file *f, struct err *err)
{
	if (restore_stand_in(r, f->path))
		return 0;

	int mode = m->prot & PROT_WRITE ? O_RDWR : O_RDONLY;
	__cleanup_fd int fd = open(f->path, mode | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 && errno == ENOENT) {
		err_refuse(err, "'%s', of which it has a shared mapping, is not there%s", f->path,
			   r->is_fed ? "" : " any more");
		return err_hint(err, r->is_fed ? "--copy-files takes it along"
					       : "put the file of the time of the checkpoint back");
	}
	if (fd < 0 || fstat(fd, &st)) {
		err_sys(err, -errno, "cannot open '%s', of which it has a shared mapping", f->path);
		return err_hint(err, "the file must be there as it was at the checkpoint");
	}
	if ((uint64_t)st.st_size < f->size) {
		err_refuse(err,
			   "'%s', of which it has a shared mapping, has shrunk from %llu to %llu "
			   "bytes",
			   f->path, (unsigned long long)f->size, (unsigned long long)st.st_size);
		return err_hint(err, "put the file of the time of the checkpoint back");
	}
	return 0;
}

static int refuse_missing(const struct mapped_file *f, struct err *err)
{
	err_refuse(err, "'%s' is not the file it was, and too large to be in the image", f->path);
	return err_hint(err, "put the file of the time of the checkpoint back");
}

int memory_check(struct restore *r, const struct process *p, struct err *err)
{
	__cleanup_free bool *has_clean = io_alloc(p->nmapped_files + 1, sizeof(bool), err);
	int ret;

	free(r->file_matches);
	r->file_matches = io_alloc(p->nmapped_files + 1, sizeof(bool), err);
	if (!has_clean || !r->file_matches)
		return err->error;
	if (!r->is_fed &&
	    (ret = memory_check_places(p, image_data_size(r->image), image_path(r->image), err)))
		return ret;
	for (size_t i = 0; i < p->nruns; i++)
		if (p->runs[i].flags & RUN_CLEAN && p->mappings[p->runs[i].mapping].file)
			has_clean[p->mappings[p->runs[i].mapping].file - 1] = true;
	for (size_t i = 0; i < p->nmapped_files; i++)
		r->file_matches[i] = !r->is_fed && file_matches(r, p, i);
	if (r->is_fed)
		r->know_files(r->know_arg, p, r->file_matches);
	if ((ret = memory_sysv_check(p, err)) || (ret = memory_huge_check(p, err)))
		return ret;
	for (size_t i = 0; i < p->nmappings; i++) {
		const struct mapping *m = &p->mappings[i];
		const struct mapped_file *f = m->file ? &p->mapped_files[m->file - 1] : NULL;

		if (m->kind == MAPPING_SHARED && (ret = check_shared(r, m, f, err)))
			return ret;
		if (m->kind == MAPPING_FILE && f && !r->file_matches[m->file - 1] && f->size &&
		    !has_clean[m->file - 1] && f->size > MEMORY_CLEAN_LIMIT)
			return refuse_missing(f, err);
	}
	for (size_t i = 0; i < p->nmapped_files; i++)
		if (!r->file_matches[i] && has_clean[i])
			restore_notice(r,
				       "'%s' is missing or another file than at the checkpoint: "
				       "its memory comes %s",
				       p->mapped_files[i].path,
				       r->is_fed ? "by the wire" : "from the image");
	return 0;
}

/* --- the calls --- */

static uint64_t object_len(const struct process *p, uint64_t object)
{
	uint64_t len = 0;

	for (size_t i = 0; i < p->nmappings; i++) {
		const struct mapping *m = &p->mappings[i];

		if (m->kind == MAPPING_SHMEM && m->object == object &&
		    m->offset + (m->end - m->start) > len)
			len = m->offset + (m->end - m->start);
	}
	return len;
}

uint64_t memory_hole_needed(const struct restore *r, const struct process *p)
{
	uint64_t special = memory_specials_len(r), object = 0;

	for (size_t i = 0; i < p->nmappings; i++) {
		const struct mapping *m = &p->mappings[i];

		if (m->kind == MAPPING_SHMEM && object_len(p, m->object) > object)
			object = object_len(p, m->object);
	}
	return (special > object ? special : object) + PAGE_SIZE_4K;
}

static void unmap_own(struct restore *r)
{
	for (size_t i = 0; i < r->now->n; i++) {
		const struct proc_map *m = &r->now->v[i];

		if (!memory_is_special(m->name) && strcmp(m->name, "[vsyscall]"))
			program_call(r->prog,
				     program_why(r->prog, "the new process's own %s",
						 *m->name ? m->name : "memory"),
				     SYS_munmap, m->start, m->end - m->start, 0, 0, 0, 0);
	}
}

bool memory_run_wanted(const struct restore *r, const struct process *p, const struct run *run)
{
	const struct mapping *m = &p->mappings[run->mapping];

	if (m->kind == MAPPING_VDSO)
		return r->with_vdso; /* here the kernel gives its own */
	return !(run->flags & RUN_CLEAN) || !m->file || !r->file_matches[m->file - 1];
}

static struct call *map(struct restore *r, const char *why, const struct mapping *m, uint32_t prot,
			int flags, int fd, uint64_t offset)
{
	struct call *c =
		program_call(r->prog, why, SYS_mmap, m->start, m->end - m->start, prot,
			     (uint64_t)(flags | MAP_FIXED_NOREPLACE), (uint64_t)fd, offset);

	if (c) {
		c->expect = EXPECT_VALUE;
		c->want = (int64_t)m->start;
	}
	return c;
}

static const char *describe(struct restore *r, const struct mapping *m)
{
	if (m->name && *m->name)
		return program_why(r->prog, "%s", m->name);
	return m->kind == MAPPING_SHMEM ? "shared memory" : "memory";
}

static void map_anon(struct restore *r, const struct mapping *m, uint32_t prot)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	uint64_t len = m->end - m->start;

	if (m->flags & MAPPING_GROWSDOWN)
		flags |= MAP_GROWSDOWN; /* MAP_STACK would set VM_NOHUGEPAGE */
	if ((m->flags & MAPPING_NORESERVE) || (len > RESERVE_LIMIT && m->stored < len / 2))
		flags |= MAP_NORESERVE;
	map(r, describe(r, m), m, prot, flags, -1, 0);
}

static void map_shmem(struct restore *r, const struct process *p, size_t i, uint32_t prot)
{
	const struct mapping *m = &p->mappings[i];
	uint64_t len = object_len(p, m->object);

	for (size_t k = 0; k < i; k++)
		if (p->mappings[k].kind == MAPPING_SHMEM && p->mappings[k].object == m->object)
			return; /* made together with the first */
	if (m->offset == 0 && len == m->end - m->start) {
		/* The common case; others of the same object are seen through it. */
		map(r, describe(r, m), m, prot, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		for (size_t k = i + 1; k < p->nmappings; k++) {
			const struct mapping *o = &p->mappings[k];
			struct call *c;

			if (o->kind != MAPPING_SHMEM || o->object != m->object)
				continue;
			c = program_call(r->prog, "the same shared memory again", SYS_mremap,
					 m->start + o->offset, 0, o->end - o->start,
					 MREMAP_MAYMOVE | MREMAP_FIXED, o->start, 0);
			if (c) {
				c->expect = EXPECT_VALUE;
				c->want = (int64_t)o->start;
			}
		}
		return;
	}
	struct mapping whole = {.start = r->hole, .end = r->hole + len};

	map(r, "a whole shared object", &whole, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
	    -1, 0);
	for (size_t k = i; k < p->nmappings; k++) {
		const struct mapping *o = &p->mappings[k];
		struct call *c;

		if (o->kind != MAPPING_SHMEM || o->object != m->object)
			continue;
		c = program_call(r->prog, "a part of the shared object", SYS_mremap,
				 r->hole + o->offset, 0, o->end - o->start,
				 MREMAP_MAYMOVE | MREMAP_FIXED, o->start, 0);
		if (c) {
			c->expect = EXPECT_VALUE;
			c->want = (int64_t)o->start;
		}
	}
	program_call(r->prog, "the whole has done its work", SYS_munmap, r->hole, len, 0, 0, 0, 0);
}

/* Protection to map with; the final one follows when it is filled. */
static uint32_t first_prot(const struct restore *r, const struct mapping *m, bool filled)
{
	if (m->kind == MAPPING_SHMEM || (r->early && m->kind == MAPPING_ANON))
		return PROT_READ | PROT_WRITE;
	return filled ? PROT_READ | PROT_WRITE : m->prot;
}

static void map_all(struct restore *r, const struct process *p, const bool *filled)
{
	uint32_t open_file = 0;
	bool open_rw = false;
	int fd = -1;

	for (size_t i = 0; i < p->nmappings; i++) {
		const struct mapping *m = &p->mappings[i];
		bool of_file = m->kind == MAPPING_SHARED ||
			       (m->kind == MAPPING_FILE && m->file && r->file_matches[m->file - 1]);
		bool rw = m->kind == MAPPING_SHARED && m->prot & PROT_WRITE;

		if (fd >= 0 && (!of_file || m->file != open_file || (rw && !open_rw))) {
			program_close(r->prog, NULL, fd);
			fd = -1;
		}
		if (of_file && fd < 0) {
			const char *path = p->mapped_files[m->file - 1].path;
			const char *other = restore_stand_in(r, path);

			fd = program_openat(r->prog, NULL, other ? other : path,
					    (rw ? O_RDWR : O_RDONLY) | O_CLOEXEC, 0);
			open_file = m->file;
			open_rw = rw;
		}
		if (of_file)
			map(r, describe(r, m), m, first_prot(r, m, filled[i]),
			    m->kind == MAPPING_SHARED ? MAP_SHARED : MAP_PRIVATE, fd, m->offset);
		else if (m->kind == MAPPING_ANON && r->early)
			memory_early_map_rest(r, m);
		else if (m->kind == MAPPING_ANON || m->kind == MAPPING_FILE)
			map_anon(r, m, first_prot(r, m, filled[i]));
		else if (m->kind == MAPPING_HUGE)
			map(r, describe(r, m), m, first_prot(r, m, filled[i]), memory_huge_flags(m),
			    -1, 0);
		else if (m->flags & MAPPING_SYSV)
			memory_sysv_map(r, p, i);
		else if (m->kind == MAPPING_SHMEM && !(m->flags & MAPPING_OF_CONTENT))
			map_shmem(r, p, i, first_prot(r, m, true));
	}
	if (fd >= 0)
		program_close(r->prog, NULL, fd);
}

/* One preadv() in the making: memory that follows each other in one image. */
struct fill {
	struct restore *r;
	struct iovec iov[IOV_MAX_KERNEL];
	size_t n;
	size_t link;           /* which image */
	uint64_t first, bytes; /* in its file, and how many so far */
};

static void fill_read(struct fill *f)
{
	struct program *prog = f->r->prog;
	int fd = f->link ? f->r->chain_fd[f->link] : f->r->image_fd;
	struct call *c;
	uint64_t v;

	if (!f->n)
		return;
	program_reserve(prog, f->n * sizeof(*f->iov) + 16);
	v = program_data(prog, f->iov, f->n * sizeof(*f->iov));
	c = program_call(prog, f->link ? "memory from a parent image" : "memory from the image",
			 SYS_preadv, (uint64_t)fd, v, f->n, f->first, 0, 0);
	c->expect = EXPECT_VALUE;
	c->want = (int64_t)f->bytes;
	f->n = f->bytes = 0;
}

static void fill_add(struct fill *f, uint64_t addr, const struct chain_place *at)
{
	uint64_t from = IMAGE_DATA_START + at->off;

	for (uint64_t done = 0; done < at->len;) {
		uint64_t len = at->len - done < READ_MAX ? at->len - done : READ_MAX;

		if (f->n == IOV_MAX_KERNEL || f->bytes + len > READ_MAX || f->link != at->link ||
		    f->first + f->bytes != from + done)
			fill_read(f);
		if (!f->n) {
			f->link = at->link;
			f->first = from + done;
		}
		f->iov[f->n++] = (struct iovec){(void *)(uintptr_t)(addr + done), len};
		f->bytes += len;
		done += len;
	}
}

/* Runs that follow each other in an image are read by one call. */
static void fill_all(struct restore *r, const struct process *p)
{
	struct fill f = {.r = r};

	for (size_t i = 0; i < p->nruns; i++) {
		const struct run *run = &p->runs[i];
		struct chain_place at = {.len = run->len};

		if (!memory_run_wanted(r, p, run))
			continue;
		for (uint64_t skip = 0; skip < run->len; skip += at.len) {
			/* chain_open has seen that everything is somewhere. */
			if (!chain_locate(r->chain, run, skip, &at)) {
				program_fail(r->prog, -EBADMSG, "memory that is in no image");
				return;
			}
			fill_add(&f, run->start + skip, &at);
		}
	}
	fill_read(&f);
}

static void protect_all(struct restore *r, const struct process *p, const bool *filled)
{
	for (size_t i = 0; i < p->nmappings; i++) {
		const struct mapping *m = &p->mappings[i];

		if (!mapping_is_special(m) && !(m->flags & MAPPING_OF_CONTENT) &&
		    first_prot(r, m, filled[i]) != m->prot)
			program_call(r->prog, describe(r, m), SYS_mprotect, m->start,
				     m->end - m->start, m->prot, 0, 0, 0);
	}
}

static void set_layout(struct restore *r, const struct process *p)
{
	const struct mm_layout *mm = &p->mm;
	struct prctl_mm_map map = {
		.start_code = mm->start_code,
		.end_code = mm->end_code,
		.start_data = mm->start_data,
		.end_data = mm->end_data,
		.start_brk = mm->start_brk,
		.brk = mm->brk,
		.start_stack = mm->start_stack,
		.arg_start = mm->arg_start,
		.arg_end = mm->arg_end,
		.env_start = mm->env_start,
		.env_end = mm->env_end,
		.auxv_size = (uint32_t)mm->auxv_len,
		.exe_fd = (uint32_t)-1,
	};
	uint64_t a;

	program_reserve(r->prog, sizeof(map) + mm->auxv_len + 48);
	map.auxv = (void *)(uintptr_t)program_data(r->prog, mm->auxv, mm->auxv_len);
	a = program_data(r->prog, &map, sizeof(map));
	program_call(r->prog, "heap end, arguments, environment, auxiliary vector", SYS_prctl,
		     PR_SET_MM, PR_SET_MM_MAP, a, sizeof(map), 0, 0);
}

/* Which mappings are filled, [nmappings]; the caller frees. */
static bool *find_filled(const struct restore *r, const struct process *p, struct err *err)
{
	bool *filled = io_alloc(p->nmappings + 1, sizeof(bool), err);

	for (size_t i = 0; filled && i < p->nruns; i++)
		if (memory_run_wanted(r, p, &p->runs[i]))
			filled[p->runs[i].mapping] = true;
	return filled;
}

int memory_restore_map(struct restore *r, const struct process *p, struct err *err)
{
	__cleanup_free bool *filled = find_filled(r, p, err);
	int ret;

	if (!filled)
		return err->error;
	if (!r->early)
		unmap_own(r);
	if ((!r->early && (ret = memory_move_specials(r, p, false, err))) ||
	    (ret = memory_move_specials(r, p, true, err)))
		return ret;
	map_all(r, p, filled);
	return 0;
}

void memory_map_anon(struct restore *r, const struct mapping *m)
{
	map_anon(r, m, PROT_READ | PROT_WRITE);
}

int memory_restore_early(struct restore *r, const struct process *p, struct err *err)
{
	int ret;

	unmap_own(r);
	if ((ret = memory_move_specials(r, p, false, err)))
		return ret;
	for (size_t i = 0; i < p->nmappings; i++) {
		const struct mapping *m = &p->mappings[i];

		if (m->kind != MAPPING_ANON)
			continue;
		map_anon(r, m, PROT_READ | PROT_WRITE);
		if ((ret = memory_early_add(r->early, m->start, m->end,
					    m->flags & MAPPING_GROWSDOWN, err)))
			return ret;
	}
	return 0;
}

int memory_restore_rest(struct restore *r, const struct process *p, struct err *err)
{
	__cleanup_free bool *filled = find_filled(r, p, err);

	if (!filled)
		return err->error;
	protect_all(r, p, filled);
	set_layout(r, p);
	return 0;
}

int memory_restore(struct restore *r, const struct process *p, struct err *err)
{
	int ret = memory_restore_map(r, p, err);

	if (ret)
		return ret;
	fill_all(r, p);
	return memory_restore_rest(r, p, err);
}
