/* Fresh memory: see fill.h. */
#include "migrate/fill.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/io.h"
#include "proc/newer.h"
#include "remote/remote.h"

int fill_begin(struct fill *f, struct remote *remote, struct err *err)
{
	const uint64_t arg[6] = {O_CLOEXEC | UFFD_USER_MODE_ONLY};
	struct uffdio_api api = {.api = UFFD_API};
	int fd = remote_take_new_fd(remote, SYS_userfaultfd, arg, err);

	*f = (struct fill){.uffd = -1, .pid = remote->speaker};
	if (err->error)
		return err->error;
	if (fd >= 0 && !ioctl(fd, UFFDIO_API, &api))
		f->uffd = fd;
	else if (fd >= 0)
		io_close_fd(&fd);
	return 0;
}

void fill_add(const struct fill *f, uint64_t start, uint64_t end)
{
	struct uffdio_register reg = {.range = {start, end - start},
				      .mode = UFFDIO_REGISTER_MODE_MISSING};

	/* What cannot be registered is not: fill_write finds out. */
	if (f->uffd >= 0 && ioctl(f->uffd, UFFDIO_REGISTER, &reg))
		return;
}

static int write_page(const struct fill *f, uint64_t addr, const void *data)
{
	struct iovec from = {(void *)(uintptr_t)data, PAGE_SIZE_4K},
		     to = {(void *)(uintptr_t)addr, PAGE_SIZE_4K};

	return process_vm_writev(f->pid, &from, 1, &to, 1, 0) == (ssize_t)PAGE_SIZE_4K ? 0
										       : -EFAULT;
}

int fill_write(const struct fill *f, uint64_t addr, const void *data, size_t len)
{
	const uint8_t *from = data;
	size_t step = len;

	if (f->uffd < 0)
		return -ENOENT;
	while (len) {
		struct uffdio_copy c = {.dst = addr, .src = (uintptr_t)from};
		size_t n = step < len ? step : len;

		c.len = n;
		if (ioctl(f->uffd, UFFDIO_COPY, &c)) {
			bool is_here = errno == EEXIST, no_one_area = errno == ENOENT;

			if (c.copy > 0) {
				n = (size_t)c.copy;
			} else if (no_one_area && n > PAGE_SIZE_4K) {
				step = PAGE_SIZE_4K; /* it may lie in several */
				continue;
			} else if ((!is_here && !no_one_area) || write_page(f, addr, from)) {
				return -EFAULT;
			} else {
				n = PAGE_SIZE_4K;
			}
		}
		addr += n;
		from += n;
		len -= n;
	}
	return 0;
}

void fill_end(struct fill *f)
{
	io_close_fd(&f->uffd);
}
