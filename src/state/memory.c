/*
 * Memory: mappings, which pages of them are stored, and the layout the kernel
 * keeps (brk, arguments, environment, auxiliary vector).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "image/elfid.h"
#include "proc/status.h"
#include "state/contents.h"
#include "state/lease.h"
#include "state/memory.h"
#include "state/memory_huge.h"
#include "state/memory_sysv.h"
#include "state/state.h"

#define ADDRESS_MAX (1ULL << 56)

/* --- capture: mappings --- */

static bool starts(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

static int refuse_mapping(struct capture *c, const struct proc_map *m, const char *what,
			  enum refusal kind, struct err *err)
{
	return err_refuse_as(err, kind, "cannot save '%s%s' (memory %#llx-%#llx of process %d): %s",
			     m->name, m->deleted ? " (deleted)" : "", (unsigned long long)m->start,
			     (unsigned long long)m->end, c->remote->pid, what);
}

/* Kind and flags of one line of the maps, or a refusal. */
static int classify(struct capture *c, const struct proc_map *m, struct mapping *ret,
		    struct err *err)
{
	if (!strcmp(m->name, "[vdso]")) {
		ret->kind = MAPPING_VDSO;
	} else if (starts(m->name, "[vvar")) {
		ret->kind = MAPPING_VVAR;
	} else if (memory_sysv_is(m)) {
		return memory_sysv_classify(c, m, ret, err);
	} else if (starts(m->name, "/secretmem")) {
		return refuse_mapping(c, m, "secret memory (memfd_secret)", REFUSED_SECRET, err);
	} else if (starts(m->name, "anon_inode:") || starts(m->name, "[uprobes]") ||
		   starts(m->name, "/[aio]")) {
		return refuse_mapping(c, m, "memory of a kernel object", REFUSED_KERNEL_MEMORY,
				      err);
	} else if (starts(m->name, "/dev/") && !starts(m->name, "/dev/shm/") &&
		   strcmp(m->name, "/dev/zero")) {
		return refuse_mapping(c, m, "memory of a device", REFUSED_DEVICE_MEMORY, err);
	} else if (memory_huge_is(m)) {
		return memory_huge_classify(c, m, ret, err);
	} else if (m->shared && !strcmp(m->name, "/dev/zero")) {
		ret->kind = MAPPING_SHMEM;
		ret->object = m->ino;
	} else if (m->shared && m->ino) {
		ret->kind = MAPPING_SHARED;
		/* The file has no name: as long as it is open it is kept as such
		 * (state/contents.h), else it is memory like any other that is shared. */
		if (m->deleted) {
			ret->kind = MAPPING_SHMEM;
			ret->object = m->ino;
			if (contents_find(c->proc, m->ino) != UINT32_MAX)
				ret->flags |= MAPPING_OF_CONTENT;
		}
	} else if (m->ino) {
		ret->kind = MAPPING_FILE;
		if (m->deleted)
			ret->flags |= MAPPING_DELETED;
	} else {
		ret->kind = MAPPING_ANON;
		if (!strcmp(m->name, "[stack]"))
			ret->flags |= MAPPING_STACK | MAPPING_GROWSDOWN;
		if (!strcmp(m->name, "[heap]"))
			ret->flags |= MAPPING_HEAP;
	}
	return 0;
}

/* Index + 1 of the file in the model; it is looked at once.  A file that cannot be
 * reached by its name counts as deleted: its pages come from the memory. */
static int intern_file(struct process *p, const struct proc_map *m, uint32_t *ret,
		       bool *ret_reachable, struct err *err)
{
	struct mapped_file *f;
	__cleanup_fd int fd = -1;
	struct stat st;
	void *v;

	*ret_reachable = true;
	for (size_t i = p->nmapped_files; i-- > 0;)
		if (p->mapped_files[i].ino == m->ino && !strcmp(p->mapped_files[i].path, m->name)) {
			*ret = (uint32_t)i + 1;
			return 0;
		}
	fd = open(m->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	/* Not by device number: btrfs and overlayfs show another in maps than in stat. */
	if (fd < 0 || fstat(fd, &st) || st.st_ino != m->ino) {
		*ret_reachable = false;
		*ret = 0;
		return 0;
	}
	v = io_grow(p->mapped_files, &p->mapped_files_cap, p->nmapped_files + 1,
		    sizeof(*p->mapped_files), err);
	if (!v)
		return err->error;
	p->mapped_files = v;
	f = &p->mapped_files[p->nmapped_files++];
	*f = (struct mapped_file){
		.path = strdup(m->name),
		.dev = st.st_dev,
		.ino = st.st_ino,
		.size = (uint64_t)st.st_size,
		.mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
	};
	if (elf_build_id(fd, f->build_id, &f->build_id_len))
		f->build_id_len = 0;
	*ret = (uint32_t)p->nmapped_files;
	return f->path ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int add_mapping(struct capture *c, struct process *p, const struct proc_map *m,
		       struct err *err)
{
	struct mapping n = {
		.start = m->start,
		.end = m->end,
		.offset = m->offset,
		.prot = m->prot,
	};
	bool reachable;
	void *v;
	int ret = classify(c, m, &n, err);

	if (ret)
		return ret;
	if (n.kind == MAPPING_FILE || n.kind == MAPPING_SHARED) {
		if (!(n.flags & MAPPING_DELETED)) {
			/* Neither is anybody alone with a file that a restart maps. */
			if (c->has_leases && lease_is_held(c->remote->pid, m->ino))
				return refuse_mapping(
					c, m, "the program holds a lease for writing on this file",
					REFUSED_LEASE_ALONE, err);
			if ((ret = intern_file(p, m, &n.file, &reachable, err)))
				return ret;
			if (!reachable && n.kind == MAPPING_SHARED)
				return refuse_mapping(
					c, m,
					"a shared mapping of a file that has this name no more",
					REFUSED_SHARED_FILE, err);
			if (!reachable)
				n.flags |= MAPPING_DELETED;
		}
	}
	v = io_grow(p->mappings, &p->mappings_cap, p->nmappings + 1, sizeof(n), err);
	if (!v)
		return err->error;
	p->mappings = v;
	if (*m->name && !(n.name = strdup(m->name)))
		return err_set(err, -ENOMEM, "out of memory");
	p->mappings[p->nmappings++] = n;
	return 0;
}

/* --- capture: layout --- */

static int capture_layout(struct capture *c, struct process *p, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct mm_layout *mm = &p->mm;
	struct proc_stat st;
	struct program prog;
	int ret;

	if ((ret = remote_stat(c->remote, &st, err)))
		return ret;
	mm->start_code = st.start_code;
	mm->end_code = st.end_code;
	mm->start_data = st.start_data;
	mm->end_data = st.end_data;
	mm->start_brk = st.start_brk;
	mm->start_stack = st.start_stack;
	mm->arg_start = st.arg_start;
	mm->arg_end = st.arg_end;
	mm->env_start = st.env_start;
	mm->env_end = st.env_end;
	if ((ret = state_read_proc(c, "auxv", &b, err)))
		return ret;
	mm->auxv = b.p;
	mm->auxv_len = b.len;
	b = (struct buf){0};
	program_init(&prog, c->remote->data, REMOTE_DATA_LEN, REMOTE_CALL_CAP, err);
	program_call(&prog, "read the end of the heap", SYS_brk, 0, 0, 0, 0, 0, 0);
	ret = remote_run(c->remote, &prog, err);
	if (!ret)
		mm->brk = (uint64_t)prog.batches[0].calls[0].ret;
	program_done(&prog);
	return ret;
}

static int capture(struct capture *c, struct process *p, struct err *err)
{
	int ret;

	for (size_t i = 0; i < c->maps->n; i++) {

		if (!strcmp(c->maps->v[i].name, "[vsyscall]"))
			continue;
		if ((ret = add_mapping(c, p, &c->maps->v[i], err)))
			return ret;
	}
	if ((ret = memory_huge_capture(c, p, err)) || (ret = memory_sysv_capture(c, p, err)) ||
	    (ret = memory_refuse_foreign(c, p, err)))
		return ret;
	return capture_layout(c, p, err);
}

/* --- image --- */

static void codec_mapping(struct codec *c, struct mapping *m)
{
	codec_u64(c, &m->start);
	codec_u64(c, &m->end);
	codec_u64(c, &m->offset);
	codec_u32(c, &m->prot);
	codec_u32(c, &m->kind);
	codec_u32(c, &m->flags);
	codec_u32(c, &m->file);
	codec_u64(c, &m->object);
	codec_u64(c, &m->stored);
	codec_str(c, &m->name);
}

static void codec(struct codec *c, struct process *p)
{
	struct mm_layout *mm = &p->mm;
	uint64_t *fields[] = {&mm->start_code, &mm->end_code,  &mm->start_data,  &mm->end_data,
			      &mm->start_brk,  &mm->brk,       &mm->start_stack, &mm->arg_start,
			      &mm->arg_end,    &mm->env_start, &mm->env_end};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		codec_u64(c, fields[i]);
	codec_blob(c, &mm->auxv, &mm->auxv_len);
	codec_array(c, &p->mapped_files, &p->nmapped_files, sizeof(*p->mapped_files), 60, 1u << 20);
	for (size_t i = 0; i < p->nmapped_files; i++)
		codec_mapped_file(c, &p->mapped_files[i]);
	codec_array(c, &p->mappings, &p->nmappings, sizeof(*p->mappings), 60, 1u << 24);
	for (size_t i = 0; i < p->nmappings; i++)
		codec_mapping(c, &p->mappings[i]);
}

static int validate(const struct process *p, struct err *err)
{
	uint64_t at = 0;

	for (size_t i = 0; i < p->nmappings; i++) {
		const struct mapping *m = &p->mappings[i];
		bool of_file = (m->kind == MAPPING_FILE && !(m->flags & MAPPING_DELETED)) ||
			       m->kind == MAPPING_SHARED;

		if (m->start % PAGE_SIZE_4K || m->end % PAGE_SIZE_4K || m->start >= m->end ||
		    m->start < at || m->end > ADDRESS_MAX || m->offset % PAGE_SIZE_4K ||
		    m->offset + (m->end - m->start) < m->offset)
			return err_image(err, "mapping %zu (%#llx-%#llx) is impossible", i,
					 (unsigned long long)m->start, (unsigned long long)m->end);
		if (m->kind < MAPPING_ANON || m->kind > MAPPING_HUGE || m->prot > 7 ||
		    m->file > p->nmapped_files || (of_file && !m->file))
			return err_image(err, "mapping %zu is of an unknown kind", i);
		if (!memory_huge_is_possible(m))
			return err_image(err, "mapping %zu is not of huge pages", i);
		at = m->end;
	}
	for (size_t i = 0; i < p->nmapped_files; i++)
		if (!p->mapped_files[i].path)
			return err_image(err, "mapped file %zu has no name", i);
	for (size_t i = 0; i < p->nmappings; i++)
		if (!memory_sysv_is_possible(p, &p->mappings[i]))
			return err_image(err, "mapping %zu is no System V shared memory", i);
	if (p->mm.auxv_len > 1024)
		return err_image(err, "the auxiliary vector is too long");
	return 0;
}

static void done(struct process *p)
{
	for (size_t i = 0; p->mappings && i < p->nmappings; i++)
		free(p->mappings[i].name);
	for (size_t i = 0; p->mapped_files && i < p->nmapped_files; i++)
		free(p->mapped_files[i].path);
	free(p->mappings);
	free(p->mapped_files);
	free(p->mm.auxv);
}

const struct state_ops state_memory = {
	.name = "the mappings",
	.note = NOTE_MAPPINGS,
	.capture = capture,
	.codec = codec,
	.validate = validate,
	.check = memory_check,
	.restore = memory_restore,
	.show = memory_show,
	.done = done,
};
