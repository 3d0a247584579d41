/* The parsers of /proc/PID/stat and /proc/PID/status: the program chooses its name. */
#include <string.h>

#include "fuzz.h"
#include "proc/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct proc_status status;
	struct proc_stat stat;
	struct err err = ERR_INIT;

	memcpy(text, data, size);
	text[size] = '\0';
	if (!proc_parse_stat(text, &stat, &err))
		ALWAYS(strnlen(stat.comm, sizeof(stat.comm)) < sizeof(stat.comm));
	else
		ALWAYS(err.error < 0 && err.what[0]);
	err = ERR_INIT;
	if (proc_parse_status(text, &status, &err))
		ALWAYS(err.error < 0 && err.what[0]);
	free(text);
	return 0;
}
