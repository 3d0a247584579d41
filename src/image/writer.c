/*
 * Writes an image: see image.h for the interface and the order in the file.
 *
 * Data blocks come in any order, from several threads: each is one pwrite and
 * one hash.  Notes and headers come as a stream through one buffer, exactly a
 * meta block: what fills it is hashed and written, so nothing is read again.
 * Memory: that buffer, and 8 bytes for each block (16 KiB a GiB).
 *
 * The first page is written last.  Until then the file begins with zeros and
 * no reader takes it for an image.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "image/image.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/io.h"
#include "image/format.h"
#include "image/pack.h"
#include "image/replace.h"

/* Of a block: nothing is written, all is and has its checksum, parts are. */
enum { SEEN_NOT, SEEN_WHOLE, SEEN_PARTS };

enum stage { STAGE_DATA_SIZE, STAGE_NOTES, STAGE_SEGMENTS, STAGE_COMPLETE, STAGE_COMMITTED };

struct image_writer {
	struct replacement file;
	enum stage stage;
	/* data area */
	uint64_t data_size, blocks;
	uint64_t *data_sums;        /* one a block */
	_Atomic uint8_t *data_seen; /* one a block: SEEN_* */
	uint64_t reserved;          /* blocks that these two have room for */
	uint64_t required;          /* feature bits */
	uint64_t id;                /* checksum of the first page */
	_Atomic uint64_t blocks_seen;
	/* notes and headers: a stream that begins at 4096 + data_size */
	uint8_t *meta; /* IMAGE_BLOCK bytes */
	size_t meta_len;
	uint64_t meta_blocks; /* written */
	uint64_t *meta_sums;
	size_t meta_sums_cap;
	uint64_t notes_size;
	uint64_t note_left;   /* bytes of the current note that are still to come */
	uint64_t segments;    /* incl. the PT_NOTE */
	uint64_t last_end;    /* of the last segment, an address */
	uint64_t file_size;   /* of the plain image */
	uint64_t stored_size; /* of the file: fewer, if it was compressed */
};

static int open_memory(struct replacement *r, struct err *err)
{
	*r = (struct replacement){.dirfd = -1, .fd = -1};
	r->fd = memfd_create("godwit-model", MFD_CLOEXEC);
	if (r->fd < 0)
		return err_sys(err, -errno, "cannot make a file in memory");
	r->path = strdup("(in memory)");
	return r->path ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int open_writer(const char *path, struct image_writer **ret, struct err *err)
{
	struct image_writer *w = io_alloc(1, sizeof(*w), err);
	int error;

	if (!w)
		return err->error;
	error = path ? replace_open(&w->file, path, err) : open_memory(&w->file, err);
	if (!error) {
		w->meta = io_alloc(1, IMAGE_BLOCK, err);
		error = w->meta ? 0 : err->error;
	}
	if (error) {
		image_writer_close(w);
		return error;
	}
	*ret = w;
	return 0;
}

int image_writer_open(const char *path, struct image_writer **ret, struct err *err)
{
	return open_writer(path, ret, err);
}

int image_writer_open_memory(struct image_writer **ret, struct err *err)
{
	return open_writer(NULL, ret, err);
}

int image_writer_fd(const struct image_writer *w)
{
	return w->file.fd;
}

void image_writer_close(struct image_writer *w)
{
	if (!w)
		return;
	replace_done(&w->file);
	free(w->data_sums);
	free((void *)w->data_seen);
	free(w->meta);
	free(w->meta_sums);
	free(w);
}

int image_writer_fail(const struct image_writer *w, int error, struct err *err)
{
	err_sys(err, error, "cannot write the image '%s'", w->file.path);
	if (error == -ENOSPC || error == -EDQUOT)
		return err_hint(err, "make room in '%s' or write the image to another place",
				w->file.dir);
	if (error == -EFBIG)
		return err_hint(err, "the limit on file sizes (ulimit -f) or of the file system "
				     "is below the size of the image");
	return error;
}

/* For our own mistakes: calls in the wrong order, sizes that do not fit. */
static int misuse(const struct image_writer *w, const char *what, struct err *err)
{
	return err_set(err, -EINVAL, "cannot write the image '%s': %s", w->file.path, what);
}

int image_writer_set_data_size(struct image_writer *w, uint64_t bytes, struct err *err)
{
	int ret;

	if (w->stage != STAGE_DATA_SIZE || bytes % PAGE_SIZE_4K || bytes > IMAGE_DATA_MAX)
		return misuse(w, "wrong size of the data area", err);
	if ((ret = image_writer_reserve(w, bytes, err)))
		return ret;
	w->data_size = bytes;
	w->blocks = image_blocks_of(bytes);
	w->stage = STAGE_NOTES;
	return 0;
}

int image_writer_reserve(struct image_writer *w, uint64_t bytes, struct err *err)
{
	uint64_t want = image_blocks_of(bytes), *sums;
	_Atomic uint8_t *seen;

	if (bytes > IMAGE_DATA_MAX)
		return misuse(w, "more memory than a process can have", err);
	if (want < w->reserved)
		return 0;
	sums = io_alloc(want, sizeof(*sums), err);
	seen = io_alloc(want, sizeof(*seen), err);
	if (!sums || !seen) {
		free(sums);
		free((void *)seen);
		return err->error;
	}
	for (uint64_t i = 0; i < w->reserved; i++) {
		sums[i] = w->data_sums[i];
		atomic_store_explicit(&seen[i], w->data_seen[i], memory_order_relaxed);
	}
	free(w->data_sums);
	free((void *)w->data_seen);
	w->data_sums = sums;
	w->data_seen = seen;
	w->reserved = want;
	return 0;
}

void image_writer_require(struct image_writer *w, uint64_t bits)
{
	w->required |= bits;
}

uint64_t image_writer_blocks(const struct image_writer *w)
{
	return w->blocks;
}

int image_writer_block(struct image_writer *w, uint64_t index, const void *data, size_t len)
{
	int ret;

	if (w->stage == STAGE_DATA_SIZE || !len || len != image_block_len(w->data_size, index))
		return -EINVAL;
	if (atomic_exchange(&w->data_seen[index], SEEN_WHOLE))
		return -EALREADY;
	ret = io_pwrite_all(w->file.fd, data, len, IMAGE_DATA_START + index * IMAGE_BLOCK);
	if (ret) {
		atomic_store(&w->data_seen[index], SEEN_NOT);
		return ret;
	}
	w->data_sums[index] = image_hash(data, len);
	atomic_fetch_add(&w->blocks_seen, 1);
	return 0;
}

/* --- blocks in parts --- */

int image_writer_put(struct image_writer *w, uint64_t at, const void *data, size_t len)
{
	uint64_t first = at / IMAGE_BLOCK, end = image_blocks_of(at + len);
	int ret;

	if (end > w->reserved)
		return -EINVAL;
	ret = io_pwrite_all(w->file.fd, data, len, IMAGE_DATA_START + at);
	if (!ret && len == IMAGE_BLOCK && at % IMAGE_BLOCK == 0) {
		w->data_sums[first] = image_hash(data, len);
		atomic_store(&w->data_seen[first], SEEN_WHOLE);
		return 0;
	}
	for (uint64_t i = first; i < end; i++)
		atomic_store(&w->data_seen[i], SEEN_PARTS);
	return ret;
}

int image_writer_settle(struct image_writer *w, struct err *err)
{
	__cleanup_free uint8_t *buf = io_alloc(1, IMAGE_BLOCK, err);

	if (!buf)
		return err->error;
	for (uint64_t i = 0; i < w->blocks; i++) {
		size_t len = image_block_len(w->data_size, i);
		int ret;

		if (w->data_seen[i] == SEEN_WHOLE && len == IMAGE_BLOCK)
			continue;
		ret = io_pread_all(w->file.fd, buf, len, IMAGE_DATA_START + i * IMAGE_BLOCK);
		if (ret)
			return image_writer_fail(w, ret, err);
		w->data_sums[i] = image_hash(buf, len);
	}
	atomic_store(&w->blocks_seen, w->blocks);
	return 0;
}

/* --- the stream of notes and headers --- */

static uint64_t meta_size(const struct image_writer *w)
{
	return w->meta_blocks * IMAGE_BLOCK + w->meta_len;
}

static int meta_flush(struct image_writer *w, struct err *err)
{
	uint64_t off = IMAGE_DATA_START + w->data_size + w->meta_blocks * IMAGE_BLOCK;
	uint64_t *sums;
	int ret;

	if (!w->meta_len)
		return 0;
	sums = io_grow(w->meta_sums, &w->meta_sums_cap, w->meta_blocks + 1, sizeof(*sums), err);
	if (!sums)
		return err->error;
	w->meta_sums = sums;
	ret = io_pwrite_all(w->file.fd, w->meta, w->meta_len, off);
	if (ret)
		return image_writer_fail(w, ret, err);
	w->meta_sums[w->meta_blocks++] = image_hash(w->meta, w->meta_len);
	w->meta_len = 0;
	return 0;
}

static int meta_add(struct image_writer *w, const void *p, size_t len, struct err *err)
{
	const uint8_t *from = p;

	while (len) {
		size_t n = IMAGE_BLOCK - w->meta_len;
		int ret;

		if (n > len)
			n = len;
		memcpy(w->meta + w->meta_len, from, n);
		w->meta_len += n;
		from += n;
		len -= n;
		if (w->meta_len < IMAGE_BLOCK)
			break;
		ret = meta_flush(w, err);
		if (ret)
			return ret;
	}
	return 0;
}

static int meta_pad(struct image_writer *w, uint64_t align, struct err *err)
{
	static const uint8_t zero[8];

	return meta_add(w, zero, (size_t)(ALIGN_UP(meta_size(w), align) - meta_size(w)), err);
}

int image_writer_note_begin(struct image_writer *w, const char *owner, uint32_t type, size_t len,
			    struct err *err)
{
	size_t owner_len = strlen(owner);
	Elf64_Nhdr h = {.n_namesz = (Elf64_Word)(owner_len + 1),
			.n_descsz = (Elf64_Word)len,
			.n_type = type};
	int ret;

	if (w->stage != STAGE_NOTES || w->note_left)
		return misuse(w, "a note out of order", err);
	if (!owner_len || owner_len > IMAGE_OWNER_MAX)
		return misuse(w, "wrong owner of a note", err);
	if (len > IMAGE_NOTES_MAX || meta_size(w) + len + 64 > IMAGE_NOTES_MAX) {
		err_refuse(err, "cannot write the image '%s': more than %u MiB of notes",
			   w->file.path, (unsigned)(IMAGE_NOTES_MAX >> 20));
		return err_hint(err, "the process has too many threads or mappings");
	}
	ret = meta_add(w, &h, sizeof(h), err);
	if (!ret)
		ret = meta_add(w, owner, owner_len + 1, err);
	if (!ret)
		ret = meta_pad(w, 4, err);
	w->note_left = len;
	return ret;
}

int image_writer_note_add(struct image_writer *w, const void *part, size_t len, struct err *err)
{
	int ret;

	if (len > w->note_left)
		return misuse(w, "a note is longer than announced", err);
	ret = meta_add(w, part, len, err);
	w->note_left -= len;
	if (!ret && !w->note_left)
		ret = meta_pad(w, 4, err);
	return ret;
}

int image_writer_note(struct image_writer *w, const char *owner, uint32_t type, const void *desc,
		      size_t len, struct err *err)
{
	int ret = image_writer_note_begin(w, owner, type, len, err);

	return ret ? ret : image_writer_note_add(w, desc, len, err);
}

/* Ends the notes: their program header is the first of all. */
static int begin_segments(struct image_writer *w, struct err *err)
{
	struct image_super s = {.data_size = w->data_size, .notes_size = meta_size(w)};
	Elf64_Phdr ph = image_note_phdr(&s);
	int ret;

	if (w->stage == STAGE_SEGMENTS)
		return 0;
	if (w->stage != STAGE_NOTES || w->note_left)
		return misuse(w, "the notes are not complete", err);
	w->notes_size = meta_size(w);
	w->segments = 1;
	w->stage = STAGE_SEGMENTS;
	ret = meta_pad(w, 8, err);
	return ret ? ret : meta_add(w, &ph, sizeof(ph), err);
}

int image_writer_segment(struct image_writer *w, uint64_t vaddr, uint64_t memsz, uint64_t file_off,
			 uint64_t filesz, uint32_t flags, struct err *err)
{
	struct image_segment seg = {vaddr, memsz, filesz ? file_off : 0, filesz, flags};
	Elf64_Phdr ph = {.p_type = PT_LOAD,
			 .p_flags = flags,
			 .p_offset = seg.file_off,
			 .p_vaddr = vaddr,
			 .p_filesz = filesz,
			 .p_memsz = memsz,
			 .p_align = PAGE_SIZE_4K};
	const char *wrong = image_segment_wrong(&seg, w->last_end, w->data_size);
	int ret;

	if (wrong) {
		err_set(err, -EINVAL, "cannot write the image '%s': segment at 0x%llx: %s",
			w->file.path, (unsigned long long)vaddr, wrong);
		return err->error;
	}
	ret = begin_segments(w, err);
	if (ret)
		return ret;
	if (w->segments >= IMAGE_SEGMENTS_MAX) {
		err_refuse(err, "cannot write the image '%s': more than %u ranges of memory",
			   w->file.path, (unsigned)IMAGE_SEGMENTS_MAX);
		return err->error;
	}
	w->segments++;
	w->last_end = vaddr + memsz;
	return meta_add(w, &ph, sizeof(ph), err);
}

/* --- the end --- */

/* The table of checksums; returns its own checksum. */
static int write_sums(struct image_writer *w, uint64_t off, uint64_t *ret_hash, struct err *err)
{
	size_t data_len = w->blocks * sizeof(uint64_t),
	       meta_len = w->meta_blocks * sizeof(uint64_t);
	XXH3_state_t state;
	int ret;

	XXH3_64bits_reset(&state);
	XXH3_64bits_update(&state, w->data_sums, data_len);
	XXH3_64bits_update(&state, w->meta_sums, meta_len);
	*ret_hash = XXH3_64bits_digest(&state);
	ret = io_pwrite_all(w->file.fd, w->data_sums, data_len, off);
	if (!ret)
		ret = io_pwrite_all(w->file.fd, w->meta_sums, meta_len, off + data_len);
	return ret ? image_writer_fail(w, ret, err) : 0;
}

static int write_first_page(struct image_writer *w, struct image_first_page *page, struct err *err)
{
	int ret;

	page->page_hash = image_hash(page, offsetof(struct image_first_page, page_hash));
	w->id = page->page_hash;
	ret = io_pwrite_all(w->file.fd, page, sizeof(*page), 0);
	return ret ? image_writer_fail(w, ret, err) : 0;
}

/* All of the plain image is in its file, which has no name yet. */
static int complete(struct image_writer *w, struct err *err)
{
	struct image_first_page page;
	int ret;

	if (w->stage == STAGE_COMPLETE)
		return 0;
	if ((ret = begin_segments(w, err)))
		return ret;
	if (atomic_load(&w->blocks_seen) != w->blocks)
		return misuse(w, "not every data block was written", err);
	image_layout(&page, w->data_size, w->notes_size, w->segments);
	page.super.required = w->required;
	if (image_has_xnum(w->segments)) {
		Elf64_Shdr sh = image_xnum_shdr(&page.super);

		ret = meta_add(w, &sh, sizeof(sh), err);
		if (ret)
			return ret;
	}
	ret = meta_flush(w, err);
	if (!ret)
		ret = write_sums(w, page.super.sums_off, &page.super.sums_hash, err);
	if (!ret)
		ret = write_first_page(w, &page, err);
	if (ret)
		return ret;
	w->file_size = w->stored_size = page.super.file_size;
	w->stage = STAGE_COMPLETE;
	return 0;
}

int image_writer_pack(struct image_writer *w, const struct image_packing *p, struct err *err)
{
	struct replacement plain = w->file;
	int ret = complete(w, err);

	if (ret)
		return ret;
	w->file = (struct replacement){.dirfd = -1, .fd = -1};
	ret = replace_open(&w->file, plain.path, err);
	if (!ret && (ret = p->pack(p, plain.fd, w->file_size, w->file.fd, &w->stored_size, err)) &&
	    !err->error) {
		if (ret == -ECANCELED)
			err_set(err, ret, "interrupted");
		else
			image_writer_fail(w, ret, err);
	}
	replace_done(&plain);
	return ret;
}

int image_writer_commit(struct image_writer *w, struct err *err)
{
	int ret = complete(w, err);

	if (!ret && w->file.dirfd < 0)
		w->file.committed = true; /* in memory: it has no name to take */
	else if (!ret)
		ret = replace_commit(&w->file, err);
	if (w->file.committed)
		w->stage = STAGE_COMMITTED;
	return ret;
}

uint64_t image_writer_stored_size(const struct image_writer *w)
{
	return w->stored_size;
}

uint64_t image_writer_id(const struct image_writer *w)
{
	return w->id;
}

uint64_t image_writer_size(const struct image_writer *w)
{
	return w->file_size;
}
