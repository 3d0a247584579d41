/*
 * The notes and the program headers of an image, read and checked in one pass.
 *
 * A cursor goes through the area block by block; each block's checksum is
 * compared before a byte of it is looked at.  Notes are copied to memory as
 * they pass, but for the largest kind (image.h); of segments nothing is kept.
 */
#include "image/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

struct cursor {
	const struct image *img;
	uint64_t start, size; /* of the area, in the file */
	uint64_t pos;         /* from start */
	uint64_t loaded;      /* blocks loaded so far */
	uint8_t *block;       /* IMAGE_BLOCK bytes: the last one loaded */
};

static uint64_t file_pos(const struct cursor *c)
{
	return c->start + c->pos;
}

static int load_block(struct cursor *c, struct err *err)
{
	uint64_t index = c->loaded, off = c->start + index * IMAGE_BLOCK, sum;
	size_t len = image_block_len(c->size, index);
	int ret = image_pread(c->img, c->block, len, off, err);

	if (!ret)
		ret = image_read_sum(c->img, image_blocks_of(image_data_size(c->img)) + index, &sum,
				     err);
	if (ret)
		return ret;
	if (image_hash(c->block, len) != sum)
		return image_damaged(c->img, err, "notes and headers do not match their checksum",
				     off, off + len);
	c->loaded++;
	return 0;
}

/* The next len bytes to `to`, or past them when it is NULL.  The caller has
 * checked that the area has them. */
static int take(struct cursor *c, void *to, uint64_t len, struct err *err)
{
	uint8_t *out = to;

	while (len) {
		uint64_t in_block = c->pos % IMAGE_BLOCK, n = IMAGE_BLOCK - in_block;

		if (c->pos / IMAGE_BLOCK >= c->loaded) {
			int ret = load_block(c, err);

			if (ret)
				return ret;
		}
		if (n > len)
			n = len;
		if (out) {
			memcpy(out, c->block + in_block, n);
			out += n;
		}
		c->pos += n;
		len -= n;
	}
	return 0;
}

/* --- notes --- */

static bool stays_in_file(const struct kept_note *n)
{
	return n->type == NT_X86_XSTATE && !strcmp(n->owner, "LINUX");
}

static int bad_note(const struct cursor *c, uint64_t from, const char *what, struct err *err)
{
	return image_damaged(c->img, err, what, from, c->start + c->img->first.super.notes_size);
}

/* Header and owner. */
static int take_note_head(struct cursor *c, struct kept_note *n, struct err *err)
{
	uint64_t from = file_pos(c), left = c->img->first.super.notes_size - c->pos;
	Elf64_Nhdr h;
	int ret;

	if (left < sizeof(h))
		return bad_note(c, from, "a note is cut off", err);
	ret = take(c, &h, sizeof(h), err);
	if (ret)
		return ret;
	left -= sizeof(h);
	if (h.n_namesz < 2 || h.n_namesz > sizeof(n->owner))
		return bad_note(c, from, "a note has an impossible owner", err);
	/* 32-bit sums in 64 bits: no overflow. */
	if (ALIGN_UP(h.n_namesz, 4) + ALIGN_UP((uint64_t)h.n_descsz, 4) > left)
		return bad_note(c, from, "a note is longer than the area of the notes", err);
	*n = (struct kept_note){.type = h.n_type, .len = h.n_descsz};
	ret = take(c, n->owner, h.n_namesz, err);
	if (!ret)
		ret = take(c, NULL, ALIGN_UP(h.n_namesz, 4) - h.n_namesz, err);
	if (!ret && strnlen(n->owner, h.n_namesz) != h.n_namesz - 1)
		return bad_note(c, from, "a note has an impossible owner", err);
	n->offset = file_pos(c);
	return ret;
}

static int take_note(struct image *img, struct cursor *c, uint64_t *kept, struct err *err)
{
	struct kept_note n, *notes;
	uint64_t from = file_pos(c);
	int ret = take_note_head(c, &n, err);

	if (ret)
		return ret;
	notes = io_grow(img->notes, &img->notes_cap, img->nnotes + 1, sizeof(*notes), err);
	if (!notes)
		return err->error;
	img->notes = notes;
	*kept += sizeof(n);
	if (!stays_in_file(&n)) {
		*kept += n.len;
		if (*kept > IMAGE_KEEP_MAX)
			return bad_note(c, from, "more notes than any process can have", err);
		n.desc = io_alloc(1, n.len, err);
		if (!n.desc)
			return err->error;
	}
	img->notes[img->nnotes++] = n; /* from here on image_close() frees it */
	ret = take(c, n.desc, n.len, err);
	return ret ? ret : take(c, NULL, ALIGN_UP((uint64_t)n.len, 4) - n.len, err);
}

/* --- program headers --- */

static int take_segment(struct cursor *c, uint64_t *last_end, struct err *err)
{
	uint64_t from = file_pos(c);
	struct image_segment seg;
	const char *wrong;
	Elf64_Phdr ph;
	int ret = take(c, &ph, sizeof(ph), err);

	if (ret)
		return ret;
	seg = (struct image_segment){ph.p_vaddr, ph.p_memsz, ph.p_offset, ph.p_filesz, ph.p_flags};
	wrong = image_segment_wrong(&seg, *last_end, image_data_size(c->img));
	if (ph.p_type != PT_LOAD || ph.p_paddr || ph.p_align != PAGE_SIZE_4K)
		wrong = "not a segment of memory";
	if (wrong) {
		char what[160];

		snprintf(what, sizeof(what), "impossible segment at address 0x%llx: %s",
			 (unsigned long long)ph.p_vaddr, wrong);
		return image_damaged(c->img, err, what, from, from + sizeof(ph));
	}
	*last_end = seg.vaddr + seg.memsz;
	return 0;
}

static int take_headers(struct cursor *c, struct err *err)
{
	const struct image_super *s = &c->img->first.super;
	Elf64_Phdr note, want = image_note_phdr(s);
	Elf64_Shdr sh, want_sh = image_xnum_shdr(s);
	uint64_t last_end = 0;
	int ret = take(c, &note, sizeof(note), err);

	if (!ret && memcmp(&note, &want, sizeof(note)))
		return image_damaged(c->img, err,
				     "the first program header is not that of the notes",
				     s->phdr_off, s->phdr_off + sizeof(note));
	for (uint64_t i = 1; !ret && i < s->phdr_count; i++)
		ret = take_segment(c, &last_end, err);
	if (ret || !image_has_xnum(s->phdr_count))
		return ret;
	ret = take(c, &sh, sizeof(sh), err);
	if (!ret && memcmp(&sh, &want_sh, sizeof(sh)))
		return image_damaged(c->img, err, "wrong section header", s->sums_off - sizeof(sh),
				     s->sums_off);
	return ret;
}

int image_load_meta(struct image *img, struct err *err)
{
	const struct image_super *s = &img->first.super;
	uint64_t start = IMAGE_DATA_START + s->data_size, kept = 0;
	struct cursor c = {.img = img, .start = start, .size = s->sums_off - start};
	int ret = 0;

	c.block = io_alloc(1, IMAGE_BLOCK, err);
	if (!c.block)
		return err->error;
	while (!ret && c.pos < s->notes_size)
		ret = take_note(img, &c, &kept, err);
	if (!ret)
		ret = take(&c, NULL, s->phdr_off - file_pos(&c), err);
	if (!ret)
		ret = take_headers(&c, err);
	free(c.block);
	return ret;
}

/* --- what others ask for --- */

int image_note_next(struct image *img, size_t *cursor, struct image_note *ret)
{
	const struct kept_note *n;

	if (*cursor >= img->nnotes)
		return 0;
	n = &img->notes[(*cursor)++];
	*ret = (struct image_note){n->owner, n->type, n->desc, n->len, n->offset};
	return 1;
}

int image_note_find(struct image *img, const char *owner, uint32_t type, struct image_note *ret)
{
	struct image_note n;

	for (size_t cursor = 0; image_note_next(img, &cursor, &n) == 1;)
		if (n.type == type && !strcmp(n.owner, owner)) {
			*ret = n;
			return 1;
		}
	return 0;
}

int image_note_read(struct image *img, const struct image_note *n, void *buf, struct err *err)
{
	if (!n->desc)
		return image_pread(img, buf, n->len, n->offset, err);
	memcpy(buf, n->desc, n->len);
	return 0;
}

uint64_t image_segments(const struct image *img)
{
	return img->first.super.phdr_count - 1;
}

int image_segment_get(const struct image *img, uint64_t index, struct image_segment *ret)
{
	const struct image_super *s = &img->first.super;
	struct image_segment seg;
	Elf64_Phdr ph;
	int error;

	if (index >= image_segments(img))
		return -EINVAL;
	error = image_get(img, &ph, sizeof(ph), s->phdr_off + (index + 1) * sizeof(ph));
	if (error)
		return error == -ENODATA ? -EBADMSG : error;
	seg = (struct image_segment){ph.p_vaddr, ph.p_memsz, ph.p_offset, ph.p_filesz, ph.p_flags};
	if (ph.p_type != PT_LOAD || image_segment_wrong(&seg, 0, s->data_size))
		return -EBADMSG;
	*ret = seg;
	return 0;
}
