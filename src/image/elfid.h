/*
 * What we ask of other ELF files, programs and libraries: which build they are,
 * and which function an address is in.  The files are anybody's: every offset
 * is checked against the size of the file, and work and memory are bounded.
 * 64-bit little endian files only, of any CPU; others have no id and no symbols.
 */
#ifndef GODWIT_IMAGE_ELFID_H
#define GODWIT_IMAGE_ELFID_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define ELF_BUILD_ID_MAX 20 /* bytes; of a longer id the first ones */

/*
 * The NT_GNU_BUILD_ID of the file open as fd (its position does not matter).
 * *ret_len is 0 when it has none or is no ELF file.  0, or a negative errno
 * when it cannot be read; outputs are untouched then.
 */
int elf_build_id(int fd, uint8_t out[ELF_BUILD_ID_MAX], uint32_t *ret_len) __must_check;

/*
 * The function at byte `file_offset` of the file (for an address in a mapping:
 * address - mapping.start + mapping.offset), from .symtab, or else .dynsym.
 * out gets its name, cut to cap - 1 bytes, control characters replaced by '?';
 * *ret_offset is the distance from its start in bytes.  Returns 1, or 0 when
 * nothing is known, or a negative errno when the file cannot be read.
 */
int elf_symbol_at(int fd, uint64_t file_offset, char *out, size_t cap,
		  uint64_t *ret_offset) __must_check;

#endif
