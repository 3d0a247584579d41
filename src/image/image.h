/*
 * The image: an ELF core file with notes of our own.  docs/IMAGE-FORMAT.md is
 * normative.  This layer knows files, notes, segments and checksums; it knows
 * nothing of processes.
 *
 *   0     ELF header, then the superblock: the rest of the first 4 KiB
 *   4096  data area: stored pages, contiguous, in blocks of IMAGE_BLOCK
 *   D     notes (one PT_NOTE)
 *   P     program headers (PN_XNUM: one section header follows them)
 *   H     checksums: XXH3-64 of each data block, then of each meta block
 *         (blocks of IMAGE_BLOCK over [D, H)); the superblock holds the
 *         checksum of this table and of the first page
 */
#ifndef GODWIT_IMAGE_IMAGE_H
#define GODWIT_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define IMAGE_BLOCK (512u << 10)
#define IMAGE_DATA_START 4096u

/* Note types under the owner "GODWIT".  Numbers are never reused. */
enum image_note_type {
	NOTE_SYSTEM = 1,  /* tool, time, host, kernel, CPU */
	NOTE_PROCESS = 2, /* ids, names, limits: state/ids, state/surroundings */
	NOTE_MAPPINGS = 3,
	NOTE_RUNS = 4,   /* which ranges are in the data area, in its order */
	NOTE_THREAD = 5, /* one per thread, after its NT_PRSTATUS */
	NOTE_SIGNALS = 6,
	NOTE_TIMERS = 7,
	NOTE_FILES = 8,
};

/* --- writing --- */

struct image_writer;

/*
 * Starts an image that will replace `path` when committed.  Until then the
 * bytes are in an unnamed file (O_TMPFILE) in the same directory, or, where
 * the file system has none, in a temporary file `path`.godwit-XXXXXX.  Mode 0600.
 * An existing `path` that is no regular file is refused.
 */
int image_writer_open(const char *path, struct image_writer **ret, struct err *err) __must_check;

/* Says how many bytes the data area has (a multiple of 4096): fixes where the
 * notes begin.  Once, before the first note or block.  Reserves nothing. */
int image_writer_set_data_size(struct image_writer *w, uint64_t bytes,
			       struct err *err) __must_check;

/*
 * Writes data block `index` (its bytes start at IMAGE_DATA_START + index *
 * IMAGE_BLOCK; len is IMAGE_BLOCK but for the last block) and keeps its checksum.
 * May be called from several threads at once, for different blocks.
 * 0 or a negative errno.
 */
int image_writer_block(struct image_writer *w, uint64_t index, const void *data,
		       size_t len) __must_check;
/* Number of blocks of the data area. */
uint64_t image_writer_blocks(const struct image_writer *w);

/* Appends a note; streamed to the file through a buffer of fixed size. */
int image_writer_note(struct image_writer *w, const char *owner, uint32_t type, const void *desc,
		      size_t len, struct err *err) __must_check;
/* The same in parts: the size first, then the bytes, in any number of pieces. */
int image_writer_note_begin(struct image_writer *w, const char *owner, uint32_t type, size_t len,
			    struct err *err) __must_check;
int image_writer_note_add(struct image_writer *w, const void *part, size_t len,
			  struct err *err) __must_check;

/* Appends a PT_LOAD.  flags are PF_R|PF_W|PF_X; file_off is meaningless when
 * filesz is 0.  After the last note.  Streamed as well. */
int image_writer_segment(struct image_writer *w, uint64_t vaddr, uint64_t memsz, uint64_t file_off,
			 uint64_t filesz, uint32_t flags, struct err *err) __must_check;

/*
 * Completes the file: checksums, superblock, fsync, atomic rename over `path`,
 * fsync of the directory.  On failure nothing of ours is left and the old
 * `path` is untouched.  Every data block must have been written.
 */
int image_writer_commit(struct image_writer *w, struct err *err) __must_check;
/* Frees; when not committed, drops the temporary file.  Accepts NULL. */
void image_writer_close(struct image_writer *w);
/* Total bytes of the file, valid after commit. */
uint64_t image_writer_size(const struct image_writer *w);

/* --- reading --- */

struct image;

/*
 * Opens and checks everything but the data blocks: ELF header, superblock,
 * version and feature bits, table sizes against the file size, checksums of
 * notes and headers, well-formed notes.  A file that is no image, damaged or
 * too new gives -EBADMSG, exit 5, naming the place, with a hint.
 */
int image_open(const char *path, struct image **ret, struct err *err) __must_check;
void image_close(struct image *img);

struct image_note {
	const char *owner; /* "CORE", "LINUX", "GODWIT" */
	uint32_t type;
	const uint8_t *desc; /* valid until image_close, see image_note_next */
	size_t len;
	uint64_t offset; /* of desc in the file */
};

/*
 * Walks the notes: start with *cursor = 0.  Returns 1 and fills *ret, 0 at the
 * end, or a negative errno.  The notes are mapped from the file, not copied.
 */
int image_note_next(struct image *img, size_t *cursor, struct image_note *ret) __must_check;
/* First note of this owner and type: 1, or 0 when there is none. */
int image_note_find(struct image *img, const char *owner, uint32_t type,
		    struct image_note *ret) __must_check;

int image_fd(const struct image *img);
const char *image_path(const struct image *img);
uint64_t image_data_size(const struct image *img); /* bytes of the data area */
uint64_t image_file_size(const struct image *img);
uint64_t image_blocks(const struct image *img);
/* Reads data block `index` to buf (IMAGE_BLOCK bytes) and checks its checksum;
 * returns its length, or a negative errno: -EBADMSG names the file range in err. */
int image_read_block(struct image *img, uint64_t index, void *buf, struct err *err) __must_check;
/* Checks the data blocks [first, end).  Uses 1 MiB of memory at most. */
int image_verify_blocks(struct image *img, uint64_t first, uint64_t end,
			struct err *err) __must_check;

/* PT_LOAD segments, for structure checks and for printing. */
struct image_segment {
	uint64_t vaddr, memsz, file_off, filesz;
	uint32_t flags;
};
uint64_t image_segments(const struct image *img);
int image_segment_get(const struct image *img, uint64_t index,
		      struct image_segment *ret) __must_check;

/* XXH3-64, the checksum of the format. */
uint64_t image_hash(const void *data, size_t len);

#endif
