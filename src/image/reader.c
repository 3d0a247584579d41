/*
 * Reads an image: see image.h.  The file is the work of anybody: nothing in it
 * is believed before it was checked, and what was checked is not read again
 * (it could have changed), with two exceptions that are named in image.h:
 * image_note_read() and image_segment_get().
 *
 * Everything is read with pread() into memory.  Every place in the file follows
 * from three numbers (image_layout): once these are within their limits and
 * give the size that the file has, no offset can point outside of it.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "image/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/meter.h"

#define SUMS_STEP 65536u

int image_damaged(const struct image *img, struct err *err, const char *what, uint64_t from,
		  uint64_t to)
{
	err_image(err, "'%s' is damaged: %s (bytes %llu to %llu of the file)", img->path, what,
		  (unsigned long long)from, (unsigned long long)to - 1);
	return err_hint(err, "take the file from a backup, or make a new checkpoint");
}

int image_get(const struct image *img, void *buf, size_t len, uint64_t off)
{
	return img->packed ? packed_read(img->packed, buf, len, off)
			   : io_pread_all(img->fd, buf, len, off);
}

int image_pread(const struct image *img, void *buf, size_t len, uint64_t off, struct err *err)
{
	int ret = image_get(img, buf, len, off);

	if (ret == -EBADMSG)
		return image_damaged(img, err, "a compressed part cannot be decompressed", off,
				     off + len);
	if (ret == -ENODATA) {
		err_image(err, "'%s' became shorter while it was read", img->path);
		return err_hint(err, "another program writes to it: wait for that to end");
	}
	if (ret)
		return err_sys(err, ret, "cannot read '%s' at byte %llu", img->path,
			       (unsigned long long)off);
	return 0;
}

/* --- step 1: the file --- */

static int open_file(struct image *img, int fd, const char *path, struct err *err)
{
	struct stat st;

	img->path = strdup(path);
	if (!img->path)
		return err_set(err, -ENOMEM, "out of memory");
	/* O_NONBLOCK: opening a FIFO must not wait for a writer. */
	img->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0)
			  : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (img->fd < 0)
		return err_sys(err, -errno, "cannot open the image '%s'", path);
	if (fstat(img->fd, &st))
		return err_sys(err, -errno, "cannot open the image '%s'", path);
	if (!S_ISREG(st.st_mode)) {
		err_image(err, "'%s' is no image: not a regular file", path);
		return err_hint(err, "name the file that the checkpoint wrote");
	}
	img->actual_size = img->stored_size = (uint64_t)st.st_size;
	return 0;
}

/* One that is compressed is read as what it was made from. */
static int look_inside(struct image *img, struct err *err)
{
	static const char zstd[4] = "\x28\xb5\x2f\xfd";
	const char *what = "";
	char magic[4];
	int ret;

	if (img->actual_size < sizeof(magic))
		return 0;
	if ((ret = io_pread_all(img->fd, magic, sizeof(magic), 0)))
		return err_sys(err, ret, "cannot read '%s'", img->path);
	if (memcmp(magic, zstd, sizeof(magic)))
		return 0;
	ret = packed_open(img->fd, img->actual_size, &img->packed, &what);
	if (ret == -EBADMSG)
		return image_damaged(img, err, what, 0, img->actual_size);
	if (ret < 0)
		return err_sys(err, ret, "cannot read '%s'", img->path);
	if (ret)
		img->actual_size = packed_size(img->packed);
	return 0;
}

/* --- step 2: the first page --- */

static const char *foreign_elf(const Elf64_Ehdr *e)
{
	switch (e->e_type) {
	case ET_CORE:
		return "a core file, but not one that Godwit wrote";
	case ET_REL:
		return "an object file";
	case ET_EXEC:
	case ET_DYN:
		return "a program or a library";
	}
	return "an ELF file of another kind";
}

/* Says what the file is instead. */
static int refuse_foreign(const struct image *img, size_t len, struct err *err)
{
	const uint8_t *p = (const uint8_t *)&img->first;
	const char *what = "not a file that Godwit wrote",
		   *hint = "name an image, by default 'myckpt'";

	if (len >= sizeof(Elf64_Ehdr) && !memcmp(p, ELFMAG, SELFMAG)) {
		what = foreign_elf(&img->first.ehdr);
	} else if (len >= 2 && !memcmp(p, "#!", 2)) {
		what = "a script";
	} else if (len >= 2 && !memcmp(p, "\x1f\x8b", 2)) {
		what = "compressed with gzip";
		hint = "if it is an image, unpack it first: gzip -d";
	} else if (len >= 4 && !memcmp(p, "\x28\xb5\x2f\xfd", 4)) {
		what = "compressed with zstd, and not by godwit, or cut short";
		hint = "if it is an image, copy it again, or unpack it first: zstd -d";
	} else if (len >= 6 && !memcmp(p,
				       "\xfd"
				       "7zXZ",
				       5)) {
		what = "compressed with xz";
		hint = "if it is an image, unpack it first: xz -d";
	}
	err_image(err, "'%s' is no image: %s", img->path, what);
	return err_hint(err, "%s", hint);
}

static int read_first_page(struct image *img, struct err *err)
{
	struct image_first_page *f = &img->first;
	size_t len = img->actual_size < sizeof(*f) ? (size_t)img->actual_size : sizeof(*f);
	bool magic;
	int ret;

	if (!len) {
		err_image(err, "'%s' is no image: the file is empty", img->path);
		return err_hint(err, "the checkpoint that should have written it failed");
	}
	ret = image_pread(img, f, len, 0, err);
	if (ret)
		return ret;
	magic = len >= offsetof(struct image_first_page, reserved) &&
		!memcmp(f->super.magic, IMAGE_MAGIC, sizeof(f->super.magic));
	if (!magic)
		return refuse_foreign(img, len, err);
	if (len < sizeof(*f)) {
		err_image(err, "'%s' is cut short: %zu bytes, not even the first page", img->path,
			  len);
		return err_hint(err, "copy it again from where it came");
	}
	if (f->page_hash != image_hash(f, offsetof(struct image_first_page, page_hash)))
		return image_damaged(img, err, "the first page does not match its checksum", 0,
				     sizeof(*f));
	return 0;
}

/* --- step 3: the superblock --- */

static int check_features(const struct image *img, struct err *err)
{
	const struct image_super *s = &img->first.super;
	uint64_t unknown = s->required & ~IMAGE_REQUIRED_KNOWN;

	if (s->version != IMAGE_VERSION) {
		err_image(err, "'%s' has version %u of the format, this program knows version %u",
			  img->path, s->version, IMAGE_VERSION);
		return err_hint(err, "use the version of godwit that wrote it, or a newer one");
	}
	if (unknown) {
		err_image(err, "'%s' needs features that this program does not know: 0x%llx",
			  img->path, (unsigned long long)unknown);
		return err_hint(err, "use the version of godwit that wrote it, or a newer one");
	}
	return 0;
}

/* Everything that follows from the three sizes must be what it follows to. */
static int check_layout(const struct image *img, struct err *err)
{
	const struct image_super *s = &img->first.super;
	struct image_first_page want;

	if (s->block != IMAGE_BLOCK || s->data_size % PAGE_SIZE_4K ||
	    s->data_size > IMAGE_DATA_MAX || s->notes_size > IMAGE_NOTES_MAX || s->phdr_count < 1 ||
	    s->phdr_count > IMAGE_SEGMENTS_MAX)
		return image_damaged(img, err, "impossible sizes in the superblock", 64, 152);
	image_layout(&want, s->data_size, s->notes_size, s->phdr_count);
	if (s->phdr_off != want.super.phdr_off || s->sums_off != want.super.sums_off ||
	    s->file_size != want.super.file_size)
		return image_damaged(img, err, "the superblock contradicts itself", 64, 152);
	if (img->first.ehdr.e_machine != EM_X86_64) {
		err_image(err, "'%s' was made on another kind of CPU (ELF machine %u)", img->path,
			  img->first.ehdr.e_machine);
		return err_hint(err, "restart it on a machine of that kind");
	}
	if (memcmp(&img->first.ehdr, &want.ehdr, sizeof(want.ehdr)))
		return image_damaged(img, err, "the ELF header contradicts the superblock", 0, 64);
	return 0;
}

static int check_size(const struct image *img, struct err *err)
{
	uint64_t have = img->actual_size, want = img->first.super.file_size;

	if (have < want) {
		err_image(err, "'%s' is cut short: %llu of %llu bytes are there", img->path,
			  (unsigned long long)have, (unsigned long long)want);
		return err_hint(err, "copy it again from where it came");
	}
	if (have > want) {
		err_image(err, "'%s' is damaged: %llu bytes follow its end at byte %llu", img->path,
			  (unsigned long long)(have - want), (unsigned long long)want);
		return err_hint(err, "something was added to the file: copy it again from where "
				     "it came");
	}
	return 0;
}

/* --- step 4: the checksums themselves --- */

static int check_sums(struct image *img, struct err *err)
{
	const struct image_super *s = &img->first.super;
	uint8_t *step = io_alloc(1, SUMS_STEP, err);
	XXH3_state_t state;
	int ret = step ? 0 : err->error;

	XXH3_64bits_reset(&state);
	for (uint64_t off = s->sums_off; !ret && off < s->file_size; off += SUMS_STEP) {
		uint64_t left = s->file_size - off;
		size_t n = left < SUMS_STEP ? (size_t)left : SUMS_STEP;

		ret = image_pread(img, step, n, off, err);
		if (!ret)
			XXH3_64bits_update(&state, step, n);
	}
	free(step);
	if (!ret && XXH3_64bits_digest(&state) != s->sums_hash)
		return image_damaged(img, err, "the table of checksums does not match its own",
				     s->sums_off, s->file_size);
	return ret;
}

/* --- all of it --- */

int image_open_fd(int fd, const char *path, struct image **ret, struct err *err)
{
	static int (*const checks[])(const struct image *, struct err *) = {
		check_features,
		check_layout,
		check_size,
	};
	struct image *img = io_alloc(1, sizeof(*img), err);
	int error;

	if (!img)
		return err->error;
	img->fd = -1;
	error = open_file(img, fd, path, err);
	if (!error)
		error = look_inside(img, err);
	if (!error)
		error = read_first_page(img, err);
	for (size_t i = 0; !error && i < ARRAY_SIZE(checks); i++)
		error = checks[i](img, err);
	if (!error)
		error = check_sums(img, err);
	if (!error)
		error = image_load_meta(img, err);
	if (error) {
		image_close(img);
		return error;
	}
	*ret = img;
	return 0;
}

int image_open(const char *path, struct image **ret, struct err *err)
{
	return image_open_fd(-1, path, ret, err);
}

void image_close(struct image *img)
{
	if (!img)
		return;
	for (size_t i = 0; i < img->nnotes; i++)
		free(img->notes[i].desc);
	free(img->notes);
	packed_close(img->packed);
	io_close_fd(&img->fd);
	free(img->path);
	free(img);
}

int image_fd(const struct image *img)
{
	return img->fd;
}

bool image_is_packed(const struct image *img)
{
	return img->packed != NULL;
}

uint64_t image_stored_size(const struct image *img)
{
	return img->stored_size;
}

int image_read(const struct image *img, void *buf, size_t len, uint64_t off, struct err *err)
{
	return image_pread(img, buf, len, off, err);
}

const char *image_path(const struct image *img)
{
	return img->path;
}

uint64_t image_data_size(const struct image *img)
{
	return img->first.super.data_size;
}

uint64_t image_file_size(const struct image *img)
{
	return img->first.super.file_size;
}

uint64_t image_id(const struct image *img)
{
	return img->first.page_hash;
}

uint64_t image_required(const struct image *img)
{
	return img->first.super.required;
}

uint64_t image_blocks(const struct image *img)
{
	return image_blocks_of(img->first.super.data_size);
}

/* --- blocks --- */

int image_read_sum(const struct image *img, uint64_t index, uint64_t *ret, struct err *err)
{
	return image_pread(img, ret, sizeof(*ret), img->first.super.sums_off + 8 * index, err);
}

int image_read_block(struct image *img, uint64_t index, void *buf, struct err *err)
{
	size_t len = image_block_len(image_data_size(img), index);
	uint64_t off = IMAGE_DATA_START + index * IMAGE_BLOCK, sum;
	int ret;

	if (!len)
		return err_set(err, -EINVAL, "'%s' has no data block %llu", img->path,
			       (unsigned long long)index);
	ret = image_pread(img, buf, len, off, err);
	if (!ret)
		ret = image_read_sum(img, index, &sum, err);
	if (ret)
		return ret;
	if (image_hash(buf, len) != sum)
		return image_damaged(img, err, "stored memory does not match its checksum", off,
				     off + len);
	return (int)len;
}

int image_verify_blocks(struct image *img, uint64_t first, uint64_t end, struct meter *meter,
			struct err *err)
{
	__cleanup_free void *buf = io_alloc(1, IMAGE_BLOCK, err);
	int ret = 0;

	if (!buf)
		return err->error;
	for (uint64_t i = first; ret >= 0 && i < end; i++) {
		ret = image_read_block(img, i, buf, err);
		meter_add(meter, ret > 0 ? (uint64_t)ret : 0);
	}
	return ret < 0 ? ret : 0;
}
