/* An image made around the notes that a fuzzer gives, with right checksums. */
#ifndef GODWIT_TEST_IMAGE_AROUND_H
#define GODWIT_TEST_IMAGE_AROUND_H

#include "../unit/image_bytes.h"

/* data_size bytes of memory, all zero. */
static inline struct bytes image_around(const uint8_t *notes, size_t size, uint64_t data_size)
{
	struct image_first_page page;
	Elf64_Phdr note;
	struct bytes b;

	image_layout(&page, data_size, size, 1);
	note = image_note_phdr(&page.super);
	b = (struct bytes){calloc(1, page.super.file_size), page.super.file_size};
	memcpy(b.p, &page, sizeof(page));
	memcpy(b.p + IMAGE_DATA_START + data_size, notes, size);
	memcpy(b.p + page.super.phdr_off, &note, sizeof(note));
	bytes_seal(b);
	return b;
}

/* The bytes as an open file, and a name for it.  -1 when there is none. */
static inline int image_file(struct bytes b, char path[64])
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	snprintf(path, 64, "/proc/self/fd/%d", fd);
	if (fd >= 0 && io_write_all(fd, b.p, b.n)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Opened, or NULL when the reader refuses it. */
static inline struct image *image_opened(struct bytes b)
{
	struct err err = ERR_INIT;
	struct image *img = NULL;
	char path[64];
	int fd = image_file(b, path);

	if (fd < 0 || image_open(path, &img, &err))
		img = NULL;
	if (fd >= 0)
		close(fd);
	return img;
}

#endif
