/*
 * The reader of images.  As it is, nearly every change ends at a checksum:
 * so each input is offered a second time with all checksums made right.
 */
#include "../unit/image_bytes.h"
#include "fuzz.h"

/* Refusals are of one kind, whole, with a remedy, and name the file. */
static void offer(struct bytes b)
{
	struct err err = ERR_INIT;
	int ret = bytes_read(b, &err);

	ALWAYS(ret <= 0);
	if (!ret)
		return;
	ALWAYS(ret == -EBADMSG && err.exit == EXIT_BAD_IMAGE);
	ALWAYS(err.what[0] && err.hint[0] && strstr(err.what, "/proc/self/fd/"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = {malloc(size ? size : 1), size};

	memcpy(b.p, data, size);
	offer(b);
	bytes_seal(b);
	offer(b);
	free(b.p);
	return 0;
}
