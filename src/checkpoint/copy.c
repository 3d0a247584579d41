/*
 * Copying: the data area, block by block.  Each block is gathered from the
 * runs that fall into it by one process_vm_readv(2), gets its checksum while it
 * is in the cache, and is written at its place; several threads take the next
 * block each.  Blocks that hold nothing but unchanged pages of mapped files are
 * read from the files, after the program has been let go.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"
#include "checkpoint/internal.h"
#include "state/memory.h"

#define PAGES_PER_BLOCK (IMAGE_BLOCK / PAGE_SIZE_4K)
#define MAX_COPIERS 4u
/* Below this a second thread costs more than it saves. */
#define ONE_COPIER_BYTES (4u << 20)

struct copy {
	struct job *j;
	uint64_t end;         /* blocks [next, end) */
	const uint8_t *which; /* NULL: all of them; else those whose entry is want */
	uint8_t want;
	_Atomic uint64_t next;
	atomic_int failed;
	pthread_t reporter; /* the copier that tells how far we are */
	struct err err;     /* of the first copier that failed */
	pthread_mutex_t lock;
};

/* Index of the run that holds byte `at` of the data area. */
static size_t find_run(const struct job *j, uint64_t at)
{
	size_t lo = 0, hi = j->proc->nruns;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (j->run_at[mid] <= at)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

static int read_file_part(struct job *j, const struct run *r, uint64_t skip, uint8_t *to,
			  size_t len)
{
	const struct mapping *m = &j->proc->mappings[r->mapping];
	uint64_t off = m->offset + (r->start - m->start) + skip;

	while (len) {
		ssize_t n = pread(j->file_fd[m->file - 1], to, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) {
			/* The last page of a file is zeros behind its end. */
			if (len >= PAGE_SIZE_4K)
				return -ENODATA;
			memset(to, 0, len);
			return 0;
		}
		to += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Part by part: through protections, and where the gather could not. */
static int read_part(struct job *j, const struct run *r, uint64_t skip, uint8_t *to, size_t len)
{
	uint64_t addr = r->start + skip;
	int ret;

	if (r->flags & RUN_CLEAN)
		return read_file_part(j, r, skip, to, len);
	ret = remote_read(j->source, addr, to, len);
	if (ret == -EFAULT)
		ret = remote_read_force(j->source, addr, to, len);
	return ret;
}

static int bad_read(struct job *j, const struct run *r, uint64_t skip, int ret, struct err *err)
{
	const struct mapping *m = &j->proc->mappings[r->mapping];

	if (ret == -ESRCH)
		return err_set(err, ret, "%s %d ended while it was being copied",
			       j->source == &j->remote ? "process" : "the snapshot, process",
			       j->source->pid);
	err_sys(err, ret, "cannot read the memory at %#llx of process %d (%s)",
		(unsigned long long)(r->start + skip), j->o->pid, m->name ? m->name : "anonymous");
	if (ret == -EIO || ret == -EFAULT || ret == -ENODATA)
		return err_hint(err, "its file may have been cut while it was mapped");
	return ret;
}

int job_read_run(struct job *j, const struct run *r, uint64_t skip, uint8_t *to, size_t len,
		 struct err *err)
{
	int ret = read_part(j, r, skip, to, len);

	return ret ? bad_read(j, r, skip, ret, err) : 0;
}

int job_gather(struct job *j, uint64_t at, size_t len, uint8_t *buf, struct err *err)
{
	struct iovec remote[PAGES_PER_BLOCK];
	struct iovec local = {buf, len};
	const struct process *p = j->proc;
	size_t n = 0, first = find_run(j, at), i = first;
	uint64_t skip = at - j->run_at[first];
	bool plain = true;

	for (size_t left = len; left; i++, skip = 0) {
		uint64_t have = p->runs[i].len - skip;
		size_t take = have < left ? (size_t)have : left;

		remote[n++] = (struct iovec){(void *)(uintptr_t)(p->runs[i].start + skip), take};
		plain = plain && !(p->runs[i].flags & RUN_CLEAN);
		left -= take;
	}
	if (plain && process_vm_readv(j->source->speaker, &local, 1, remote, n, 0) == (ssize_t)len)
		return 0;
	skip = at - j->run_at[first];
	for (size_t k = 0; k < n; k++, skip = 0) {
		int ret = read_part(j, &p->runs[first + k], skip, buf, remote[k].iov_len);

		if (ret)
			return bad_read(j, &p->runs[first + k], skip, ret, err);
		buf += remote[k].iov_len;
	}
	return 0;
}

static int copy_block(struct job *j, uint64_t block, uint8_t *buf, struct err *err)
{
	uint64_t at = block * IMAGE_BLOCK, all = j->run_at[j->proc->nruns];
	size_t len = all - at < IMAGE_BLOCK ? (size_t)(all - at) : IMAGE_BLOCK;
	int ret = job_gather(j, at, len, buf, err);

	if (ret)
		return ret;
	if ((ret = image_writer_block(j->writer, block, buf, len))) {
		err_sys(err, ret, "cannot write to the image '%s'", j->o->image);
		if (ret == -ENOSPC || ret == -EDQUOT)
			err_hint(err,
				 "the image needs %llu MiB: make room, or name another place with "
				 "-o",
				 (unsigned long long)(all >> 20) + 1);
		else if (ret == -EFBIG)
			err_hint(err, "raise the file size limit: ulimit -f unlimited");
	}
	return ret;
}

static void copy_failed(struct copy *c, const struct err *err)
{
	pthread_mutex_lock(&c->lock);
	if (!atomic_exchange(&c->failed, 1))
		c->err = *err;
	pthread_mutex_unlock(&c->lock);
}

static void *copier(void *arg)
{
	struct copy *c = arg;
	bool reports = pthread_equal(pthread_self(), c->reporter);
	uint8_t *buf = mmap(NULL, IMAGE_BLOCK, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct err err = ERR_INIT;
	int ret = buf == MAP_FAILED ? err_set(&err, -ENOMEM, "out of memory") : 0;

	while (!ret && !atomic_load(&c->failed)) {
		uint64_t block = atomic_fetch_add(&c->next, 1);

		if (block >= c->end)
			break;
		if (c->which && c->which[block] != c->want)
			continue;
		ret = copy_block(c->j, block, buf, &err);
		fault_point("block copied");
		if (reports)
			guardian_progress(c->j->front, block * IMAGE_BLOCK,
					  c->j->run_at[c->j->proc->nruns]);
		if (!ret && job_is_cancelled(c->j))
			ret = err_set(&err, -ECANCELED, "interrupted");
	}
	if (ret)
		copy_failed(c, &err);
	if (buf != MAP_FAILED)
		munmap(buf, IMAGE_BLOCK);
	return NULL;
}

unsigned job_copiers(const struct job *j, uint64_t bytes, bool is_running)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = cpus < 1 ? 1 : (unsigned)cpus;

	if (j->o->threads)
		n = j->o->threads;
	/* A program that runs wants a core as well. */
	else if (is_running && n > 1)
		n--;
	if (n > MAX_COPIERS)
		n = MAX_COPIERS;
	return bytes <= ONE_COPIER_BYTES ? 1 : n;
}

void job_run_copiers(unsigned n, void *(*copy)(void *), void *arg)
{
	pthread_t threads[MAX_COPIERS];
	unsigned started = 0;

	while (started + 1 < n && !pthread_create(&threads[started], NULL, copy, arg))
		started++;
	copy(arg);
	while (started)
		pthread_join(threads[--started], NULL);
}

static int copy_blocks(struct job *j, uint64_t from, uint64_t end, const uint8_t *which,
		       uint8_t want, bool is_running, struct err *err)
{
	struct copy c = {
		.j = j,
		.end = end,
		.which = which,
		.want = want,
		.reporter = pthread_self(),
		.err = ERR_INIT,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	if (from >= end)
		return 0;
	atomic_store(&c.next, from);
	job_run_copiers(job_copiers(j, (end - from) * IMAGE_BLOCK, is_running), copier, &c);
	if (!atomic_load(&c.failed))
		return 0;
	*err = c.err;
	return err->error;
}

/* Blocks up to here hold memory that only the program has. */
static uint64_t dirty_blocks(const struct job *j)
{
	return (memory_dirty_bytes(j->proc) + IMAGE_BLOCK - 1) / IMAGE_BLOCK;
}

int job_copy_memory(struct job *j, struct err *err)
{
	return copy_blocks(j, 0, dirty_blocks(j), NULL, 0, false, err);
}

int job_copy_blocks(struct job *j, const uint8_t *which, uint8_t want, bool is_running,
		    struct err *err)
{
	return copy_blocks(j, 0, dirty_blocks(j), which, want, is_running, err);
}

int job_copy_files(struct job *j, struct err *err)
{
	return copy_blocks(j, dirty_blocks(j), image_writer_blocks(j->writer), NULL, 0, false, err);
}

/* Opens the files whose unchanged pages are wanted: while the program is
 * stopped, so that they are the ones it has mapped. */
static int open_files(struct job *j, struct err *err)
{
	struct process *p = j->proc;
	struct rlimit lim;

	if (!getrlimit(RLIMIT_NOFILE, &lim) && lim.rlim_cur < lim.rlim_max) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
	for (size_t i = 0; i < p->nruns; i++) {
		uint32_t file = p->mappings[p->runs[i].mapping].file;
		struct mapped_file *f;
		struct stat st;

		if (!(p->runs[i].flags & RUN_CLEAN) || p->runs[i].flags & RUN_PARENT ||
		    j->file_fd[file - 1] >= 0)
			continue;
		f = &p->mapped_files[file - 1];
		j->file_fd[file - 1] = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (j->file_fd[file - 1] < 0 || fstat(j->file_fd[file - 1], &st))
			return err_sys(err, -errno, "cannot open the mapped file '%s'", f->path);
		if (st.st_ino != f->ino)
			return err_sys(err, -ESTALE, "cannot open the mapped file '%s'", f->path);
	}
	return 0;
}

int job_plan_copy(struct job *j, struct err *err)
{
	struct process *p = j->proc;
	uint64_t at = 0;

	if (!p->places_given)
		memory_place_runs(p);
	j->run_at = io_alloc(p->nruns + 1, sizeof(*j->run_at), err);
	j->file_fd = io_alloc(p->nmapped_files + 1, sizeof(*j->file_fd), err);
	if (!j->run_at || !j->file_fd)
		return err->error;
	for (size_t i = 0; i < p->nmapped_files; i++)
		j->file_fd[i] = -1;
	for (size_t i = 0; i < p->nruns; i++) {
		j->run_at[i] = at;
		at += p->runs[i].len;
	}
	j->run_at[p->nruns] = at;
	return open_files(j, err);
}
