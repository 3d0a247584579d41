/*
 * The reader of compressed images.  The input is taken as such a file; then as an image with
 * right checksums, which is compressed in frames, with a table of them that lies: the first
 * bytes say where and how.
 */
#include <zstd.h>

#include "../unit/image_bytes.h"
#include "fuzz.h"
#include "image/packed.h"

#define FRAMES 4

static void offer(struct bytes b)
{
	struct err err = ERR_INIT;
	int ret = bytes_read(b, &err);

	ALWAYS(ret <= 0);
	if (!ret)
		return;
	ALWAYS(ret == -EBADMSG && err.exit == EXIT_BAD_IMAGE);
	ALWAYS(err.what[0] && err.hint[0] && strstr(err.what, "/proc/self/fd/"));
}

static void add(struct bytes *to, const void *p, size_t n)
{
	to->p = realloc(to->p, to->n + n);
	memcpy(to->p + to->n, p, n);
	to->n += n;
}

/* lies: for each frame a byte that is added to its sizes, if it is not 0. */
static struct bytes pack(struct bytes plain, const uint8_t *lies)
{
	struct pack_head head = {PACK_SKIPPED,
				 FRAMES * sizeof(struct pack_entry) + sizeof(struct pack_foot)};
	struct pack_foot foot = {.frames = FRAMES};
	const uint32_t magic = PACK_TABLE_MAGIC;
	struct pack_entry entries[FRAMES];
	struct bytes all = {NULL, 0};

	for (size_t i = 0; i < FRAMES; i++) {
		size_t from = plain.n * i / FRAMES, len = plain.n * (i + 1) / FRAMES - from;
		size_t room = ZSTD_compressBound(len);
		uint8_t *packed = malloc(room);
		size_t n = ZSTD_compress(packed, room, plain.p + from, len, 1);

		ALWAYS(!ZSTD_isError(n));
		add(&all, packed, n);
		free(packed);
		entries[i] = (struct pack_entry){(uint32_t)n + (lies[i] & 15),
						 (uint32_t)len + (lies[i] >> 4) * 4096};
	}
	memcpy(foot.magic, &magic, sizeof(foot.magic));
	add(&all, &head, sizeof(head));
	add(&all, entries, sizeof(entries));
	add(&all, &foot, sizeof(foot));
	return all;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = {malloc(size ? size : 1), size}, packed;
	uint8_t lies[FRAMES] = {0};

	memcpy(b.p, data, size);
	offer(b);
	if (size > FRAMES) {
		memcpy(lies, data, FRAMES);
		memmove(b.p, data + FRAMES, size - FRAMES);
		b.n -= FRAMES;
		bytes_seal(b);
		packed = pack(b, lies);
		offer(packed);
		free(packed.p);
	}
	free(b.p);
	return 0;
}
