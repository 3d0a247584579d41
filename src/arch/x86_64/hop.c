/* The C side of hop.h: reading the thread control block, mangled pointers. */
#include "arch/x86_64/hop.h"

#include <string.h>

_Static_assert(sizeof(struct hop_regs) == 72, "hop_switch.S knows these offsets");

uint64_t hop_canary(void)
{
	uint64_t v;

	__asm__ volatile("movq %%fs:0x28, %0" : "=r"(v));
	return v;
}

uint64_t hop_pointer_guard(void)
{
	uint64_t v;

	__asm__ volatile("movq %%fs:0x30, %0" : "=r"(v));
	return v;
}

uint64_t hop_thread_pointer(void)
{
	uint64_t v;

	__asm__ volatile("movq %%fs:0, %0" : "=r"(v));
	return v;
}

int hop_has_shadow_stack(void)
{
	uint64_t ssp = 0;

	/* rdsspq is a no-op, and leaves 0, where shadow stacks are off. */
	__asm__ volatile(".byte 0xf3, 0x48, 0x0f, 0x1e, 0xc8" : "+a"(ssp));
	return ssp != 0;
}

uint64_t hop_mangle(uint64_t value, uint64_t guard)
{
	value ^= guard;
	return value << 17 | value >> 47;
}

uint64_t hop_demangle(uint64_t word, uint64_t guard)
{
	return (word >> 17 | word << 47) ^ guard;
}

int hop_jmpbuf_known(void)
{
	uint64_t words[HOP_JB_WORDS], here, sp, ip;
	jmp_buf env;

	if (setjmp(env))
		return 0;
	memcpy(words, env, sizeof(words));
	__asm__ volatile("leaq 0(%%rip), %0" : "=r"(here));
	sp = hop_demangle(words[HOP_JB_RSP], hop_pointer_guard());
	ip = hop_demangle(words[HOP_JB_RIP], hop_pointer_guard());
	return sp - (uintptr_t)words + 4096 < 8192 && here - ip < 512;
}
