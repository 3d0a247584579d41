/*
 * PSU_ISOMALLOC=1: what the program's own code allocates on a thread that can
 * hop comes from the thread's arena, so that ordinary malloc() memory travels.
 *
 * Only the callers are redirected, by their GOT entries: the executable and the
 * C++ runtime get ours for the whole family; every module gets our free() and
 * realloc(), which tell by the address whose block it is.  So what the C library
 * allocates for itself (stdio buffers, resolver) stays on the ordinary heap even
 * when it runs on such a thread.  A static program has no GOT to redirect; a
 * library loaded later, or a pointer to malloc kept in data, is not reached.
 */
#include "thread/psu.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

static void *iso_reallocarray(void *p, size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total)) {
		errno = ENOMEM;
		return NULL;
	}
	return psu_realloc(p, total);
}

static int iso_posix_memalign(void **ret, size_t align, size_t size)
{
	void *p;

	if (align % sizeof(void *) || !align || (align & (align - 1)))
		return EINVAL;
	p = psu_memalign(align, size);
	if (!p)
		return ENOMEM;
	*ret = p;
	return 0;
}

static void *iso_valloc(size_t size)
{
	return psu_memalign(4096, size);
}

static char *iso_strndup(const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *p = psu_malloc(len + 1);

	if (p) {
		memcpy(p, s, len);
		p[len] = '\0';
	}
	return p;
}

static int iso_vasprintf(char **ret, const char *fmt, va_list ap)
{
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	*ret = n < 0 ? NULL : psu_malloc((size_t)n + 1);
	return *ret ? vsnprintf(*ret, (size_t)n + 1, fmt, ap) : -1;
}

static int iso_asprintf(char **ret, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = iso_vasprintf(ret, fmt, ap);
	va_end(ap);
	return n;
}

static size_t iso_usable_size(void *p)
{
	if (!p)
		return 0;
	return arena_of(p) ? arena_usable(p) : real_alloc.usable_size(p);
}

struct wrap {
	const char *name;
	void *ours;
	bool everywhere;
};

#define W(f) (void *)(uintptr_t)(f)
static const struct wrap wraps[] = {
	{"free", W(psu_free), true},
	{"realloc", W(psu_realloc), true},
	{"malloc", W(psu_malloc), false},
	{"calloc", W(psu_calloc), false},
	{"reallocarray", W(iso_reallocarray), false},
	{"memalign", W(psu_memalign), false},
	{"aligned_alloc", W(psu_memalign), false},
	{"posix_memalign", W(iso_posix_memalign), false},
	{"valloc", W(iso_valloc), false},
	{"strdup", W(psu_strdup), false},
	{"__strdup", W(psu_strdup), false},
	{"strndup", W(iso_strndup), false},
	{"__strndup", W(iso_strndup), false},
	{"asprintf", W(iso_asprintf), false},
	{"vasprintf", W(iso_vasprintf), false},
	{"malloc_usable_size", W(iso_usable_size), false},
};

struct dynamic {
	const ElfW(Sym) * symbols;
	const char *strings;
	const ElfW(Rela) * rela[2];
	size_t len[2];
};

static void read_dynamic(const struct dl_phdr_info *info, const ElfW(Dyn) * d, struct dynamic *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (; d->d_tag != DT_NULL; d++) {
		/* glibc has relocated these in place, but for the vdso's. */
		uint64_t at = d->d_un.d_ptr < info->dlpi_addr ? d->d_un.d_ptr + info->dlpi_addr
							      : d->d_un.d_ptr;

		switch (d->d_tag) {
		case DT_SYMTAB:
			ret->symbols = (const void *)at;
			break;
		case DT_STRTAB:
			ret->strings = (const void *)at;
			break;
		case DT_JMPREL:
			ret->rela[0] = (const void *)at;
			break;
		case DT_PLTRELSZ:
			ret->len[0] = d->d_un.d_val;
			break;
		case DT_RELA:
			ret->rela[1] = (const void *)at;
			break;
		case DT_RELASZ:
			ret->len[1] = d->d_un.d_val;
			break;
		}
	}
}

static void set_entry(uint64_t *at, void *value)
{
	uintptr_t page = ALIGN_DOWN((uintptr_t)at, PAGE_SIZE_4K);

	/* With full RELRO the table is read-only by now; it is made so again by
	 * seal(), below. */
	if (mprotect((void *)page, PAGE_SIZE_4K, PROT_READ | PROT_WRITE) == 0)
		*at = (uint64_t)(uintptr_t)value;
}

static void seal(const struct dl_phdr_info *info)
{
	int i;

	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t lo = ALIGN_DOWN(info->dlpi_addr + ph->p_vaddr, PAGE_SIZE_4K);
		uintptr_t hi =
			ALIGN_DOWN(info->dlpi_addr + ph->p_vaddr + ph->p_memsz, PAGE_SIZE_4K);

		if (ph->p_type == PT_GNU_RELRO && hi > lo)
			mprotect((void *)lo, hi - lo, PROT_READ);
	}
}

static void redirect(const struct dl_phdr_info *info, const struct dynamic *d, bool all)
{
	size_t t, i, k;

	for (t = 0; t < 2; t++) {
		for (i = 0; d->rela[t] && i < d->len[t] / sizeof(ElfW(Rela)); i++) {
			const ElfW(Rela) *r = &d->rela[t][i];
			uint32_t type = ELF64_R_TYPE(r->r_info);
			const char *name = d->strings + d->symbols[ELF64_R_SYM(r->r_info)].st_name;

			if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT &&
			    type != R_X86_64_64)
				continue;
			for (k = 0; k < ARRAY_SIZE(wraps); k++)
				if ((all || wraps[k].everywhere) && !strcmp(name, wraps[k].name))
					set_entry((uint64_t *)(info->dlpi_addr + r->r_offset),
						  wraps[k].ours);
		}
	}
}

struct visit {
	int n;
};

static int one_module(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct visit *v = arg;
	bool is_exe = v->n++ == 0, is_cxx = strstr(info->dlpi_name, "libstdc++.so") != NULL;
	uint64_t self = (uint64_t)(uintptr_t)&psu;
	struct dynamic d;
	int i;

	(void)size;
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uint64_t at = info->dlpi_addr + ph->p_vaddr;

		/* Our own calls must reach the real ones. */
		if (!is_exe && ph->p_type == PT_LOAD && self - at < ph->p_memsz)
			return 0;
	}
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type != PT_DYNAMIC)
			continue;
		read_dynamic(info, (const void *)(info->dlpi_addr + ph->p_vaddr), &d);
		if (!d.symbols || !d.strings || strstr(info->dlpi_name, "vdso") ||
		    strstr(info->dlpi_name, "ld-linux"))
			return 0;
		redirect(info, &d, is_exe || is_cxx);
		seal(info);
	}
	return 0;
}

/* The definition in the C library (or in a preloaded allocator), not a stub of
 * the executable's that is about to be redirected. */
static void *find_real(const char *name)
{
	void *p = dlsym(RTLD_DEFAULT, name);
	Dl_info info;

	if (p && dladdr(p, &info) && (uintptr_t)info.dli_fbase == getauxval(AT_PHDR) - 64)
		p = dlsym(RTLD_NEXT, name);
	return p;
}

static bool find_all_real(struct real_alloc *ret)
{
	struct real_alloc r;

	r.malloc = (void *(*)(size_t))(uintptr_t)find_real("malloc");
	r.aligned_alloc = (void *(*)(size_t, size_t))(uintptr_t)find_real("aligned_alloc");
	r.realloc = (void *(*)(void *, size_t))(uintptr_t)find_real("realloc");
	r.free = (void (*)(void *))(uintptr_t)find_real("free");
	r.usable_size = (size_t(*)(void *))(uintptr_t)find_real("malloc_usable_size");
	if (!r.malloc || !r.aligned_alloc || !r.realloc || !r.free || !r.usable_size)
		return false;
	*ret = r;
	return true;
}

static int count_modules(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	*(int *)arg += strstr(info->dlpi_name, "libc.so") != NULL;
	return 0;
}

void isomalloc_start(void)
{
	struct real_alloc real;
	struct visit v = {0};
	int dynamic = 0;

	dl_iterate_phdr(count_modules, &dynamic);
	if (!dynamic || !find_all_real(&real)) {
		psu_say("PSU_ISOMALLOC=1 needs a dynamically linked program");
		exit(EXIT_UNSUPPORTED);
	}
	real_alloc = real;
	dl_iterate_phdr(one_module, &v);
	/* Once more: its initial values were relocations of the executable, too. */
	real_alloc = real;
}
