/*
 * Files that are taken along (--copy-files), as both sides speak of them: frames CARRY,
 * FILE and CARRIED, docs/PROTOCOL.md, section 5.
 */
#ifndef GODWIT_MIGRATE_CARRY_H
#define GODWIT_MIGRATE_CARRY_H

#include "migrate/proto.h"

#define CARRY_MAX 65536u                   /* files of one list */
#define CARRY_DATA (512u << 10)            /* bytes of one FILE frame, unpacked */
#define CARRY_BLOCK (64u << 10)            /* a piece begins at a multiple of it */
#define CARRY_FRAME_MAX (CARRY_DATA + 64u) /* of a FILE frame */

enum carry_type { CARRY_FILE = 1, CARRY_FOLDER = 2 };

struct carried {
	char *path; /* absolute */
	uint32_t type;
	uint32_t mode; /* permissions */
	uint64_t dev, ino, size;
	int64_t mtime_ns;
};

struct carry_list {
	struct carried *v;
	size_t n, cap;
};

/* Refuses a path that is not plain and absolute, and all else that is impossible: bad. */
void carry_codec(struct codec *c, struct carry_list *l);
void carry_list_done(struct carry_list *l);
/* The one of that path, or NULL. */
struct carried *carry_find(const struct carry_list *l, const char *path);

/* Bytes of a file. */
struct carry_piece {
	uint32_t index; /* in the list */
	uint32_t packing;
	uint64_t at, len; /* len: unpacked */
	const uint8_t *data;
};

/* The head of the frame, before the data. */
void carry_piece_encode(const struct carry_piece *p, struct buf *out);
/* data points into the frame, or to unpacked (CARRY_DATA bytes). */
int carry_piece_decode(const void *frame, size_t len, uint8_t *unpacked, struct carry_piece *ret,
		       struct err *err) __must_check;

#endif
