/*
 * The analysis of code: a module in memory that is the input, with headers, tables and
 * unwind table of anybody's making, and a thread whose registers it holds, too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/io.h"
#include "code/code.h"
#include "fuzz.h"
#include "state/vdso.h"

#define BASE 0x400000u
#define SIZE_MAX_TRIED (1u << 20)

struct input {
	const uint8_t *data;
	size_t size;
};

static int read_input(void *arg, uint64_t addr, void *buf, size_t len)
{
	const struct input *in = arg;
	size_t end = (in->size + 4095) & ~(size_t)4095;

	if (addr < BASE || addr - BASE > end || len > end - (addr - BASE))
		return -EFAULT;
	memset(buf, 0, len);
	addr -= BASE;
	if (addr < in->size)
		memcpy(buf, in->data + addr, len < in->size - addr ? len : in->size - addr);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint64_t end = BASE + ((size + 4095) & ~(size_t)4095), code = BASE + 4096;
	struct mapped_file file = {.path = (char[]){"/nowhere"}};
	struct mapping m[2] = {
		{.start = BASE, .end = code, .prot = PROT_READ, .kind = MAPPING_FILE, .file = 1},
		{.start = code,
		 .end = end,
		 .offset = 4096,
		 .prot = PROT_READ | PROT_EXEC,
		 .kind = MAPPING_FILE,
		 .file = 1}};
	struct thread t = {.regs = {.rip = code, .rsp = code}};
	struct process p = {.mapped_files = &file,
			    .nmapped_files = 1,
			    .mappings = m,
			    .nmappings = 2,
			    .threads = &t,
			    .nthreads = 1};
	const struct code_memory memory = {&p, read_input, &in};
	struct arch_features all = {{~UINT64_C(0), ~UINT64_C(0)}};
	struct code_summary sum;
	struct err err = ERR_INIT;
	const char *name;
	uint64_t off, len;
	struct code c;

	for (uint32_t i = 0; i < 64 && vdso_function(data, size, i, &name, &off, &len) == 1; i++)
		ALWAYS(off <= size && len <= size - off && strlen(name) < size);
	if (size <= 4096 || size > SIZE_MAX_TRIED)
		return 0;
	if (code_read(&memory, &c, &err)) {
		ALWAYS(err.error);
		return 0;
	}
	for (size_t i = 0; i < c.nfns; i++) {
		ALWAYS(c.fns[i].start < c.fns[i].end && c.fns[i].start >= code &&
		       c.fns[i].end <= end);
		ALWAYS(!i || c.fns[i - 1].end <= c.fns[i].start);
	}
	code_sum(&c, &sum);
	ALWAYS(sum.nchosen <= sum.nvariants && sum.nvariants <= c.nfns);
	code_done(&c);
	if (code_check(&memory, &all, true, &err))
		ALWAYS(err.what[0]);
	return 0;
}
