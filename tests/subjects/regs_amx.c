/*
 * AMX: the tile configuration and all eight tiles, live in a spinning thread.
 * test: needs=amx_tile
 */
#include <immintrin.h>

#include "subject.h"

static volatile uint64_t go_on;
static volatile int spinning;

struct tilecfg {
	uint8_t palette, start_row, reserved[14];
	uint16_t colsb[16];
	uint8_t rows[16];
} __attribute__((packed));

static void *__attribute__((target("amx-tile"))) spin(void *arg)
{
	static unsigned char in[8][1024] __attribute__((aligned(64)));
	static unsigned char out[8][1024] __attribute__((aligned(64)));
	static struct tilecfg cfg __attribute__((aligned(64))),
		cfg_after __attribute__((aligned(64)));

	(void)arg;
	cfg.palette = 1;
	for (int i = 0; i < 8; i++) {
		cfg.colsb[i] = 64;
		cfg.rows[i] = 16;
	}
	fill(in, sizeof(in), 15);
	__asm__ volatile("ldtilecfg %0" ::"m"(cfg));
	__asm__ volatile("mov $64, %%rsi\n\t"
			 ".irp n,0,1,2,3,4,5,6,7\n\t"
			 "lea \\n*1024(%[in]), %%rax; tileloadd (%%rax,%%rsi,1), %%tmm\\n\n\t"
			 ".endr\n\t"
			 "lock incl spinning(%%rip)\n\t"
			 "1: cmpq $0, go_on(%%rip); je 1b\n\t"
			 ".irp n,0,1,2,3,4,5,6,7\n\t"
			 "lea \\n*1024(%[out]), %%rax; tilestored %%tmm\\n, (%%rax,%%rsi,1)\n\t"
			 ".endr\n\t"
			 "sttilecfg %[cfga]\n\t"
			 "tilerelease"
			 : [cfga] "=m"(cfg_after)
			 : [in] "r"(in), [out] "r"(out)
			 : "rax", "rsi", "memory", "cc");
	check(!memcmp(in, out, sizeof(in)), "AMX tiles differ");
	check(!memcmp(&cfg, &cfg_after, sizeof(cfg)), "the AMX tile configuration differs");
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t;

	subject_init(argc, argv);
	must(syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18));
	if (pthread_create(&t, NULL, spin, NULL))
		die("pthread_create");
	while (!spinning)
		nap(1);
	subject_wait();
	go_on = 1;
	pthread_join(t, NULL);
	return subject_done();
}
