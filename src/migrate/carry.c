/* Frames of files that are taken along: see carry.h. */
#include "migrate/carry.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define CARRIED_MIN 44u /* bytes of one in the list */
#define HEAD 24u

/* No "..", no "." and no empty names in it: it is what the kernel calls a file. */
static bool is_plain(const char *path)
{
	size_t len = strlen(path);

	if (path[0] != '/' || len < 2 || len >= PATH_MAX - 64)
		return false;
	for (const char *p = path; *p; p += 1 + strcspn(p + 1, "/")) {
		size_t n = strcspn(p + 1, "/");

		if (!n || n > NAME_MAX || (n == 1 && p[1] == '.') ||
		    (n == 2 && p[1] == '.' && p[2] == '.'))
			return false;
	}
	return true;
}

void carry_codec(struct codec *c, struct carry_list *l)
{
	codec_array(c, &l->v, &l->n, sizeof(*l->v), CARRIED_MIN, CARRY_MAX);
	for (size_t i = 0; i < l->n && !c->bad; i++) {
		struct carried *f = &l->v[i];

		codec_str(c, &f->path);
		codec_u32(c, &f->type);
		codec_u32(c, &f->mode);
		codec_u64(c, &f->dev);
		codec_u64(c, &f->ino);
		codec_u64(c, &f->size);
		codec_i64(c, &f->mtime_ns);
		if (!f->path || !is_plain(f->path) || f->mode & ~07777u || f->size > INT64_MAX ||
		    f->mtime_ns < 0 || (f->type != CARRY_FILE && f->type != CARRY_FOLDER))
			c->bad = true;
	}
	if (!c->writing)
		l->cap = l->n;
}

void carry_list_done(struct carry_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].path);
	free(l->v);
	*l = (struct carry_list){0};
}

struct carried *carry_find(const struct carry_list *l, const char *path)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->v[i].path, path))
			return &l->v[i];
	return NULL;
}

void carry_piece_encode(const struct carry_piece *p, struct buf *out)
{
	struct codec c = codec_writer(out);
	struct carry_piece q = *p;

	codec_u32(&c, &q.index);
	codec_u32(&c, &q.packing);
	codec_u64(&c, &q.at);
	codec_u64(&c, &q.len);
}

int carry_piece_decode(const void *frame, size_t len, uint8_t *unpacked, struct carry_piece *p,
		       struct err *err)
{
	struct codec c = codec_reader(frame, len);
	const uint8_t *data = (const uint8_t *)frame + HEAD;
	bool good;

	codec_u32(&c, &p->index);
	codec_u32(&c, &p->packing);
	codec_u64(&c, &p->at);
	codec_u64(&c, &p->len);
	good = !c.bad && p->len && p->len <= CARRY_DATA && p->at <= INT64_MAX - p->len;
	if (good && p->packing == PACKING_NONE) {
		p->data = data;
		good = len - HEAD == p->len;
	} else if (good) {
		p->data = unpacked;
		good = p->packing == PACKING_ZSTD &&
		       ZSTD_decompress(unpacked, p->len, data, len - HEAD) == p->len;
	}
	if (good)
		return 0;
	err_set(err, -EBADMSG, "a frame of a file is malformed");
	err->exit = EXIT_BAD_IMAGE;
	return err->error;
}
