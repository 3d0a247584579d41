/* The vdso of another kernel: see vdso.h. */
#include "state/vdso.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "base/io.h"

#define JUMP_LEN 5u  /* e9, distance */
#define SLOT_LEN 16u /* ff 25 0, address: behind the image */
#define VDSO_MAX (64u << 10)
#define FUNCTIONS_MAX 64u

/* --- this kernel's --- */

static int own_vdso(const uint8_t **ret, size_t *ret_len, struct err *err)
{
	uint64_t at = getauxval(AT_SYSINFO_EHDR);
	__cleanup_buf struct buf b = {0};
	struct proc_maps maps;
	int e = io_read_file(-1, "/proc/self/maps", &b);

	if (e)
		return err_sys(err, e, "cannot read /proc/self/maps");
	if ((e = proc_parse_maps(b.p, &maps, err)))
		return e;
	*ret = NULL;
	*ret_len = 0;
	for (size_t i = 0; i < maps.n && at; i++)
		if (maps.v[i].start == at) {
			*ret = (const void *)(uintptr_t)at;
			*ret_len = maps.v[i].end - at;
		}
	proc_maps_done(&maps);
	return 0;
}

int vdso_here(uint64_t *ret_hash, struct err *err)
{
	const uint8_t *p;
	size_t len;
	int ret = own_vdso(&p, &len, err);

	if (!ret)
		*ret_hash = p ? image_hash(p, len) : 0;
	return ret;
}

/* --- functions of an image --- */

/* All of [off, off + len) is in it. */
static bool holds(size_t size, uint64_t off, uint64_t len)
{
	return off <= size && len <= size - off;
}

static const Elf64_Dyn *find_dynamic(const uint8_t *p, size_t len, size_t *ret_n)
{
	Elf64_Ehdr eh;

	if (len < sizeof(eh))
		return NULL;
	memcpy(&eh, p, sizeof(eh));
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) || eh.e_phentsize != sizeof(Elf64_Phdr) ||
	    eh.e_phnum > 32 || !holds(len, eh.e_phoff, eh.e_phnum * sizeof(Elf64_Phdr)))
		return NULL;
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		Elf64_Phdr ph;

		memcpy(&ph, p + eh.e_phoff + i * sizeof(ph), sizeof(ph));
		/* It is mapped as it is in the file: addresses are offsets. */
		if (ph.p_type == PT_DYNAMIC && ph.p_vaddr % 8 == 0 &&
		    holds(len, ph.p_vaddr, ph.p_memsz)) {
			*ret_n = ph.p_memsz / sizeof(Elf64_Dyn);
			return (const void *)(p + ph.p_vaddr);
		}
	}
	return NULL;
}

struct tables {
	uint64_t sym, str, str_len;
	uint32_t nsym;
};

/* Nobody relocates a vdso: addresses in it are offsets. */
static bool find_tables(const uint8_t *p, size_t len, struct tables *t)
{
	size_t n = 0;
	const Elf64_Dyn *d = find_dynamic(p, len, &n);

	*t = (struct tables){0};
	for (size_t i = 0; d && i < n && d[i].d_tag != DT_NULL; i++) {
		uint64_t v = d[i].d_un.d_val;

		if (d[i].d_tag == DT_SYMTAB)
			t->sym = v;
		else if (d[i].d_tag == DT_STRTAB)
			t->str = v;
		else if (d[i].d_tag == DT_STRSZ)
			t->str_len = v;
	}
	if (!t->sym || !t->str || t->str <= t->sym || t->sym % 8 || !holds(len, t->str, t->str_len))
		return false;
	/* The string table follows the symbols, in each kernel so far. */
	t->nsym = (uint32_t)((t->str - t->sym) / sizeof(Elf64_Sym));
	return t->str_len && !p[t->str + t->str_len - 1];
}

int vdso_function(const uint8_t *image, size_t len, uint32_t number, const char **ret_name,
		  uint64_t *ret_off, uint64_t *ret_size)
{
	struct tables t;
	uint32_t k = 0;

	if (len > VDSO_MAX || !find_tables(image, len, &t))
		return 0;
	for (uint32_t i = 0; i < t.nsym; i++) {
		Elf64_Sym s;

		memcpy(&s, image + t.sym + i * sizeof(s), sizeof(s));
		if (ELF64_ST_TYPE(s.st_info) != STT_FUNC || s.st_shndx == SHN_UNDEF ||
		    s.st_name >= t.str_len || !holds(len, s.st_value, s.st_size) || k++ != number)
			continue;
		*ret_name = (const char *)image + t.str + s.st_name;
		*ret_off = s.st_value;
		*ret_size = s.st_size;
		return 1;
	}
	return 0;
}

static bool find_function(const uint8_t *p, size_t len, const char *name, uint64_t *ret_off)
{
	const char *it;
	uint64_t size;

	for (uint32_t i = 0;
	     i < FUNCTIONS_MAX && vdso_function(p, len, i, &it, ret_off, &size) == 1; i++)
		if (!strcmp(it, name))
			return true;
	return false;
}

/* Where the image ends: room for jumps to far away. */
static uint64_t image_end(const uint8_t *p, size_t len)
{
	Elf64_Ehdr eh;
	uint64_t end;

	if (len < sizeof(eh))
		return len;
	memcpy(&eh, p, sizeof(eh));
	end = eh.e_shoff + (uint64_t)eh.e_shnum * eh.e_shentsize;
	for (unsigned i = 0; i < eh.e_phnum && i < 32; i++) {
		Elf64_Phdr ph;

		if (!holds(len, eh.e_phoff + i * sizeof(ph), sizeof(ph)))
			return len;
		memcpy(&ph, p + eh.e_phoff + i * sizeof(ph), sizeof(ph));
		if (ph.p_offset + ph.p_filesz > end)
			end = ph.p_offset + ph.p_filesz;
	}
	return end > len ? len : ALIGN_UP(end, 16);
}

/* --- the model --- */

static const struct mapping *kernels(const struct process *p)
{
	for (size_t i = 0; i < p->nmappings; i++)
		if (p->mappings[i].kind == MAPPING_VDSO)
			return &p->mappings[i];
	return NULL;
}

uint64_t vdso_told(const struct process *p)
{
	const Elf64_auxv_t *v = p->mm.auxv;

	for (size_t i = 0; i < p->mm.auxv_len / sizeof(*v) && v[i].a_type != AT_NULL; i++)
		if (v[i].a_type == AT_SYSINFO_EHDR)
			return v[i].a_un.a_val;
	return 0;
}

static bool stands_in(const struct process *p, const struct mapping *m)
{
	for (size_t i = 0; i < p->nthreads; i++)
		if (p->threads[i].regs.rip >= m->start && p->threads[i].regs.rip < m->end)
			return true;
	return false;
}

/* One of an earlier move that nobody uses is left behind. */
static bool is_kept(const struct process *p, const struct mapping *m)
{
	return vdso_told(p) == m->start || stands_in(p, m);
}

bool vdso_is_wanted(const struct process *p, uint64_t hash)
{
	const struct mapping *m = kernels(p);

	return m && hash != p->system.vdso_hash && is_kept(p, m);
}

/* The kernel's mappings go, with their runs. */
static int drop_kernels(struct process *p, struct err *err)
{
	uint32_t *to = io_alloc(p->nmappings + 1, sizeof(*to), err);
	size_t n = 0, k = 0;

	if (!to)
		return err->error;
	for (size_t i = 0; i < p->nmappings; i++) {
		to[i] = UINT32_MAX;
		if (mapping_is_special(&p->mappings[i])) {
			free(p->mappings[i].name);
			continue;
		}
		to[i] = (uint32_t)n;
		p->mappings[n++] = p->mappings[i];
	}
	p->nmappings = n;
	for (size_t i = 0; i < p->nruns; i++)
		if (to[p->runs[i].mapping] != UINT32_MAX) {
			p->runs[k] = p->runs[i];
			p->runs[k++].mapping = to[p->runs[i].mapping];
		}
	p->nruns = k;
	free(to);
	return 0;
}

int vdso_adapt(struct process *p, uint64_t hash, struct err *err)
{
	const struct mapping *m = kernels(p);

	if (!m || hash == p->system.vdso_hash)
		return 0;
	if (!is_kept(p, m))
		return drop_kernels(p, err);
	for (size_t i = 0; i < p->nmappings; i++) {
		struct mapping *k = &p->mappings[i];

		if (!mapping_is_special(k))
			continue;
		k->kind = MAPPING_ANON;
		k->offset = 0;
		free(k->name);
		k->name = NULL;
	}
	return 0;
}

bool vdso_is_adapted(const struct process *p)
{
	return !kernels(p);
}

/* --- the jumps --- */

struct turn {
	const struct process *p;
	struct remote *remote;
	uint64_t old, vdso; /* addresses */
	uint64_t slot;      /* the next, from old */
	size_t len;         /* of the old one */
};

/*
 * A thread that stands in the bytes to be written would meet half an instruction.  One
 * further on finishes the old function, which finds no clock and makes the system call;
 * but time() asks nothing of its data, and would tell of 1970.
 */
static int check_threads(const struct turn *t, const char *name, uint64_t at, uint64_t size,
			 struct err *err)
{
	uint64_t len = strstr(name, "vdso_time") || !strcmp(name, "time") ? size : JUMP_LEN;

	for (size_t i = 0; i < t->p->nthreads; i++) {
		uint64_t ip = t->p->threads[i].regs.rip;

		if (ip <= at || ip >= at + len)
			continue;
		err_set(err, -EAGAIN, "thread %d stands in %s of another kernel's vdso",
			t->p->threads[i].tid, name);
		return err_hint(err, "try again: take it a moment later");
	}
	return 0;
}

static int turn_one(struct turn *t, uint64_t off, uint64_t to, struct err *err)
{
	uint8_t jump[JUMP_LEN] = {0xe9}, slot[SLOT_LEN] = {0xff, 0x25};
	int32_t far = (int32_t)(t->slot - off - JUMP_LEN);
	int ret;

	if (t->slot + SLOT_LEN > t->len)
		return err_refuse(err, "there is no room behind the other kernel's vdso");
	memcpy(jump + 1, &far, 4);
	memcpy(slot + 6, &to, 8);
	ret = remote_write_force(t->remote, t->old + t->slot, slot, sizeof(slot));
	if (!ret)
		ret = remote_write_force(t->remote, t->old + off, jump, sizeof(jump));
	t->slot += SLOT_LEN;
	return ret ? err_sys(err, ret, "cannot write to the program's copy of its vdso") : 0;
}

static int turn_all(struct turn *t, const uint8_t *old, const uint8_t *own, size_t own_len,
		    struct err *err)
{
	const char *name;
	uint64_t off, size, to;
	int ret = 0;

	t->slot = image_end(old, t->len);
	for (uint32_t i = 0;
	     !ret && i < FUNCTIONS_MAX && vdso_function(old, t->len, i, &name, &off, &size) == 1;
	     i++) {
		/* Weak names of the same function: written twice, to the same effect. */
		if (size < JUMP_LEN || !find_function(own, own_len, name, &to))
			continue;
		ret = check_threads(t, name, t->old + off, size, err);
		if (!ret)
			ret = turn_one(t, off, t->vdso + to, err);
	}
	return ret;
}

int vdso_redirect(const struct process *p, struct remote *remote, uint64_t vdso, struct err *err)
{
	struct turn t = {.p = p, .remote = remote, .old = vdso_told(p), .vdso = vdso};
	__cleanup_free uint8_t *old = NULL;
	const uint8_t *own;
	size_t own_len;
	int ret = own_vdso(&own, &own_len, err);

	if (ret || !own)
		return ret;
	for (size_t i = 0; i < p->nmappings; i++)
		if (p->mappings[i].start == t.old && p->mappings[i].kind == MAPPING_ANON)
			t.len = p->mappings[i].end - t.old;
	if (!t.len || t.len > VDSO_MAX)
		return 0; /* the program has unmapped it */
	if (!(old = io_alloc(1, t.len, err)))
		return err->error;
	if ((ret = remote_read_force(remote, t.old, old, t.len)))
		return err_sys(err, ret, "cannot read the program's copy of its vdso");
	return turn_all(&t, old, own, own_len, err);
}
