/* Small images for the tests, written with the real writer. */
#ifndef GODWIT_TEST_IMAGE_SAMPLE_H
#define GODWIT_TEST_IMAGE_SAMPLE_H

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "image/image.h"

#define SAMPLE_BASE UINT64_C(0x10000000)
#define SAMPLE_XSTATE 11008
#define SAMPLE_UNKNOWN 0x47440063u /* a type that no version has */

/* Byte `pos` of the sample's data area. */
static inline uint8_t sample_byte(uint64_t pos)
{
	return (uint8_t)(pos * 31 + (pos >> 9) * 7 + (pos >> 19));
}

static inline int sample_blocks(struct image_writer *w, uint64_t data_size)
{
	uint8_t *block = malloc(IMAGE_BLOCK);
	int ret = 0;

	/* Backwards: the order is free. */
	for (uint64_t i = image_writer_blocks(w); !ret && i-- > 0;) {
		uint64_t left = data_size - i * IMAGE_BLOCK;
		size_t len = left < IMAGE_BLOCK ? (size_t)left : IMAGE_BLOCK;

		for (size_t k = 0; k < len; k++)
			block[k] = sample_byte(i * IMAGE_BLOCK + k);
		ret = image_writer_block(w, i, block, len);
	}
	free(block);
	return ret;
}

static inline int sample_notes(struct image_writer *w, unsigned threads, struct err *err)
{
	static uint8_t xstate[SAMPLE_XSTATE];
	uint8_t prstatus[336] = {0};
	int ret = image_writer_note(w, "GODWIT", NOTE_SYSTEM, "abc", 3, err);

	for (unsigned i = 0; !ret && i < threads; i++) {
		memset(xstate, (int)i, sizeof(xstate));
		memcpy(prstatus + 32, &i, sizeof(i)); /* pr_pid */
		ret = image_writer_note(w, "CORE", NT_PRSTATUS, prstatus, sizeof(prstatus), err);
		if (!ret)
			ret = image_writer_note(w, "LINUX", NT_X86_XSTATE, xstate, sizeof(xstate),
						err);
	}
	if (!ret)
		ret = image_writer_note(w, "GODWIT", SAMPLE_UNKNOWN, NULL, 0, err);
	return ret;
}

/* Pages of the data area as segments with a hole of one page after each, until
 * there are `segments`; the later ones have no bytes in the file. */
static inline int sample_segments(struct image_writer *w, uint64_t data_size, uint64_t segments,
				  struct err *err)
{
	int ret = 0;

	for (uint64_t i = 0; !ret && i < segments; i++)
		ret = image_writer_segment(w, SAMPLE_BASE + i * 8192, 4096,
					   IMAGE_DATA_START + i * 4096,
					   i * 4096 < data_size ? 4096 : 0, PF_R | PF_W, err);
	return ret;
}

/* Everything but the commit.  0 or a negative errno; *ret to be closed anyway. */
static inline int sample_begin(const char *path, uint64_t data_size, unsigned threads,
			       uint64_t segments, struct image_writer **ret, struct err *err)
{
	int error;

	*ret = NULL;
	error = image_writer_open(path, ret, err);
	if (!error)
		error = image_writer_set_data_size(*ret, data_size, err);
	if (!error)
		error = sample_blocks(*ret, data_size);
	if (error && !err->error)
		return image_writer_fail(*ret, error, err);
	if (!error)
		error = sample_notes(*ret, threads, err);
	if (!error)
		error = sample_segments(*ret, data_size, segments, err);
	return error;
}

/* An image with these sizes at path.  0 or a negative errno. */
static inline int sample_write(const char *path, uint64_t data_size, unsigned threads,
			       uint64_t segments, struct err *err)
{
	struct image_writer *w;
	int error = sample_begin(path, data_size, threads, segments, &w, err);

	if (!error)
		error = image_writer_commit(w, err);
	image_writer_close(w);
	return error;
}

#endif
