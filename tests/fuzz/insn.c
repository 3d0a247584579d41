/* Machine code: each instruction takes at least a byte, and none beyond the end. */
#include <string.h>

#include "arch/x86_64/insn.h"
#include "base/io.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (size_t at = 0; at < size;) {
		struct insn in;

		arch_insn(data + at, size - at, at, &in);
		ALWAYS(in.len >= 1 && in.len <= INSN_MAX && in.len <= size - at);
		ALWAYS(in.kind != INSN_BAD || in.len == 1);
		for (size_t i = 0; i < sizeof(in.feature); i++)
			ALWAYS(in.feature[i] < FEATURES || in.feature[i] == FEATURE_NONE);
		at += in.len;
	}
	return 0;
}
