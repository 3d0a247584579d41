/*
 * Which CPU an instruction needs.  Without an entry here it is one of the first x86-64
 * CPUs, or AVX or AVX-512F by its encoding.  Instructions that older CPUs take for
 * nothing (endbr64, prefetchw) or for something near enough to be meant (tzcnt, which
 * compilers write for bsf) need nothing.  Nor do rdpkru and wrpkru, which every C library
 * has: they are of use with a protection key alone, and a program that has one tells by
 * its registers (xsave part 9).
 */
#include "arch/x86_64/insn_parts.h"

#define F(x) FEATURE_##x

/* Opcodes of a map from..to, with these prefixes (bits by enum insn_pp). */
struct rule {
	uint8_t map, from, to, pps;
	uint8_t w;       /* 0, 1, or ANY */
	uint8_t feature; /* FEATURE_NONE: the encoding's own alone */
};

#define ANY 2
#define P(pp) (1u << (pp))
#define P0 P(PP_NONE)
#define P66 P(PP_66)
#define PF3 P(PP_F3)
#define PF2 P(PP_F2)
#define PALL 15u

static uint8_t look_up(const struct rule *v, size_t n, const struct insn_parts *d, uint8_t other)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].map == d->map && d->op >= v[i].from && d->op <= v[i].to &&
		    v[i].pps >> d->pp & 1 && (v[i].w == ANY || v[i].w == d->w))
			return v[i].feature;
	return other;
}

#define LOOK_UP(table, d, other) look_up(table, sizeof(table) / sizeof(*(table)), d, other)

/* --- without VEX --- */

static const struct rule legacy[] = {
	{1, 0x0e, 0x0f, PALL, ANY, F(_3dnow)},     {1, 0x12, 0x12, PF3 | PF2, ANY, F(pni)},
	{1, 0x16, 0x16, PF3, ANY, F(pni)},         {1, 0x2b, 0x2b, PF3 | PF2, ANY, F(sse4a)},
	{1, 0x78, 0x79, P66 | PF2, ANY, F(sse4a)}, {1, 0x7c, 0x7d, P66 | PF2, ANY, F(pni)},
	{1, 0xb8, 0xb8, PF3, ANY, F(popcnt)},      {1, 0xbd, 0xbd, PF3, ANY, F(abm)},
	{1, 0xd0, 0xd0, P66 | PF2, ANY, F(pni)},   {1, 0xf0, 0xf0, PF2, ANY, F(pni)},
	{2, 0x37, 0x37, P66, ANY, F(sse4_2)},      {2, 0x00, 0x0b, PALL, ANY, F(ssse3)},
	{2, 0x1c, 0x1e, PALL, ANY, F(ssse3)},      {2, 0x10, 0x41, P66, ANY, F(sse4_1)},
	{2, 0xc8, 0xcd, P0, ANY, F(sha_ni)},       {2, 0xcf, 0xcf, P66, ANY, F(gfni)},
	{2, 0xdb, 0xdf, P66, ANY, F(aes)},         {2, 0xf0, 0xf1, PF2, ANY, F(sse4_2)},
	{2, 0xf0, 0xf1, P0 | P66, ANY, F(movbe)},  {2, 0xf6, 0xf6, P66 | PF3, ANY, F(adx)},
	{2, 0xf8, 0xf8, P66, ANY, F(movdir64b)},   {2, 0xf8, 0xf8, PF3 | PF2, ANY, F(enqcmd)},
	{2, 0xf9, 0xf9, P0, ANY, F(movdiri)},      {3, 0x0f, 0x0f, PALL, ANY, F(ssse3)},
	{3, 0x44, 0x44, P66, ANY, F(pclmulqdq)},   {3, 0x60, 0x63, P66, ANY, F(sse4_2)},
	{3, 0x08, 0x42, P66, ANY, F(sse4_1)},      {3, 0xcc, 0xcc, P0, ANY, F(sha_ni)},
	{3, 0xce, 0xcf, P66, ANY, F(gfni)},        {3, 0xdf, 0xdf, P66, ANY, F(aes)},
};

/* 0f 01 with a register form: each is an instruction of its own. */
static uint8_t feature_of_01(const struct insn_parts *d)
{
	switch (d->modrm) {
	case 0xd0:
		return F(xsave);
	case 0xd5:
	case 0xd6:
		return F(rtm);
	case 0xe8:
		return d->pp == PP_NONE ? F(serialize)
		       : d->pp == PP_F2 ? F(tsxldtrk)
					: FEATURE_NONE;
	case 0xe9:
		return d->pp == PP_F2 ? F(tsxldtrk) : FEATURE_NONE;
	case 0xf9:
		return F(rdtscp);
	case 0xfa:
	case 0xfb:
		return F(mwaitx);
	case 0xfc:
		return F(clzero);
	case 0xfd:
		return F(rdpru);
	}
	return FEATURE_NONE;
}

static uint8_t feature_of_ae(const struct insn_parts *d)
{
	uint8_t reg = MODRM_REG(d);

	if (MODRM_MOD(d) == 3)
		return d->pp == PP_F3 && reg < 4      ? F(fsgsbase)
		       : reg == 6 && d->pp != PP_NONE ? F(waitpkg)
						      : FEATURE_NONE;
	if (d->pp == PP_66)
		return reg == 6 ? F(clwb) : reg == 7 ? F(clflushopt) : FEATURE_NONE;
	if (d->pp != PP_NONE)
		return FEATURE_NONE;
	return reg == 4 || reg == 5 ? F(xsave) : reg == 6 ? F(xsaveopt) : FEATURE_NONE;
}

static uint8_t feature_of_c7(const struct insn_parts *d)
{
	uint8_t reg = MODRM_REG(d);

	if (MODRM_MOD(d) != 3)
		return reg == 1 && d->w ? F(cx16) : reg == 4 ? F(xsavec) : FEATURE_NONE;
	if (reg == 6)
		return d->pp == PP_F3 ? FEATURE_NONE : F(rdrand);
	if (reg == 7)
		return d->pp == PP_F3 ? F(rdpid) : F(rdseed);
	return FEATURE_NONE;
}

static uint8_t feature_of_one(const struct insn_parts *d)
{
	if (d->op == 0x9e || d->op == 0x9f)
		return F(lahf_lm);
	if ((d->op == 0xc6 || d->op == 0xc7) && d->modrm == 0xf8)
		return F(rtm);
	/* fisttp */
	if ((d->op == 0xdb || d->op == 0xdd || d->op == 0xdf) && MODRM_MOD(d) != 3 &&
	    MODRM_REG(d) == 1)
		return F(pni);
	return FEATURE_NONE;
}

static void of_legacy(const struct insn_parts *d, struct insn *ret)
{
	if (d->map == 0)
		ret->feature[0] = feature_of_one(d);
	else if (d->map == 1 && d->op == 0x01 && MODRM_MOD(d) == 3)
		ret->feature[0] = feature_of_01(d);
	else if (d->map == 1 && d->op == 0xae)
		ret->feature[0] = feature_of_ae(d);
	else if (d->map == 1 && d->op == 0xc7)
		ret->feature[0] = feature_of_c7(d);
	else if (d->map == 2 && d->op >= 0xf0 && d->op <= 0xf1 && d->has_f2)
		ret->feature[0] = F(sse4_2); /* crc32, with 66 or without */
	else
		ret->feature[0] = LOOK_UP(legacy, d, FEATURE_NONE);
}

/* --- VEX --- */

/* Whatever the vector's length. */
static const struct rule vex[] = {
	{2, 0x13, 0x13, P66, ANY, F(f16c)},
	{3, 0x1d, 0x1d, P66, ANY, F(f16c)},
	{2, 0x16, 0x16, P66, ANY, F(avx2)},
	{2, 0x36, 0x36, P66, ANY, F(avx2)},
	{2, 0x45, 0x47, P66, ANY, F(avx2)},
	{2, 0x58, 0x5a, P66, ANY, F(avx2)},
	{2, 0x78, 0x79, P66, ANY, F(avx2)},
	{2, 0x8c, 0x8e, P66, ANY, F(avx2)},
	{2, 0x90, 0x93, P66, ANY, F(avx2)},
	{2, 0x96, 0x9f, P66, ANY, F(fma)},
	{2, 0xa6, 0xaf, P66, ANY, F(fma)},
	{2, 0xb6, 0xbf, P66, ANY, F(fma)},
	{2, 0x50, 0x53, P66, ANY, F(avx_vnni)},
	{2, 0x50, 0x51, P0 | PF3 | PF2, ANY, F(avx_vnni_int8)},
	{2, 0xb4, 0xb5, P66, ANY, F(avx_ifma)},
	{2, 0xb0, 0xb1, PALL, ANY, F(avx_ne_convert)},
	{2, 0x72, 0x72, PF3, ANY, F(avx_ne_convert)},
	{2, 0x49, 0x4b, PALL, ANY, F(amx_tile)},
	{2, 0x5c, 0x5c, PF3, ANY, F(amx_bf16)},
	{2, 0x5c, 0x5c, PF2, ANY, F(amx_fp16)},
	{2, 0x5e, 0x5e, PALL, ANY, F(amx_int8)},
	{2, 0xe0, 0xef, P66, ANY, F(cmpccxadd)},
	{2, 0xf2, 0xf3, P0, ANY, F(bmi1)},
	{2, 0xf7, 0xf7, P0, ANY, F(bmi1)},
	{2, 0xf5, 0xf7, PALL, ANY, F(bmi2)},
	{2, 0xcf, 0xcf, P66, ANY, F(gfni)},
	{3, 0x00, 0x02, P66, ANY, F(avx2)},
	{3, 0x38, 0x39, P66, ANY, F(avx2)},
	{3, 0x46, 0x46, P66, ANY, F(avx2)},
	{3, 0x5c, 0x5f, P66, ANY, F(fma4)},
	{3, 0x68, 0x6f, P66, ANY, F(fma4)},
	{3, 0x78, 0x7f, P66, ANY, F(fma4)},
	{3, 0x48, 0x49, P66, ANY, F(xop)},
	{3, 0xce, 0xcf, P66, ANY, F(gfni)},
	{3, 0xf0, 0xf0, PF2, ANY, F(bmi2)},
};

/* On integers: AVX has them for 128 bits, AVX2 for 256. */
static const struct rule vex_integers[] = {
	{1, 0x60, 0x6d, P66, ANY, F(avx2)},       {1, 0x70, 0x70, PALL, ANY, F(avx2)},
	{1, 0x71, 0x76, P66, ANY, F(avx2)},       {1, 0xd1, 0xd5, P66, ANY, F(avx2)},
	{1, 0xd7, 0xe5, P66, ANY, F(avx2)},       {1, 0xe8, 0xef, P66, ANY, F(avx2)},
	{1, 0xf1, 0xfe, P66, ANY, F(avx2)},       {2, 0x00, 0x0b, P66, ANY, F(avx2)},
	{2, 0x1c, 0x1e, P66, ANY, F(avx2)},       {2, 0x20, 0x2b, P66, ANY, F(avx2)},
	{2, 0x30, 0x40, P66, ANY, F(avx2)},       {2, 0xdb, 0xdf, P66, ANY, F(vaes)},
	{3, 0x0e, 0x0f, P66, ANY, F(avx2)},       {3, 0x42, 0x42, P66, ANY, F(avx2)},
	{3, 0x44, 0x44, P66, ANY, F(vpclmulqdq)}, {3, 0x4c, 0x4c, P66, ANY, F(avx2)},
};

/* Masks, which came with AVX-512: by the prefix and W for which size. */
static bool of_masks(const struct insn_parts *d, struct insn *ret)
{
	bool move = d->map == 1 && d->op >= 0x90 && d->op <= 0x93;
	bool logic =
		d->map == 1 && ((d->op >= 0x41 && d->op <= 0x4b) || d->op == 0x98 || d->op == 0x99);
	bool shift = d->map == 3 && d->op >= 0x30 && d->op <= 0x33;
	uint8_t size;

	if (!move && !logic && !shift)
		return false;
	if (shift) /* by W and the opcode's last bit: b w, d q */
		size = d->op & 1 ? F(avx512bw) : d->w ? F(avx512f) : F(avx512dq);
	else if (move && (d->op == 0x92 || d->op == 0x93))
		size = d->pp == PP_F2 ? F(avx512bw) : d->pp == PP_66 ? F(avx512dq) : F(avx512f);
	else if (d->w)
		size = F(avx512bw);
	else
		size = d->pp == PP_66 ? F(avx512dq) : F(avx512f);
	if (d->map == 1 && (d->op == 0x4a || d->op == 0x99)) /* kadd, ktest: w is of DQ, too */
		size = d->w ? F(avx512bw) : F(avx512dq);
	if (d->map == 1 && d->op == 0x4b) /* kunpck: bw, wd, dq */
		size = d->pp == PP_66 ? F(avx512f) : F(avx512bw);
	ret->feature[0] = size;
	return true;
}

static void of_vex(const struct insn_parts *d, struct insn *ret)
{
	uint8_t f;

	if (of_masks(d, ret))
		return;
	f = LOOK_UP(vex, d, FEATURE_NONE);
	if (f != FEATURE_NONE) {
		ret->feature[0] = f;
		if (f == F(gfni))
			ret->feature[1] = F(avx);
		return;
	}
	/* vbroadcast: from a register it came with AVX2. */
	if (d->map == 2 && (d->op == 0x18 || d->op == 0x19) && MODRM_MOD(d) == 3) {
		ret->feature[0] = F(avx2);
		return;
	}
	/* 2c to 2f, vmaskmov; 37, vpcmpgtq, is among the integers. */
	if (d->l && !(d->map == 2 && d->op >= 0x2c && d->op <= 0x2f)) {
		f = LOOK_UP(vex_integers, d, FEATURE_NONE);
		if (f != FEATURE_NONE && !(d->map == 1 && (d->op == 0xd6 || d->op == 0xe6))) {
			ret->feature[0] = f;
			return;
		}
	}
	ret->feature[0] = F(avx);
	if (d->map == 2 && d->op >= 0xdb && d->op <= 0xdf)
		ret->feature[1] = F(aes);
	else if (d->map == 3 && d->op == 0xdf)
		ret->feature[1] = F(aes);
	else if (d->map == 3 && d->op == 0x44)
		ret->feature[1] = F(pclmulqdq);
}

/* --- EVEX --- */

static const struct rule evex[] = {
	{1, 0x54, 0x57, PALL, ANY, F(avx512dq)},
	{1, 0x5b, 0x5b, P0, 1, F(avx512dq)},
	{1, 0x78, 0x7b, P66, ANY, F(avx512dq)},
	{1, 0x7a, 0x7a, PF3 | PF2, 1, F(avx512dq)},
	{1, 0xe6, 0xe6, PF3, 1, F(avx512dq)},
	{1, 0x60, 0x61, P66, ANY, F(avx512bw)},
	{1, 0x63, 0x65, P66, ANY, F(avx512bw)},
	{1, 0x67, 0x69, P66, ANY, F(avx512bw)},
	{1, 0x6b, 0x6b, P66, ANY, F(avx512bw)},
	{1, 0x6f, 0x6f, PF2, ANY, F(avx512bw)},
	{1, 0x7f, 0x7f, PF2, ANY, F(avx512bw)},
	{1, 0x70, 0x70, PF3 | PF2, ANY, F(avx512bw)},
	{1, 0x71, 0x71, P66, ANY, F(avx512bw)},
	{1, 0x74, 0x75, P66, ANY, F(avx512bw)},
	{1, 0xc4, 0xc5, P66, ANY, F(avx512bw)},
	{1, 0xd1, 0xd1, P66, ANY, F(avx512bw)},
	{1, 0xd5, 0xd5, P66, ANY, F(avx512bw)},
	{1, 0xd8, 0xda, P66, ANY, F(avx512bw)},
	{1, 0xdc, 0xde, P66, ANY, F(avx512bw)},
	{1, 0xe0, 0xe1, P66, ANY, F(avx512bw)},
	{1, 0xe3, 0xe5, P66, ANY, F(avx512bw)},
	{1, 0xe8, 0xea, P66, ANY, F(avx512bw)},
	{1, 0xec, 0xee, P66, ANY, F(avx512bw)},
	{1, 0xf1, 0xf1, P66, ANY, F(avx512bw)},
	{1, 0xf5, 0xf6, P66, ANY, F(avx512bw)},
	{1, 0xf8, 0xf9, P66, ANY, F(avx512bw)},
	{1, 0xfc, 0xfd, P66, ANY, F(avx512bw)},
	{2, 0x00, 0x00, P66, ANY, F(avx512bw)},
	{2, 0x04, 0x04, P66, ANY, F(avx512bw)},
	{2, 0x0b, 0x0b, P66, ANY, F(avx512bw)},
	{2, 0x10, 0x12, P66, ANY, F(avx512bw)},
	{2, 0x1c, 0x1d, P66, ANY, F(avx512bw)},
	{2, 0x10, 0x10, PF3, ANY, F(avx512bw)},
	{2, 0x20, 0x20, P66 | PF3, ANY, F(avx512bw)},
	{2, 0x30, 0x30, P66 | PF3, ANY, F(avx512bw)},
	{2, 0x26, 0x26, P66 | PF3, ANY, F(avx512bw)},
	{2, 0x28, 0x29, PF3, ANY, F(avx512bw)},
	{2, 0x38, 0x39, PF3, ANY, F(avx512dq)},
	{2, 0x2b, 0x2b, P66, ANY, F(avx512bw)},
	{2, 0x38, 0x38, P66, ANY, F(avx512bw)},
	{2, 0x3a, 0x3a, P66, ANY, F(avx512bw)},
	{2, 0x3c, 0x3c, P66, ANY, F(avx512bw)},
	{2, 0x3e, 0x3e, P66, ANY, F(avx512bw)},
	{2, 0x2a, 0x2a, PF3, ANY, F(avx512cd)},
	{2, 0x3a, 0x3a, PF3, ANY, F(avx512cd)},
	{2, 0x44, 0x44, P66, ANY, F(avx512cd)},
	{2, 0xc4, 0xc4, P66, ANY, F(avx512cd)},
	{2, 0x19, 0x19, P66, 0, F(avx512dq)},
	{2, 0x1a, 0x1a, P66, 1, F(avx512dq)},
	{2, 0x1b, 0x1b, P66, 0, F(avx512dq)},
	{2, 0x40, 0x40, P66, 1, F(avx512dq)},
	{2, 0x59, 0x59, P66, 0, F(avx512dq)},
	{2, 0x5a, 0x5a, P66, 1, F(avx512dq)},
	{2, 0x5b, 0x5b, P66, 0, F(avx512dq)},
	{2, 0x50, 0x53, P66, ANY, F(avx512_vnni)},
	{2, 0x52, 0x53, PF2, ANY, F(avx512_4vnniw)},
	{2, 0x52, 0x52, PF3, ANY, F(avx512_bf16)},
	{2, 0x54, 0x54, P66, ANY, F(avx512_bitalg)},
	{2, 0x55, 0x55, P66, ANY, F(avx512_vpopcntdq)},
	{2, 0x62, 0x63, P66, ANY, F(avx512_vbmi2)},
	{2, 0x66, 0x66, P66, ANY, F(avx512bw)},
	{2, 0x68, 0x68, PF2, ANY, F(avx512_vp2intersect)},
	{2, 0x70, 0x73, P66, ANY, F(avx512_vbmi2)},
	{2, 0x72, 0x72, PF3 | PF2, ANY, F(avx512_bf16)},
	{2, 0x75, 0x75, P66, 1, F(avx512bw)},
	{2, 0x75, 0x75, P66, 0, F(avx512vbmi)},
	{2, 0x78, 0x7b, P66, ANY, F(avx512bw)},
	{2, 0x7d, 0x7d, P66, 1, F(avx512bw)},
	{2, 0x7d, 0x7d, P66, 0, F(avx512vbmi)},
	{2, 0x83, 0x83, P66, ANY, F(avx512vbmi)},
	{2, 0x8d, 0x8d, P66, 1, F(avx512bw)},
	{2, 0x8d, 0x8d, P66, 0, F(avx512vbmi)},
	{2, 0x8f, 0x8f, P66, ANY, F(avx512_bitalg)},
	{2, 0x9a, 0x9b, PF2, ANY, F(avx512_4fmaps)},
	{2, 0xaa, 0xab, PF2, ANY, F(avx512_4fmaps)},
	{2, 0xb4, 0xb5, P66, ANY, F(avx512ifma)},
	{2, 0xc6, 0xc7, P66, ANY, F(avx512pf)},
	{2, 0xc8, 0xcd, P66, ANY, F(avx512er)},
	{2, 0xcf, 0xcf, P66, ANY, F(gfni)},
	{2, 0xdc, 0xdf, P66, ANY, F(vaes)},
	{3, 0x08, 0xc2, P0 | PF3, ANY, F(avx512_fp16)},
	{3, 0x0f, 0x0f, P66, ANY, F(avx512bw)},
	{3, 0x14, 0x15, P66, ANY, F(avx512bw)},
	{3, 0x20, 0x20, P66, ANY, F(avx512bw)},
	{3, 0x16, 0x16, P66, ANY, F(avx512dq)},
	{3, 0x22, 0x22, P66, ANY, F(avx512dq)},
	{3, 0x18, 0x19, P66, 1, F(avx512dq)},
	{3, 0x38, 0x39, P66, 1, F(avx512dq)},
	{3, 0x1a, 0x1b, P66, 0, F(avx512dq)},
	{3, 0x3a, 0x3b, P66, 0, F(avx512dq)},
	{3, 0x3e, 0x3f, P66, ANY, F(avx512bw)},
	{3, 0x42, 0x42, P66, ANY, F(avx512bw)},
	{3, 0x44, 0x44, P66, ANY, F(vpclmulqdq)},
	{3, 0x50, 0x51, P66, ANY, F(avx512dq)},
	{3, 0x56, 0x57, P66, ANY, F(avx512dq)},
	{3, 0x66, 0x67, P66, ANY, F(avx512dq)},
	{3, 0x70, 0x73, P66, ANY, F(avx512_vbmi2)},
	{3, 0xce, 0xcf, P66, ANY, F(gfni)},
};

/* Of one number, or of 128 bits alone: for these no AVX-512VL is needed. */
static const struct rule no_length[] = {
	{1, 0x10, 0x11, PF3 | PF2, ANY, 0}, {1, 0x12, 0x13, P0 | P66, ANY, 0},
	{1, 0x16, 0x17, P0 | P66, ANY, 0},  {1, 0x2a, 0x2f, PF3 | PF2, ANY, 0},
	{1, 0x2e, 0x2f, P0 | P66, ANY, 0},  {1, 0x51, 0x5a, PF3 | PF2, ANY, 0},
	{1, 0x5c, 0x5f, PF3 | PF2, ANY, 0}, {1, 0x6e, 0x6e, P66, ANY, 0},
	{1, 0x7e, 0x7e, P66 | PF3, ANY, 0}, {1, 0x78, 0x79, PF3 | PF2, ANY, 0},
	{1, 0x7b, 0x7b, PF3 | PF2, ANY, 0}, {1, 0xc2, 0xc2, PF3 | PF2, ANY, 0},
	{1, 0xc4, 0xc5, P66, ANY, 0},       {1, 0xd6, 0xd6, P66, ANY, 0},
	{2, 0x2d, 0x2d, P66, ANY, 0},       {2, 0x43, 0x43, P66, ANY, 0},
	{2, 0x4d, 0x4d, P66, ANY, 0},       {2, 0x4f, 0x4f, P66, ANY, 0},
	{2, 0xc6, 0xcd, P66, ANY, 0},       {3, 0x0a, 0x0b, PALL, ANY, 0},
	{3, 0x14, 0x17, P66, ANY, 0},       {3, 0x20, 0x22, P66, ANY, 0},
	{3, 0x27, 0x27, PALL, ANY, 0},      {3, 0x51, 0x51, PALL, ANY, 0},
	{3, 0x55, 0x55, PALL, ANY, 0},      {3, 0x57, 0x57, PALL, ANY, 0},
	{3, 0x67, 0x67, PALL, ANY, 0},      {3, 0xc2, 0xc2, PF3, ANY, 0},
};

static bool has_length(const struct insn_parts *d)
{
	bool rounds = d->evex_b && MODRM_MOD(d) == 3; /* then L says how: 512 bits */
	bool fma = d->map == 2 &&
		   ((d->op & 0xf0) == 0x90 || (d->op & 0xf0) == 0xa0 || (d->op & 0xf0) == 0xb0);

	if (rounds || d->l == 2)
		return false;
	if (fma && (d->op & 0xf) >= 8 && d->op & 1 && d->pp == PP_66)
		return false; /* the odd ones are scalar */
	if ((d->map == 5 || d->map == 6) && (d->pp == PP_F3 || d->pp == PP_F2))
		return false;
	return LOOK_UP(no_length, d, 1) == 1;
}

static void of_evex(const struct insn_parts *d, struct insn *ret)
{
	size_t n = 0;
	uint8_t f;

	if (d->map == 5 || d->map == 6)
		f = F(avx512_fp16);
	else
		f = LOOK_UP(evex, d, FEATURE_NONE);
	if (d->map == 1 && d->op == 0x73 && (MODRM_REG(d) == 3 || MODRM_REG(d) == 7))
		f = F(avx512bw);
	ret->feature[n++] = f == FEATURE_NONE ? F(avx512f) : f;
	if (f == F(gfni) || f == F(vaes) || f == F(vpclmulqdq))
		ret->feature[n++] = F(avx512f);
	if (has_length(d))
		ret->feature[n] = F(avx512vl);
}

void insn_features(const struct insn_parts *d, struct insn *ret)
{
	switch (d->encoding) {
	case ENC_LEGACY:
		of_legacy(d, ret);
		break;
	case ENC_VEX:
		of_vex(d, ret);
		break;
	case ENC_EVEX:
		of_evex(d, ret);
		break;
	case ENC_XOP:
		ret->feature[0] = d->map == 10 || (d->map == 9 && d->op < 0x10) ? F(tbm) : F(xop);
		break;
	}
}
