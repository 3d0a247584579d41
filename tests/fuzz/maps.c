/* The parser of /proc/PID/maps.  Names in it are chosen by the program. */
#include <string.h>

#include "base/io.h"
#include "fuzz.h"
#include "proc/maps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct err err = ERR_INIT;
	struct proc_maps maps = {0};

	memcpy(text, data, size);
	text[size] = '\0';
	if (!proc_parse_maps(text, &maps, &err)) {
		for (size_t i = 0; i < maps.n; i++) {
			ALWAYS(maps.v[i].name >= text || !maps.v[i].name[0]);
			ALWAYS(strlen(maps.v[i].name) <= size);
		}
	} else {
		ALWAYS(err.error < 0 && err.what[0]);
	}
	proc_maps_done(&maps);
	free(text);
	return 0;
}
