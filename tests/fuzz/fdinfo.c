/* The parser of /proc/PID/fdinfo/FD. */
#include <string.h>

#include "fuzz.h"
#include "proc/fdinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct err err = ERR_INIT;
	struct fdinfo info;

	memcpy(text, data, size);
	text[size] = '\0';
	if (!proc_parse_fdinfo(text, &info, &err)) {
		for (size_t i = 0; i < info.nlocks; i++)
			ALWAYS(info.locks[i].kind >= FDINFO_POSIX &&
			       info.locks[i].kind <= FDINFO_OTHER);
		fdinfo_done(&info);
	} else {
		ALWAYS(err.error < 0 && err.what[0]);
	}
	free(text);
	return 0;
}
