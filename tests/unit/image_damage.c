/* Whatever happened to an image, the reader says so, by name, with a remedy. */
#include <sys/resource.h>

#include "image_bytes.h"
#include "tap.h"

static struct bytes image;
static struct err err;

static void start(uint64_t data_size, unsigned threads, uint64_t segments)
{
	char path[] = "/tmp/image-damage-XXXXXX";
	int fd = mkstemp(path);

	err = ERR_INIT;
	CHECK(fd >= 0);
	close(fd);
	CHECK(!sample_write(path, data_size, threads, segments, &err));
	image = bytes_of_file(path);
	CHECK(!unlink(path));
	CHECK(image.n > IMAGE_DATA_START);
	CHECK(!bytes_read(image, &err));
}

/* Refused, as a bad image, with a hint and with this in the message. */
static void refused(const char *words)
{
	err = ERR_INIT;
	CHECK_INT(bytes_read(image, &err), -EBADMSG);
	CHECK_INT(err.exit, EXIT_BAD_IMAGE);
	CHECK(err.hint[0]);
	CHECK(strstr(err.what, "/proc/self/fd/"));
	if (!strstr(err.what, words))
		CHECK_STR(err.what, words);
}

static struct image_super *super(void)
{
	return &bytes_page(image)->super;
}

static void sealed_is_refused(const char *words)
{
	bytes_seal(image);
	refused(words);
}

/* --- accidents --- */

static void every_flipped_byte_of_a_small_image(void)
{
	start(8192, 1, 3);
	for (size_t i = 0; i < image.n; i++) {
		image.p[i] ^= (uint8_t)(1u << (i % 8));
		refused("");
		image.p[i] ^= (uint8_t)(1u << (i % 8));
	}
	CHECK(!bytes_read(image, &err));
}

static void every_bit_of_the_first_page(void)
{
	start(4096, 0, 1);
	for (size_t i = 0; i < 4096 * 8; i++) {
		image.p[i / 8] ^= (uint8_t)(1u << (i % 8));
		refused("");
		image.p[i / 8] ^= (uint8_t)(1u << (i % 8));
	}
}

static void a_flipped_byte_names_its_place(void)
{
	start(3 * IMAGE_BLOCK, 60, 3);
	image.p[IMAGE_DATA_START + 2 * IMAGE_BLOCK + 77] ^= 1;
	refused("stored memory does not match its checksum (bytes 1052672 to 1576959 of the file)");
	image.p[IMAGE_DATA_START + 2 * IMAGE_BLOCK + 77] ^= 1;
	image.p[IMAGE_DATA_START + 3 * IMAGE_BLOCK + IMAGE_BLOCK + 5] ^= 1;
	refused("notes and headers do not match their checksum (bytes 2101248 to ");
	image.p[IMAGE_DATA_START + 3 * IMAGE_BLOCK + IMAGE_BLOCK + 5] ^= 1;
	image.p[image.n - 1] ^= 1;
	refused("the table of checksums does not match its own");
	image.p[image.n - 1] ^= 1;
	image.p[200] ^= 1;
	refused("the first page does not match its checksum (bytes 0 to 4095 of the file)");
}

static void every_truncation_of_a_small_image(void)
{
	start(4096, 0, 1);
	while (image.n-- > 1)
		refused(image.n < 152 ? "" : "cut short");
}

static void truncations_of_a_large_image(void)
{
	static const size_t at[] = {4096, 4097, 524288, 1052671, 1052672, 1060863, 1060864};
	size_t whole;

	start(2 * IMAGE_BLOCK + 8192, 1, 1);
	whole = image.n;
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		CHECK(at[i] < whole);
		image.n = at[i];
		refused("cut short: ");
	}
}

static void bytes_behind_the_end(void)
{
	start(4096, 0, 1);
	image.p = realloc(image.p, image.n + 3);
	memset(image.p + image.n, 0, 3);
	image.n += 3;
	refused("3 bytes follow its end");
}

/* --- files of other kinds --- */

static void becomes(const void *p, size_t n)
{
	image = (struct bytes){memcpy(malloc(n ? n : 1), p, n), n};
}

static void an_empty_file(void)
{
	becomes("", 0);
	refused("is no image: the file is empty");
}

static void foreign_files_are_named(void)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *words;
	} kinds[] = {
		{"x", 1, "not a file that Godwit wrote"},
		{"#!/bin/sh\n", 10, "a script"},
		{"\x1f\x8b\x08\x00", 4, "compressed with gzip"},
		{"\x28\xb5\x2f\xfd\x04", 5, "compressed with zstd"},
		{"\xfd"
		 "7zXZ\0",
		 6, "compressed with xz"},
	};
	uint8_t page[8192] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		becomes(kinds[i].bytes, kinds[i].n);
		refused(kinds[i].words);
		/* And with something behind. */
		memcpy(page, kinds[i].bytes, kinds[i].n);
		becomes(page, sizeof(page));
		refused(kinds[i].words);
	}
	memset(page, 0, sizeof(page));
	becomes(page, sizeof(page)); /* also what an image is until it is committed */
	refused("not a file that Godwit wrote");
}

static void other_elf_files_are_named(void)
{
	start(4096, 0, 1);
	memset(super(), 0, sizeof(*super()));
	bytes_seal_page(image);
	refused("a core file, but not one that Godwit wrote");
	bytes_page(image)->ehdr.e_type = ET_REL;
	refused("an object file");
	bytes_page(image)->ehdr.e_type = 77;
	refused("an ELF file of another kind");
	image = bytes_of_file("/proc/self/exe");
	refused("a program or a library");
}

static void refused_path(const char *path, int error, enum exit_code code, const char *words)
{
	struct image *img;

	err = ERR_INIT;
	CHECK_INT(image_open(path, &img, &err), error);
	CHECK_INT(err.exit, code);
	if (!strstr(err.what, words))
		CHECK_STR(err.what, words);
}

static void paths_that_are_no_files(void)
{
	char dir[] = "/tmp/image-damage-XXXXXX", fifo[64];

	CHECK(mkdtemp(dir));
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	refused_path(dir, -EBADMSG, EXIT_BAD_IMAGE, "not a regular file");
	refused_path(fifo, -ENOENT, EXIT_FAILED, "No such file");
	CHECK(!mkfifo(fifo, 0600));
	refused_path(fifo, -EBADMSG, EXIT_BAD_IMAGE, "not a regular file"); /* and does not wait */
	refused_path("/dev/null", -EBADMSG, EXIT_BAD_IMAGE, "not a regular file");
	CHECK(!unlink(fifo) && !rmdir(dir));
}

static void a_file_of_someone_else(void)
{
	char path[] = "/tmp/image-damage-XXXXXX";
	int fd = mkstemp(path);

	CHECK(fd >= 0 && !fchmod(fd, 0));
	if (geteuid() == 0)
		CHECK(!seteuid(65534));
	refused_path(path, -EACCES, EXIT_PERMISSION, "Permission denied");
	if (getuid() == 0)
		CHECK(!seteuid(0));
	CHECK(!unlink(path));
}

/* --- other versions --- */

static void a_newer_version(void)
{
	start(4096, 0, 1);
	super()->version = IMAGE_VERSION + 1;
	sealed_is_refused("has version 2 of the format, this program knows version 1");
	super()->version = 0;
	sealed_is_refused("has version 0");
}

static void unknown_required_features(void)
{
	/* The known ones are the lowest bits. */
	uint64_t unknown = UINT64_C(1) << 63 | (IMAGE_REQUIRED_KNOWN + 1);
	char text[100];

	start(4096, 0, 1);
	super()->required = unknown | IMAGE_REQUIRED_KNOWN;
	snprintf(text, sizeof(text), "features that this program does not know: %#llx",
		 (unsigned long long)unknown);
	sealed_is_refused(text);
}

static void unknown_optional_features_are_skipped(void)
{
	start(4096, 0, 1);
	super()->optional = UINT64_MAX;
	memset(bytes_page(image)->reserved, 0x5a, sizeof(bytes_page(image)->reserved));
	bytes_seal(image);
	CHECK_INT(bytes_read(image, &err), 0);
}

static void another_kind_of_cpu(void)
{
	start(4096, 0, 1);
	bytes_page(image)->ehdr.e_machine = EM_AARCH64;
	sealed_is_refused("another kind of CPU (ELF machine 183)");
}

/* --- forgeries: wrong on purpose, all checksums right --- */

static void every_number_of_the_superblock(void)
{
	static const uint64_t odd[] = {
		0,          1,          4095,
		4096,       8191,       1u << 20,
		UINT32_MAX, 1ull << 47, (1ull << 47) + 4096,
		INT64_MAX,  1ull << 63, UINT64_MAX - 4095,
		UINT64_MAX,
	};
	uint64_t was;
	size_t off;

	start(8192, 1, 3);
	/* file_size to sums_off: all must be what they are. */
	for (off = offsetof(struct image_super, file_size);
	     off < offsetof(struct image_super, sums_hash); off += 8)
		for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
			uint8_t *field = (uint8_t *)super() + off;

			memcpy(&was, field, 8);
			memcpy(field, &odd[i], 8);
			if (was != odd[i]) {
				bytes_seal_page(image);
				refused("");
				sealed_is_refused("");
			}
			memcpy(field, &was, 8);
		}
	super()->block *= 2;
	sealed_is_refused("impossible sizes in the superblock");
}

static void an_elf_header_that_says_something_else(void)
{
	start(8192, 1, 3);
	for (size_t i = SELFMAG; i < sizeof(Elf64_Ehdr); i++) {
		image.p[i] ^= 4;
		sealed_is_refused(i == 18 || i == 19 ? "another kind of CPU"
						     : "the ELF header contradicts the superblock");
		image.p[i] ^= 4;
	}
}

/* The first note's header, of the sample: 7, 3, type, "GODWIT\0", pad, "abc\0". */
static Elf64_Nhdr *first_note(void)
{
	return (Elf64_Nhdr *)(void *)(image.p + IMAGE_DATA_START + super()->data_size);
}

static void notes_that_cannot_be(void)
{
	static const uint32_t bad_namesz[] = {0, 1, 6, 8, 16, 17, 4096, INT32_MAX, UINT32_MAX};
	static const uint32_t bad_descsz[] = {1u << 16, INT32_MAX, UINT32_MAX - 3, UINT32_MAX};

	start(4096, 1, 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad_namesz); i++) {
		first_note()->n_namesz = bad_namesz[i];
		sealed_is_refused("a note has an impossible owner");
	}
	first_note()->n_namesz = 7;
	for (size_t i = 0; i < ARRAY_SIZE(bad_descsz); i++) {
		first_note()->n_descsz = bad_descsz[i];
		sealed_is_refused("a note is longer than the area of the notes");
	}
	first_note()->n_descsz = 3;
	memcpy(first_note() + 1, "GOD\0IT", 7);
	sealed_is_refused("a note has an impossible owner");
	memcpy(first_note() + 1, "GODWITS", 7);
	sealed_is_refused("a note has an impossible owner");
}

static void notes_that_end_in_the_middle(void)
{
	start(4096, 0, 1);
	/* The last note (no bytes, 20 in all) grows or shrinks to leave 4 or 8 bytes. */
	first_note()->n_descsz = 3 + 16;
	sealed_is_refused("a note is cut off");
	first_note()->n_descsz = 3 + 12;
	sealed_is_refused("a note is cut off");
}

static Elf64_Phdr *segment(size_t i)
{
	return (Elf64_Phdr *)(void *)(image.p + super()->phdr_off) + i;
}

static void segments_that_cannot_be(void)
{
	static const struct {
		size_t field;
		uint64_t value;
		const char *words;
	} cases[] = {
		{offsetof(Elf64_Phdr, p_vaddr), SAMPLE_BASE + 8193, "not a multiple of 4096"},
		{offsetof(Elf64_Phdr, p_vaddr), SAMPLE_BASE, "overlaps the one before it"},
		{offsetof(Elf64_Phdr, p_vaddr), UINT64_MAX - 4095, "impossible size"},
		{offsetof(Elf64_Phdr, p_memsz), 0, "impossible size"},
		{offsetof(Elf64_Phdr, p_memsz), 1, "not a multiple of 4096"},
		{offsetof(Elf64_Phdr, p_memsz), UINT64_MAX - 4095, "impossible size"},
		{offsetof(Elf64_Phdr, p_memsz), 16384, "overlaps the one before it"},
		{offsetof(Elf64_Phdr, p_filesz), 8192, "more bytes in the file than in memory"},
		{offsetof(Elf64_Phdr, p_filesz), 0, "no bytes"},
		{offsetof(Elf64_Phdr, p_offset), 0, "outside of the data area"},
		{offsetof(Elf64_Phdr, p_offset), 4096 * 4, "outside of the data area"},
		{offsetof(Elf64_Phdr, p_offset), UINT64_MAX - 4095, "outside of the data area"},
		{offsetof(Elf64_Phdr, p_paddr), 4096, "not a segment of memory"},
		{offsetof(Elf64_Phdr, p_align), 8192, "not a segment of memory"},
		{offsetof(Elf64_Phdr, p_type), PT_NOTE | (uint64_t)PF_R << 32, "not a segment"},
		{offsetof(Elf64_Phdr, p_type), PT_LOAD | 8ull << 32, "unknown flags"},
	};

	start(12288, 0, 3);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t *field = (uint8_t *)segment(2) + cases[i].field;
		uint64_t was;

		memcpy(&was, field, 8);
		memcpy(field, &cases[i].value, 8);
		sealed_is_refused(cases[i].words);
		memcpy(field, &was, 8);
	}
	segment(0)->p_filesz -= 4;
	sealed_is_refused("the first program header is not that of the notes");
}

static void a_section_header_that_says_something_else(void)
{
	start(4096, 0, 65534);
	image.p[super()->sums_off - sizeof(Elf64_Shdr) + offsetof(Elf64_Shdr, sh_info)] ^= 1;
	sealed_is_refused("wrong section header");
}

/* A file of 1 TiB that is one hole but for its first page costs no memory. */
static void a_huge_file_of_holes(void)
{
	char path[] = "/tmp/image-damage-XXXXXX";
	struct rlimit few = {200u << 20, 200u << 20};
	int fd = mkstemp(path);

	CHECK(fd >= 0);
	start(4096, 0, 1);
	image_layout(bytes_page(image), 1ull << 40, IMAGE_NOTES_MAX, IMAGE_SEGMENTS_MAX);
	bytes_seal_page(image);
	CHECK(!io_pwrite_all(fd, image.p, 4096, 0));
	CHECK(!ftruncate(fd, (off_t)super()->file_size));
#ifndef __SANITIZE_ADDRESS__ /* which reserves terabytes for itself */
	CHECK(!setrlimit(RLIMIT_AS, &few));
#else
	(void)few;
#endif
	refused_path(path, -EBADMSG, EXIT_BAD_IMAGE,
		     "the table of checksums does not match its own");
	CHECK(!unlink(path));
}

static void a_file_that_is_cut_while_it_is_read(void)
{
	char path[] = "/tmp/image-damage-XXXXXX";
	int fd = mkstemp(path);
	struct image_segment seg;
	struct image_note n;
	struct image *img;
	uint8_t *buf = malloc(IMAGE_BLOCK);

	err = ERR_INIT;
	CHECK(fd >= 0 && !close(fd));
	CHECK(!sample_write(path, IMAGE_BLOCK, 1, 1, &err));
	CHECK(!image_open(path, &img, &err));
	CHECK(!truncate(path, 8192));
	CHECK_INT(image_read_block(img, 0, buf, &err), -EBADMSG);
	CHECK(strstr(err.what, "became shorter while it was read"));
	err = ERR_INIT;
	CHECK(image_note_find(img, "LINUX", NT_X86_XSTATE, &n) == 1);
	CHECK_INT(image_note_read(img, &n, buf, &err), -EBADMSG);
	CHECK_INT(image_segment_get(img, 0, &seg), -EBADMSG);
	CHECK(image_note_find(img, "CORE", NT_PRSTATUS, &n) == 1);
	CHECK(n.desc[100] == 0); /* still there */
	image_close(img);
	free(buf);
	CHECK(!unlink(path));
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(every_flipped_byte_of_a_small_image),
		TEST(every_bit_of_the_first_page),
		TEST(a_flipped_byte_names_its_place),
		TEST(every_truncation_of_a_small_image),
		TEST(truncations_of_a_large_image),
		TEST(bytes_behind_the_end),
		TEST(an_empty_file),
		TEST(foreign_files_are_named),
		TEST(other_elf_files_are_named),
		TEST(paths_that_are_no_files),
		TEST(a_file_of_someone_else),
		TEST(a_newer_version),
		TEST(unknown_required_features),
		TEST(unknown_optional_features_are_skipped),
		TEST(another_kind_of_cpu),
		TEST(every_number_of_the_superblock),
		TEST(an_elf_header_that_says_something_else),
		TEST(notes_that_cannot_be),
		TEST(notes_that_end_in_the_middle),
		TEST(segments_that_cannot_be),
		TEST(a_section_header_that_says_something_else),
		TEST(a_huge_file_of_holes),
		TEST(a_file_that_is_cut_while_it_is_read),
	};

	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
