/*
 * The vdso of another kernel.
 *
 * A program keeps addresses of functions in the vdso, and may stand in one.  Where the
 * kernel here has another vdso, the old one's bytes stay at their place, as memory of
 * the program's own, and zeros are where its data were: from these its code learns that
 * there is no clock to be read, and makes the system call.  The kernel's own vdso goes to
 * a place of its own, and each function of the old one that the new one has too jumps
 * there.
 *
 * The next time, that old one is memory like any other, found by the auxiliary vector;
 * its jumps are turned to the kernel's vdso of then, and what was that of the kernel in
 * between is left behind.
 */
#ifndef GODWIT_STATE_VDSO_H
#define GODWIT_STATE_VDSO_H

#include "state/state.h"

/* XXH3 of this kernel's vdso. */
int vdso_here(uint64_t *ret_hash, struct err *err) __must_check;
/* A kernel with this vdso takes the program: are the bytes of the one it has wanted? */
bool vdso_is_wanted(const struct process *p, uint64_t hash);
/* Turns the kernel's mappings of the model into the program's own; before a restart on a
 * kernel whose vdso has this hash.  Nothing where it is the same. */
int vdso_adapt(struct process *p, uint64_t hash, struct err *err) __must_check;
/* The program's own idea of where its vdso is, or 0. */
uint64_t vdso_told(const struct process *p);
/* The model has a vdso of its own, and not the kernel's. */
bool vdso_is_adapted(const struct process *p);
/* The memory is there: turns the jumps to the kernel's vdso, at this address.  Its image
 * is this process's own: all have the same. */
int vdso_redirect(const struct process *p, struct remote *remote, uint64_t vdso,
		  struct err *err) __must_check;

/* A function of a vdso (or any ELF image as it is mapped), by number: its offset and
 * size.  1, or 0 after the last one, or where the image cannot be understood. */
int vdso_function(const uint8_t *image, size_t len, uint32_t number, const char **ret_name,
		  uint64_t *ret_off, uint64_t *ret_size) __must_check;

#endif
