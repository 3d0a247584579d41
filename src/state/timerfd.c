/*
 * timerfd(2).  What is left goes on after the restart; an absolute timer of
 * the real-time clock keeps its date.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "state/file_kinds.h"

#ifndef TFD_IOC_SET_TICKS
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t)
#endif

#define NS_PER_S 1000000000LL
#define TRIES 16

static bool is_date(int32_t clock, uint32_t settime)
{
	return (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM) &&
	       (settime & TFD_TIMER_ABSTIME);
}

static int64_t realtime_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/*
 * QUIRK: fdinfo shows a periodic timer that has expired as having no time left:
 * the kernel winds it on when the program reads or asks (fs/timerfd.c,
 * timerfd_show, do_timerfd_gettime).  So we ask first, which counts the ticks
 * up and changes nothing that the program could see; and look again when it
 * expired between the two.
 */
static int read_timer(struct file_scan *s, int dup, struct fdinfo *info, struct err *err)
{
	for (int i = 0; i < TRIES; i++) {
		struct itimerspec now;
		bool was_armed;
		int e;

		if (timerfd_gettime(dup, &now))
			return file_refuse(s, err, NULL, "the kernel does not show its time");
		fdinfo_done(info);
		if ((e = file_read_info(s, s->fd, info, err)))
			return e;
		was_armed = now.it_value.tv_sec || now.it_value.tv_nsec;
		if (!was_armed || info->timerfd_value_ns ||
		    (!info->timerfd_interval_ns && info->timerfd_ticks))
			return 0;
	}
	return file_refuse(s, err, "try again",
			   "its interval (%lld ns) is too short to read the timer while it runs",
			   (long long)info->timerfd_interval_ns);
}

static int capture_timerfd(struct file_scan *s, struct open_file *f, struct err *err)
{
	__cleanup_fd int dup = file_getfd(s, s->fd, err);
	struct fdinfo info = {0};
	int e;

	if (dup < 0)
		return dup;
	if ((e = read_timer(s, dup, &info, err)))
		goto out;
	f->timerfd.clock = info.timerfd_clock;
	f->timerfd.settime = info.timerfd_settime;
	f->timerfd.ticks = info.timerfd_ticks;
	f->timerfd.interval_ns = info.timerfd_interval_ns;
	f->timerfd.value_ns = info.timerfd_value_ns;
	if (f->timerfd.value_ns && is_date(f->timerfd.clock, f->timerfd.settime))
		f->timerfd.value_ns += realtime_ns();
	e = info.has_timerfd ? 0 : file_refuse(s, err, NULL, "the kernel does not show its time");
out:
	fdinfo_done(&info);
	return e;
}

static void codec_timerfd(struct codec *c, struct open_file *f)
{
	codec_i32(c, &f->timerfd.clock);
	codec_u32(c, &f->timerfd.settime);
	codec_u64(c, &f->timerfd.ticks);
	codec_i64(c, &f->timerfd.value_ns);
	codec_i64(c, &f->timerfd.interval_ns);
}

static int validate_timerfd(const struct file_table *t, const struct open_file *f, struct err *err)
{
	if (f->timerfd.clock < 0 || f->timerfd.clock > 16 || f->timerfd.settime > 3 ||
	    f->timerfd.value_ns < 0 || f->timerfd.interval_ns < 0)
		return err_image(err, "files: fd %d: impossible timer", file_lowest_fd(t, f));
	return 0;
}

/* CONFIG_CHECKPOINT_RESTORE: the kernel lets ticks be set. */
static bool can_set_ticks(void)
{
	__cleanup_fd int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	uint64_t one = 1;

	return fd >= 0 && !ioctl(fd, TFD_IOC_SET_TICKS, &one);
}

static int check_timerfd(struct restore *r, const struct file_table *t, const struct open_file *f,
			 struct err *err)
{
	__cleanup_fd int fd = timerfd_create(f->timerfd.clock, TFD_CLOEXEC);

	if (fd < 0) {
		err_sys(err, -errno, "cannot make the program's timer (fd %d, clock %d)",
			file_lowest_fd(t, f), f->timerfd.clock);
		return err_hint(err, "timers that wake the machine up (CLOCK_*_ALARM) need "
				     "CAP_WAKE_ALARM");
	}
	if (f->timerfd.ticks > 1 && !can_set_ticks())
		file_restore_notice(r,
				    "fd %d: this kernel cannot set a timer's expirations: the "
				    "program will read 1 of %llu",
				    file_lowest_fd(t, f), (unsigned long long)f->timerfd.ticks);
	return 0;
}

static struct timespec to_timespec(int64_t ns)
{
	return (struct timespec){ns / NS_PER_S, ns % NS_PER_S};
}

static void set_time(struct file_restore *fr, const struct open_file *f, int fd, int64_t value,
		     uint32_t flags)
{
	struct itimerspec it = {to_timespec(f->timerfd.interval_ns), to_timespec(value)};
	uint64_t addr = program_data(fr->prog, &it, sizeof(it));

	program_call_want(fr->prog, 0, file_why(fr, f, "the time that was left"),
			  SYS_timerfd_settime, (unsigned)fd, flags, addr, 0, 0, 0);
}

static void restore_time(struct file_restore *fr, const struct open_file *f, int fd)
{
	int64_t value = f->timerfd.value_ns;
	uint64_t addr, ticks = f->timerfd.ticks;
	bool settable = ticks && can_set_ticks();

	if (ticks && !settable)
		value = 1; /* expires at once: one expiration is there to be read */
	if (value || f->timerfd.interval_ns)
		set_time(fr, f, fd, value,
			 value == f->timerfd.value_ns &&
					 is_date(f->timerfd.clock, f->timerfd.settime)
				 ? f->timerfd.settime
				 : 0);
	if (!settable)
		return;
	addr = program_data(fr->prog, &ticks, sizeof(ticks));
	program_call_want(fr->prog, 0, file_why(fr, f, "expirations that were not read yet"),
			  SYS_ioctl, (unsigned)fd, TFD_IOC_SET_TICKS, addr, 0, 0, 0);
}

static int restore_timerfd(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	unsigned cloexec = file_cloexec(fr, f);
	int temp = program_fd_call(fr->prog, file_why(fr, f, "a timerfd"), SYS_timerfd_create,
				   (uint64_t)f->timerfd.clock, (f->flags & O_NONBLOCK) | cloexec, 0,
				   0, 0);

	(void)err;
	restore_time(fr, f, temp);
	file_place(fr, f, temp, cloexec);
	return 0;
}

static void describe_timerfd(const struct file_table *t, const struct open_file *f, struct buf *out)
{
	(void)t;
	buf_printf(out, "clock %d, ", f->timerfd.clock);
	if (!f->timerfd.value_ns)
		buf_printf(out, "not armed");
	else
		buf_printf(out, "%s %.6f s",
			   is_date(f->timerfd.clock, f->timerfd.settime) ? "at" : "in",
			   (double)f->timerfd.value_ns / NS_PER_S);
	if (f->timerfd.interval_ns)
		buf_printf(out, ", every %.6f s", (double)f->timerfd.interval_ns / NS_PER_S);
	if (f->timerfd.ticks)
		buf_printf(out, ", %llu to be read", (unsigned long long)f->timerfd.ticks);
}

const struct file_ops file_timerfd = {
	.kind = FILE_TIMERFD,
	.name = "timerfd",
	.kept = "clock, the time that is left (absolute CLOCK_REALTIME: the date), interval, "
		"expirations not read",
	.capture = capture_timerfd,
	.codec = codec_timerfd,
	.validate = validate_timerfd,
	.check = check_timerfd,
	.restore = restore_timerfd,
	.describe = describe_timerfd,
};
