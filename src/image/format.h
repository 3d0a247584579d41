/*
 * What is on the disk: docs/IMAGE-FORMAT.md, sections 2 and 3, as structs.
 * Private to src/image/.  Little endian, which all CPUs we run on are.
 */
#ifndef GODWIT_IMAGE_FORMAT_H
#define GODWIT_IMAGE_FORMAT_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>

#include "image/image.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the image is little endian");

#define IMAGE_MAGIC "GODWIT\x1a\n"
#define IMAGE_VERSION 1u
/* Features without which the image cannot be understood, and that we understand. */
#define IMAGE_REQUIRED_KNOWN (IMAGE_NEEDS_PLACES | IMAGE_NEEDS_PARENT)

/* Limits: larger values are refused, so that no sum or product can overflow. */
#define IMAGE_DATA_MAX (UINT64_C(1) << 47)     /* the user's half of the address space */
#define IMAGE_NOTES_MAX (UINT64_C(1) << 30)    /* 90,000 threads with AMX state */
#define IMAGE_SEGMENTS_MAX (UINT64_C(1) << 24) /* incl. the PT_NOTE */
#define IMAGE_OWNER_MAX 15u                    /* bytes of a note's owner, without the NUL */
#define IMAGE_KEEP_MAX (UINT64_C(256) << 20)   /* notes held in memory by a reader */

/* The first 4096 bytes of the file. */
struct image_first_page {
	Elf64_Ehdr ehdr;
	struct image_super {
		uint8_t magic[8];
		uint32_t version;
		uint32_t block;      /* IMAGE_BLOCK */
		uint64_t required;   /* feature bits */
		uint64_t optional;   /* feature bits */
		uint64_t file_size;  /* of the whole file, bytes */
		uint64_t data_size;  /* a multiple of 4096 */
		uint64_t notes_size; /* they begin at 4096 + data_size */
		uint64_t phdr_off;   /* next multiple of 8 */
		uint64_t phdr_count; /* incl. the PT_NOTE */
		uint64_t sums_off;   /* end of the program headers (or the section header) */
		uint64_t sums_hash;  /* XXH3-64 of [sums_off, file_size) */
	} super;
	uint8_t reserved[3936]; /* zero */
	uint64_t page_hash;     /* XXH3-64 of the 4088 bytes before */
};

_Static_assert(sizeof(struct image_super) == 88, "superblock");
_Static_assert(offsetof(struct image_first_page, super) == 64, "superblock offset");
_Static_assert(offsetof(struct image_first_page, page_hash) == 4088, "page hash offset");
_Static_assert(sizeof(struct image_first_page) == IMAGE_DATA_START, "first page");

static inline uint64_t image_blocks_of(uint64_t bytes)
{
	return (bytes + IMAGE_BLOCK - 1) / IMAGE_BLOCK;
}

/* Length of block `index` of an area of `bytes`; 0 when there is no such block. */
static inline size_t image_block_len(uint64_t bytes, uint64_t index)
{
	uint64_t left;

	if (index >= image_blocks_of(bytes))
		return 0;
	left = bytes - index * IMAGE_BLOCK;
	return left < IMAGE_BLOCK ? (size_t)left : IMAGE_BLOCK;
}

/*
 * Fills what follows from data_size, notes_size and phdr_count (within the
 * limits above): the rest of the superblock but the hashes, and the ELF
 * header.  The writer writes this; the reader expects exactly this.
 */
void image_layout(struct image_first_page *page, uint64_t data_size, uint64_t notes_size,
		  uint64_t phdr_count);
/* Why the segment is impossible, or NULL.  last_end: address where the one before
 * it ended. */
const char *image_segment_wrong(const struct image_segment *seg, uint64_t last_end,
				uint64_t data_size);
/* The PT_NOTE program header, the first of all. */
Elf64_Phdr image_note_phdr(const struct image_super *s);
/* Section header 0 carries the count where there are too many for e_phnum. */
Elf64_Shdr image_xnum_shdr(const struct image_super *s);
static inline bool image_has_xnum(uint64_t phdr_count)
{
	return phdr_count >= PN_XNUM;
}

#endif
