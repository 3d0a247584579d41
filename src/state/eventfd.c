/* eventfd(2): a counter. */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include "state/file_kinds.h"

static int capture_eventfd(struct file_scan *s, struct open_file *f, struct err *err)
{
	if (!s->info->has_eventfd)
		return file_refuse(s, err, "a kernel with CONFIG_PROC_FS and fdinfo is needed",
				   "the kernel does not show its counter");
	f->eventfd.count = s->info->eventfd_count;
	f->eventfd.semaphore = s->info->eventfd_semaphore == 1;
	/* QUIRK(<6.5): fdinfo does not say whether it is a semaphore, and to try
	 * would change the counter (fs/eventfd.c, eventfd_show_fdinfo). */
	if (s->info->eventfd_semaphore < 0)
		file_notice(s,
			    "this kernel does not show whether '%s' (fd %d) is a semaphore: "
			    "saved as a plain counter",
			    s->link, s->fd);
	return 0;
}

static void codec_eventfd(struct codec *c, struct open_file *f)
{
	codec_u64(c, &f->eventfd.count);
	codec_bool(c, &f->eventfd.semaphore);
}

static int validate_eventfd(const struct file_table *t, const struct open_file *f, struct err *err)
{
	if (f->eventfd.count == UINT64_MAX) /* cannot be: write(2) would block */
		return err_image(err, "files: fd %d: impossible counter", file_lowest_fd(t, f));
	return 0;
}

static int restore_eventfd(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	unsigned cloexec = file_cloexec(fr, f);
	unsigned flags =
		(f->flags & O_NONBLOCK) | cloexec | (f->eventfd.semaphore ? EFD_SEMAPHORE : 0);
	uint64_t count = f->eventfd.count;
	bool fits = count <= UINT32_MAX;
	int temp = program_fd_call(fr->prog, file_why(fr, f, "an eventfd"), SYS_eventfd2,
				   fits ? count : 0, flags, 0, 0, 0);

	(void)err;
	if (!fits)
		file_write_all(fr, file_why(fr, f, "its counter"), temp, &count, sizeof(count));
	file_place(fr, f, temp, cloexec);
	return 0;
}

static void describe_eventfd(const struct file_table *t, const struct open_file *f, struct buf *out)
{
	(void)t;
	buf_printf(out, "count %llu%s", (unsigned long long)f->eventfd.count,
		   f->eventfd.semaphore ? ", semaphore" : "");
}

const struct file_ops file_eventfd = {
	.kind = FILE_EVENTFD,
	.name = "eventfd",
	.kept = "counter, flags (whether it is a semaphore: from Linux 6.5 on)",
	.capture = capture_eventfd,
	.codec = codec_eventfd,
	.validate = validate_eventfd,
	.restore = restore_eventfd,
	.describe = describe_eventfd,
};
