/* Lengths and targets of instructions: see insn.h. */
#include "arch/x86_64/insn.h"

#include <string.h>

#include "arch/x86_64/insn_parts.h"

static uint8_t take(struct insn_parts *d)
{
	uint8_t c = d->i < d->n ? d->p[d->i] : 0;

	d->i++;
	return c;
}

/* A signed number of 1, 2, 4 or 8 bytes. */
static int64_t take_number(struct insn_parts *d, size_t len)
{
	uint64_t v = 0;

	for (size_t k = 0; k < len; k++)
		v |= (uint64_t)take(d) << 8 * k;
	return len == 8 ? (int64_t)v : (int64_t)(v << (64 - 8 * len)) >> (64 - 8 * len);
}

/* Returns the REX prefix, or 0; the opcode's first byte to *op. */
static uint8_t take_prefixes(struct insn_parts *d, uint8_t *op)
{
	uint8_t rex = 0;

	while (d->i < INSN_MAX) {
		uint8_t c = take(d);

		if (c >= 0x40 && c <= 0x4f) {
			rex = c;
			continue;
		}
		switch (c) {
		case 0x66:
			d->has_66 = true;
			break;
		case 0xf2:
			d->has_f2 = true;
			d->has_f3 = false;
			break;
		case 0xf3:
			d->has_f3 = true;
			d->has_f2 = false;
			break;
		case 0x67:
			d->has_67 = true;
			break;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0x64:
		case 0x65:
		case 0xf0:
			break;
		default:
			*op = c;
			return rex;
		}
		rex = 0; /* only right before the opcode it is one */
	}
	*op = 0;
	return 0;
}

static bool is_vex(const struct insn_parts *d, uint8_t op)
{
	uint8_t next = d->i < d->n ? d->p[d->i] : 0;

	/* 8f is pop where the map's number would be less than 8. */
	return op == 0xc4 || op == 0xc5 || op == 0x62 || (op == 0x8f && (next & 0x1f) >= 8);
}

/* The prefixes that hold the map and more; *op is the opcode then. */
static bool take_vex(struct insn_parts *d, uint8_t *op)
{
	uint8_t a = take(d), b, c;

	if (*op == 0xc5) {
		d->encoding = ENC_VEX;
		d->map = 1;
		d->l = a >> 2 & 1;
		d->pp = a & 3;
		*op = take(d);
		return true;
	}
	b = take(d);
	d->w = b >> 7;
	d->pp = b & 3;
	if (*op == 0x62) {
		c = take(d);
		d->encoding = ENC_EVEX;
		d->map = a & 7;
		d->evex_b = c >> 4 & 1;
		d->l = c >> 5 & 3;
		*op = take(d);
		/* Bits that are fixed. */
		return !(a & 8) && (b & 4);
	}
	d->encoding = *op == 0x8f ? ENC_XOP : ENC_VEX;
	d->map = a & 0x1f;
	d->l = b >> 2 & 1;
	*op = take(d);
	return true;
}

static void take_opcode(struct insn_parts *d, uint8_t op)
{
	d->pp = d->has_f3 ? PP_F3 : d->has_f2 ? PP_F2 : d->has_66 ? PP_66 : PP_NONE;
	if (op == 0x0f) {
		d->map = 1;
		op = take(d);
		if (op == 0x38 || op == 0x3a) {
			d->map = op == 0x38 ? 2 : 3;
			op = take(d);
		}
	}
	d->op = op;
}

/* --- what follows the opcode --- */

static const char one_byte[257] = /* . nothing, m ModRM, x none in 64 bits */
	"mmmm..xxmmmm..xx"
	"mmmm..xxmmmm..xx"
	"mmmm...xmmmm...x"
	"mmmm...xmmmm...x"
	"................"
	"................"
	"xxxm.....m.m...."
	"................"
	"mmxmmmmmmmmmmmmm"
	"..........x....."
	"................"
	"................"
	"mm..xxmm......x."
	"mmmmxxx.mmmmmmmm"
	"..........x....."
	"......mm......mm";

static const char two_byte[257] = "mmmmx.....x.xm.m"
				  "mmmmmmmmmmmmmmmm"
				  "mmmmxxxxmmmmmmmm"
				  "......x.xxxxxxxx"
				  "mmmmmmmmmmmmmmmm"
				  "mmmmmmmmmmmmmmmm"
				  "mmmmmmmmmmmmmmmm"
				  "mmmmmmm.mmxxmmmm"
				  "................"
				  "mmmmmmmmmmmmmmmm"
				  "...mmmxx...mmmmm"
				  "mmmmmmmmmmmmmmmm"
				  "mmmmmmmm........"
				  "mmmmmmmmmmmmmmmm"
				  "mmmmmmmmmmmmmmmm"
				  "mmmmmmmmmmmmmmmm";

static bool has_modrm(const struct insn_parts *d, bool *ret_bad)
{
	char c;

	*ret_bad = false;
	if (d->encoding != ENC_LEGACY)
		return !(d->encoding == ENC_VEX && d->map == 1 && d->op == 0x77);
	if (d->map >= 2)
		return true;
	if (d->map == 1 && d->op == 0x0e)
		return false; /* femms */
	c = d->map ? two_byte[d->op] : one_byte[d->op];
	*ret_bad = c == 'x';
	return c == 'm';
}

static size_t imm_z(const struct insn_parts *d)
{
	return d->has_66 && !d->w ? 2 : 4;
}

/* Bytes of immediate operands, jumps' distances among them. */
static size_t imm_of_one(const struct insn_parts *d)
{
	uint8_t op = d->op;

	if (op < 0x40)
		return (op & 7) == 4 ? 1 : (op & 7) == 5 ? imm_z(d) : 0;
	switch (op) {
	case 0x68:
	case 0x69:
	case 0x81:
	case 0xa9:
	case 0xc7:
		return imm_z(d);
	case 0x6a:
	case 0x6b:
	case 0x80:
	case 0x83:
	case 0xa8:
	case 0xc0:
	case 0xc1:
	case 0xc6:
	case 0xcd:
	case 0xe0:
	case 0xe1:
	case 0xe2:
	case 0xe3:
	case 0xe4:
	case 0xe5:
	case 0xe6:
	case 0xe7:
	case 0xeb:
		return 1;
	case 0xe8:
	case 0xe9:
		return 4;
	case 0xc2:
	case 0xca:
		return 2;
	case 0xc8:
		return 3;
	case 0xf6:
		return MODRM_REG(d) < 2 ? 1 : 0;
	case 0xf7:
		return MODRM_REG(d) < 2 ? imm_z(d) : 0;
	}
	if (op >= 0x70 && op <= 0x7f)
		return 1;
	if (op >= 0xa0 && op <= 0xa3)
		return d->has_67 ? 4 : 8;
	if (op >= 0xb0 && op <= 0xb7)
		return 1;
	if (op >= 0xb8 && op <= 0xbf)
		return d->w ? 8 : imm_z(d);
	return 0;
}

static size_t imm_of_two(const struct insn_parts *d)
{
	switch (d->op) {
	case 0x0f:
	case 0x70:
	case 0x71:
	case 0x72:
	case 0x73:
	case 0xa4:
	case 0xac:
	case 0xba:
	case 0xc2:
	case 0xc4:
	case 0xc5:
	case 0xc6:
		return 1;
	case 0x78: /* extrq, insertq */
		return d->encoding == ENC_LEGACY && (d->pp == PP_66 || d->pp == PP_F2) ? 2 : 0;
	}
	return d->encoding == ENC_LEGACY && d->op >= 0x80 && d->op <= 0x8f ? 4 : 0;
}

static size_t imm_len(const struct insn_parts *d)
{
	if (d->encoding == ENC_XOP)
		return d->map == 8 ? 1 : d->map == 10 ? 4 : 0;
	switch (d->map) {
	case 0:
		return imm_of_one(d);
	case 1:
		/* In the wider encodings those of a4, ac and ba are none. */
		return d->encoding != ENC_LEGACY && (d->op == 0xa4 || d->op == 0xac ||
						     d->op == 0xba || d->op == 0x0f)
			       ? 0
			       : imm_of_two(d);
	case 3:
		return 1;
	case 7:
		return d->encoding == ENC_VEX ? 4 : 0;
	}
	return 0;
}

/* ModRM, SIB and displacement; true: it is relative to the next instruction. */
static bool take_modrm(struct insn_parts *d, int64_t *ret_disp)
{
	uint8_t mod, rm, base;

	d->has_modrm = true;
	d->modrm = take(d);
	mod = MODRM_MOD(d);
	rm = d->modrm & 7;
	if (mod == 3)
		return false;
	base = rm == 4 ? take(d) & 7 : rm;
	if (mod == 1)
		*ret_disp = take_number(d, 1);
	else if (mod == 2 || base == 5)
		*ret_disp = take_number(d, 4);
	return mod == 0 && rm == 5;
}

/* --- where it leads --- */

static void lead_one(const struct insn_parts *d, struct insn *ret)
{
	uint8_t op = d->op;

	if (op == 0xe8)
		ret->kind = INSN_CALL;
	else if (op == 0xe9 || op == 0xeb)
		ret->kind = INSN_JUMP;
	else if ((op >= 0x70 && op <= 0x7f) || (op >= 0xe0 && op <= 0xe3))
		ret->kind = INSN_BRANCH;
	else if (op == 0xc2 || op == 0xc3 || op == 0xca || op == 0xcb || op == 0xcf)
		ret->kind = INSN_FAR_WAY;
	else if (op == 0xff && (MODRM_REG(d) == 2 || MODRM_REG(d) == 3))
		ret->kind = INSN_CALL_AWAY;
	else if (op == 0xff && (MODRM_REG(d) == 4 || MODRM_REG(d) == 5))
		ret->kind = INSN_FAR_WAY;
	else if (op == 0xcc || op == 0xf4)
		ret->kind = INSN_TRAP;
	else if (op == 0xcd && d->i && d->p[d->i - 1] == 0x80)
		ret->kind = INSN_SYSCALL;
	else if (op == 0xc7 && d->modrm == 0xf8) /* xbegin: where an abort leads */
		ret->kind = INSN_BRANCH;
}

static void lead_two(const struct insn_parts *d, struct insn *ret)
{
	uint8_t op = d->op;

	if (op >= 0x80 && op <= 0x8f)
		ret->kind = INSN_BRANCH;
	else if (op == 0x05 || op == 0x34)
		ret->kind = INSN_SYSCALL;
	else if (op == 0x0b || op == 0xb9 || op == 0xff)
		ret->kind = INSN_TRAP;
	else if (op == 0xa2 || (op == 0x01 && d->modrm == 0xd0))
		ret->kind = INSN_CPUID;
}

void arch_insn(const uint8_t *p, size_t n, uint64_t at, struct insn *ret)
{
	struct insn_parts d = {.p = p, .n = n < INSN_MAX ? n : INSN_MAX};
	int64_t disp = 0, imm = 0;
	bool relative = false, bad = false, none;
	size_t imms;
	uint8_t op, rex = take_prefixes(&d, &op);

	*ret = (struct insn){.kind = INSN_OTHER, .feature = {0xff, 0xff, 0xff}};
	d.w = rex >> 3 & 1;
	if (!is_vex(&d, op)) {
		take_opcode(&d, op);
	} else {
		bad = !take_vex(&d, &op) || rex;
		d.op = op;
	}
	if (has_modrm(&d, &none))
		relative = take_modrm(&d, &disp);
	bad = bad || none;
	imms = imm_len(&d);
	/* Of two numbers (enter, extrq) neither is an address. */
	if (imms == 3 || (imms == 2 && d.map == 1))
		d.i += imms;
	else if (imms)
		imm = take_number(&d, imms);
	if (bad || d.i > d.n) {
		*ret = (struct insn){.len = 1, .kind = INSN_BAD, .feature = {0xff, 0xff, 0xff}};
		return;
	}
	ret->len = (uint8_t)d.i;
	if (d.encoding == ENC_LEGACY && d.map < 2)
		(d.map ? lead_two : lead_one)(&d, ret);
	if (ret->kind == INSN_CALL || ret->kind == INSN_JUMP || ret->kind == INSN_BRANCH) {
		ret->has_target = true;
		ret->target = at + d.i + (uint64_t)imm;
	} else if (relative || imms >= 4) {
		ret->has_address = true;
		ret->address = relative ? at + d.i + (uint64_t)disp : (uint64_t)imm;
	}
	insn_features(&d, ret);
}
