/* signalfd(2): a mask. */
#include <fcntl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>

#include "state/file_kinds.h"

static int capture_signalfd(struct file_scan *s, struct open_file *f, struct err *err)
{
	if (!s->info->has_signalfd)
		return file_refuse(s, err, NULL, "the kernel does not show its mask");
	f->signalfd.mask = s->info->signalfd_mask;
	return 0;
}

static void codec_signalfd(struct codec *c, struct open_file *f)
{
	codec_u64(c, &f->signalfd.mask);
}

static int restore_signalfd(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	unsigned cloexec = file_cloexec(fr, f);
	uint64_t addr = program_data(fr->prog, &f->signalfd.mask, sizeof(f->signalfd.mask));

	(void)err;
	file_place(fr, f,
		   program_fd_call(fr->prog, file_why(fr, f, "a signalfd"), SYS_signalfd4,
				   (uint64_t)-1, addr, sizeof(f->signalfd.mask),
				   (f->flags & O_NONBLOCK) | cloexec, 0),
		   cloexec);
	return 0;
}

static void describe_signalfd(const struct file_table *t, const struct open_file *f,
			      struct buf *out)
{
	const char *comma = "signals ";

	(void)t;
	for (int i = 0; i < 64; i++)
		if (f->signalfd.mask >> i & 1) {
			buf_printf(out, "%s%d", comma, i + 1);
			comma = ",";
		}
}

const struct file_ops file_signalfd = {
	.kind = FILE_SIGNALFD,
	.name = "signalfd",
	.kept = "mask, flags",
	.capture = capture_signalfd,
	.codec = codec_signalfd,
	.restore = restore_signalfd,
	.describe = describe_signalfd,
};
