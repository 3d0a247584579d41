/*
 * Compressing an image: see pack.h.
 *
 * Each thread takes the next MiB, compresses it to one of a few slots, and, unless somebody
 * does so already, writes what is complete, in order.  So none waits for another, unless
 * it is far ahead.
 */
#include "image/pack.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/io.h"
#include "image/packed.h"

#define PACK_THREADS_MAX 16u

struct slot {
	uint8_t *bytes;
	size_t len; /* 0: not complete */
};

struct packer {
	const struct image_packing *p;
	int in, out;
	uint64_t size, frames;
	struct pack_entry *entries;
	size_t room; /* of each slot */
	struct slot slots[2 * PACK_THREADS_MAX];
	unsigned nslots;
	pthread_mutex_t lock; /* over what follows */
	pthread_cond_t moved;
	uint64_t next;    /* frame to be compressed */
	uint64_t written; /* frames that are */
	uint64_t off;     /* where the next goes */
	bool is_writing;
	int failed;
};

static size_t plain_len(const struct packer *k, uint64_t frame)
{
	uint64_t left = k->size - frame * PACK_FRAME;

	return left < PACK_FRAME ? (size_t)left : PACK_FRAME;
}

/* The next frame, when its slot is free; false at the end. */
static bool take(struct packer *k, uint64_t *frame)
{
	bool is_one;

	pthread_mutex_lock(&k->lock);
	while (!k->failed && k->next < k->frames && k->next - k->written >= k->nslots)
		pthread_cond_wait(&k->moved, &k->lock);
	is_one = !k->failed && k->next < k->frames;
	*frame = k->next;
	k->next += is_one;
	pthread_mutex_unlock(&k->lock);
	return is_one;
}

static void fail(struct packer *k, int error)
{
	pthread_mutex_lock(&k->lock);
	if (!k->failed)
		k->failed = error;
	pthread_cond_broadcast(&k->moved);
	pthread_mutex_unlock(&k->lock);
}

/* Called with the lock, which is left while it writes. */
static void write_one(struct packer *k)
{
	struct slot *s = &k->slots[k->written % k->nslots];
	uint64_t done = k->written * PACK_FRAME;
	int ret;

	pthread_mutex_unlock(&k->lock);
	ret = io_pwrite_all(k->out, s->bytes, s->len, k->off);
	if (!ret && k->p->tick && !k->p->tick(k->p->arg, done, k->size))
		ret = -ECANCELED;
	pthread_mutex_lock(&k->lock);
	if (ret && !k->failed)
		k->failed = ret;
	k->entries[k->written] =
		(struct pack_entry){(uint32_t)s->len, (uint32_t)plain_len(k, k->written)};
	k->off += s->len;
	s->len = 0;
	k->written++;
	pthread_cond_broadcast(&k->moved);
}

static void complete(struct packer *k, uint64_t frame, size_t len)
{
	pthread_mutex_lock(&k->lock);
	k->slots[frame % k->nslots].len = len;
	if (!k->is_writing) {
		k->is_writing = true;
		while (!k->failed && k->written < k->frames && k->slots[k->written % k->nslots].len)
			write_one(k);
		k->is_writing = false;
	}
	pthread_mutex_unlock(&k->lock);
}

static void *work(void *arg)
{
	struct packer *k = arg;
	ZSTD_CCtx *ctx = ZSTD_createCCtx();
	uint8_t *plain = malloc(PACK_FRAME);
	int ret = ctx && plain ? 0 : -ENOMEM;
	uint64_t frame;

	if (!ret &&
	    (ZSTD_isError(ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, k->p->level)) ||
	     ZSTD_isError(ZSTD_CCtx_setParameter(ctx, ZSTD_c_checksumFlag, 1))))
		ret = -EINVAL;
	while (!ret && take(k, &frame)) {
		size_t len = plain_len(k, frame), n;

		if ((ret = io_pread_all(k->in, plain, len, frame * PACK_FRAME)))
			break;
		n = ZSTD_compress2(ctx, k->slots[frame % k->nslots].bytes, k->room, plain, len);
		if (ZSTD_isError(n))
			ret = -ENOMEM; /* the one reason that is left */
		else
			complete(k, frame, n);
	}
	if (ret)
		fail(k, ret);
	free(plain);
	ZSTD_freeCCtx(ctx);
	return NULL;
}

/* The list of frames, as a frame that is skipped. */
static int write_table(struct packer *k)
{
	size_t len = k->frames * sizeof(*k->entries);
	struct pack_head head = {PACK_SKIPPED, (uint32_t)(len + sizeof(struct pack_foot))};
	struct pack_foot foot = {.frames = (uint32_t)k->frames};
	const uint32_t magic = PACK_TABLE_MAGIC;
	int ret;

	memcpy(foot.magic, &magic, sizeof(foot.magic));
	if ((ret = io_pwrite_all(k->out, &head, sizeof(head), k->off)) ||
	    (ret = io_pwrite_all(k->out, k->entries, len, k->off + sizeof(head))))
		return ret;
	k->off += sizeof(head) + len;
	ret = io_pwrite_all(k->out, &foot, sizeof(foot), k->off);
	k->off += sizeof(foot);
	return ret;
}

static int run(struct packer *k, unsigned threads)
{
	pthread_t other[PACK_THREADS_MAX];
	unsigned started = 0;

	while (started + 1 < threads && !pthread_create(&other[started], NULL, work, k))
		started++;
	work(k);
	while (started)
		pthread_join(other[--started], NULL);
	return k->failed ? k->failed : write_table(k);
}

int image_pack(const struct image_packing *p, int in, uint64_t size, int out, uint64_t *ret,
	       struct err *err)
{
	unsigned threads = p->threads < PACK_THREADS_MAX ? p->threads : PACK_THREADS_MAX;
	struct packer k = {
		.p = p,
		.in = in,
		.out = out,
		.size = size,
		.frames = (size + PACK_FRAME - 1) / PACK_FRAME,
		.room = ZSTD_compressBound(PACK_FRAME),
		.nslots = 2 * threads,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.moved = PTHREAD_COND_INITIALIZER,
	};
	int error = 0;

	k.entries = io_alloc(k.frames, sizeof(*k.entries), err);
	if (!k.entries)
		return err->error;
	for (unsigned i = 0; i < k.nslots && !error; i++)
		if (!(k.slots[i].bytes = io_alloc(1, k.room, err)))
			error = err->error;
	if (!error)
		error = run(&k, threads);
	for (unsigned i = 0; i < k.nslots; i++)
		free(k.slots[i].bytes);
	free(k.entries);
	*ret = k.off;
	return error;
}
