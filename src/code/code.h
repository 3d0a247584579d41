/*
 * A program's machine code, as it is mapped: which instruction sets it uses, which
 * functions were chosen for the CPU it was started on, where it makes system calls.
 *
 * The C library has some functions once for each kind of CPU.  A resolver chooses one
 * when a module is loaded, or when a symbol is looked up for the first time, and the
 * address is kept in a slot that a relocation names (IRELATIVE, JUMP_SLOT, GLOB_DAT).  So
 * most of its AVX-512 code is never run on a CPU without.  Which code that is:
 *
 *   function   what the unwind table (.eh_frame_hdr) calls one; code in mappings without
 *              such a table (made at run time, Go) is one function, and in use
 *   reference  a jump or call into it, its address as an operand, or as a word in a
 *              module's data; exported names and threads count, too
 *   variant    a function that is referenced by resolvers alone, or by variants alone,
 *              and by slots
 *   chosen     a variant that is in a slot
 *
 * The rest is *used*: some of it is never run either, and nobody can tell from outside.
 *
 * The bytes are anybody's: every table is read with care, and work and memory are bounded.
 */
#ifndef GODWIT_CODE_CODE_H
#define GODWIT_CODE_CODE_H

#include "arch/x86_64/features.h"
#include "base/err.h"
#include "state/state.h"

/* Where the bytes are.  read: all of [addr, addr + len), or a negative errno. */
struct code_memory {
	const struct process *p;
	int (*read)(void *arg, uint64_t addr, void *buf, size_t len);
	void *arg;
};

enum code_fn_flag {
	FN_WHOLE = 1 << 0,    /* a mapping without a table of functions */
	FN_RESOLVER = 1 << 1, /* chooses among variants */
	FN_ROOT = 1 << 2,     /* referenced from outside of the code, and not by a slot */
	FN_SLOT = 1 << 3,     /* a slot holds its address */
	FN_VARIANT = 1 << 4,
	FN_OUT = 1 << 5,     /* a variant that was not chosen */
	FN_ENTERED = 1 << 6, /* a thread stands in it, or will return to it */
	FN_TURNED = 1 << 7,  /* its first instruction jumps to another: words do not count */
	FN_STRAY = 1 << 10,  /* in no table: ends where it cannot go on */
	FN_LIST = 1 << 9,    /* names all variants, and calls none */
	FN_EXPORT = 1 << 8,  /* by its name, or where the module begins and ends */
};

struct code_fn {
	uint64_t start, end;
	uint32_t module, range;
	uint32_t flags;
	uint32_t syscalls, cpuids; /* instructions */
	struct arch_features needs;
};

/* A range of executable memory. */
struct code_range {
	uint64_t start;
	uint8_t *bytes;
	size_t len;
	uint32_t module;
};

struct code_module {
	char *name;          /* of the file; "[vdso]", or NULL: made at run time */
	uint32_t file;       /* as in struct mapping; 0: none */
	uint64_t base;       /* added to the addresses in its tables */
	uint64_t start, end; /* of its mappings */
	uint64_t entry;
	uint64_t symtab, strtab, strsz, rela, relasz, jmprel, jmprelsz, pltgot, gnu_hash, init,
		fini;
	uint64_t eh_frame_hdr;
	bool is_elf, has_functions, is_loader;
	bool is_vdso; /* the kernel's, made for its CPU; or another's, which only jumps there */
};

struct code_edge {
	uint32_t from, to; /* functions */
	bool by_address;   /* no jump or call, but its address is taken */
};

#define CODE_WINDOWS 4

struct code {
	const struct code_memory *memory;
	struct code_module *modules;
	size_t nmodules, modules_cap;
	struct code_range *ranges; /* by address */
	size_t nranges, ranges_cap;
	struct code_fn *fns; /* by address */
	size_t nfns, fns_cap;
	struct code_edge *edges;
	size_t nedges, edges_cap;
	uint64_t *slots; /* addresses, sorted */
	size_t nslots, slots_cap;
	uint64_t *resolvers; /* addresses, sorted, each once */
	size_t nresolvers, resolvers_cap;
	uint32_t libc;          /* index of glibc's module; UINT32_MAX: none */
	uint64_t leaf_function; /* of glibc: tells where it keeps CPUID; 0: it has none */
	struct code_window {    /* of the memory, for reading in small pieces */
		uint64_t at;
		size_t len;
		uint8_t *bytes;
	} window[CODE_WINDOWS];
	unsigned next_window;
};

/* Reads all code and finds what refers to what.  On failure *c is empty. */
int code_read(const struct code_memory *m, struct code *c, struct err *err) __must_check;
void code_done(struct code *c);
/* Tells variants and those chosen: FN_VARIANT and FN_OUT.  Again after the slots or
 * FN_TURNED changed: slots are read anew. */
int code_judge(struct code *c, struct err *err) __must_check;

/* The function that the address is in, or NULL. */
struct code_fn *code_fn_at(const struct code *c, uint64_t addr);
/* The same, only for its first byte. */
struct code_fn *code_fn_starts(const struct code *c, uint64_t addr);
/* "byte 0x1234 of /lib/libc.so.6", or the symbol where the file tells. */
void code_place(const struct code *c, uint64_t addr, char *out, size_t cap);
/* First instruction of the function that needs one of these; 0: none. */
uint64_t code_first_site(const struct code *c, const struct code_fn *f,
			 const struct arch_features *of);

struct code_summary {
	struct arch_features used, chosen, variants; /* variants: those not chosen */
	size_t nfns, nvariants, nchosen, nsyscalls, ncpuids;
	uint64_t bytes, run_time_bytes; /* of code; of it made at run time */
};
void code_sum(const struct code *c, struct code_summary *ret);

/* Memory of an image, and of mapped files that are the same here. */
struct code_image;
int code_image_open(struct image *img, const struct process *p, struct code_image **ret,
		    struct code_memory *m, struct err *err) __must_check;
void code_image_close(struct code_image *ci);

/* A stopped or running process. */
void code_memory_remote(const struct process *p, const struct remote *r, struct code_memory *m);

/*
 * A program that comes from a CPU with features that this one lacks (`missing`), in its
 * new process, with its memory and one thread, none of its code run yet.  Chooses again
 * for this CPU what the C library chose for the other one: what it remembers of that CPU
 * is corrected, every resolver is asked before and after, and where the answer changed
 * the slots get the new one; and the old function, whose address the program may have
 * kept elsewhere, jumps there.
 *
 * Refuses a program with code in use that needs what is missing, naming feature and
 * place; -EAGAIN where only a thread stands in the way, which may leave it soon.
 * *ret_n: how many functions were chosen again.
 */
int code_choose_again(const struct process *p, struct remote *r,
		      const struct arch_features *missing, size_t *ret_n,
		      struct err *err) __must_check;
/* Would it be refused?  Only looks; what can be chosen again is no reason.  Threads are
 * as in the model: with_threads false where they run on. */
int code_check(const struct code_memory *m, const struct arch_features *missing, bool with_threads,
	       struct err *err) __must_check;
/* A process by /proc/PID/mem; arg points to the descriptor. */
void code_memory_fd(const struct process *p, int *fd, struct code_memory *m);

/* godwit show --code */
int code_show(const struct process *p, struct image *img, struct report *rep,
	      struct err *err) __must_check;

#endif
