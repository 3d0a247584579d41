/* What is read of /proc/PID/smaps where this machine's has no such line. */
#include "state/advice.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "tap.h"

/* advice_read_early of a folder with this smaps in it. */
static int read_text(const char *text, struct early_advice *ret, struct err *err)
{
	char folder[] = "/tmp/godwit-advice.XXXXXX";
	int dir, fd, n;

	if (!mkdtemp(folder))
		return -errno;
	dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(dir, "smaps", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	n = fd < 0 ? -errno : io_write_all(fd, text, strlen(text));
	*ret = (struct early_advice){0};
	if (!n)
		n = advice_read_early(dir, ret, err);
	close(fd);
	unlinkat(dir, "smaps", 0);
	close(dir);
	rmdir(folder);
	return n;
}

#define MAPPING(perms, key)                                                                        \
	"7f0000000000-7f0000001000 " perms " 00000000 00:00 0 \nSize: 4 kB\n"                      \
	"ProtectionKey: " key "\nVmFlags: rd wr mr mw me ac \n"

static void a_protection_key_is_refused(void)
{
	struct early_advice got;
	struct err err = ERR_INIT;

	CHECK_INT(read_text(MAPPING("rw-p", "        0"), &got, &err), 0);
	CHECK_INT(got.n, 1);
	advice_early_done(&got);
	CHECK_INT(read_text(MAPPING("rw-p", "        3"), &got, &err), -ENOTSUP);
	CHECK(strstr(err.what, "0x7f0000000000-0x7f0000001000") &&
	      strstr(err.what, "protection key 3"));
	CHECK(*err.hint);
	advice_early_done(&got);
}

static void the_kernels_own_key_of_code_is_not(void)
{
	struct early_advice got;
	struct err err = ERR_INIT;

	CHECK_INT(read_text(MAPPING("--xp", "        1"), &got, &err), 0);
	CHECK_INT(got.n, 1);
	advice_early_done(&got);
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {TEST(a_protection_key_is_refused),
						TEST(the_kernels_own_key_of_code_is_not)};

	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
