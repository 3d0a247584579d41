/* The CPU at hand, and registers of another: see features.h. */
#include "arch/x86_64/features.h"

#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define OSXSAVE (1u << 27)

static const struct {
	const char *name;
	uint8_t word, bit;
	uint32_t xcr0;
} table[FEATURES] = {
#define X(name, word, bit, xcr0) {#name, word, bit, xcr0},
	ARCH_FEATURES(X)
#undef X
};

const char *arch_feature_name(unsigned f)
{
	if (f >= FEATURES)
		return "?";
	return table[f].name + (table[f].name[0] == '_'); /* 3dnow is no name in C */
}

unsigned arch_feature_word(unsigned f)
{
	return table[f].word;
}

uint32_t arch_feature_bit(unsigned f)
{
	return UINT32_C(1) << table[f].bit;
}

char *arch_features_text(const struct arch_features *s, char *out, size_t cap)
{
	size_t n = 0;

	*out = '\0';
	for (unsigned f = 0; f < FEATURES; f++) {
		size_t len = strlen(arch_feature_name(f));

		if (!arch_feature_in(s, f))
			continue;
		if (n + len + 2 > cap)
			break;
		n += (size_t)snprintf(out + n, cap - n, "%s%s", n ? " " : "", arch_feature_name(f));
	}
	return out;
}

/* What each level has that the one below has not; 2 to 4. */
static const uint8_t levels[][8] = {
	{FEATURE_pni, FEATURE_ssse3, FEATURE_cx16, FEATURE_sse4_1, FEATURE_sse4_2, FEATURE_popcnt,
	 FEATURE_lahf_lm, FEATURE_NONE},
	{FEATURE_avx, FEATURE_avx2, FEATURE_bmi1, FEATURE_bmi2, FEATURE_f16c, FEATURE_fma,
	 FEATURE_abm, FEATURE_movbe},
	{FEATURE_avx512f, FEATURE_avx512bw, FEATURE_avx512cd, FEATURE_avx512dq, FEATURE_avx512vl,
	 FEATURE_NONE, FEATURE_NONE, FEATURE_NONE},
};

unsigned arch_features_level(const struct arch_features *s)
{
	struct arch_features left = *s, of_level = {{0}};
	unsigned level = 1;

	/* Part of the third level by name, of no /proc/cpuinfo flag of its own. */
	arch_feature_add(&of_level, FEATURE_xsave);
	for (size_t i = 0; i < 3; i++) {
		struct arch_features both;

		for (size_t k = 0; k < 8; k++)
			arch_feature_add(&of_level, levels[i][k]);
		both = arch_features_both(&left, &of_level);
		if (!arch_features_empty(&both))
			level = (unsigned)i + 2;
		left = arch_features_minus(&left, &of_level);
	}
	return arch_features_empty(&left) ? level : 0;
}

unsigned arch_features_has_level(const struct arch_features *s)
{
	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < 8; k++)
			if (levels[i][k] < FEATURES && !arch_feature_in(s, levels[i][k]))
				return (unsigned)i + 1;
	return 4;
}

static uint64_t read_xcr0(void)
{
	uint32_t a, d;

	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (uint64_t)d << 32 | a;
}

static void read_xsave(struct arch_cpu *cpu)
{
	unsigned a, b, c, d;

	if (!(cpu->word[CPU_1_ECX] & OSXSAVE))
		return;
	cpu->xcr0 = read_xcr0();
	__cpuid_count(0xd, 0, a, b, c, d);
	cpu->xsave_size = b;
	__cpuid_count(0xd, 1, a, b, c, d);
	cpu->word[CPU_D_1_EAX] = a;
	for (unsigned i = 2; i < ARCH_XSAVE_PARTS; i++) {
		if (!(cpu->xcr0 >> i & 1))
			continue;
		__cpuid_count(0xd, i, a, b, c, d);
		cpu->part[i].len = a;
		cpu->part[i].off = b;
	}
}

void arch_cpu_here(struct arch_cpu *ret)
{
	unsigned a = 0, b = 0, c = 0, d = 0;

	memset(ret, 0, sizeof(*ret));
	if (__get_cpuid(1, &a, &b, &c, &d)) {
		ret->word[CPU_1_ECX] = c;
		ret->word[CPU_1_EDX] = d;
	}
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
		unsigned leaves = a;

		ret->word[CPU_7_EBX] = b;
		ret->word[CPU_7_ECX] = c;
		ret->word[CPU_7_EDX] = d;
		if (leaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
			ret->word[CPU_7_1_EAX] = a;
			ret->word[CPU_7_1_EDX] = d;
		}
	}
	if (__get_cpuid(0x80000001, &a, &b, &c, &d)) {
		ret->word[CPU_X1_ECX] = c;
		ret->word[CPU_X1_EDX] = d;
	}
	if (__get_cpuid(0x80000008, &a, &b, &c, &d))
		ret->word[CPU_X8_EBX] = b;
	read_xsave(ret);
}

struct arch_features arch_cpu_features(const struct arch_cpu *cpu)
{
	struct arch_features s = {{0}};

	for (unsigned f = 0; f < FEATURES; f++)
		if (cpu->word[table[f].word] >> table[f].bit & 1 &&
		    (cpu->xcr0 & table[f].xcr0) == table[f].xcr0)
			arch_feature_add(&s, f);
	return s;
}

/* --- registers --- */

#define LEGACY 512u
#define HEADER 64u
#define PKRU 9u

const char *arch_xsave_part_name(unsigned part)
{
	static const char *const names[] = {
		[2] = "AVX registers",     [3] = "MPX bounds",        [4] = "MPX bounds",
		[5] = "AVX-512 registers", [6] = "AVX-512 registers", [7] = "AVX-512 registers",
		[9] = "protection keys",   [17] = "AMX tiles",        [18] = "AMX tiles",
	};

	return part < sizeof(names) / sizeof(*names) && names[part] ? names[part]
								    : "registers of a new kind";
}

/* Registers that only instructions of features can reach that this CPU lacks.  What old
 * calls left in them is dead where no such instruction is; most programs have some, since
 * the C library does not clear them. */
#define UNREACHABLE (UINT64_C(1) << 2 | UINT64_C(0xe0) | UINT64_C(3) << 17)

/* Is nothing lost without it? */
static bool may_go(unsigned part, const uint8_t *p, size_t len)
{
	static const uint8_t pkru[] = {0x54, 0x55, 0x55, 0x55}; /* the kernel's default */

	if (UNREACHABLE >> part & 1)
		return true;
	if (part == PKRU && len >= 4 && !memcmp(p, pkru, 4))
		return true;
	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

int arch_xsave_convert(const struct arch_cpu *from, const void *x, size_t len,
		       const struct arch_cpu *to, void *out, unsigned *ret_part)
{
	const uint8_t *in = x;
	uint8_t *o = out;
	uint64_t has, kept = 0;

	if (len < LEGACY + HEADER || to->xsave_size < LEGACY + HEADER)
		return -EINVAL;
	memset(o, 0, to->xsave_size);
	memcpy(o, in, LEGACY);
	memcpy(&has, in + LEGACY, 8);
	kept = has & 3;
	for (unsigned i = 2; i < 64; i++) {
		uint32_t off, n;

		if (!(has >> i & 1))
			continue;
		*ret_part = i;
		if (i >= ARCH_XSAVE_PARTS)
			return -EOPNOTSUPP;
		off = from->part[i].off;
		n = from->part[i].len;
		if (off < LEGACY + HEADER || n > len || off > len - n)
			return -EINVAL;
		if (to->xcr0 >> i & 1 && to->part[i].len == n &&
		    to->part[i].off <= to->xsave_size - n) {
			memcpy(o + to->part[i].off, in + off, n);
			kept |= UINT64_C(1) << i;
		} else if (!may_go(i, in + off, n)) {
			return -EOPNOTSUPP;
		}
	}
	memcpy(o + LEGACY, &kept, 8);
	memcpy(o + 464, &to->xcr0, 8); /* where ptrace(2) has what the kernel enabled */
	return 0;
}
