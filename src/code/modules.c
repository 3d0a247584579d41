/* Which files are mapped with code, and where their tables are: see code.h. */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "arch/x86_64/insn.h"
#include "base/io.h"
#include "code/internal.h"
#include "state/vdso.h"

#define WINDOW (64u << 10)
#define PHDRS_MAX 64u

static bool window_holds(const struct code_window *w, uint64_t addr, size_t len)
{
	return addr >= w->at && addr - w->at <= w->len && len <= w->len - (addr - w->at);
}

/* Several, since tables are read side by side. */
static struct code_window *find_window(struct code *c, uint64_t addr, size_t len)
{
	for (size_t i = 0; i < CODE_WINDOWS; i++)
		if (window_holds(&c->window[i], addr, len))
			return &c->window[i];
	return NULL;
}

/* The oldest takes what stands at the address, or less where that is not all mapped. */
static int load_window(struct code *c, uint64_t addr)
{
	struct code_window *w = &c->window[c->next_window++ % CODE_WINDOWS];
	size_t n = WINDOW;
	int ret = -EFAULT;

	w->len = 0;
	if (!w->bytes && !(w->bytes = malloc(WINDOW)))
		return -ENOMEM;
	w->at = addr & ~(uint64_t)(PAGE_SIZE_4K - 1);
	while (n >= PAGE_SIZE_4K && (ret = c->memory->read(c->memory->arg, w->at, w->bytes, n)))
		n /= 2;
	if (!ret)
		w->len = n;
	return ret;
}

void code_forget_windows(struct code *c)
{
	for (size_t i = 0; i < CODE_WINDOWS; i++)
		c->window[i].len = 0;
}

int code_peek(struct code *c, uint64_t addr, void *buf, size_t len)
{
	const struct code_window *w = find_window(c, addr, len);
	int ret;

	if (len > PAGE_SIZE_4K || addr + len < addr)
		return -EINVAL;
	if (!w && (ret = load_window(c, addr)))
		return ret;
	w = w ? w : find_window(c, addr, len);
	if (!w) /* over the edge of what is mapped, or of a window */
		return c->memory->read(c->memory->arg, addr, buf, len);
	memcpy(buf, w->bytes + (addr - w->at), len);
	return 0;
}

static struct code_module *add_module(struct code *c, struct err *err)
{
	struct code_module *v =
		io_grow(c->modules, &c->modules_cap, c->nmodules + 1, sizeof(*v), err);

	if (!v)
		return NULL;
	c->modules = v;
	v[c->nmodules] = (struct code_module){0};
	return &v[c->nmodules++];
}

static void take_dynamic(struct code *c, struct code_module *m, uint64_t at, uint64_t size)
{
	for (uint64_t i = 0; i < size / sizeof(Elf64_Dyn) && i < CODE_DYN_MAX; i++) {
		Elf64_Dyn d;
		uint64_t v;

		if (code_peek(c, at + i * sizeof(d), &d, sizeof(d)) || d.d_tag == DT_NULL)
			return;
		/* The loader of the C library makes addresses of some, others do not. */
		v = d.d_un.d_ptr >= m->start ? d.d_un.d_ptr : d.d_un.d_ptr + m->base;
		switch (d.d_tag) {
		case DT_SYMTAB:
			m->symtab = v;
			break;
		case DT_STRTAB:
			m->strtab = v;
			break;
		case DT_STRSZ:
			m->strsz = d.d_un.d_val;
			break;
		case DT_RELA:
			m->rela = v;
			break;
		case DT_RELASZ:
			m->relasz = d.d_un.d_val;
			break;
		case DT_JMPREL:
			m->jmprel = v;
			break;
		case DT_PLTRELSZ:
			m->jmprelsz = d.d_un.d_val;
			break;
		case DT_PLTGOT:
			m->pltgot = v;
			break;
		case DT_GNU_HASH:
			m->gnu_hash = v;
			break;
		case DT_INIT:
			m->init = v;
			break;
		case DT_FINI:
			m->fini = v;
			break;
		}
	}
}

/* Its headers, as they are mapped. */
static void read_headers(struct code *c, struct code_module *m)
{
	uint64_t dynamic = 0, dynamic_len = 0;
	bool has_base = false;
	Elf64_Ehdr eh;

	if (code_peek(c, m->start, &eh, sizeof(eh)) || memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
	    eh.e_machine != EM_X86_64 || eh.e_phentsize != sizeof(Elf64_Phdr) ||
	    eh.e_phnum > PHDRS_MAX)
		return;
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		Elf64_Phdr ph;

		if (code_peek(c, m->start + eh.e_phoff + i * sizeof(ph), &ph, sizeof(ph)))
			return;
		if (ph.p_type == PT_LOAD && !has_base) {
			m->base = m->start - (ph.p_vaddr - ph.p_offset);
			has_base = true;
		} else if (ph.p_type == PT_DYNAMIC) {
			dynamic = ph.p_vaddr;
			dynamic_len = ph.p_memsz;
		} else if (ph.p_type == PT_GNU_EH_FRAME) {
			m->eh_frame_hdr = ph.p_vaddr;
		}
	}
	m->is_elf = has_base;
	m->entry = eh.e_entry ? eh.e_entry + m->base : 0;
	m->eh_frame_hdr += m->eh_frame_hdr ? m->base : 0;
	if (dynamic)
		take_dynamic(c, m, dynamic + m->base, dynamic_len);
}

static bool is_vdso(const struct process *p, const struct mapping *m)
{
	return m->kind == MAPPING_VDSO || (m->kind == MAPPING_ANON && m->start == vdso_told(p));
}

static const char *name_of(const struct process *p, const struct mapping *m)
{
	if (is_vdso(p, m))
		return "[vdso]";
	return m->file && m->file <= p->nmapped_files ? p->mapped_files[m->file - 1].path : NULL;
}

/* The mapping begins an ELF file: those of the same file that follow belong to it. */
static int begin_module(struct code *c, size_t i, struct err *err)
{
	const struct process *p = c->memory->p;
	const struct mapping *first = &p->mappings[i];
	const char *name = name_of(p, first);
	struct code_module *m = add_module(c, err);

	if (!m)
		return err->error;
	m->name = name ? strdup(name) : NULL;
	m->is_vdso = is_vdso(p, first);
	m->file = first->file;
	m->start = first->start;
	m->end = first->end;
	for (size_t k = i + 1; k < p->nmappings; k++) {
		const struct mapping *next = &p->mappings[k];

		if (m->is_vdso)
			break;
		if (next->file && next->file == m->file && next->offset)
			m->end = next->end;
		else if (next->file && next->file == m->file)
			break;
	}
	name = name ? strrchr(name, '/') : NULL;
	m->is_loader = name && (!strncmp(name, "/ld-linux", 9) || !strncmp(name, "/ld-2.", 6));
	read_headers(c, m);
	return 0;
}

static bool is_code(const struct mapping *m)
{
	return m->prot & PROT_EXEC && m->kind != MAPPING_VVAR &&
	       strcmp(m->name ? m->name : "", "[vsyscall]");
}

/* The module that the mapping belongs to, or SIZE_MAX. */
static size_t module_of(const struct code *c, const struct mapping *m)
{
	for (size_t i = c->nmodules; i-- > 0;)
		if (m->start >= c->modules[i].start && m->end <= c->modules[i].end &&
		    m->file == c->modules[i].file)
			return i;
	return SIZE_MAX;
}

static int add_range(struct code *c, const struct mapping *m, uint64_t *all, struct err *err)
{
	struct code_range *v = io_grow(c->ranges, &c->ranges_cap, c->nranges + 1, sizeof(*v), err);
	size_t len = m->end - m->start, module = module_of(c, m);

	if (!v)
		return err->error;
	c->ranges = v;
	*all += len;
	if (*all > CODE_BYTES_MAX)
		return err_set(err, -EFBIG, "it has more than %llu MiB of code",
			       CODE_BYTES_MAX >> 20);
	if (module == SIZE_MAX) {
		if (!add_module(c, err))
			return err->error;
		module = c->nmodules - 1;
		c->modules[module].start = m->start;
		c->modules[module].end = m->end;
	}
	v += c->nranges;
	*v = (struct code_range){.start = m->start, .len = len, .module = (uint32_t)module};
	if (!(v->bytes = io_alloc(1, len + INSN_MAX, err)))
		return err->error;
	c->nranges++;
	/* What cannot be read cannot be run either. */
	if (c->memory->read(c->memory->arg, m->start, v->bytes, len))
		memset(v->bytes, 0, len);
	return 0;
}

int code_find_modules(struct code *c, struct err *err)
{
	const struct process *p = c->memory->p;
	uint64_t all = 0;
	int ret = 0;

	for (size_t i = 0; i < p->nmappings && !ret; i++) {
		const struct mapping *m = &p->mappings[i];

		if ((m->file && m->offset == 0 && m->kind == MAPPING_FILE) || is_vdso(p, m))
			ret = begin_module(c, i, err);
	}
	for (size_t i = 0; i < p->nmappings && !ret; i++)
		if (is_code(&p->mappings[i]))
			ret = add_range(c, &p->mappings[i], &all, err);
	return ret;
}
