/* Slots, resolvers and names, from the tables of the modules: see code.h. */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/io.h"
#include "code/internal.h"

#define WORDS_AT_ONCE 4096u
#define BSS_MAX (16ULL << 20)

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void sort_once(uint64_t *v, size_t *n)
{
	size_t k = 0;

	qsort(v, *n, sizeof(*v), by_value);
	for (size_t i = 0; i < *n; i++)
		if (!k || v[k - 1] != v[i])
			v[k++] = v[i];
	*n = k;
}

static int add(uint64_t **v, size_t *n, size_t *cap, uint64_t value, struct err *err)
{
	uint64_t *grown = io_grow(*v, cap, *n + 1, sizeof(**v), err);

	if (!grown)
		return err->error;
	*v = grown;
	grown[(*n)++] = value;
	return 0;
}

static int add_slot(struct code *c, uint64_t at, struct err *err)
{
	return add(&c->slots, &c->nslots, &c->slots_cap, at, err);
}

static int add_resolver(struct code *c, uint64_t at, struct err *err)
{
	struct code_fn *f = code_fn_starts(c, at);

	if (f)
		f->flags |= FN_RESOLVER;
	return code_range_at(c, at) ? add(&c->resolvers, &c->nresolvers, &c->resolvers_cap, at, err)
				    : 0;
}

static int read_relocations(struct code *c, const struct code_module *m, uint64_t at, uint64_t size,
			    struct err *err)
{
	int ret = 0;

	for (uint64_t i = 0; i < size / sizeof(Elf64_Rela) && i < CODE_RELA_MAX && !ret; i++) {
		Elf64_Rela r;
		uint64_t type;

		if (code_peek(c, at + i * sizeof(r), &r, sizeof(r)))
			break;
		type = ELF64_R_TYPE(r.r_info);
		if (type == R_X86_64_IRELATIVE)
			ret = add_resolver(c, m->base + (uint64_t)r.r_addend, err);
		if (!ret &&
		    (type == R_X86_64_IRELATIVE || type == R_X86_64_GLOB_DAT ||
		     type == R_X86_64_JUMP_SLOT || (type == R_X86_64_64 && ELF64_R_SYM(r.r_info))))
			ret = add_slot(c, m->base + r.r_offset, err);
	}
	return ret;
}

/* How many symbols there are, only the hash table tells. */
static uint64_t count_symbols(struct code *c, const struct code_module *m)
{
	struct {
		uint32_t buckets, first, bloom, shift;
	} h;
	uint64_t at;
	uint32_t last = 0, hash = 0;

	if (!m->gnu_hash || code_peek(c, m->gnu_hash, &h, sizeof(h)) || h.buckets > CODE_SYMS_MAX ||
	    h.bloom > CODE_SYMS_MAX)
		return m->strtab > m->symtab ? (m->strtab - m->symtab) / sizeof(Elf64_Sym) : 0;
	at = m->gnu_hash + sizeof(h) + h.bloom * 8ULL;
	for (uint32_t i = 0; i < h.buckets; i++) {
		uint32_t b;

		if (code_peek(c, at + i * 4ULL, &b, 4))
			return 0;
		if (b > last)
			last = b;
	}
	if (last < h.first)
		return h.first;
	at += h.buckets * 4ULL;
	while (last < CODE_SYMS_MAX && !code_peek(c, at + (last - h.first) * 4ULL, &hash, 4) &&
	       !(hash & 1))
		last++;
	return last + 1ULL;
}

/*
 * Two functions of glibc are known by name.  One is there for its own tests, and names
 * all variants; no program asks it, since its name is private to the C library: what only
 * this list refers to is not in use.  The other tells where the C library keeps what it
 * knows of the CPU.
 */
static void note_function(struct code *c, const struct code_module *m, const Elf64_Sym *s)
{
	static const char list[] = "__libc_ifunc_impl_list",
			  leaf[] = "__x86_get_cpuid_feature_leaf";
	struct code_fn *f = code_fn_at(c, m->base + s->st_value);
	char name[32] = "";

	_Static_assert(sizeof(leaf) < sizeof(name), "name is cut");
	if (!f)
		return;
	f->flags |= FN_EXPORT;
	if (s->st_name >= m->strsz || code_peek(c, m->strtab + s->st_name, name, sizeof(name)))
		return;
	name[sizeof(name) - 1] = '\0';
	if (!strcmp(name, list))
		f->flags = (f->flags & ~(uint32_t)FN_EXPORT) | FN_LIST;
	else if (!strcmp(name, leaf) && f->start == m->base + s->st_value) {
		c->leaf_function = f->start;
		c->libc = f->module;
	}
}

static int read_symbols(struct code *c, const struct code_module *m, struct err *err)
{
	uint64_t n = m->symtab ? count_symbols(c, m) : 0;
	int ret = 0;

	for (uint64_t i = 0; i < n && i < CODE_SYMS_MAX && !ret; i++) {
		Elf64_Sym s;

		if (code_peek(c, m->symtab + i * sizeof(s), &s, sizeof(s)))
			break;
		if (s.st_shndx == SHN_UNDEF || !s.st_value)
			continue;
		if (ELF64_ST_TYPE(s.st_info) == STT_GNU_IFUNC)
			ret = add_resolver(c, m->base + s.st_value, err);
		else if (ELF64_ST_TYPE(s.st_info) == STT_FUNC)
			note_function(c, m, &s);
	}
	return ret;
}

static void mark_export(struct code *c, uint64_t at)
{
	struct code_fn *f = at ? code_fn_at(c, at) : NULL;

	if (f)
		f->flags |= FN_EXPORT;
}

int code_read_tables(struct code *c, struct err *err)
{
	int ret = 0;

	for (size_t i = 0; i < c->nmodules && !ret; i++) {
		const struct code_module *m = &c->modules[i];

		if (!m->is_elf)
			continue;
		mark_export(c, m->entry);
		mark_export(c, m->init);
		mark_export(c, m->fini);
		ret = read_relocations(c, m, m->rela, m->relasz, err);
		if (!ret)
			ret = read_relocations(c, m, m->jmprel, m->jmprelsz, err);
		/* Behind it: where a first call by name goes. */
		if (!ret && m->pltgot)
			ret = add_slot(c, m->pltgot + 16, err);
		if (!ret)
			ret = read_symbols(c, m, err);
	}
	sort_once(c->slots, &c->nslots);
	sort_once(c->resolvers, &c->nresolvers);
	return ret;
}

/* --- words in the modules' data --- */

static bool is_slot(const struct code *c, uint64_t at)
{
	return bsearch(&at, c->slots, c->nslots, sizeof(at), by_value);
}

static void look_at_words(struct code *c, uint64_t at, const uint64_t *v, size_t n)
{
	uint64_t low = c->ranges[0].start;
	uint64_t high = c->ranges[c->nranges - 1].start + c->ranges[c->nranges - 1].len;

	for (size_t i = 0; i < n; i++) {
		struct code_fn *f;

		if (v[i] < low || v[i] >= high || !(f = code_fn_starts(c, v[i])))
			continue;
		if (is_slot(c, at + i * 8))
			f->flags |= FN_SLOT;
		else if (!(f->flags & FN_TURNED))
			f->flags |= FN_ROOT;
	}
}

static void scan(struct code *c, uint64_t start, uint64_t end, uint64_t *buf)
{
	for (uint64_t at = start; at < end; at += WORDS_AT_ONCE * 8) {
		size_t n = end - at < WORDS_AT_ONCE * 8 ? (size_t)(end - at) : WORDS_AT_ONCE * 8;

		if (!c->memory->read(c->memory->arg, at, buf, n))
			look_at_words(c, at, buf, n / 8);
	}
}

/* Is it data of a module: of its file, or the zeros behind it? */
static bool is_data(const struct process *p, size_t i)
{
	const struct mapping *m = &p->mappings[i];

	if (m->prot & PROT_EXEC || !(m->prot & PROT_READ))
		return false;
	if (m->kind == MAPPING_FILE)
		return true;
	return m->kind == MAPPING_ANON && i && p->mappings[i - 1].kind == MAPPING_FILE &&
	       p->mappings[i - 1].end == m->start && m->end - m->start <= BSS_MAX;
}

int code_read_words(struct code *c, struct err *err)
{
	const struct process *p = c->memory->p;
	__cleanup_free uint64_t *buf = io_alloc(WORDS_AT_ONCE, sizeof(*buf), err);

	if (!buf)
		return err->error;
	for (size_t i = 0; i < p->nmappings && c->nranges; i++)
		if (is_data(p, i))
			scan(c, p->mappings[i].start, p->mappings[i].end, buf);
	return 0;
}
