/*
 * Reading a compressed image: see pack.h and packed.h.
 *
 * The file is the work of anybody.  A frame is decompressed in one go to a buffer of the
 * size that the table promises, at most PACK_FRAME_MAX: so no window, no dictionary and
 * no size that a frame claims for itself costs memory, and a frame that gives more or less
 * is damaged.  How much all frames give together is compared with the superblock
 * before anything but the first page is looked at (reader.c).
 */
#include "image/packed.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/io.h"
#include "base/meter.h"

#define THREADS_MAX 4u

struct packed {
	int fd; /* the caller's */
	uint64_t frames;
	uint64_t *packed_at, *plain_at; /* [frames]: the end */
	uint32_t packed_max, plain_max; /* of any frame */
	pthread_mutex_t lock;           /* over what follows */
	ZSTD_DCtx *ctx;
	uint8_t *from, *bytes;
	uint64_t held; /* frame that `bytes` is; frames: none */
};

static int read_entries(struct packed *p, const struct pack_entry *v, uint64_t packed_end,
			const char **what)
{
	uint64_t packed = 0, plain = 0;

	for (uint64_t i = 0; i < p->frames; i++) {
		p->packed_at[i] = packed;
		p->plain_at[i] = plain;
		if (!v[i].plain || v[i].plain > PACK_FRAME_MAX || !v[i].packed ||
		    v[i].packed > ZSTD_COMPRESSBOUND(v[i].plain)) {
			*what = "the table of its frames has an impossible size";
			return -EBADMSG;
		}
		packed += v[i].packed;
		plain += v[i].plain;
		if (v[i].packed > p->packed_max)
			p->packed_max = v[i].packed;
		if (v[i].plain > p->plain_max)
			p->plain_max = v[i].plain;
	}
	p->packed_at[p->frames] = packed;
	p->plain_at[p->frames] = plain;
	if (packed == packed_end)
		return 0;
	*what = "the table of its frames does not fit its length";
	return -EBADMSG;
}

static int read_table(struct packed *p, uint64_t file_size, const struct pack_foot *foot,
		      const char **what)
{
	uint64_t len = (uint64_t)foot->frames * sizeof(struct pack_entry);
	uint64_t all = sizeof(struct pack_head) + len + sizeof(*foot);
	__cleanup_free struct pack_entry *v = NULL;
	struct pack_head head;
	int ret;

	*what = "the table of its frames is impossible";
	if (!foot->frames || foot->frames > PACK_FRAMES_MAX || foot->flags || all > file_size)
		return -EBADMSG;
	if ((ret = io_pread_all(p->fd, &head, sizeof(head), file_size - all)))
		return ret;
	if (head.magic != PACK_SKIPPED || head.len != len + sizeof(*foot))
		return -EBADMSG;
	p->frames = foot->frames;
	v = malloc(len);
	p->packed_at = calloc(p->frames + 1, sizeof(uint64_t));
	p->plain_at = calloc(p->frames + 1, sizeof(uint64_t));
	if (!v || !p->packed_at || !p->plain_at)
		return -ENOMEM;
	ret = io_pread_all(p->fd, v, len, file_size - all + sizeof(head));
	return ret ? ret : read_entries(p, v, file_size - all, what);
}

int packed_open(int fd, uint64_t file_size, struct packed **ret, const char **what)
{
	const uint32_t magic = PACK_TABLE_MAGIC;
	struct pack_foot foot;
	struct packed *p;
	int error;

	if (file_size < sizeof(foot))
		return 0;
	if ((error = io_pread_all(fd, &foot, sizeof(foot), file_size - sizeof(foot))))
		return error;
	if (memcmp(foot.magic, &magic, sizeof(foot.magic)))
		return 0;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->fd = fd;
	pthread_mutex_init(&p->lock, NULL);
	error = read_table(p, file_size, &foot, what);
	if (!error) {
		p->held = p->frames;
		p->ctx = ZSTD_createDCtx();
		p->from = malloc(p->packed_max);
		p->bytes = malloc(p->plain_max);
		error = p->ctx && p->from && p->bytes ? 0 : -ENOMEM;
	}
	if (error) {
		packed_close(p);
		return error;
	}
	*ret = p;
	return 1;
}

void packed_close(struct packed *p)
{
	if (!p)
		return;
	ZSTD_freeDCtx(p->ctx);
	free(p->from);
	free(p->bytes);
	free(p->packed_at);
	free(p->plain_at);
	free(p);
}

uint64_t packed_size(const struct packed *p)
{
	return p->plain_at[p->frames];
}

/* Frame i to `bytes`, by way of `from`, which have room for any. */
static int read_frame(const struct packed *p, ZSTD_DCtx *ctx, uint64_t i, uint8_t *from,
		      uint8_t *bytes)
{
	size_t len = p->packed_at[i + 1] - p->packed_at[i];
	size_t want = p->plain_at[i + 1] - p->plain_at[i];
	int ret = io_pread_all(p->fd, from, len, p->packed_at[i]);

	if (ret)
		return ret;
	/* One frame and nothing else: a frame that is skipped would hide what is no image. */
	if (ZSTD_findFrameCompressedSize(from, len) != len ||
	    ZSTD_decompressDCtx(ctx, bytes, want, from, len) != want)
		return -EBADMSG;
	return 0;
}

static uint64_t find_frame(const struct packed *p, uint64_t off)
{
	uint64_t lo = 0, hi = p->frames;

	while (hi - lo > 1) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (p->plain_at[mid] <= off)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

int packed_read(struct packed *p, void *buf, size_t len, uint64_t off)
{
	uint8_t *to = buf;
	int ret = 0;

	if (off > packed_size(p) || len > packed_size(p) - off)
		return -ENODATA;
	pthread_mutex_lock(&p->lock);
	while (len && !ret) {
		uint64_t i = find_frame(p, off);
		size_t skip = off - p->plain_at[i], n = p->plain_at[i + 1] - off;

		if (n > len)
			n = len;
		if (p->held != i) {
			p->held = p->frames;
			if ((ret = read_frame(p, p->ctx, i, p->from, p->bytes)))
				break;
			p->held = i;
		}
		memcpy(to, p->bytes + skip, n);
		to += n;
		off += n;
		len -= n;
	}
	pthread_mutex_unlock(&p->lock);
	return ret;
}

/* --- all of it --- */

struct unpacker {
	const struct packed *p;
	int out;
	struct meter *meter; /* read by the caller's thread */
	pthread_t caller;
	_Atomic uint64_t next, done;
	_Atomic int failed;
};

static void *work(void *arg)
{
	struct unpacker *u = arg;
	const struct packed *p = u->p;
	ZSTD_DCtx *ctx = ZSTD_createDCtx();
	uint8_t *from = malloc(p->packed_max), *bytes = malloc(p->plain_max);
	int ret = ctx && from && bytes ? 0 : -ENOMEM;

	while (!ret && !u->failed) {
		uint64_t i = u->next++;

		if (i >= p->frames)
			break;
		if (!(ret = read_frame(p, ctx, i, from, bytes)))
			ret = io_pwrite_all(u->out, bytes, p->plain_at[i + 1] - p->plain_at[i],
					    p->plain_at[i]);
		u->done += p->plain_at[i + 1] - p->plain_at[i];
		if (pthread_equal(pthread_self(), u->caller))
			meter_set(u->meter, u->done);
	}
	if (ret)
		u->failed = ret;
	free(from);
	free(bytes);
	ZSTD_freeDCtx(ctx);
	return NULL;
}

int packed_unpack(struct packed *p, int out, struct meter *meter)
{
	struct unpacker u = {.p = p, .out = out, .meter = meter, .caller = pthread_self()};
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t other[THREADS_MAX];
	unsigned started = 0;

	while (started + 1 < THREADS_MAX && (long)started + 1 < cpus &&
	       !pthread_create(&other[started], NULL, work, &u))
		started++;
	work(&u);
	while (started)
		pthread_join(other[--started], NULL);
	return u.failed;
}
