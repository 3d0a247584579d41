/* The places and headers that follow from the sizes: see format.h. */
#include "image/format.h"

#include <string.h>

#include "arch/x86_64/hash.h"
#include "base/io.h"

uint64_t image_hash(const void *data, size_t len)
{
	return arch_hash(data, len);
}

static void fill_ehdr(Elf64_Ehdr *e, const struct image_super *s)
{
	bool xnum = image_has_xnum(s->phdr_count);

	memcpy(e->e_ident, ELFMAG, SELFMAG);
	e->e_ident[EI_CLASS] = ELFCLASS64;
	e->e_ident[EI_DATA] = ELFDATA2LSB;
	e->e_ident[EI_VERSION] = EV_CURRENT;
	e->e_ident[EI_OSABI] = ELFOSABI_NONE;
	e->e_type = ET_CORE;
	e->e_machine = EM_X86_64;
	e->e_version = EV_CURRENT;
	e->e_phoff = s->phdr_off;
	e->e_ehsize = sizeof(Elf64_Ehdr);
	e->e_phentsize = sizeof(Elf64_Phdr);
	e->e_phnum = xnum ? PN_XNUM : (Elf64_Half)s->phdr_count;
	if (xnum) {
		e->e_shoff = s->phdr_off + s->phdr_count * sizeof(Elf64_Phdr);
		e->e_shentsize = sizeof(Elf64_Shdr);
		e->e_shnum = 1;
	}
}

void image_layout(struct image_first_page *page, uint64_t data_size, uint64_t notes_size,
		  uint64_t phdr_count)
{
	struct image_super *s = &page->super;
	uint64_t notes_off = IMAGE_DATA_START + data_size;

	memset(page, 0, sizeof(*page));
	memcpy(s->magic, IMAGE_MAGIC, sizeof(s->magic));
	s->version = IMAGE_VERSION;
	s->block = IMAGE_BLOCK;
	s->data_size = data_size;
	s->notes_size = notes_size;
	s->phdr_off = ALIGN_UP(notes_off + notes_size, 8);
	s->phdr_count = phdr_count;
	s->sums_off = s->phdr_off + phdr_count * sizeof(Elf64_Phdr) +
		      (image_has_xnum(phdr_count) ? sizeof(Elf64_Shdr) : 0);
	s->file_size = s->sums_off +
		       8 * (image_blocks_of(data_size) + image_blocks_of(s->sums_off - notes_off));
	fill_ehdr(&page->ehdr, s);
}

Elf64_Phdr image_note_phdr(const struct image_super *s)
{
	return (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_offset = IMAGE_DATA_START + s->data_size,
		.p_filesz = s->notes_size,
		.p_align = 4,
	};
}

Elf64_Shdr image_xnum_shdr(const struct image_super *s)
{
	return (Elf64_Shdr){.sh_type = SHT_NULL,
			    .sh_size = 1, /* e_shnum, as the kernel writes it */
			    .sh_info = (Elf64_Word)s->phdr_count};
}

const char *image_segment_wrong(const struct image_segment *seg, uint64_t last_end,
				uint64_t data_size)
{
	uint64_t page = PAGE_SIZE_4K - 1;

	if ((seg->vaddr | seg->memsz | seg->file_off | seg->filesz) & page)
		return "not a multiple of 4096";
	if (!seg->memsz || seg->memsz > UINT64_MAX - seg->vaddr)
		return "impossible size";
	if (seg->vaddr < last_end)
		return "overlaps the one before it, or is out of order";
	if (seg->flags & ~(uint32_t)(PF_R | PF_W | PF_X))
		return "unknown flags";
	if (seg->filesz > seg->memsz)
		return "more bytes in the file than in memory";
	if (!seg->filesz)
		return seg->file_off ? "has a place in the file, but no bytes" : NULL;
	if (seg->file_off < IMAGE_DATA_START || seg->filesz > data_size ||
	    seg->file_off - IMAGE_DATA_START > data_size - seg->filesz)
		return "outside of the data area";
	return NULL;
}
