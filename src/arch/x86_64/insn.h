/*
 * One x86-64 instruction: how long it is, what CPU it needs, where it leads.
 *
 * For machine code of anybody's: nothing outside of the bytes given is read, and each
 * call ends with at least one byte taken.  No disassembler: operands that do not matter
 * here are not told apart.
 */
#ifndef GODWIT_ARCH_INSN_H
#define GODWIT_ARCH_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/x86_64/features.h"

#define INSN_MAX 15 /* bytes */

enum insn_kind {
	INSN_OTHER,
	INSN_BAD,       /* no instruction, or the bytes end before it does */
	INSN_CALL,      /* target */
	INSN_CALL_AWAY, /* indirect */
	INSN_JUMP,      /* target */
	INSN_BRANCH,    /* target, or the next */
	INSN_FAR_WAY,   /* an indirect jump, or a return: never the next */
	INSN_TRAP,      /* ud2, hlt, int3 */
	INSN_SYSCALL,   /* syscall, sysenter, int 0x80 */
	INSN_CPUID,     /* asks what the CPU can do; xgetbv, too */
};

struct insn {
	uint8_t len; /* bytes, 1 to INSN_MAX; of a bad one 1 */
	uint8_t kind;
	uint8_t feature[3]; /* enum arch_feature, FEATURE_NONE for none */
	bool has_target;    /* of a call, jump or branch */
	bool has_address;   /* it names this address, by distance from itself or as a number */
	uint64_t target, address;
};

/* Decodes what stands at address `at`: p has n bytes, n > 0. */
void arch_insn(const uint8_t *p, size_t n, uint64_t at, struct insn *ret);

#endif
