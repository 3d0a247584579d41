/*
 * A small interpreter of what seccomp(2) takes of classic BPF: the instructions that
 * kernel/seccomp.c, seccomp_check_filter(), lets in.  The filter may come from an image, so
 * nothing is believed; jumps only lead forward, so it ends.
 */
#include "remote/bpf.h"

#include <linux/audit.h>
#include <string.h>

#ifndef SECCOMP_RET_KILL_PROCESS
#define SECCOMP_RET_KILL_PROCESS 0x80000000U
#endif
#ifndef SECCOMP_RET_USER_NOTIF
#define SECCOMP_RET_USER_NOTIF 0x7fc00000U
#endif
#define ACTION 0xffff0000U /* SECCOMP_RET_ACTION_FULL */

struct machine {
	uint32_t a, x, mem[BPF_MEMWORDS];
};

/* 0: it divides by zero, for which the kernel ends the program with 0 (net/core/filter.c,
 * bpf_convert_filter).  */
static bool compute(struct machine *m, uint16_t code, uint32_t v)
{
	switch (BPF_OP(code)) {
	case BPF_ADD:
		m->a += v;
		break;
	case BPF_SUB:
		m->a -= v;
		break;
	case BPF_MUL:
		m->a *= v;
		break;
	case BPF_DIV:
		if (!v)
			return false;
		m->a /= v;
		break;
	case BPF_AND:
		m->a &= v;
		break;
	case BPF_OR:
		m->a |= v;
		break;
	case BPF_XOR:
		m->a ^= v;
		break;
	case BPF_LSH:
		m->a = v < 32 ? m->a << v : 0;
		break;
	case BPF_RSH:
		m->a = v < 32 ? m->a >> v : 0;
		break;
	case BPF_NEG:
		m->a = -m->a;
		break;
	default:
		return false;
	}
	return true;
}

/* A load to A or X; false: of what is not there. */
static bool load(struct machine *m, const struct sock_filter *i, const struct seccomp_data *call)
{
	uint32_t *to = BPF_CLASS(i->code) == BPF_LD ? &m->a : &m->x;

	switch (i->code & ~(BPF_LD | BPF_LDX)) {
	case BPF_W | BPF_ABS:
		if (i->k % 4 || i->k > sizeof(*call) - 4 || to != &m->a)
			return false;
		memcpy(to, (const char *)call + i->k, 4);
		return true;
	case BPF_W | BPF_LEN:
		*to = sizeof(*call);
		return true;
	case BPF_IMM:
		*to = i->k;
		return true;
	case BPF_MEM:
		if (i->k >= BPF_MEMWORDS)
			return false;
		*to = m->mem[i->k];
		return true;
	default:
		return false;
	}
}

/* How far to jump behind the next instruction. */
static uint32_t jump(const struct machine *m, const struct sock_filter *i)
{
	uint32_t v = BPF_SRC(i->code) == BPF_X ? m->x : i->k;

	switch (BPF_OP(i->code)) {
	case BPF_JA:
		return i->k;
	case BPF_JEQ:
		return m->a == v ? i->jt : i->jf;
	case BPF_JGT:
		return m->a > v ? i->jt : i->jf;
	case BPF_JGE:
		return m->a >= v ? i->jt : i->jf;
	case BPF_JSET:
		return m->a & v ? i->jt : i->jf;
	default:
		return UINT32_MAX;
	}
}

uint32_t bpf_run(const struct seccomp_filter *f, const struct seccomp_data *call)
{
	struct machine m = {0};

	for (size_t pc = 0; pc < f->n; pc++) {
		const struct sock_filter *i = &f->insns[pc];

		switch (BPF_CLASS(i->code)) {
		case BPF_LD:
		case BPF_LDX:
			if (!load(&m, i, call))
				return SECCOMP_RET_KILL_PROCESS;
			break;
		case BPF_ST:
		case BPF_STX:
			if (i->k >= BPF_MEMWORDS)
				return SECCOMP_RET_KILL_PROCESS;
			m.mem[i->k] = BPF_CLASS(i->code) == BPF_ST ? m.a : m.x;
			break;
		case BPF_ALU:
			if (!compute(&m, i->code, BPF_SRC(i->code) == BPF_X ? m.x : i->k))
				return SECCOMP_RET_KILL_THREAD;
			break;
		case BPF_JMP:
			if (jump(&m, i) >= f->n - pc)
				return SECCOMP_RET_KILL_PROCESS;
			pc += jump(&m, i);
			break;
		case BPF_RET:
			return BPF_RVAL(i->code) == BPF_A ? m.a : i->k;
		default: /* BPF_MISC */
			if (BPF_MISCOP(i->code) == BPF_TXA)
				m.a = m.x;
			else
				m.x = m.a;
		}
	}
	return SECCOMP_RET_KILL_PROCESS;
}

bool bpf_lets_pass(const struct seccomp_filter *v, size_t n, const struct seccomp_data *call)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t action = bpf_run(&v[i], call) & ACTION;

		if (action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG)
			return false;
	}
	return true;
}

bool bpf_asks_a_listener(const struct seccomp_filter *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->insns[i].code == (BPF_RET | BPF_K) &&
		    (f->insns[i].k & ACTION) == SECCOMP_RET_USER_NOTIF)
			return true;
	return false;
}

struct seccomp_data bpf_call(long nr, const uint64_t arg[6], uint64_t ip)
{
	struct seccomp_data d = {
		.nr = (int)nr, .arch = AUDIT_ARCH_X86_64, .instruction_pointer = ip};

	_Static_assert(sizeof(d.args) == 6 * sizeof(*arg), "struct seccomp_data");
	memcpy(d.args, arg, sizeof(d.args));
	return d;
}
