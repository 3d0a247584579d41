/*
 * PSU_TRACE=1: the frames of a leaving thread, function by function, for people
 * who want to see what a stack is.  A frame runs from the stack pointer of the
 * function it called up to its own canonical frame address (the value of the
 * stack pointer before its return address was pushed).
 */
#include "thread/psu.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unwind.h>

struct walk {
	uint64_t low, high; /* what travels */
	uint64_t at;        /* where the next frame begins */
	int n;
	const char *exe; /* the mapped executable, or NULL */
	size_t exe_len;
	uint64_t exe_base, exe_end;
};

static void map_exe(struct walk *k)
{
	__cleanup_fd int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	__cleanup_free struct module_table *t = calloc(1, sizeof(*t));
	struct err err = ERR_INIT;
	struct stat st;
	void *p;

	if (!t || fd < 0 || fstat(fd, &st) || modules_current(t, &err))
		return;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return;
	k->exe = p;
	k->exe_len = (size_t)st.st_size;
	k->exe_base = t->m[0].base;
	k->exe_end = t->m[0].hi;
}

/* The name of the function at ip from the executable's symbol table. */
static const char *exe_symbol(const struct walk *k, uint64_t ip, uint64_t *ret_offset)
{
	const ElfW(Ehdr) *e = (const void *)k->exe;
	const ElfW(Shdr) * sh;
	size_t i, j;

	if (!k->exe || ip < k->exe_base || ip >= k->exe_end || !e->e_shoff ||
	    e->e_shoff + e->e_shnum * sizeof(*sh) > k->exe_len)
		return NULL;
	sh = (const void *)(k->exe + e->e_shoff);
	for (i = 0; i < e->e_shnum; i++) {
		const ElfW(Sym) * sym;

		if (sh[i].sh_type != SHT_SYMTAB || sh[i].sh_link >= e->e_shnum ||
		    sh[i].sh_offset + sh[i].sh_size > k->exe_len)
			continue;
		sym = (const void *)(k->exe + sh[i].sh_offset);
		for (j = 0; j < sh[i].sh_size / sizeof(*sym); j++) {
			uint64_t off = ip - k->exe_base - sym[j].st_value;

			if (ELF64_ST_TYPE(sym[j].st_info) != STT_FUNC || off >= sym[j].st_size)
				continue;
			*ret_offset = off;
			return k->exe + sh[sh[i].sh_link].sh_offset + sym[j].st_name;
		}
	}
	return NULL;
}

static _Unwind_Reason_Code one_frame(struct _Unwind_Context *c, void *arg)
{
	struct walk *k = arg;
	/* What this unwinder calls CFA of a frame is its lower end. */
	uint64_t low = _Unwind_GetCFA(c), ip = _Unwind_GetIP(c), off = 0;
	const char *name;
	Dl_info info;

	if (low < k->low)
		return _URC_NO_REASON;
	if (k->n)
		fprintf(stderr, "%6llu bytes\n", (unsigned long long)(low - k->at));
	if (low >= k->high || !ip)
		return _URC_END_OF_STACK;
	name = exe_symbol(k, ip, &off);
	if (!name && dladdr((void *)ip, &info) && info.dli_sname) {
		name = info.dli_sname;
		off = ip - (uint64_t)info.dli_saddr;
	}
	fprintf(stderr, "psu_thread:  %2d  %#llx  goes on at %#llx  %-28.60s +%-5llu", k->n,
		(unsigned long long)low, (unsigned long long)ip, name ? name : "?",
		(unsigned long long)off);
	k->at = low;
	k->n++;
	return _URC_NO_REASON;
}

void trace_frames(const struct slot *s, const struct hop_regs *regs, const char *to)
{
	struct walk k = {.low = regs->rsp, .high = s->st.base_sp};

	psu_say("to %s: %llu bytes of stack, %#llx to %#llx, and %llu bytes of arena", to,
		(unsigned long long)(k.high - k.low), (unsigned long long)k.low,
		(unsigned long long)k.high, (unsigned long long)slot_travel(s)->arena_top);
	map_exe(&k);
	_Unwind_Backtrace(one_frame, &k);
	if (k.exe)
		munmap((void *)(uintptr_t)k.exe, k.exe_len);
}
