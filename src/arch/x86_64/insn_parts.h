/* Shared by insn.c, which takes an instruction apart, and insn_features.c. */
#ifndef GODWIT_ARCH_INSN_PARTS_H
#define GODWIT_ARCH_INSN_PARTS_H

#include "arch/x86_64/insn.h"

enum insn_encoding { ENC_LEGACY, ENC_VEX, ENC_EVEX, ENC_XOP };
/* Mandatory prefix, as VEX and EVEX number it. */
enum insn_pp { PP_NONE, PP_66, PP_F3, PP_F2 };

struct insn_parts {
	const uint8_t *p;
	size_t n, i; /* i: bytes taken; more than n: it ends too late */
	uint8_t encoding, map, op, pp;
	bool w, has_66, has_f2, has_f3, has_67, evex_b;
	uint8_t l; /* vector length: 0 is 128 bits, 1 256, 2 512 */
	bool has_modrm;
	uint8_t modrm;
};

#define MODRM_MOD(d) ((d)->modrm >> 6)
#define MODRM_REG(d) ((d)->modrm >> 3 & 7)

/* Fills ret->feature. */
void insn_features(const struct insn_parts *d, struct insn *ret);

#endif
