/* Instructions: lengths, what they need, where they lead; registers of another CPU. */
#include "arch/x86_64/insn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "tap.h"

#define AT 0x1000u

/* Bytes as hexadecimal digits. */
static size_t bytes_of(const char *hex, uint8_t *out)
{
	size_t n = 0;
	unsigned v;

	while (sscanf(hex + 2 * n, "%2x", &v) == 1)
		out[n++] = (uint8_t)v;
	return n;
}

/* All of the bytes are one instruction that needs these. */
static void one(const char *hex, const char *needs, const char *text)
{
	uint8_t b[32] = {0};
	struct arch_features s = {{0}};
	char have[200];
	size_t n = bytes_of(hex, b);
	struct insn in;

	arch_insn(b, sizeof(b), AT, &in);
	for (size_t i = 0; i < 3; i++)
		arch_feature_add(&s, in.feature[i]);
	arch_features_text(&s, have, sizeof(have));
	if (in.len != n || strcmp(have, needs))
		printf("# %s: %u bytes, '%s'\n", text, in.len, have);
	CHECK_STR(have, needs);
	CHECK_INT(in.len, n);
}

static void instructions_need_what_they_need(void)
{
	one("55", "", "push");
	one("e979f80300", "", "jmp");
	one("48b8efcdab8967452301", "", "movabs");
	one("66c7040534120000cdab", "", "mov of 16 bits");
	one("f30f1efa", "", "endbr64");
	one("f3480fbcc9", "", "tzcnt");
	one("f30fbdc9", "abm", "lzcnt");
	one("f30fb8c1", "popcnt", "popcnt");
	one("660f3800c1", "ssse3", "pshufb");
	one("660f3a63c11a", "sse4_2", "pcmpistri");
	one("f2480f38f1c1", "sse4_2", "crc32");
	one("0f38f007", "movbe", "movbe");
	one("c5f877", "avx", "vzeroupper");
	one("c5fdeffe", "avx2", "vpxor of 256 bits");
	one("c5f9effe", "avx", "vpxor of 128 bits");
	one("c4e27d78c0", "avx2", "vpbroadcastb");
	one("c4e2f1a9c2", "fma", "vfmadd213sd");
	one("c4e2a0f3d2", "bmi1", "blsmsk");
	one("c4437bf0e819", "bmi2", "rorx");
	one("c4e1fb92cb", "avx512bw", "kmovq");
	one("c5f892d0", "avx512f", "kmovw");
	one("62e1fe087f00", "avx512f avx512vl", "vmovdqu64 of 128 bits");
	one("62d1fd486fb301000000", "avx512f", "vmovdqa64 of 512 bits");
	one("62e1fd087ec1", "avx512f", "vmovq");
	one("62f2e528b40e", "avx512ifma avx512vl", "vpmadd52luq");
	one("62f17fc96f0f", "avx512bw", "vmovdqu8 of 512 bits");
	one("c4e2504bd0", "amx_tile", "tileloadd without memory");
	one("c7f800000000", "rtm", "xbegin");
	one("0f01d0", "xsave", "xgetbv");
	one("0fc764242f", "xsavec", "xsavec");
	one("450f3accc100", "sha_ni", "sha1rnds4");
	one("8fe878c2ec0e", "xop", "vprotd");
	one("f20f78c10203", "sse4a", "insertq");
}

static void leads(const char *hex, unsigned kind, uint64_t target, const char *text)
{
	uint8_t b[32] = {0};
	struct insn in;

	bytes_of(hex, b);
	arch_insn(b, sizeof(b), AT, &in);
	if (in.kind != kind)
		printf("# %s\n", text);
	CHECK_INT(in.kind, kind);
	CHECK_INT(in.has_target, target != 0);
	CHECK(!target || in.target == target);
}

static void jumps_lead_where_they_should(void)
{
	struct insn in;

	leads("e8fbffffff", INSN_CALL, AT, "call of itself");
	leads("eb10", INSN_JUMP, AT + 0x12, "short jmp");
	leads("0f8400010000", INSN_BRANCH, AT + 0x106, "je");
	leads("c3", INSN_FAR_WAY, 0, "ret");
	leads("ff25aabbccdd", INSN_FAR_WAY, 0, "jmp through memory");
	leads("ff10", INSN_CALL_AWAY, 0, "call through a register");
	leads("0f05", INSN_SYSCALL, 0, "syscall");
	leads("cd80", INSN_SYSCALL, 0, "int 0x80");
	leads("cd81", INSN_OTHER, 0, "int 0x81");
	leads("0fa2", INSN_CPUID, 0, "cpuid");
	leads("06", INSN_BAD, 0, "what is none in 64 bits");
	arch_insn((const uint8_t *)"\x48\x8d\x05\x10\x00\x00\x00", 7, AT, &in);
	CHECK(in.has_address && in.address == AT + 0x17);
	arch_insn((const uint8_t *)"\x48\x8d\x05\x10\x00", 5, AT, &in);
	CHECK(in.kind == INSN_BAD && in.len == 1);
	arch_insn((const uint8_t *)"ffffffffffffffff", 16, AT, &in);
	CHECK(in.kind != INSN_SYSCALL && in.len >= 1 && in.len <= INSN_MAX);
}

/* --- registers --- */

static struct arch_cpu cpu_with(uint64_t xcr0, uint32_t avx, uint32_t wide, uint32_t pkru,
				uint32_t size)
{
	struct arch_cpu c = {.xcr0 = xcr0, .xsave_size = size};

	c.part[2].off = avx;
	c.part[2].len = avx ? 256 : 0;
	c.part[6].off = wide;
	c.part[6].len = wide ? 512 : 0;
	c.part[9].off = pkru;
	c.part[9].len = pkru ? 8 : 0;
	return c;
}

static void registers_move_to_another_cpu(void)
{
	struct arch_cpu big = cpu_with(0x2c7, 576, 1000, 2000, 2008);
	struct arch_cpu small = cpu_with(7, 640, 0, 0, 896), same = big;
	uint8_t in[2008] = {0}, out[2008];
	uint64_t has = 0x47, kept;
	unsigned part = 0;

	memset(in + 24, 0x5a, 4);
	memset(in + 576, 0x11, 256);
	memset(in + 1000, 0x22, 512);
	memcpy(in + 512, &has, 8);
	CHECK(!arch_xsave_convert(&big, in, sizeof(in), &small, out, &part));
	memcpy(&kept, out + 512, 8);
	CHECK(kept == 7 && out[24] == 0x5a && out[640] == 0x11 && out[895] == 0x11 && !out[639]);
	CHECK(!arch_xsave_convert(&big, in, sizeof(in), &same, out, &part) && out[1000] == 0x22);
	has = 0x247;
	memcpy(in + 512, &has, 8);
	memset(in + 2000, 0x54, 1);
	memset(in + 2001, 0x55, 3);
	CHECK(!arch_xsave_convert(&big, in, sizeof(in), &small, out, &part));
	in[2000] = 0;
	CHECK(arch_xsave_convert(&big, in, sizeof(in), &small, out, &part) == -EOPNOTSUPP &&
	      part == 9);
	has = UINT64_C(1) << 40 | 7;
	memcpy(in + 512, &has, 8);
	CHECK(arch_xsave_convert(&big, in, sizeof(in), &same, out, &part) == -EOPNOTSUPP);
	big.part[2].off = 1900;
	has = 7;
	memcpy(in + 512, &has, 8);
	CHECK(arch_xsave_convert(&big, in, sizeof(in), &small, out, &part) == -EINVAL);
}

static void features_have_a_level(void)
{
	struct arch_features s = {{0}};

	CHECK(arch_features_level(&s) == 1);
	arch_feature_add(&s, FEATURE_ssse3);
	CHECK(arch_features_level(&s) == 2);
	arch_feature_add(&s, FEATURE_bmi2);
	CHECK(arch_features_level(&s) == 3);
	arch_feature_add(&s, FEATURE_avx512vl);
	CHECK(arch_features_level(&s) == 4);
	arch_feature_add(&s, FEATURE_amx_tile);
	CHECK(arch_features_level(&s) == 0);
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(instructions_need_what_they_need),
		TEST(jumps_lead_where_they_should),
		TEST(registers_move_to_another_cpu),
		TEST(features_have_a_level),
	};

	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
