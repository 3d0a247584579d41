/* What is in a compressed image (pack.h): shared by the two that write and read it.
 * Private to src/image/. */
#ifndef GODWIT_IMAGE_PACKED_H
#define GODWIT_IMAGE_PACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* docs/IMAGE-FORMAT.md, section 11. */
#define PACK_FRAME (1u << 20)     /* bytes of the image in each frame but the last */
#define PACK_FRAME_MAX (8u << 20) /* that a reader takes */
#define PACK_FRAMES_MAX (UINT64_C(1) << 27)
#define PACK_SKIPPED 0x184d2a5eu
#define PACK_TABLE_MAGIC 0x8f92eab1u

struct pack_entry {
	uint32_t packed, plain; /* bytes */
};
struct pack_head {
	uint32_t magic; /* PACK_SKIPPED */
	uint32_t len;   /* bytes that follow, to the end of the file */
};
struct pack_foot {
	uint32_t frames;
	uint8_t flags; /* 0 */
	uint8_t magic[4];
} __attribute__((packed));
_Static_assert(sizeof(struct pack_entry) == 8 && sizeof(struct pack_head) == 8 &&
		       sizeof(struct pack_foot) == 9,
	       "as on the disk");

struct packed;

/* 1 and *ret if the file of so many bytes ends in a table of frames, 0 if not; -EBADMSG if
 * the table is impossible, with the reason in *what; or another errno. */
int packed_open(int fd, uint64_t file_size, struct packed **ret, const char **what) __must_check;
void packed_close(struct packed *p);
/* Bytes of the plain image. */
uint64_t packed_size(const struct packed *p);
/* As io_pread_all; -EBADMSG: a frame is damaged.  By several threads at once. */
int packed_read(struct packed *p, void *buf, size_t len, uint64_t off) __must_check;
/* The whole plain image to the beginning of `out`, by several threads.  meter may be NULL. */
struct meter;
int packed_unpack(struct packed *p, int out, struct meter *meter) __must_check;

#endif
