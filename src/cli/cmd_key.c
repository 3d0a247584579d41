/* godwit key: the shared secret of hosts that send threads to each other. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "cli/cli.h"

#define KEY_BYTES 32

static int usage(FILE *out, int status)
{
	fprintf(out,
		"usage: godwit key [FILE]\n\n"
		"Makes a new key, 64 hex digits, for the thread hop between machines, and\n"
		"writes it to FILE, mode 0600, or to standard output.  An existing FILE is\n"
		"never overwritten.  Both hosts need the same key, in ~/.config/godwit/key or\n"
		"where PSU_KEY says.\n");
	return status;
}

/* Makes the folders that path lies in, for this user alone. */
static int make_folders(const char *path, struct err *err)
{
	char part[4096];
	char *slash;

	if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
		return err_set(err, -ENAMETOOLONG, "path too long");
	for (slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(part, 0700) && errno != EEXIST)
			return err_sys(err, -errno, "cannot make the folder '%s'", part);
		*slash = '/';
	}
	return 0;
}

static int write_key(const char *path, const char *text, size_t len, struct err *err)
{
	__cleanup_fd int fd = -1;
	int ret = make_folders(path, err);

	if (ret)
		return ret;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		err_sys(err, -errno, "cannot make '%s'", path);
		return errno == EEXIST ? err_hint(err, "remove it first if it shall be replaced")
				       : err->error;
	}
	/* The umask can only have taken bits away. */
	if (fchmod(fd, 0600))
		return err_sys(err, -errno, "'%s'", path);
	ret = io_write_all(fd, text, len);
	if (!ret && fsync(fd))
		ret = -errno;
	if (ret)
		unlink(path);
	return ret ? err_sys(err, ret, "cannot write '%s'", path) : 0;
}

int cmd_key(int argc, char **argv)
{
	unsigned char key[KEY_BYTES];
	char text[2 * KEY_BYTES + 2];
	struct err err = ERR_INIT;
	int i, ret;

	if (argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
		return usage(stdout, EXIT_DONE);
	if (argc > 2 || (argc == 2 && argv[1][0] == '-'))
		return usage(stderr, EXIT_USAGE);
	if (getrandom(key, sizeof(key), 0) != (ssize_t)sizeof(key)) {
		err_sys(&err, -errno, "no random bytes");
		return cli_fail("key", &err);
	}
	for (i = 0; i < KEY_BYTES; i++)
		sprintf(text + 2 * (size_t)i, "%02x", key[i]);
	text[2 * KEY_BYTES] = '\n';
	if (argc == 2)
		ret = write_key(argv[1], text, 2 * KEY_BYTES + 1, &err);
	else
		ret = io_write_all(1, text, 2 * KEY_BYTES + 1);
	explicit_bzero(key, sizeof(key));
	explicit_bzero(text, sizeof(text));
	if (ret && !err.error)
		err_sys(&err, ret, "standard output");
	return ret ? cli_fail("key", &err) : EXIT_DONE;
}
