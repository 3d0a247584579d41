/*
 * A compressed image as a plain file, for a restart: the process that becomes the program
 * reads its memory from there by itself, and cannot decompress.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "base/meter.h"
#include "image/reader.h"

/* Bytes of memory that can be had without pushing others out. */
static uint64_t memory_available(void)
{
	__cleanup_buf struct buf b = {0};
	const char *p;

	if (io_read_file(AT_FDCWD, "/proc/meminfo", &b) || !(p = strstr(b.p, "MemAvailable:")))
		return UINT64_MAX;
	return strtoull(p + strlen("MemAvailable:"), NULL, 10) << 10;
}

/* The program needs its memory a second time: a third of what there is may go here. */
static int open_place(const struct image *img, struct err *err)
{
	const char *dir = getenv("TMPDIR");
	int fd = -1;

	if (image_file_size(img) < memory_available() / 3)
		fd = memfd_create("godwit-image", MFD_CLOEXEC);
	if (fd < 0)
		fd = open(dir && *dir == '/' ? dir : "/var/tmp",
			  O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
	if (fd >= 0)
		return fd;
	err_sys(err, -errno, "cannot decompress '%s': no place for %llu MiB", img->path,
		(unsigned long long)image_file_size(img) >> 20);
	return err_hint(err, "unpack it with zstd -d, or set TMPDIR to a directory with room");
}

int image_unpack(struct image *img, struct meter *meter, struct err *err)
{
	int fd, ret;

	if (!img->packed)
		return 0;
	if ((fd = open_place(img, err)) < 0)
		return fd;
	meter_begin(meter, packed_size(img->packed));
	ret = packed_unpack(img->packed, fd, meter);
	meter_end(meter);
	if (ret == -EBADMSG)
		image_damaged(img, err, "a compressed part cannot be decompressed", 0,
			      img->stored_size);
	else if (ret) {
		err_sys(err, ret, "cannot decompress '%s'", img->path);
		err_hint(err, "%llu MiB are needed in memory, or in TMPDIR",
			 (unsigned long long)image_file_size(img) >> 20);
	}
	if (ret) {
		close(fd);
		return ret;
	}
	packed_close(img->packed);
	img->packed = NULL;
	close(img->fd);
	img->fd = fd;
	return 0;
}
