/*
 * What a program got from its shell: a terminal, or a pipe or socket to
 * somebody else, as descriptor 0, 1 or 2.  On restart these become those of the
 * restarting shell, number by number.  Higher descriptors of the same object
 * (bash keeps its terminal at 255) become duplicates of the one they match; a
 * terminal that matches none becomes the controlling terminal.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state/pty.h"

static bool is_same_object(const struct open_file *a, const struct open_file *b)
{
	if (a->inherited.is_tty != b->inherited.is_tty)
		return false;
	return a->inherited.is_tty ? a->rdev == b->rdev : a->dev == b->dev && a->ino == b->ino;
}

static bool may_stand_for(const struct open_file *a, const struct open_file *b)
{
	uint32_t have = a->flags & O_ACCMODE, want = b->flags & O_ACCMODE;

	return have == want || have == O_RDWR;
}

/* Descriptor 0-2 of the same description, of the same object with the same
 * access, of the same object: -1 when there is none. */
static int find_like(const struct file_table *t, const struct open_file *f)
{
	int found = -1;

	for (size_t i = 0; i < t->nfds && t->fds[i].fd < 3; i++) {
		const struct open_file *o = &t->files[t->fds[i].file];

		if (o == f)
			return t->fds[i].fd;
		if (found < 0 && o->kind == FILE_INHERITED && is_same_object(o, f) &&
		    may_stand_for(o, f))
			found = t->fds[i].fd;
	}
	return found;
}

static int capture_inherited(struct file_scan *s, struct open_file *f, struct err *err)
{
	(void)err;
	f->inherited.is_tty = S_ISCHR(s->st.st_mode);
	f->inherited.like = -1;
	return 0;
}

static void notice_unread(const struct file_scan *s, const struct open_file *f)
{
	__cleanup_fd int dup = -1;
	int n = 0;

	if (f->inherited.is_tty || (f->flags & O_ACCMODE) == O_WRONLY)
		return;
	dup = file_try_getfd(s, s->fd);
	if (dup >= 0 && !ioctl(dup, FIONREAD, &n) && n > 0)
		file_notice(s,
			    "%d bytes that wait in '%s' (fd %d) are not saved: on restart it "
			    "becomes that of the restarting shell",
			    n, f->path, s->fd);
}

/*
 * QUIRK: a terminal that was opened by TIOCGPTPEER has O_CLOEXEC among the flags of the open file
 * (drivers/tty/pty.c, ptm_open_peer), and fdinfo shows it of all its descriptors, duplicates
 * included.  Only the program itself can tell then.
 */
static int ask_cloexec(struct file_scan *s, struct open_file *f, struct err *err)
{
	struct remote *r = s->c->remote;
	struct file_table *t = s->table;
	__cleanup_fd int dup = file_getfd(s, s->fd, err);
	struct program prog;
	int ret = 0;

	if (dup < 0)
		return dup;
	if (!(fcntl(dup, F_GETFL) & O_CLOEXEC))
		return 0;
	for (uint32_t i = f->first; i != FILES_NONE && !ret; i = t->fds[i].next) {
		program_init(&prog, r->data, REMOTE_DATA_LEN, REMOTE_CALL_CAP, err);
		program_call(&prog, "is it close-on-exec", SYS_fcntl, (unsigned)t->fds[i].fd,
			     F_GETFD, 0, 0, 0, 0);
		ret = remote_run(r, &prog, err);
		if (!ret)
			t->fds[i].cloexec = prog.batches[0].calls[0].ret & FD_CLOEXEC;
		program_done(&prog);
	}
	return ret;
}

static int complete_inherited(struct file_scan *s, struct open_file *f, struct err *err)
{
	if (f->inherited.is_tty && ask_cloexec(s, f, err))
		return err->error;
	if (f->inherited.is_tty && pty_adopt(s->table, f))
		return 0;
	f->inherited.like = find_like(s->table, f);
	if (f->inherited.like < 0 && !f->inherited.is_tty)
		return file_refuse_as(s, err, REFUSED_FOREIGN_END,
				      "its other end belongs to another process");
	notice_unread(s, f);
	return 0;
}

static void codec_inherited(struct codec *c, struct open_file *f)
{
	codec_i32(c, &f->inherited.like);
	codec_bool(c, &f->inherited.is_tty);
}

static int validate_inherited(const struct file_table *t, const struct open_file *f,
			      struct err *err)
{
	int like = f->inherited.like;

	if (like < -1 || like > 2 || (like < 0 && !f->inherited.is_tty))
		return err_image(err, "files: fd %d: inherited from %d", file_lowest_fd(t, f),
				 like);
	return 0;
}

static bool have_terminal(void)
{
	__cleanup_fd int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);

	return fd >= 0;
}

static int check_inherited(struct restore *r, const struct file_table *t, const struct open_file *f,
			   struct err *err)
{
	(void)err;
	if (f->inherited.like < 0 && !have_terminal())
		file_restore_notice(r,
				    "fd %d was the terminal %s; there is no terminal here: it "
				    "becomes /dev/null",
				    file_lowest_fd(t, f), f->path);
	return 0;
}

static int open_other(struct file_restore *fr, const struct open_file *f)
{
	bool tty = f->inherited.like < 0 && have_terminal();

	return program_openat(
		fr->prog,
		file_why(fr, f, tty ? "a terminal that none of 0-2 is" : "the shell has it closed"),
		tty ? "/dev/tty" : "/dev/null",
		(int)((f->flags & (O_ACCMODE | O_NONBLOCK)) | O_NOCTTY | O_CLOEXEC), 0);
}

/*
 * The flags are those of the shell's own description, so only what the program
 * needs is changed: one that asked for O_NONBLOCK would hang without.  FIONBIO
 * leaves the other flags alone.
 */
static void set_nonblock(struct file_restore *fr, const struct open_file *f, int fd)
{
	const int on = 1;

	if (!(f->flags & O_NONBLOCK))
		return;
	uint64_t addr = program_data(fr->prog, &on, sizeof(on));

	program_call(fr->prog, file_why(fr, f, "O_NONBLOCK, as the program had it"), SYS_ioctl,
		     (unsigned)fd, FIONBIO, addr, 0, 0, 0)
		->expect = EXPECT_ANY;
}

static int restore_inherited(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	const struct file_table *t = fr->table;
	int other = -1;

	(void)err;
	for (uint32_t i = f->first; i != FILES_NONE; i = t->fds[i].next) {
		const struct file_descriptor *d = &t->fds[i];
		int from = d->fd < 3 ? d->fd : f->inherited.like;

		from = from < 0 ? -1 : fr->inherited[from];
		if (from < 0 && other < 0) {
			/* Out of the way: its lowest free number may be one to come. */
			int low = open_other(fr, f);

			other = program_dup_above(fr->prog, file_why(fr, f, "put in place"), low,
						  fr->above);
			program_close(fr->prog, file_why(fr, f, "moved"), low);
		}
		program_dup(fr->prog,
			    program_why(fr->prog, "fd %d: %s", d->fd,
					from < 0 ? "put in place" : "the restarting shell's"),
			    from < 0 ? other : from, d->fd, d->cloexec);
		if (from >= 0)
			set_nonblock(fr, f, d->fd);
	}
	if (other >= 0)
		program_close(fr->prog, "in place by now", other);
	return 0;
}

static void describe_inherited(const struct file_table *t, const struct open_file *f,
			       struct buf *out)
{
	(void)t;
	if (f->inherited.like >= 0)
		buf_printf(out, "becomes the restarting shell's descriptor %d", f->inherited.like);
	else
		buf_printf(out, "becomes the restarting shell's terminal");
}

const struct file_ops file_inherited = {
	.kind = FILE_INHERITED,
	.name = "inherited",
	.kept = "descriptors 0, 1, 2 that are a terminal, or a pipe or socket to another process: "
		"they become those of the restarting shell, and so do higher ones of the same "
		"object",
	.capture = capture_inherited,
	.complete = complete_inherited,
	.codec = codec_inherited,
	.validate = validate_inherited,
	.check = check_inherited,
	.restore = restore_inherited,
	.describe = describe_inherited,
};
