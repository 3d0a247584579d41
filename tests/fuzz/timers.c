/* The parser of /proc/PID/timers. */
#include <string.h>

#include "fuzz.h"
#include "proc/timers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct proc_timers timers;
	struct err err = ERR_INIT;

	memcpy(text, data, size);
	text[size] = '\0';
	if (!proc_parse_timers(text, &timers, &err)) {
		if (fuzz_this_is_a_seed())
			ALWAYS(timers.n == 3 && timers.v[0].id == 7 && timers.v[0].to_thread &&
			       timers.v[1].is_silent && timers.v[2].value == 0x7fff86e452a8);
		proc_timers_done(&timers);
	} else {
		ALWAYS(!fuzz_this_is_a_seed() && err.error < 0 && err.what[0]);
	}
	free(text);
	return 0;
}
