/*
 * An image as bytes in memory, to be changed and offered to the reader again:
 * as it is, or resealed, which makes all checksums right again, as somebody
 * would who forges an image on purpose.
 */
#ifndef GODWIT_TEST_IMAGE_BYTES_H
#define GODWIT_TEST_IMAGE_BYTES_H

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/format.h"
#include "image_sample.h"

struct bytes {
	uint8_t *p;
	size_t n;
};

/* The file's content, or {NULL, 0}. */
static inline struct bytes bytes_of_file(const char *path)
{
	struct bytes b = {NULL, 0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return b;
	b.n = (size_t)st.st_size;
	b.p = malloc(b.n ? b.n : 1);
	if (b.p && io_read_all(fd, b.p, b.n))
		b.n = 0;
	close(fd);
	return b;
}

static inline struct image_first_page *bytes_page(struct bytes b)
{
	return (struct image_first_page *)(void *)b.p;
}

/* Makes the first page's checksum right. */
static inline void bytes_seal_page(struct bytes b)
{
	if (b.n >= IMAGE_DATA_START)
		bytes_page(b)->page_hash =
			image_hash(b.p, offsetof(struct image_first_page, page_hash));
}

/* Writes the sums of the blocks of [from, to) into the table, from entry `slot`. */
static inline void bytes_seal_area(struct bytes b, uint64_t from, uint64_t to, uint64_t slot)
{
	uint64_t table = bytes_page(b)->super.sums_off;

	for (uint64_t i = 0; i < image_blocks_of(to - from); i++) {
		uint64_t sum =
			image_hash(b.p + from + i * IMAGE_BLOCK, image_block_len(to - from, i));

		if (table + 8 * (slot + i + 1) <= b.n)
			memcpy(b.p + table + 8 * (slot + i), &sum, 8);
	}
}

/* Makes every checksum right that lies within the bytes. */
static inline void bytes_seal(struct bytes b)
{
	struct image_super *s = &bytes_page(b)->super;
	uint64_t notes;

	if (b.n < IMAGE_DATA_START)
		return;
	notes = IMAGE_DATA_START + s->data_size;
	if (s->data_size <= b.n && notes <= s->sums_off && s->sums_off <= b.n) {
		bytes_seal_area(b, IMAGE_DATA_START, notes, 0);
		bytes_seal_area(b, notes, s->sums_off, image_blocks_of(s->data_size));
		if (s->file_size >= s->sums_off && s->file_size <= b.n)
			s->sums_hash = image_hash(b.p + s->sums_off, s->file_size - s->sums_off);
	}
	bytes_seal_page(b);
}

/* Offers the bytes to the reader: all that image_open and verification do, and
 * a walk over all that it hands out.  0 or a negative errno. */
static inline int bytes_read(struct bytes b, struct err *err)
{
	int fd = memfd_create("image", MFD_CLOEXEC), ret;
	struct image_segment seg;
	struct image_note n;
	size_t cursor = 0;
	struct image *img;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ret = io_write_all(fd, b.p, b.n);
	if (!ret)
		ret = image_open(path, &img, err);
	close(fd);
	if (ret)
		return ret;
	while (image_note_next(img, &cursor, &n) == 1) {
		void *copy = malloc(n.len ? n.len : 1);

		if (!ret)
			ret = image_note_read(img, &n, copy, err);
		free(copy);
	}
	for (uint64_t i = 0; i < image_segments(img) && !ret; i++)
		ret = image_segment_get(img, i, &seg);
	if (!ret)
		ret = image_verify_blocks(img, 0, image_blocks(img), NULL, err);
	image_close(img);
	return ret;
}

#endif
