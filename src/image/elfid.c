/*
 * Build ids and symbols of ELF files: see elfid.h.
 *
 * Nothing is believed: elf_read() refuses what lies outside of the file, and
 * every caller treats that refusal (-ENODATA) as "the file does not say".
 */
#include "image/elfid.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"

#define PHDRS_MAX 512u         /* programs have about a dozen */
#define SECTIONS_MAX 65535u    /* object files of C++ come near it */
#define NOTES_MAX 65536u       /* bytes of one PT_NOTE that are looked at */
#define SYMBOLS_STEP 1024u     /* symbols read at a time: 24 KiB */
#define SYMBOLS_MAX (1u << 23) /* symbols looked at: 192 MiB */

struct elf {
	int fd;
	uint64_t size;
	Elf64_Ehdr head;
};

/* All of [off, off + len), or -ENODATA when the file does not have it. */
static int elf_read(const struct elf *e, void *buf, uint64_t len, uint64_t off)
{
	if (off > e->size || len > e->size - off)
		return -ENODATA;
	return io_pread_all(e->fd, buf, len, off);
}

/* -ENODATA when it is no ELF file that we understand. */
static int elf_start(struct elf *e, int fd)
{
	struct stat st;
	int ret;

	if (fstat(fd, &st))
		return -errno;
	*e = (struct elf){.fd = fd, .size = st.st_size > 0 ? (uint64_t)st.st_size : 0};
	if (!S_ISREG(st.st_mode))
		return -ENODATA;
	ret = elf_read(e, &e->head, sizeof(e->head), 0);
	if (ret)
		return ret;
	if (memcmp(e->head.e_ident, ELFMAG, SELFMAG) || e->head.e_ident[EI_CLASS] != ELFCLASS64 ||
	    e->head.e_ident[EI_DATA] != ELFDATA2LSB)
		return -ENODATA;
	return 0;
}

static int elf_phdr(const struct elf *e, unsigned index, Elf64_Phdr *ret)
{
	uint64_t off;

	if (e->head.e_phentsize != sizeof(*ret) || index >= e->head.e_phnum || index >= PHDRS_MAX ||
	    __builtin_add_overflow(e->head.e_phoff, index * sizeof(*ret), &off))
		return -ENODATA;
	return elf_read(e, ret, sizeof(*ret), off);
}

static bool is_build_id(const Elf64_Nhdr *h, const uint8_t *name)
{
	return h->n_type == NT_GNU_BUILD_ID && h->n_namesz == 4 && !memcmp(name, "GNU", 4) &&
	       h->n_descsz > 0;
}

/* Looks through one PT_NOTE: length of the id, or 0. */
static uint32_t find_in_notes(const uint8_t *p, size_t len, size_t align,
			      uint8_t out[ELF_BUILD_ID_MAX])
{
	size_t pos = 0;
	Elf64_Nhdr h;

	while (len - pos >= sizeof(h)) {
		uint64_t desc, next;

		memcpy(&h, p + pos, sizeof(h));
		desc = pos + ALIGN_UP((uint64_t)sizeof(h) + h.n_namesz, align);
		next = desc + ALIGN_UP((uint64_t)h.n_descsz, align);
		if (desc > len || h.n_descsz > len - desc)
			return 0;
		if (is_build_id(&h, p + pos + sizeof(h))) {
			uint32_t n = h.n_descsz < ELF_BUILD_ID_MAX ? h.n_descsz : ELF_BUILD_ID_MAX;

			memcpy(out, p + desc, n);
			return n;
		}
		if (next > len)
			return 0;
		pos = next;
	}
	return 0;
}

static int notes_of(const struct elf *e, const Elf64_Phdr *ph, uint8_t out[ELF_BUILD_ID_MAX],
		    uint32_t *ret_len)
{
	size_t len = ph->p_filesz < NOTES_MAX ? (size_t)ph->p_filesz : NOTES_MAX;
	uint8_t *notes = malloc(len ? len : 1);
	int ret;

	if (!notes)
		return -ENOMEM;
	ret = elf_read(e, notes, len, ph->p_offset);
	*ret_len = ret ? 0 : find_in_notes(notes, len, ph->p_align == 8 ? 8 : 4, out);
	free(notes);
	return ret;
}

int elf_build_id(int fd, uint8_t out[ELF_BUILD_ID_MAX], uint32_t *ret_len)
{
	uint8_t id[ELF_BUILD_ID_MAX];
	uint32_t len = 0;
	Elf64_Phdr ph;
	struct elf e;
	int ret = elf_start(&e, fd);

	for (unsigned i = 0; !ret && !len; i++) {
		ret = elf_phdr(&e, i, &ph);
		if (!ret && ph.p_type == PT_NOTE)
			ret = notes_of(&e, &ph, id, &len);
		if (ret == -ENODATA && i + 1 < e.head.e_phnum && i + 1 < PHDRS_MAX)
			ret = 0; /* this one lies: the next may not */
	}
	if (ret && ret != -ENODATA)
		return ret;
	memcpy(out, id, len);
	*ret_len = len;
	return 0;
}

/* --- symbols --- */

/* The address that the file itself gives to the byte at `offset`. */
static int address_of(const struct elf *e, uint64_t offset, uint64_t *ret)
{
	Elf64_Phdr ph;
	int error;

	for (unsigned i = 0; !(error = elf_phdr(e, i, &ph)); i++)
		if (ph.p_type == PT_LOAD && offset >= ph.p_offset &&
		    offset - ph.p_offset < ph.p_filesz) {
			*ret = ph.p_vaddr + (offset - ph.p_offset);
			return 0;
		}
	return error;
}

static int elf_section(const struct elf *e, uint64_t index, Elf64_Shdr *ret)
{
	uint64_t off;

	if (e->head.e_shentsize != sizeof(*ret) || !e->head.e_shoff || index >= SECTIONS_MAX ||
	    __builtin_add_overflow(e->head.e_shoff, index * sizeof(*ret), &off))
		return -ENODATA;
	return elf_read(e, ret, sizeof(*ret), off);
}

/* First section of this type: 1 and *ret, 0, or a negative errno. */
static int section_of_type(const struct elf *e, uint32_t type, Elf64_Shdr *ret)
{
	uint64_t count = e->head.e_shnum;
	Elf64_Shdr s;
	int error = 0;

	if (!count) { /* too many for the ELF header: section 0 says how many */
		error = elf_section(e, 0, &s);
		count = error ? 0 : s.sh_size;
	}
	for (uint64_t i = 1; !error && i < count; i++) {
		error = elf_section(e, i, &s);
		if (!error && s.sh_type == type) {
			*ret = s;
			return 1;
		}
	}
	return error == -ENODATA ? 0 : error;
}

struct best {
	Elf64_Sym sym;
	bool found, covers; /* covers: the address is within its size */
};

/* A symbol that covers the address beats one that only lies before it; among
 * equals the nearer one, then the global one. */
static void consider(struct best *b, const Elf64_Sym *s, uint64_t addr)
{
	unsigned type = ELF64_ST_TYPE(s->st_info);
	bool covers, better;

	if ((type != STT_FUNC && type != STT_GNU_IFUNC) || s->st_shndx == SHN_UNDEF ||
	    s->st_value > addr)
		return;
	covers = addr - s->st_value < s->st_size;
	if (!covers && s->st_size) /* ends before the address: a hole, not its code */
		return;
	better = !b->found || (covers && !b->covers) ||
		 (covers == b->covers &&
		  (s->st_value > b->sym.st_value ||
		   (s->st_value == b->sym.st_value && ELF64_ST_BIND(s->st_info) == STB_GLOBAL &&
		    ELF64_ST_BIND(b->sym.st_info) != STB_GLOBAL)));
	if (better)
		*b = (struct best){*s, true, covers};
}

static int scan_symbols(const struct elf *e, const Elf64_Shdr *table, uint64_t addr, struct best *b)
{
	Elf64_Sym *syms = malloc(SYMBOLS_STEP * sizeof(*syms));
	uint64_t count = table->sh_size / sizeof(*syms);
	int ret = syms ? 0 : -ENOMEM;

	if (count > SYMBOLS_MAX)
		count = SYMBOLS_MAX;
	for (uint64_t done = 0; !ret && done < count;) {
		uint64_t n = count - done < SYMBOLS_STEP ? count - done : SYMBOLS_STEP, off;

		if (__builtin_add_overflow(table->sh_offset, done * sizeof(*syms), &off))
			ret = -ENODATA;
		else
			ret = elf_read(e, syms, n * sizeof(*syms), off);
		for (uint64_t i = 0; !ret && i < n; i++)
			consider(b, &syms[i], addr);
		done += n;
	}
	free(syms);
	return ret;
}

/* The name in the string table that belongs to the symbol table. */
static int read_name(const struct elf *e, const Elf64_Shdr *table, uint32_t name, char *out,
		     size_t cap)
{
	Elf64_Shdr strings;
	uint64_t off, left;
	int ret = elf_section(e, table->sh_link, &strings);

	if (ret)
		return ret;
	if (strings.sh_type != SHT_STRTAB || name >= strings.sh_size ||
	    __builtin_add_overflow(strings.sh_offset, name, &off) || off >= e->size)
		return -ENODATA;
	left = strings.sh_size - name < e->size - off ? strings.sh_size - name : e->size - off;
	if (left > cap - 1)
		left = cap - 1;
	ret = elf_read(e, out, left, off);
	if (ret)
		return ret;
	out[left] = '\0';
	for (char *p = out; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return *out ? 0 : -ENODATA;
}

static int symbol_from(const struct elf *e, uint32_t type, uint64_t addr, char *out, size_t cap,
		       uint64_t *ret_offset)
{
	struct best best = {.found = false};
	Elf64_Shdr table = {0};
	int ret = section_of_type(e, type, &table);

	if (ret <= 0)
		return ret;
	ret = scan_symbols(e, &table, addr, &best);
	if (ret)
		return ret;
	if (!best.found)
		return 0;
	ret = read_name(e, &table, best.sym.st_name, out, cap);
	if (ret)
		return ret;
	*ret_offset = addr - best.sym.st_value;
	return 1;
}

int elf_symbol_at(int fd, uint64_t file_offset, char *out, size_t cap, uint64_t *ret_offset)
{
	static const uint32_t tables[] = {SHT_SYMTAB, SHT_DYNSYM};
	uint64_t addr = 0;
	struct elf e;
	int ret;

	if (!cap)
		return -EINVAL;
	ret = elf_start(&e, fd);
	if (!ret)
		ret = address_of(&e, file_offset, &addr);
	if (ret)
		return ret == -ENODATA ? 0 : ret;
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		ret = symbol_from(&e, tables[i], addr, out, cap, ret_offset);
		if (ret && ret != -ENODATA)
			return ret;
	}
	return 0;
}
