/*
 * The executable and its libraries: identity, place, TLS; how two hosts differ.
 *
 * The vdso is left out: no frame of it is ever on a stack that hops, and it
 * differs between kernels.
 */
#include "thread/psu.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct module_table *known; /* not in the program's data: guards.c */

static void note_build_id(struct module *m, const char *p, size_t len, size_t align)
{
	while (len >= sizeof(ElfW(Nhdr))) {
		const ElfW(Nhdr) *n = (const void *)p;
		size_t name = ALIGN_UP(n->n_namesz, align), desc = ALIGN_UP(n->n_descsz, align);

		if (sizeof(*n) + name + desc > len)
			return;
		if (n->n_type == NT_GNU_BUILD_ID && n->n_namesz == 4 && !memcmp(n + 1, "GNU", 4)) {
			m->id_len = n->n_descsz < sizeof(m->build_id) ? n->n_descsz
								      : sizeof(m->build_id);
			memcpy(m->build_id, p + sizeof(*n) + name, m->id_len);
			return;
		}
		p += sizeof(*n) + name + desc;
		len -= sizeof(*n) + name + desc;
	}
}

static void hash_code(struct module *m, const struct dl_phdr_info *info)
{
	uint64_t sum = 0;
	int i;

	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_LOAD && (ph->p_flags & PF_X))
			sum = psu_sum(sum, (const void *)(info->dlpi_addr + ph->p_vaddr),
				      ph->p_filesz);
	}
	memcpy(m->build_id, &sum, sizeof(sum));
	m->id_len = sizeof(sum);
	m->id_is_hash = 1;
}

static int add_module(struct dl_phdr_info *info, size_t size, void *data)
{
	const char *slash = strrchr(info->dlpi_name, '/');
	struct module_table *t = data;
	struct module *m = &t->m[t->n];
	int i;

	(void)size;
	if (t->n == PSU_MODULES)
		return 1;
	memset(m, 0, sizeof(*m));
	m->base = info->dlpi_addr;
	m->lo = UINT64_MAX;
	snprintf(m->name, sizeof(m->name), "%s",
		 t->n == 0 ? "the program"
		 : slash   ? slash + 1
			   : info->dlpi_name);
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uint64_t at = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type == PT_LOAD) {
			m->lo = ALIGN_DOWN(at < m->lo ? at : m->lo, PAGE_SIZE_4K);
			if (at + ph->p_memsz > m->hi)
				m->hi = ALIGN_UP(at + ph->p_memsz, PAGE_SIZE_4K);
		} else if (ph->p_type == PT_NOTE && !m->id_len) {
			note_build_id(m, (const char *)at, ph->p_memsz, ph->p_align == 8 ? 8 : 4);
		} else if (ph->p_type == PT_TLS) {
			int64_t off = info->dlpi_tls_data
					      ? (int64_t)((uint64_t)info->dlpi_tls_data -
							  hop_thread_pointer())
					      : 0;

			m->tls_size = ph->p_memsz;
			m->tls_offset = off < 0 && off > -(1 << 20) ? off : 0;
		}
	}
	if (m->lo > m->hi || getauxval(AT_SYSINFO_EHDR) - m->lo < m->hi - m->lo)
		return 0;
	if (!m->id_len)
		hash_code(m, info);
	t->n++;
	t->generation = (uint32_t)(info->dlpi_adds + info->dlpi_subs);
	return 0;
}

int modules_read(struct module_table *t, struct err *err)
{
	t->n = 0;
	if (dl_iterate_phdr(add_module, t))
		return err_set(err, -E2BIG, "more than %d libraries are loaded", PSU_MODULES);
	return 0;
}

static int first_generation(struct dl_phdr_info *info, size_t size, void *data)
{
	(void)size;
	*(uint32_t *)data = (uint32_t)(info->dlpi_adds + info->dlpi_subs);
	return 1;
}

uint32_t modules_generation(void)
{
	uint32_t g = 0;

	dl_iterate_phdr(first_generation, &g);
	return g;
}

static const struct module *find(const struct module_table *t, const char *name)
{
	uint32_t i;

	for (i = 0; i < t->n; i++)
		if (!strcmp(t->m[i].name, name))
			return &t->m[i];
	return NULL;
}

int modules_current(struct module_table *ret, struct err *err)
{
	int result = 0;

	pthread_mutex_lock(&table_lock);
	if (!known)
		known = io_alloc(1, sizeof(*known), err);
	if (!known) {
		pthread_mutex_unlock(&table_lock);
		return err->error;
	}
	if (!known->n || known->generation != modules_generation()) {
		bool first = !known->n;
		uint32_t i;

		result = modules_read(ret, err);
		/* Only the first look, from main, sees static TLS for sure. */
		for (i = 0; !result && !first && i < ret->n; i++) {
			const struct module *old = find(known, ret->m[i].name);

			ret->m[i].tls_offset = old ? old->tls_offset : 0;
		}
		if (!result)
			*known = *ret;
	} else {
		*ret = *known;
	}
	pthread_mutex_unlock(&table_lock);
	return result;
}

static void print_id(char *out, const struct module *m)
{
	uint32_t i;

	for (i = 0; i < m->id_len && i < 6; i++)
		sprintf(out + 2 * i, "%02x", m->build_id[i]);
}

static int compare(const struct module *s, const struct module *d, bool strict, struct err *err)
{
	char a[32], b[32];

	if (s->id_len != d->id_len || s->id_is_hash != d->id_is_hash ||
	    memcmp(s->build_id, d->build_id, s->id_len) != 0) {
		print_id(a, s);
		print_id(b, d);
		return err_refuse(err, "%s differs: %s %s on the sender, %s on the receiver",
				  s->name, s->id_is_hash ? "code" : "build-id", a, b);
	}
	if (s->tls_offset && (s->tls_size != d->tls_size || s->tls_offset != d->tls_offset))
		return err_refuse(err,
				  "%s has its thread-local variables at %lld on the sender, %lld "
				  "on the receiver",
				  s->name, (long long)s->tls_offset, (long long)d->tls_offset);
	if (strict && s->base != d->base)
		return err_refuse(err,
				  "%s is at %#llx on the sender, at %#llx on the receiver, and "
				  "PSU_LAYOUT=strict",
				  s->name, (unsigned long long)s->base,
				  (unsigned long long)d->base);
	return 0;
}

int modules_remap(const struct module_table *src, const struct module_table *dst, bool strict,
		  struct remaps *ret, struct err *err)
{
	uint32_t i;

	memset(ret, 0, offsetof(struct remaps, r));
	ret->min = UINT64_MAX;
	for (i = 0; i < src->n; i++) {
		const struct module *s = &src->m[i], *d = i == 0 ? &dst->m[0] : find(dst, s->name);
		struct remap *r = &ret->r[ret->n];
		int e = d ? compare(s, d, strict, err) : 0;

		if (e)
			return e;
		*r = (struct remap){.lo = s->lo, .hi = s->hi, .missing = !d};
		memcpy(r->name, s->name, sizeof(r->name));
		r->delta = d ? (int64_t)(d->base - s->base) : 0;
		/* A library that is not there matters only if the thread points
		 * into it; one with static TLS moves everything. */
		if (!d && s->tls_offset)
			return err_refuse(err, "%s is not loaded on the receiver", s->name);
		ret->missing |= r->missing;
		ret->moved |= r->delta != 0;
		if (r->delta || r->missing) {
			ret->min = r->lo < ret->min ? r->lo : ret->min;
			ret->max = r->hi > ret->max ? r->hi : ret->max;
		}
		ret->n++;
	}
	return 0;
}

bool modules_is_static(void)
{
	bool is_static = true;
	uint32_t i;

	pthread_mutex_lock(&table_lock);
	for (i = 1; i < known->n; i++)
		if (!strncmp(known->m[i].name, "libc.so", 7))
			is_static = false;
	pthread_mutex_unlock(&table_lock);
	return is_static;
}

int modules_libc_tls(int64_t *ret_offset, uint64_t *ret_len)
{
	int e = -ENOENT;
	uint32_t i;

	pthread_mutex_lock(&table_lock);
	for (i = 0; i < known->n; i++)
		if ((i == 0 || !strncmp(known->m[i].name, "libc.so", 7)) &&
		    known->m[i].tls_offset) {
			*ret_offset = known->m[i].tls_offset;
			*ret_len = known->m[i].tls_size;
			e = 0;
		}
	pthread_mutex_unlock(&table_lock);
	return e;
}

struct exe_data {
	uintptr_t (*out)[2];
	int n, max;
	int64_t tls_offset;
	uint64_t tls_size, tls_init;
};

static int exe_data(struct dl_phdr_info *info, size_t size, void *data)
{
	struct exe_data *e = data;
	int i;

	(void)size;
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_LOAD && (ph->p_flags & PF_W) && e->n < e->max) {
			e->out[e->n][0] = info->dlpi_addr + ph->p_vaddr;
			e->out[e->n][1] = info->dlpi_addr + ph->p_vaddr + ph->p_memsz;
			e->n++;
		}
		if (ph->p_type == PT_TLS) {
			e->tls_size = ph->p_memsz;
			e->tls_init = ph->p_filesz;
		}
	}
	return 1;
}

int modules_exe_data(uintptr_t (*ret)[2], int max)
{
	struct exe_data e = {.out = ret, .max = max};

	dl_iterate_phdr(exe_data, &e);
	return e.n;
}

void modules_exe_tls(int64_t *ret_offset, uint64_t *ret_len, uint64_t *ret_init_len)
{
	struct exe_data e = {0};

	dl_iterate_phdr(exe_data, &e);
	pthread_mutex_lock(&table_lock);
	*ret_offset = known->n ? known->m[0].tls_offset : 0;
	pthread_mutex_unlock(&table_lock);
	*ret_len = e.tls_size;
	*ret_init_len = e.tls_init;
}
