/*
 * Build id and symbols of an ELF file.  Tried at each of the offsets that the
 * first 4 bytes give, so that the fuzzer can choose it; the file follows.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "fuzz.h"
#include "image/elfid.h"

static void try_symbol(int fd, uint64_t offset)
{
	uint64_t distance = 0;
	char name[40];
	int ret = elf_symbol_at(fd, offset, name, sizeof(name), &distance);

	ALWAYS(ret == 0 || ret == 1);
	if (ret == 1)
		ALWAYS(name[0] && strnlen(name, sizeof(name)) < sizeof(name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t offsets[] = {0, 64, 0x1000, 0x1139, UINT64_MAX};
	int fd = memfd_create("elf", MFD_CLOEXEC);
	uint8_t id[ELF_BUILD_ID_MAX];
	uint32_t len = 0, chosen;

	if (size >= sizeof(chosen) && !io_write_all(fd, data + 4, size - 4)) {
		memcpy(&chosen, data, sizeof(chosen));
		ALWAYS(!elf_build_id(fd, id, &len));
		ALWAYS(len <= ELF_BUILD_ID_MAX);
		try_symbol(fd, chosen);
		for (size_t i = 0; i < ARRAY_SIZE(offsets); i++)
			try_symbol(fd, offsets[i]);
	}
	close(fd);
	return 0;
}
