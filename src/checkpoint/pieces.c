/*
 * Copying of listed pieces: see pieces.h.
 *
 * A batch is at most IMAGE_BLOCK bytes of pieces that follow each other in the
 * list, read by one process_vm_readv(2), and never goes on behind the end of a block
 * of the image: so the large pieces of a first round become whole blocks, which
 * get their checksum while they are in the cache.
 */
#include "checkpoint/pieces.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"

#define BATCH_PIECES (IMAGE_BLOCK / PAGE_SIZE_4K)

struct pool {
	struct job *j;
	const struct slot_list *pieces;
	int mem;
	bool is_running;
	pthread_mutex_t lock; /* over what follows */
	size_t next;          /* piece, and how much of it is taken */
	uint64_t skip, taken, all;
	struct err err;
	atomic_int failed;
};

struct batch_of {
	struct iovec from[BATCH_PIECES];
	uint64_t to[BATCH_PIECES];
	size_t n, bytes;
};

static bool take(struct pool *p, struct batch_of *b)
{
	b->n = b->bytes = 0;
	pthread_mutex_lock(&p->lock);
	while (p->next < p->pieces->n && b->n < BATCH_PIECES && b->bytes < IMAGE_BLOCK) {
		const struct slot *s = &p->pieces->v[p->next];
		uint64_t at = s->off + p->skip, len = s->len - p->skip;

		if (len > IMAGE_BLOCK - at % IMAGE_BLOCK)
			len = IMAGE_BLOCK - at % IMAGE_BLOCK;
		if (len > IMAGE_BLOCK - b->bytes)
			break; /* it begins the next batch */
		b->from[b->n] = (struct iovec){(void *)(uintptr_t)(s->start + p->skip), len};
		b->to[b->n++] = at;
		b->bytes += len;
		p->skip += len;
		if (p->skip == s->len) {
			p->next++;
			p->skip = 0;
		}
		if ((at + len) % IMAGE_BLOCK == 0)
			break;
	}
	p->taken += b->bytes;
	pthread_mutex_unlock(&p->lock);
	return b->n > 0;
}

/* Page by page: through protections, and past those that are not there. */
static int read_pages(struct pool *p, const struct iovec *from, uint8_t *to, struct err *err)
{
	for (size_t done = 0; done < from->iov_len; done += PAGE_SIZE_4K) {
		uint64_t addr = (uintptr_t)from->iov_base + done;
		int ret = io_pread_all(p->mem, to + done, PAGE_SIZE_4K, addr);

		if (!ret)
			continue;
		if (!p->is_running)
			return err_sys(err, ret, "cannot read the memory at %#llx of process %d",
				       (unsigned long long)addr, p->j->o->pid);
		memset(to + done, 0, PAGE_SIZE_4K);
	}
	return 0;
}

static int read_batch(struct pool *p, const struct batch_of *b, uint8_t *buf, struct err *err)
{
	struct iovec local = {buf, b->bytes};

	if (process_vm_readv(p->j->source->speaker, &local, 1, b->from, b->n, 0) ==
	    (ssize_t)b->bytes)
		return 0;
	for (size_t i = 0; i < b->n; i++) {
		int ret = read_pages(p, &b->from[i], buf, err);

		if (ret)
			return ret;
		buf += b->from[i].iov_len;
	}
	return 0;
}

/* Neighbours in the image are written in one go. */
static int write_batch(struct pool *p, const struct batch_of *b, const uint8_t *buf,
		       struct err *err)
{
	for (size_t i = 0; i < b->n;) {
		uint64_t at = b->to[i], len = 0;
		int ret;

		for (; i < b->n && b->to[i] == at + len; i++)
			len += b->from[i].iov_len;
		if ((ret = image_writer_put(p->j->writer, at, buf, len)))
			return image_writer_fail(p->j->writer, ret, err);
		buf += len;
	}
	return 0;
}

static void *copier(void *arg)
{
	struct pool *p = arg;
	uint8_t *buf = mmap(NULL, IMAGE_BLOCK, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct err err = ERR_INIT;
	struct batch_of b;
	int ret = buf == MAP_FAILED ? err_set(&err, -ENOMEM, "out of memory") : 0;

	while (!ret && !atomic_load(&p->failed) && take(p, &b)) {
		if (!(ret = read_batch(p, &b, buf, &err)))
			ret = write_batch(p, &b, buf, &err);
		fault_point("pieces copied");
		if (!ret && job_is_cancelled(p->j))
			ret = err_set(&err, -ECANCELED, "interrupted");
	}
	if (ret) {
		pthread_mutex_lock(&p->lock);
		if (!atomic_exchange(&p->failed, 1))
			p->err = err;
		pthread_mutex_unlock(&p->lock);
	}
	if (buf != MAP_FAILED)
		munmap(buf, IMAGE_BLOCK);
	return NULL;
}

int pieces_copy(struct job *j, const struct slot_list *pieces, int mem, bool is_running,
		struct err *err)
{
	struct pool p = {
		.j = j,
		.pieces = pieces,
		.mem = mem,
		.is_running = is_running,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.err = ERR_INIT,
	};
	for (size_t i = 0; i < pieces->n; i++)
		p.all += pieces->v[i].len;
	job_run_copiers(job_copiers(j, p.all, is_running || j->source == &j->snapshot), copier, &p);
	if (!atomic_load(&p.failed))
		return 0;
	*err = p.err;
	return err->error;
}
