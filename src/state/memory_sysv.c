/*
 * A segment that is made anew is marked as removed at once, and held by an attachment of
 * ours until the program has its own: whoever dies in between, nothing is left.  (Linux
 * attaches what is so marked, as long as anybody has it: ipc/shm.c, do_shmat.)
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/io.h"
#include "base/refusal.h"
#include "state/memory_sysv.h"

#define NAME "/SYSV"

struct sysv_made {
	struct sysv_made *next;
	uint64_t object;
	void *at;
	int id;
};

static int id_of(const struct mapping *m)
{
	return (int)(m->object & INT32_MAX);
}

/* --- capture --- */

static int refuse(struct err *err, enum refusal kind, pid_t pid, const struct mapping *m,
		  const char *what)
{
	return err_refuse_as(
		err, kind,
		"cannot save System V shared memory %d (memory %#llx-%#llx of process %d): %s",
		id_of(m), (unsigned long long)m->start, (unsigned long long)m->end, pid, what);
}

bool memory_sysv_is(const struct proc_map *m)
{
	return m->deleted && m->shared && !strncmp(m->name, NAME, strlen(NAME));
}

/* Of the memory of shmem, which memfds and segments share; other sizes of pages have
 * other devices.  ipc/shm.c, newseg. */
static bool is_of_plain_pages(const struct proc_map *m)
{
	__cleanup_fd int fd = memfd_create("godwit", MFD_CLOEXEC);
	struct stat st;

	return fd < 0 || fstat(fd, &st) || st.st_dev == m->dev;
}

int memory_sysv_classify(struct capture *c, const struct proc_map *m, struct mapping *ret,
			 struct err *err)
{
	ret->kind = MAPPING_SHMEM;
	ret->flags |= MAPPING_SYSV;
	ret->object = m->ino | SYSV_OBJECT;
	if (!is_of_plain_pages(m))
		return refuse(err, REFUSED_HUGE, c->remote->pid, ret, "it has huge pages");
	return 0;
}

/* Asked by the program itself, whose IPC namespace may be another. */
static int ask(struct capture *c, const struct mapping *m, struct shmid_ds *ret, struct err *err)
{
	struct program prog;
	uint64_t out;
	int rc;

	program_init(&prog, c->remote->data, REMOTE_DATA_LEN, REMOTE_CALL_CAP, err);
	out = program_data(&prog, NULL, sizeof(*ret));
	program_call(&prog, "look at System V shared memory", SYS_shmctl, (unsigned)id_of(m),
		     IPC_STAT, out, 0, 0, 0);
	rc = remote_run(c->remote, &prog, err);
	program_done(&prog);
	if (!rc && (rc = remote_read(c->remote, out, ret, sizeof(*ret))))
		err_sys(err, rc, "cannot read what shmctl says");
	return rc;
}

static uint64_t rounded(uint64_t size)
{
	return (size + PAGE_SIZE_4K - 1) & ~(uint64_t)(PAGE_SIZE_4K - 1);
}

static size_t attached(const struct process *p, const struct mapping *m)
{
	size_t n = 0;

	for (size_t i = 0; i < p->nmappings; i++)
		n += p->mappings[i].flags & MAPPING_SYSV && p->mappings[i].object == m->object;
	return n;
}

static int refuse_unfit(struct capture *c, const struct process *p, const struct mapping *m,
			const struct shmid_ds *ds, struct err *err)
{
	pid_t pid = c->remote->pid;

	if (ds->shm_nattch != attached(p, m))
		return refuse(err, REFUSED_SHARED_MEMORY, pid, m, "another process has it, too");
	if (ds->shm_perm.mode & SHM_LOCKED)
		return refuse(err, REFUSED_SYSV, pid, m, "it is locked");
	for (size_t i = 0; i < p->nmappings; i++)
		if (p->mappings[i].flags & MAPPING_SYSV && p->mappings[i].object == m->object &&
		    (p->mappings[i].offset ||
		     p->mappings[i].end - p->mappings[i].start != rounded(ds->shm_segsz)))
			return refuse(err, REFUSED_SYSV, pid, &p->mappings[i],
				      "only a part of it is mapped so");
	return 0;
}

static struct mapped_file *add_segment(struct process *p, const struct mapping *m, struct err *err)
{
	void *v = io_grow(p->mapped_files, &p->mapped_files_cap, p->nmapped_files + 1,
			  sizeof(*p->mapped_files), err);
	struct mapped_file *f;

	if (!v)
		return NULL;
	p->mapped_files = v;
	f = &p->mapped_files[p->nmapped_files];
	*f = (struct mapped_file){.path = strdup(m->name), .ino = (uint64_t)id_of(m)};
	if (!f->path) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	p->nmapped_files++;
	return f;
}

static int capture_segment(struct capture *c, struct process *p, size_t i, struct err *err)
{
	const struct mapping *m = &p->mappings[i];
	struct mapped_file *f;
	struct shmid_ds ds;
	int ret;

	if ((ret = ask(c, m, &ds, err)) || (ret = refuse_unfit(c, p, m, &ds, err)))
		return ret;
	if (!(f = add_segment(p, m, err)))
		return err->error;
	f->size = ds.shm_segsz;
	f->mtime_ns = (int64_t)ds.shm_ctime * 1000000000;
	for (size_t k = i; k < p->nmappings; k++) {
		struct mapping *o = &p->mappings[k];

		if (!(o->flags & MAPPING_SYSV) || o->object != m->object)
			continue;
		o->file = (uint32_t)p->nmapped_files;
		if (ds.shm_perm.mode & SHM_DEST)
			o->flags |= MAPPING_SYSV_REMOVED;
	}
	return 0;
}

int memory_sysv_capture(struct capture *c, struct process *p, struct err *err)
{
	int ret = 0;

	for (size_t i = 0; i < p->nmappings && !ret; i++)
		if (p->mappings[i].flags & MAPPING_SYSV && !p->mappings[i].file)
			ret = capture_segment(c, p, i, err);
	return ret;
}

/* --- image --- */

bool memory_sysv_is_possible(const struct process *p, const struct mapping *m)
{
	const struct mapped_file *f = m->file ? &p->mapped_files[m->file - 1] : NULL;

	if (!(m->flags & MAPPING_SYSV))
		return !(m->flags & MAPPING_SYSV_REMOVED);
	return m->kind == MAPPING_SHMEM && !(m->flags & MAPPING_OF_CONTENT) && f && f->path &&
	       !m->offset && f->size && f->size <= m->end - m->start &&
	       m->end - m->start == rounded(f->size) && f->ino <= INT32_MAX &&
	       m->object == (f->ino | SYSV_OBJECT);
}

/* --- restart --- */

static bool is_same(const struct mapped_file *f, const struct shmid_ds *ds)
{
	char name[sizeof(NAME "12345678")];

	snprintf(name, sizeof(name), NAME "%08x", (unsigned)ds->shm_perm.__key);
	return ds->shm_segsz == f->size && (int64_t)ds->shm_ctime * 1000000000 == f->mtime_ns &&
	       !strcmp(f->path, name);
}

static int check_segment(const struct mapped_file *f, struct err *err)
{
	struct shmid_ds ds;
	void *at;

	if (shmctl((int)f->ino, IPC_STAT, &ds) || !is_same(f, &ds)) {
		err_refuse(err, "System V shared memory %d of the program is not there any more",
			   (int)f->ino);
		return err_hint(err,
				"it is the kernel's, and the program knows its number: restart "
				"it on that machine, before the memory is removed (ipcrm) or "
				"the machine restarts");
	}
	if (ds.shm_nattch) {
		err_refuse(err, "System V shared memory %d of the program is in use", (int)f->ino);
		return err_hint(err,
				"process %d has attached it last: the program may still run "
				"there; restart its copy when it has ended",
				(int)ds.shm_lpid);
	}
	at = shmat((int)f->ino, NULL, 0);
	if (at == (void *)-1)
		return err_sys(err, -errno,
			       "cannot attach System V shared memory %d of the program",
			       (int)f->ino);
	shmdt(at);
	return 0;
}

int memory_sysv_check(const struct process *p, struct err *err)
{
	int ret = 0;

	for (size_t i = 0; i < p->nmappings && !ret; i++) {
		const struct mapping *m = &p->mappings[i];

		if (m->flags & MAPPING_SYSV && !(m->flags & MAPPING_SYSV_REMOVED))
			ret = check_segment(&p->mapped_files[m->file - 1], err);
	}
	return ret;
}

static struct sysv_made *find(const struct restore *r, const struct mapping *m)
{
	struct sysv_made *s = r->sysv;

	while (s && s->object != m->object)
		s = s->next;
	return s;
}

static void forget(struct sysv_made *s)
{
	if (s->at != (void *)-1)
		shmdt(s->at);
	free(s);
}

static struct sysv_made *make(struct restore *r, const struct mapping *m, uint64_t size)
{
	struct sysv_made *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->object = m->object;
	s->at = (void *)-1;
	s->id = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
	if (s->id >= 0) {
		s->at = shmat(s->id, NULL, 0);
		shmctl(s->id, IPC_RMID, NULL);
	}
	if (s->at == (void *)-1) {
		forget(s);
		return NULL;
	}
	s->next = r->sysv;
	r->sysv = s;
	return s;
}

void memory_sysv_map(struct restore *r, const struct process *p, size_t i)
{
	const struct mapping *m = &p->mappings[i];
	const struct mapped_file *f = &p->mapped_files[m->file - 1];
	int id = (int)f->ino;

	if (m->flags & MAPPING_SYSV_REMOVED && !r->explain) {
		struct sysv_made *s = find(r, m);

		if (!s && !(s = make(r, m, f->size))) {
			program_fail(r->prog, -errno,
				     "cannot make System V shared memory of %llu bytes",
				     (unsigned long long)f->size);
			return;
		}
		id = s->id;
	}
	program_call_want(r->prog, (int64_t)m->start, program_why(r->prog, "%s", f->path),
			  SYS_shmat, (unsigned)id, m->start, 0, 0, 0, 0);
}

void memory_sysv_done(struct restore *r)
{
	while (r->sysv) {
		struct sysv_made *s = r->sysv;

		r->sysv = s->next;
		forget(s);
	}
}
