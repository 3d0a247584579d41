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

/*
 * Note types under the owner "GODWIT".  Numbers are never reused.  They keep
 * clear of the numbers of the core file notes: gdb's library looks at the type
 * alone and would take a GODWIT note of type 6 for the auxiliary vector.
 */
enum image_note_type {
	NOTE_SYSTEM = 0x47440001,  /* tool, time, host, kernel, CPU */
	NOTE_PROCESS = 0x47440002, /* ids, names, executable */
	NOTE_MAPPINGS = 0x47440003,
	NOTE_RUNS = 0x47440004,   /* which ranges are in the data area, in its order */
	NOTE_THREAD = 0x47440005, /* one per thread, after its NT_PRSTATUS */
	NOTE_SIGNALS = 0x47440006,
	NOTE_TIMERS = 0x47440007,
	NOTE_FILES = 0x47440008,
	NOTE_SURROUNDINGS = 0x47440009, /* directory, limits, personality */
	NOTE_SCHEDULING = 0x4744000a,   /* policy, nice value, CPUs; timer slack */
	NOTE_ADVICE = 0x4744000b,       /* madvise(2), mlock(2) */
	NOTE_PLACES = 0x4744000c,       /* where the runs are in the data area */
	NOTE_PARENT = 0x4744000d,       /* the image that holds the other runs */
	NOTE_POSIX_TIMERS = 0x4744000e,
	NOTE_CONTENTS = 0x4744000f,     /* of files without a name */
	NOTE_CPU = 0x47440010,          /* what the CPU could do, and its register layout */
	NOTE_TERMINAL = 0x47440011,     /* its modes */
	NOTE_FILE_SIGNALS = 0x47440012, /* F_SETOWN, F_SETSIG, O_ASYNC */
	NOTE_FLIGHT = 0x47440013,       /* descriptors that lie unread in sockets */
	NOTE_SETTINGS = 0x47440014,     /* parent-death signal, securebits, oom_score_adj, ... */
	NOTE_UNIX_UNREAD = 0x47440015,  /* datagrams in sockets with a name */
	NOTE_LEADER = 0x47440016,       /* it has ended, others run on */
	NOTE_SECCOMP = 0x47440017,      /* seccomp filters of each thread */
	NOTE_CAPABILITIES = 0x47440018, /* capabilities(7) */
	NOTE_JOB = 0x47440020,          /* what godwit run was told to run */
};

/* Required feature bits: docs/IMAGE-FORMAT.md, section 9. */
#define IMAGE_NEEDS_PLACES (UINT64_C(1) << 0) /* NOTE_PLACES says where runs are */
#define IMAGE_NEEDS_PARENT (UINT64_C(1) << 1) /* NOTE_PARENT: some runs are in another image */

/* --- writing --- */

struct image_writer;

/*
 * Starts an image that will replace `path` when committed.  Until then the
 * bytes are in an unnamed file (O_TMPFILE) in the same directory, or, where
 * the file system has none, in a temporary file `path`.godwit-N.  Mode 0600.
 * An existing `path` that is no regular file is refused, and so is a symbolic
 * link.  What a writer that was killed left under such a name, the next one
 * with the same `path` takes away.
 */
int image_writer_open(const char *path, struct image_writer **ret, struct err *err) __must_check;

/* The same in memory (memfd_create(2)): a file without a name, for a peer that has
 * the pages by another way.  Committing completes it and syncs nothing. */
int image_writer_open_memory(struct image_writer **ret, struct err *err) __must_check;
/* Its descriptor; the writer's own. */
int image_writer_fd(const struct image_writer *w);

/* Says how many bytes the data area has (a multiple of 4096, may be 0): fixes
 * where the notes begin.  Once, before the first note or block.  Reserves nothing. */
int image_writer_set_data_size(struct image_writer *w, uint64_t bytes,
			       struct err *err) __must_check;

/*
 * Writes data block `index` (its bytes start at IMAGE_DATA_START + index *
 * IMAGE_BLOCK; len is IMAGE_BLOCK but for the last block) and keeps its checksum.
 * May be called from several threads at once, for different blocks, also while
 * one other thread adds notes.  0, or a negative errno for image_writer_fail().
 */
int image_writer_block(struct image_writer *w, uint64_t index, const void *data,
		       size_t len) __must_check;
/*
 * For a data area that grows before its size is known: image_writer_reserve makes
 * room for so many bytes, while nobody puts; image_writer_put writes bytes anywhere in
 * it, any number of times, from several threads at once, for different ranges, before
 * and after the size is set; image_writer_settle, once all is put and the notes are
 * written, reads back what has no checksum yet.  What was never put is zeros.
 */
int image_writer_reserve(struct image_writer *w, uint64_t bytes, struct err *err) __must_check;
int image_writer_put(struct image_writer *w, uint64_t at, const void *data,
		     size_t len) __must_check;
int image_writer_settle(struct image_writer *w, struct err *err) __must_check;
/* Features without which a reader must not take the image: IMAGE_NEEDS_*. */
void image_writer_require(struct image_writer *w, uint64_t bits);

/* Number of blocks of the data area. */
uint64_t image_writer_blocks(const struct image_writer *w);
/* Says in *err that writing failed: path, errno, remedy.  Returns error. */
int image_writer_fail(const struct image_writer *w, int error, struct err *err);

/* Appends a note; streamed to the file through a buffer of fixed size.  owner:
 * 1 to 15 bytes. */
int image_writer_note(struct image_writer *w, const char *owner, uint32_t type, const void *desc,
		      size_t len, struct err *err) __must_check;
/* The same in parts: the size first, then the bytes, in any number of pieces. */
int image_writer_note_begin(struct image_writer *w, const char *owner, uint32_t type, size_t len,
			    struct err *err) __must_check;
int image_writer_note_add(struct image_writer *w, const void *part, size_t len,
			  struct err *err) __must_check;

/* Appends a PT_LOAD, in the order of addresses, without overlap; everything a
 * multiple of 4096.  flags are PF_R|PF_W|PF_X; file_off (in the data area) is
 * meaningless when filesz is 0.  After the last note.  Streamed as well. */
int image_writer_segment(struct image_writer *w, uint64_t vaddr, uint64_t memsz, uint64_t file_off,
			 uint64_t filesz, uint32_t flags, struct err *err) __must_check;

/*
 * Completes the image and compresses it (pack.h), to another file that replaces `path` when it
 * is committed: until this returns, there must be room for both.
 */
struct image_packing;
int image_writer_pack(struct image_writer *w, const struct image_packing *p,
		      struct err *err) __must_check;
/*
 * Completes the file: checksums, superblock, fsync, atomic rename over `path`,
 * fsync of the directory.  On failure the old `path` is untouched, and after
 * image_writer_close() nothing of ours is left.  (One exception: -EIO from the
 * last step, when the image is in place already; the message says so.)  Every
 * data block must have been written.
 */
int image_writer_commit(struct image_writer *w, struct err *err) __must_check;
/* Frees; when not committed, drops the temporary file.  Accepts NULL. */
void image_writer_close(struct image_writer *w);
/* image_id() of what was written, and the total bytes of the file, valid after commit. */
uint64_t image_writer_id(const struct image_writer *w);
uint64_t image_writer_size(const struct image_writer *w);
/* The same, but of a compressed one as it is. */
uint64_t image_writer_stored_size(const struct image_writer *w);

/* --- reading --- */

struct image;

/*
 * Opens and checks everything but the data blocks: ELF header, superblock,
 * version and feature bits, table sizes against the file size, checksums of
 * notes and headers, well-formed notes and segments.  A file that is no image,
 * damaged or too new gives -EBADMSG, exit 5, naming the place, with a hint.
 *
 * Memory: 512 KiB while it checks; after that only the notes, without those of
 * type NT_X86_XSTATE, by far the largest.  They are copied while they are
 * checked, and not mapped: a file that is cut or changed while it is in use
 * gives an error, never SIGBUS or values that nobody checked.
 */
int image_open(const char *path, struct image **ret, struct err *err) __must_check;
/* The same for a descriptor, which the image takes a copy of; name is for messages. */
int image_open_fd(int fd, const char *name, struct image **ret, struct err *err) __must_check;
void image_close(struct image *img);

struct image_note {
	const char *owner; /* "CORE", "LINUX", "GODWIT" */
	uint32_t type;
	/* Aligned for any type, valid until image_close.  NULL for NT_X86_XSTATE:
	 * image_note_read(). */
	const uint8_t *desc;
	size_t len;
	uint64_t offset; /* of desc in the file */
};

/*
 * Walks the notes: start with *cursor = 0.  Returns 1 and fills *ret, or 0 at the
 * end.
 */
int image_note_next(struct image *img, size_t *cursor, struct image_note *ret) __must_check;
/* First note of this owner and type: 1, or 0 when there is none. */
int image_note_find(struct image *img, const char *owner, uint32_t type,
		    struct image_note *ret) __must_check;
/* Reads a note's bytes, of any type, to buf (n->len bytes). */
int image_note_read(struct image *img, const struct image_note *n, void *buf,
		    struct err *err) __must_check;

/* Of an image that is not compressed; else image_unpack() first. */
int image_fd(const struct image *img);
bool image_is_packed(const struct image *img);
/*
 * Decompresses a compressed image to memory (or, where it is scarce, to a file without a
 * name in TMPDIR): from then on it is read from there.  Nothing else may use it meanwhile.  One
 * that is not compressed stays as it is.  meter may be NULL, here and below.
 */
struct meter;
int image_unpack(struct image *img, struct meter *meter, struct err *err) __must_check;
/* len bytes of the plain image, compressed or not; nothing is compared with its checksum. */
int image_read(const struct image *img, void *buf, size_t len, uint64_t off,
	       struct err *err) __must_check;
const char *image_path(const struct image *img);
uint64_t image_data_size(const struct image *img); /* bytes of the data area */
uint64_t image_file_size(const struct image *img);
/* Bytes of the file as it is: fewer, if it is compressed. */
uint64_t image_stored_size(const struct image *img);
/* Tells it from any other image: it follows from every byte. */
uint64_t image_id(const struct image *img);
uint64_t image_required(const struct image *img); /* feature bits */
uint64_t image_blocks(const struct image *img);
/* Reads data block `index` to buf (IMAGE_BLOCK bytes) and checks its checksum;
 * returns its length, or a negative errno: -EBADMSG names the file range in err.
 * May be called from several threads at once, each with its own err. */
int image_read_block(struct image *img, uint64_t index, void *buf, struct err *err) __must_check;
/* Checks the data blocks [first, end), and adds them to the meter.  Uses 512 KiB of memory. */
int image_verify_blocks(struct image *img, uint64_t first, uint64_t end, struct meter *meter,
			struct err *err) __must_check;

/* PT_LOAD segments, for structure checks and for printing. */
struct image_segment {
	uint64_t vaddr, memsz, file_off, filesz;
	uint32_t flags;
};
uint64_t image_segments(const struct image *img);
/* Reads it from the file: 0, or a negative errno (also when the file changed). */
int image_segment_get(const struct image *img, uint64_t index,
		      struct image_segment *ret) __must_check;

/* XXH3-64, the checksum of the format. */
uint64_t image_hash(const void *data, size_t len);

#endif
