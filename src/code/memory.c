/* Where an analysis reads: an image, or a process. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "code/code.h"
#include "state/chain.h"
#include "state/memory.h"

struct code_image {
	const struct process *p;
	struct chain chain;
	struct run *runs; /* by address */
	size_t nruns;
	int *fds; /* per mapped file: -1 where it is another now; -2: not looked at */
};

/* The last of those that begin at or before the address. */
static const struct run *run_at(const struct code_image *ci, uint64_t addr)
{
	size_t lo = 0, hi = ci->nruns;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (ci->runs[mid].start + ci->runs[mid].len <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < ci->nruns ? &ci->runs[lo] : NULL;
}

static const struct mapping *mapping_at(const struct process *p, uint64_t addr)
{
	for (size_t i = 0; i < p->nmappings; i++)
		if (addr >= p->mappings[i].start && addr < p->mappings[i].end)
			return &p->mappings[i];
	return NULL;
}

/* Not in the image: the mapped file has it, or it was never touched. */
static int read_file(struct code_image *ci, const struct mapping *m, uint64_t addr, uint8_t *buf,
		     size_t len)
{
	const struct mapped_file *f;
	ssize_t n;
	int *fd;

	memset(buf, 0, len);
	if (!m->file)
		return 0;
	f = &ci->p->mapped_files[m->file - 1];
	fd = &ci->fds[m->file - 1];
	if (*fd == -2)
		*fd = memory_file_matches(f) ? open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
					     : -1;
	if (*fd < 0)
		return -ENODATA;
	n = pread(*fd, buf, len, (off_t)(addr - m->start + m->offset));
	return n < 0 ? -errno : 0;
}

static int read_image(void *arg, uint64_t addr, void *buf, size_t len)
{
	struct code_image *ci = arg;
	struct err ignored = ERR_INIT;
	uint8_t *out = buf;

	while (len) {
		const struct mapping *m = mapping_at(ci->p, addr);
		const struct run *r = run_at(ci, addr);
		size_t n = len;
		int ret;

		if (!m)
			return -EFAULT;
		if (n > m->end - addr)
			n = (size_t)(m->end - addr);
		if (r && r->start <= addr) {
			if (n > r->start + r->len - addr)
				n = (size_t)(r->start + r->len - addr);
			ret = chain_read(&ci->chain, r, addr - r->start, out, n, &ignored);
		} else {
			if (r && n > r->start - addr)
				n = (size_t)(r->start - addr);
			ret = read_file(ci, m, addr, out, n);
		}
		if (ret)
			return ret;
		out += n;
		addr += n;
		len -= n;
	}
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct run *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

int code_image_open(struct image *img, const struct process *p, struct code_image **ret,
		    struct code_memory *m, struct err *err)
{
	struct code_image *ci = io_alloc(1, sizeof(*ci), err);
	int error;

	if (!ci)
		return err->error;
	ci->p = p;
	if ((error = chain_open(img, (struct process *)(uintptr_t)p, &ci->chain, err))) {
		free(ci);
		return error;
	}
	ci->runs = io_alloc(p->nruns + 1, sizeof(*ci->runs), err);
	ci->fds = io_alloc(p->nmapped_files + 1, sizeof(*ci->fds), err);
	if (!ci->runs || !ci->fds) {
		code_image_close(ci);
		return err->error;
	}
	if (p->nruns)
		memcpy(ci->runs, p->runs, p->nruns * sizeof(*ci->runs));
	ci->nruns = p->nruns;
	qsort(ci->runs, ci->nruns, sizeof(*ci->runs), by_start);
	for (size_t i = 0; i < p->nmapped_files; i++)
		ci->fds[i] = -2;
	*m = (struct code_memory){.p = p, .read = read_image, .arg = ci};
	*ret = ci;
	return 0;
}

void code_image_close(struct code_image *ci)
{
	if (!ci)
		return;
	for (size_t i = 0; ci->fds && i < ci->p->nmapped_files; i++)
		if (ci->fds[i] >= 0)
			close(ci->fds[i]);
	chain_done(&ci->chain);
	free(ci->runs);
	free(ci->fds);
	free(ci);
}

static int read_remote(void *arg, uint64_t addr, void *buf, size_t len)
{
	return remote_read_force(arg, addr, buf, len);
}

void code_memory_remote(const struct process *p, const struct remote *r, struct code_memory *m)
{
	*m = (struct code_memory){
		.p = p, .read = read_remote, .arg = (struct remote *)(uintptr_t)r};
}

static int read_fd(void *arg, uint64_t addr, void *buf, size_t len)
{
	return io_pread_all(*(int *)arg, buf, len, addr);
}

void code_memory_fd(const struct process *p, int *fd, struct code_memory *m)
{
	*m = (struct code_memory){.p = p, .read = read_fd, .arg = fd};
}
