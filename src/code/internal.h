/* Shared by the steps of an analysis of code. */
#ifndef GODWIT_CODE_INTERNAL_H
#define GODWIT_CODE_INTERNAL_H

#include "code/code.h"

/* Larger is no program that we could look at in time. */
#define CODE_BYTES_MAX (1ULL << 30)
#define CODE_FNS_MAX (1u << 23)
#define CODE_EDGES_MAX (1u << 26)
#define CODE_DYN_MAX 4096u
#define CODE_RELA_MAX (1u << 22)
#define CODE_SYMS_MAX (1u << 22)

/* Small pieces of the memory, through a window.  0 or a negative errno. */
int code_peek(struct code *c, uint64_t addr, void *buf, size_t len) __must_check;

void code_forget_windows(struct code *c); /* the memory has changed */

/* modules.c: which files are mapped, with their tables. */
int code_find_modules(struct code *c, struct err *err) __must_check;
/* functions.c: c->ranges, and c->fns from the unwind tables. */
int code_find_functions(struct code *c, struct err *err) __must_check;
/* tables.c: slots, resolvers, roots. */
int code_read_tables(struct code *c, struct err *err) __must_check;
int code_read_words(struct code *c, struct err *err) __must_check;
/* sweep.c: needs, edges. */
int code_sweep(struct code *c, struct err *err) __must_check;

/* refuse.c: where code that is not out needs what is missing; with_chosen: variants that
 * were chosen are a reason, too. */
int code_refuse(const struct code *c, const struct arch_features *missing, bool with_chosen,
		struct err *err) __must_check;
/* judge.c */
bool code_is_trampoline(const struct code *c, const struct code_fn *f);
/* Is the address in executable memory? */
const struct code_range *code_range_at(const struct code *c, uint64_t addr);

#endif
