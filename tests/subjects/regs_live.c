/*
 * Live registers: threads spin in assembly with every general, x87, SSE, AVX and
 * AVX-512 register loaded, without a call in between, and are compared afterwards.
 * test: build=static
 */
#include <cpuid.h>
#include <immintrin.h>

#include "subject.h"

static volatile uint64_t go_on;
static volatile int spinning;

struct general {
	uint64_t r[14];
};

/* Loads, tells, spins on memory, stores.  rbp and rsp stay the compiler's. */
static void *spin_general(void *arg)
{
	struct general in, out;

	(void)arg;
	for (int i = 0; i < 14; i++)
		in.r[i] = out.r[i] = 0x0123456789abcdefULL * (i + 3);
	out.r[13] = 0;
	__asm__ volatile("push %%rbx; push %%rbp; push %[out]\n\t"
			 "mov %[in], %%rax\n\t"
			 "mov 8(%%rax), %%rbx; mov 16(%%rax), %%rcx; mov 24(%%rax), %%rdx\n\t"
			 "mov 32(%%rax), %%rsi; mov 40(%%rax), %%rdi; mov 48(%%rax), %%rbp\n\t"
			 "mov 56(%%rax), %%r8; mov 64(%%rax), %%r9; mov 72(%%rax), %%r10\n\t"
			 "mov 80(%%rax), %%r11; mov 88(%%rax), %%r12; mov 96(%%rax), %%r13\n\t"
			 "mov 104(%%rax), %%r14\n\t"
			 "mov 0(%%rax), %%rax\n\t"
			 "lock incl spinning(%%rip)\n\t"
			 "std; stc\n\t"
			 "1: mov go_on(%%rip), %%r15\n\t"
			 "dec %%r15; inc %%r15\n\t" /* leaves CF alone */
			 "jz 1b\n\t"
			 "pushf\n\t"
			 "cld\n\t"
			 "mov 8(%%rsp), %%r15\n\t"
			 "mov %%rax, 0(%%r15); mov %%rbx, 8(%%r15); mov %%rcx, 16(%%r15)\n\t"
			 "mov %%rdx, 24(%%r15); mov %%rsi, 32(%%r15); mov %%rdi, 40(%%r15)\n\t"
			 "mov %%rbp, 48(%%r15); mov %%r8, 56(%%r15); mov %%r9, 64(%%r15)\n\t"
			 "mov %%r10, 72(%%r15); mov %%r11, 80(%%r15); mov %%r12, 88(%%r15)\n\t"
			 "mov %%r13, 96(%%r15); pop %%rax; mov %%rax, 104(%%r15)\n\t"
			 "pop %%rax; pop %%rbp; pop %%rbx"
			 :
			 : [in] "r"(in.r), [out] "r"(out.r)
			 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
			   "r13", "r14", "r15", "memory", "cc");
	for (int i = 0; i < 13; i++)
		check(in.r[i] == out.r[i], "general register %d: %lx, was %lx", i, out.r[i],
		      in.r[i]);
	check(out.r[13] & 0x400, "the direction flag is lost");
	check(out.r[13] & 1, "the carry flag is lost");
	return NULL;
}

static void *spin_x87(void *arg)
{
	long double in[8], out[8];
	uint16_t cw = 0x0f7f, cw_after = 0; /* round to zero, 64 bits */

	(void)arg;
	for (int i = 0; i < 8; i++)
		in[i] = 1.0L / (i + 3) * (i % 2 ? -1 : 1);
	__asm__ volatile(
		"fldcw %[cw]\n\t"
		"fldt 0(%[in]); fldt 16(%[in]); fldt 32(%[in]); fldt 48(%[in])\n\t"
		"fldt 64(%[in]); fldt 80(%[in]); fldt 96(%[in]); fldt 112(%[in])\n\t"
		"lock incl spinning(%%rip)\n\t"
		"1: cmpq $0, go_on(%%rip); je 1b\n\t"
		"fnstcw %[cwa]\n\t"
		"fstpt 112(%[out]); fstpt 96(%[out]); fstpt 80(%[out]); fstpt 64(%[out])\n\t"
		"fstpt 48(%[out]); fstpt 32(%[out]); fstpt 16(%[out]); fstpt 0(%[out])\n\t"
		"fninit"
		: [cwa] "=m"(cw_after)
		: [cw] "m"(cw), [in] "r"(in), [out] "r"(out)
		: "memory", "cc");
	for (int i = 0; i < 8; i++)
		check(!memcmp(&in[i], &out[i], 10), "x87 register %d differs", i);
	check(cw_after == cw, "x87 control word: %x, was %x", cw_after, cw);
	return NULL;
}

static void *spin_sse(void *arg)
{
	unsigned char in[256] __attribute__((aligned(64))), out[256] __attribute__((aligned(64)));
	uint32_t csr = 0x7f80, csr_after = 0; /* round to zero */

	(void)arg;
	fill(in, sizeof(in), 11);
	__asm__ volatile("ldmxcsr %[csr]\n\t"
			 ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
			 "movdqa \\n*16(%[in]), %%xmm\\n\n\t"
			 ".endr\n\t"
			 "lock incl spinning(%%rip)\n\t"
			 "1: cmpq $0, go_on(%%rip); je 1b\n\t"
			 "stmxcsr %[csra]\n\t"
			 ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
			 "movdqa %%xmm\\n, \\n*16(%[out])\n\t"
			 ".endr"
			 : [csra] "=m"(csr_after)
			 : [csr] "m"(csr), [in] "r"(in), [out] "r"(out)
			 : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			   "xmm15");
	check(!memcmp(in, out, sizeof(in)), "SSE registers differ");
	check((csr_after & ~0x3f) == csr, "mxcsr: %x, was %x", csr_after, csr);
	_mm_setcsr(0x1f80);
	return NULL;
}

static void *__attribute__((target("avx"))) spin_avx(void *arg)
{
	unsigned char in[512] __attribute__((aligned(64))), out[512] __attribute__((aligned(64)));

	(void)arg;
	fill(in, sizeof(in), 12);
	__asm__ volatile(".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
			 "vmovdqa \\n*32(%[in]), %%ymm\\n\n\t"
			 ".endr\n\t"
			 "lock incl spinning(%%rip)\n\t"
			 "1: cmpq $0, go_on(%%rip); je 1b\n\t"
			 ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
			 "vmovdqa %%ymm\\n, \\n*32(%[out])\n\t"
			 ".endr\n\t"
			 "vzeroupper"
			 :
			 : [in] "r"(in), [out] "r"(out)
			 : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			   "xmm15");
	check(!memcmp(in, out, sizeof(in)), "AVX registers differ");
	return NULL;
}

static void *__attribute__((target("avx512f,avx512bw"))) spin_avx512(void *arg)
{
	static unsigned char in[2048] __attribute__((aligned(64)));
	static unsigned char out[2048] __attribute__((aligned(64)));
	uint64_t kin[8], kout[8];

	(void)arg;
	fill(in, sizeof(in), 13);
	fill(kin, sizeof(kin), 14);
	__asm__ volatile(
		".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,"
		"27,28,29,30,31\n\t"
		"vmovdqa64 \\n*64(%[in]), %%zmm\\n\n\t"
		".endr\n\t"
		".irp n,0,1,2,3,4,5,6,7\n\t"
		"kmovq \\n*8(%[kin]), %%k\\n\n\t"
		".endr\n\t"
		"lock incl spinning(%%rip)\n\t"
		"1: cmpq $0, go_on(%%rip); je 1b\n\t"
		".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,"
		"27,28,29,30,31\n\t"
		"vmovdqa64 %%zmm\\n, \\n*64(%[out])\n\t"
		".endr\n\t"
		".irp n,0,1,2,3,4,5,6,7\n\t"
		"kmovq %%k\\n, \\n*8(%[kout])\n\t"
		".endr\n\t"
		"vzeroupper"
		:
		: [in] "r"(in), [out] "r"(out), [kin] "r"(kin), [kout] "r"(kout)
		: "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
		  "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16",
		  "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",
		  "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4",
		  "k5", "k6", "k7");
	check(!memcmp(in, out, sizeof(in)), "AVX-512 registers differ");
	check(!memcmp(kin, kout, sizeof(kin)), "AVX-512 mask registers differ");
	return NULL;
}

int main(int argc, char **argv)
{
	void *(*run[5])(void *) = {spin_general, spin_x87, spin_sse};
	pthread_t t[5];
	int n = 3;

	subject_init(argc, argv);
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx"))
		run[n++] = spin_avx;
	if (__builtin_cpu_supports("avx512bw"))
		run[n++] = spin_avx512;
	for (int i = 0; i < n; i++)
		if (pthread_create(&t[i], NULL, run[i], NULL))
			die("pthread_create");
	while (spinning < n)
		nap(1);
	subject_wait();
	go_on = 1;
	for (int i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	return subject_done();
}
