/* An image that is open: shared by the files of src/image/ that read. */
#ifndef GODWIT_IMAGE_READER_H
#define GODWIT_IMAGE_READER_H

#include "image/format.h"
#include "image/packed.h"

struct kept_note {
	char owner[IMAGE_OWNER_MAX + 1];
	uint32_t type;
	uint32_t len;
	uint8_t *desc; /* NULL when it stays in the file */
	uint64_t offset;
};

struct image {
	char *path;
	int fd;
	struct packed *packed; /* NULL: the file is not compressed */
	uint64_t actual_size;  /* bytes of the image that are there, decompressed */
	uint64_t stored_size;  /* of the file */
	struct image_first_page first;
	struct kept_note *notes;
	size_t nnotes, notes_cap;
};

/* The same as io_pread_all; -EBADMSG: a compressed part is damaged. */
int image_get(const struct image *img, void *buf, size_t len, uint64_t off) __must_check;
/* Reads exactly len bytes, or says what went wrong. */
int image_pread(const struct image *img, void *buf, size_t len, uint64_t off,
		struct err *err) __must_check;
/* Entry `index` of the table of checksums. */
int image_read_sum(const struct image *img, uint64_t index, uint64_t *ret,
		   struct err *err) __must_check;
/* "... is damaged: what (bytes from to to-1)"; -EBADMSG. */
int image_damaged(const struct image *img, struct err *err, const char *what, uint64_t from,
		  uint64_t to);
/* meta.c: checks notes and program headers and keeps the notes. */
int image_load_meta(struct image *img, struct err *err) __must_check;

#endif
