/*
 * What an x86-64 CPU may be able to do beyond the first of them, by the names of
 * /proc/cpuinfo, and the CPU at hand: features, and how it lays out registers (xsave).
 */
#ifndef GODWIT_ARCH_FEATURES_H
#define GODWIT_ARCH_FEATURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Words of CPUID, in the order of an image: numbers are never reused. */
enum arch_cpu_word {
	CPU_1_ECX,
	CPU_1_EDX,
	CPU_7_EBX,
	CPU_7_ECX,
	CPU_7_EDX,
	CPU_7_1_EAX,
	CPU_7_1_EDX,
	CPU_X1_ECX, /* 0x80000001 */
	CPU_X1_EDX,
	CPU_D_1_EAX,
	CPU_X8_EBX, /* 0x80000008 */
	CPU_WORDS,
};

/* name, word, bit, bits of XCR0 without which the instructions fault */
#define ARCH_FEATURES(X)                                                                           \
	X(pni, CPU_1_ECX, 0, 0)                                                                    \
	X(pclmulqdq, CPU_1_ECX, 1, 0)                                                              \
	X(ssse3, CPU_1_ECX, 9, 0)                                                                  \
	X(fma, CPU_1_ECX, 12, 6)                                                                   \
	X(cx16, CPU_1_ECX, 13, 0)                                                                  \
	X(sse4_1, CPU_1_ECX, 19, 0)                                                                \
	X(sse4_2, CPU_1_ECX, 20, 0)                                                                \
	X(movbe, CPU_1_ECX, 22, 0)                                                                 \
	X(popcnt, CPU_1_ECX, 23, 0)                                                                \
	X(aes, CPU_1_ECX, 25, 0)                                                                   \
	X(xsave, CPU_1_ECX, 27, 0) /* OSXSAVE: the kernel lets programs use it */                  \
	X(avx, CPU_1_ECX, 28, 6)                                                                   \
	X(f16c, CPU_1_ECX, 29, 6)                                                                  \
	X(rdrand, CPU_1_ECX, 30, 0)                                                                \
	X(fsgsbase, CPU_7_EBX, 0, 0)                                                               \
	X(bmi1, CPU_7_EBX, 3, 0)                                                                   \
	X(avx2, CPU_7_EBX, 5, 6)                                                                   \
	X(bmi2, CPU_7_EBX, 8, 0)                                                                   \
	X(rtm, CPU_7_EBX, 11, 0)                                                                   \
	X(avx512f, CPU_7_EBX, 16, 0xe6)                                                            \
	X(avx512dq, CPU_7_EBX, 17, 0xe6)                                                           \
	X(rdseed, CPU_7_EBX, 18, 0)                                                                \
	X(adx, CPU_7_EBX, 19, 0)                                                                   \
	X(avx512ifma, CPU_7_EBX, 21, 0xe6)                                                         \
	X(clflushopt, CPU_7_EBX, 23, 0)                                                            \
	X(clwb, CPU_7_EBX, 24, 0)                                                                  \
	X(avx512pf, CPU_7_EBX, 26, 0xe6)                                                           \
	X(avx512er, CPU_7_EBX, 27, 0xe6)                                                           \
	X(avx512cd, CPU_7_EBX, 28, 0xe6)                                                           \
	X(sha_ni, CPU_7_EBX, 29, 0)                                                                \
	X(avx512bw, CPU_7_EBX, 30, 0xe6)                                                           \
	X(avx512vl, CPU_7_EBX, 31, 0xe6)                                                           \
	X(avx512vbmi, CPU_7_ECX, 1, 0xe6)                                                          \
	X(waitpkg, CPU_7_ECX, 5, 0)                                                                \
	X(avx512_vbmi2, CPU_7_ECX, 6, 0xe6)                                                        \
	X(gfni, CPU_7_ECX, 8, 0)                                                                   \
	X(vaes, CPU_7_ECX, 9, 6)                                                                   \
	X(vpclmulqdq, CPU_7_ECX, 10, 6)                                                            \
	X(avx512_vnni, CPU_7_ECX, 11, 0xe6)                                                        \
	X(avx512_bitalg, CPU_7_ECX, 12, 0xe6)                                                      \
	X(avx512_vpopcntdq, CPU_7_ECX, 14, 0xe6)                                                   \
	X(rdpid, CPU_7_ECX, 22, 0)                                                                 \
	X(movdiri, CPU_7_ECX, 27, 0)                                                               \
	X(movdir64b, CPU_7_ECX, 28, 0)                                                             \
	X(enqcmd, CPU_7_ECX, 29, 0)                                                                \
	X(avx512_4vnniw, CPU_7_EDX, 2, 0xe6)                                                       \
	X(avx512_4fmaps, CPU_7_EDX, 3, 0xe6)                                                       \
	X(avx512_vp2intersect, CPU_7_EDX, 8, 0xe6)                                                 \
	X(serialize, CPU_7_EDX, 14, 0)                                                             \
	X(tsxldtrk, CPU_7_EDX, 16, 0)                                                              \
	X(amx_bf16, CPU_7_EDX, 22, 0x60000)                                                        \
	X(avx512_fp16, CPU_7_EDX, 23, 0xe6)                                                        \
	X(amx_tile, CPU_7_EDX, 24, 0x60000)                                                        \
	X(amx_int8, CPU_7_EDX, 25, 0x60000)                                                        \
	X(avx_vnni, CPU_7_1_EAX, 4, 6)                                                             \
	X(avx512_bf16, CPU_7_1_EAX, 5, 0xe6)                                                       \
	X(cmpccxadd, CPU_7_1_EAX, 7, 0)                                                            \
	X(amx_fp16, CPU_7_1_EAX, 21, 0x60000)                                                      \
	X(avx_ifma, CPU_7_1_EAX, 23, 6)                                                            \
	X(avx_vnni_int8, CPU_7_1_EDX, 4, 6)                                                        \
	X(avx_ne_convert, CPU_7_1_EDX, 5, 6)                                                       \
	X(lahf_lm, CPU_X1_ECX, 0, 0)                                                               \
	X(abm, CPU_X1_ECX, 5, 0)                                                                   \
	X(sse4a, CPU_X1_ECX, 6, 0)                                                                 \
	X(xop, CPU_X1_ECX, 11, 6)                                                                  \
	X(fma4, CPU_X1_ECX, 16, 6)                                                                 \
	X(tbm, CPU_X1_ECX, 21, 0)                                                                  \
	X(mwaitx, CPU_X1_ECX, 29, 0)                                                               \
	X(rdtscp, CPU_X1_EDX, 27, 0)                                                               \
	X(_3dnow, CPU_X1_EDX, 31, 0)                                                               \
	X(xsaveopt, CPU_D_1_EAX, 0, 0)                                                             \
	X(xsavec, CPU_D_1_EAX, 1, 0)                                                               \
	X(clzero, CPU_X8_EBX, 0, 0)                                                                \
	X(rdpru, CPU_X8_EBX, 4, 0)

enum arch_feature {
#define X(name, word, bit, xcr0) FEATURE_##name,
	ARCH_FEATURES(X)
#undef X
		FEATURES,
	FEATURE_NONE = 0xff,
};

/* A set of features. */
struct arch_features {
	uint64_t w[2];
};
_Static_assert(FEATURES <= 128, "struct arch_features");

static inline void arch_feature_add(struct arch_features *s, unsigned f)
{
	if (f < FEATURES)
		s->w[f / 64] |= UINT64_C(1) << f % 64;
}

static inline bool arch_feature_in(const struct arch_features *s, unsigned f)
{
	return s->w[f / 64] >> f % 64 & 1;
}

static inline bool arch_features_empty(const struct arch_features *s)
{
	return !s->w[0] && !s->w[1];
}

static inline void arch_features_join(struct arch_features *s, const struct arch_features *t)
{
	s->w[0] |= t->w[0];
	s->w[1] |= t->w[1];
}

/* Of a, what is not in b. */
static inline struct arch_features arch_features_minus(const struct arch_features *a,
						       const struct arch_features *b)
{
	return (struct arch_features){{a->w[0] & ~b->w[0], a->w[1] & ~b->w[1]}};
}

static inline struct arch_features arch_features_both(const struct arch_features *a,
						      const struct arch_features *b)
{
	return (struct arch_features){{a->w[0] & b->w[0], a->w[1] & b->w[1]}};
}

const char *arch_feature_name(unsigned f);
/* Where CPUID says so: enum arch_cpu_word, and the bit's value. */
unsigned arch_feature_word(unsigned f);
uint32_t arch_feature_bit(unsigned f);
/* "avx512f avx512vl", as many as fit whole; "" for none.  Returns out. */
char *arch_features_text(const struct arch_features *s, char *out, size_t cap);
/* The level of the x86-64 psABI that has all of them, 1 to 4; 0: none has. */
unsigned arch_features_level(const struct arch_features *s);
/* The highest level that a CPU with these features has, 1 to 4. */
unsigned arch_features_has_level(const struct arch_features *s);

#define ARCH_XSAVE_PARTS 32

/* A CPU as its programs see it. */
struct arch_cpu {
	uint32_t word[CPU_WORDS];
	uint64_t xcr0;
	uint32_t xsave_size; /* bytes, standard format */
	/* Of each part of XCR0 from 2 on: where it stands; 0 bytes: none. */
	struct {
		uint32_t off, len;
	} part[ARCH_XSAVE_PARTS];
};

void arch_cpu_here(struct arch_cpu *ret);
struct arch_features arch_cpu_features(const struct arch_cpu *cpu);

/*
 * A thread's registers, as one CPU saves them (len bytes, standard format), as another
 * one saves them: out has to->xsave_size bytes.  Left out is what no instruction of the
 * other CPU can reach: the caller sees to it that the program has none that could.
 * 0; or -EOPNOTSUPP, and *ret_part is the number of a part that holds something
 * else and is not there.
 */
int arch_xsave_convert(const struct arch_cpu *from, const void *x, size_t len,
		       const struct arch_cpu *to, void *out, unsigned *ret_part);
/* "AVX-512 registers", for a message. */
const char *arch_xsave_part_name(unsigned part);

#endif
