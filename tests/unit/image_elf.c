/* Build ids and symbols: of this very program, and of files that have none. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/io.h"
#include "image/elfid.h"
#include "tap.h"

__attribute__((noinline)) int a_function_to_be_found(int x);
int a_function_to_be_found(int x)
{
	__asm__ volatile("nop; nop; nop; nop; nop; nop; nop; nop");
	return x + 1;
}

struct loaded {
	uint64_t addr;   /* wanted */
	uint64_t offset; /* in the file */
	const uint8_t *id;
	uint32_t id_len;
};

/* What the dynamic loader knows of this program. */
static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct loaded *l = arg;

	(void)size;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uint64_t start = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type == PT_LOAD && l->addr >= start && l->addr - start < ph->p_filesz)
			l->offset = l->addr - start + ph->p_offset;
		for (uint64_t at = start; ph->p_type == PT_NOTE && at < start + ph->p_memsz;) {
			const ElfW(Nhdr) *n = (const void *)(uintptr_t)at;

			if (n->n_type == NT_GNU_BUILD_ID && n->n_namesz == 4 && !l->id) {
				l->id = (const uint8_t *)(n + 1) + 4;
				l->id_len = n->n_descsz;
			}
			at += sizeof(*n) + ALIGN_UP(n->n_namesz, 4) + ALIGN_UP(n->n_descsz, 4);
		}
	}
	return 1; /* the first is the program */
}

static struct loaded myself(void)
{
	struct loaded l = {.addr = (uint64_t)(uintptr_t)a_function_to_be_found};

	dl_iterate_phdr(look, &l);
	CHECK(l.offset);
	return l;
}

static int open_self(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

static void the_build_id_of_this_program(void)
{
	struct loaded l = myself();
	uint8_t id[ELF_BUILD_ID_MAX];
	uint32_t len = 77;

	CHECK(!elf_build_id(open_self(), id, &len));
	if (!l.id) {
		CHECK_INT(len, 0);
		SKIP("built without a build id");
	}
	CHECK_INT(len, l.id_len);
	CHECK(!memcmp(id, l.id, len));
}

static void symbols_of_this_program(void)
{
	struct loaded l = myself();
	uint64_t off = 0;
	char name[64], cut[8];
	int fd = open_self();

	CHECK_INT(elf_symbol_at(fd, l.offset, name, sizeof(name), &off), 1);
	CHECK_STR(name, "a_function_to_be_found");
	CHECK_INT(off, 0);
	CHECK_INT(elf_symbol_at(fd, l.offset + 7, name, sizeof(name), &off), 1);
	CHECK_STR(name, "a_function_to_be_found");
	CHECK_INT(off, 7);
	CHECK_INT(elf_symbol_at(fd, l.offset, cut, sizeof(cut), &off), 1);
	CHECK_STR(cut, "a_funct");
	CHECK_INT(elf_symbol_at(fd, l.offset, cut, 0, &off), -EINVAL);
	CHECK_INT(elf_symbol_at(fd, 1ull << 40, name, sizeof(name), &off), 0);
	CHECK_INT(elf_symbol_at(fd, UINT64_MAX, name, sizeof(name), &off), 0);
}

static void has_nothing(int fd)
{
	uint8_t id[ELF_BUILD_ID_MAX] = {0};
	uint32_t len = 77;
	uint64_t off;
	char name[64];

	CHECK(fd >= 0);
	CHECK_INT(elf_build_id(fd, id, &len), 0);
	CHECK_INT(len, 0);
	CHECK_INT(elf_symbol_at(fd, 0, name, sizeof(name), &off), 0);
}

static void files_of_other_kinds_have_nothing(void)
{
	int fds[2], self = open_self(), fd = memfd_create("elf", 0);
	uint8_t head[4096];

	has_nothing(open("/etc/passwd", O_RDONLY));
	has_nothing(open("/dev/null", O_RDONLY));
	has_nothing(open("/tmp", O_RDONLY));
	CHECK(!pipe(fds));
	has_nothing(fds[0]); /* and it does not wait */
	has_nothing(memfd_create("empty", 0));
	CHECK(!io_pread_all(self, head, sizeof(head), 0));
	head[EI_CLASS] = ELFCLASS32;
	CHECK(!io_pwrite_all(fd, head, sizeof(head), 0));
	has_nothing(fd);
	head[EI_CLASS] = ELFCLASS64;
	head[EI_DATA] = ELFDATA2MSB;
	CHECK(!io_pwrite_all(fd, head, sizeof(head), 0));
	has_nothing(fd);
}

static void a_descriptor_that_is_closed_is_an_error(void)
{
	uint8_t id[ELF_BUILD_ID_MAX];
	uint32_t len = 77;
	uint64_t off;
	char name[8];

	CHECK_INT(elf_build_id(999, id, &len), -EBADF);
	CHECK_INT(len, 77);
	CHECK_INT(elf_symbol_at(999, 0, name, sizeof(name), &off), -EBADF);
}

/* Cut anywhere: an answer that is known, or none; never a wrong one. */
static void this_program_cut_short(void)
{
	struct loaded l = myself();
	int self = open_self(), fd = memfd_create("elf", 0);
	uint8_t id[ELF_BUILD_ID_MAX], *all;
	uint32_t len;
	uint64_t off;
	struct stat st;
	char name[64];

	CHECK(!fstat(self, &st));
	all = malloc((size_t)st.st_size);
	CHECK(!io_pread_all(self, all, (size_t)st.st_size, 0));
	CHECK(!io_pwrite_all(fd, all, (size_t)st.st_size, 0));
	for (off_t n = st.st_size; n >= 0; n -= n > 4096 ? 3001 : 7) {
		int ret;

		CHECK(!ftruncate(fd, n));
		CHECK(!elf_build_id(fd, id, &len));
		CHECK(len == 0 || (len == l.id_len && !memcmp(id, l.id, len)));
		ret = elf_symbol_at(fd, l.offset, name, sizeof(name), &off);
		CHECK(ret == 0 || (ret == 1 && !strcmp(name, "a_function_to_be_found")));
	}
	free(all);
}

/* A file made by hand: one PT_LOAD, one PT_NOTE with the id behind another note. */
struct small {
	Elf64_Ehdr e;
	Elf64_Phdr load, note;
	struct {
		Elf64_Nhdr h1;
		char name1[8], desc1[4];
		Elf64_Nhdr h2;
		char name2[4], desc2[32];
	} notes;
};

static struct small small_file(void)
{
	struct small s = {
		.e = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		      .e_phoff = sizeof(Elf64_Ehdr),
		      .e_phentsize = sizeof(Elf64_Phdr),
		      .e_phnum = 2},
		.load = {.p_type = PT_LOAD, .p_filesz = sizeof(s)},
		.note = {.p_type = PT_NOTE,
			 .p_offset = offsetof(struct small, notes),
			 .p_filesz = sizeof(s.notes),
			 .p_align = 4},
		.notes = {.h1 = {6, 3, 77},
			  .name1 = "OTHER",
			  .h2 = {4, 32, NT_GNU_BUILD_ID},
			  .name2 = "GNU",
			  .desc2 = "0123456789abcdef0123456789abcde"},
	};

	return s;
}

static uint32_t id_of(const struct small *s, uint8_t out[ELF_BUILD_ID_MAX])
{
	int fd = memfd_create("elf", 0);
	uint32_t len = 77;

	CHECK(!io_write_all(fd, s, sizeof(*s)));
	CHECK(!elf_build_id(fd, out, &len));
	close(fd);
	return len;
}

static void a_long_id_behind_another_note(void)
{
	struct small s = small_file();
	uint8_t id[ELF_BUILD_ID_MAX];

	CHECK_INT(id_of(&s, id), ELF_BUILD_ID_MAX);
	CHECK(!memcmp(id, "0123456789abcdef0123", ELF_BUILD_ID_MAX));
	s.notes.h2.n_descsz = 3;
	CHECK_INT(id_of(&s, id), 3);
}

static void notes_that_lie_have_no_id(void)
{
	struct small s = small_file(), was = s;
	uint8_t id[ELF_BUILD_ID_MAX];

	s.notes.h1.n_descsz = UINT32_MAX;
	CHECK_INT(id_of(&s, id), 0);
	s = was;
	s.notes.h1.n_namesz = UINT32_MAX;
	CHECK_INT(id_of(&s, id), 0);
	s = was;
	s.notes.h2.n_descsz = 33;
	CHECK_INT(id_of(&s, id), 0);
	s = was;
	s.note.p_filesz = UINT64_MAX;
	CHECK_INT(id_of(&s, id), 0);
	s = was;
	s.note.p_offset = UINT64_MAX - 4;
	CHECK_INT(id_of(&s, id), 0);
	s = was;
	s.e.e_phoff = UINT64_MAX - 8;
	CHECK_INT(id_of(&s, id), 0);
	s = was;
	s.e.e_phnum = 65535;
	CHECK_INT(id_of(&s, id), ELF_BUILD_ID_MAX); /* the id comes before the lie */
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(the_build_id_of_this_program),
		TEST(symbols_of_this_program),
		TEST(files_of_other_kinds_have_nothing),
		TEST(a_descriptor_that_is_closed_is_an_error),
		TEST(this_program_cut_short),
		TEST(a_long_id_behind_another_note),
		TEST(notes_that_lie_have_no_id),
	};

	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
