/*
 * The terminal's modes (termios(3)) that the program has set: an editor that turned
 * off echo and lines finds the new terminal so, too.  (restart/build.c tells it that the
 * size may be another, upon which it draws its screen anew.)
 *
 * Modes that a shell would leave are the new terminal's own business: only what is
 * without lines or without echo is kept.
 */
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/report.h"
#include "state/file_kinds.h"

static const struct open_file *find_terminal(const struct process *p, int *ret_fd)
{
	const struct file_table *t = p->files;

	for (size_t i = 0; t && i < t->nfds; i++) {
		const struct open_file *f = &t->files[t->fds[i].file];

		if (f->kind == FILE_INHERITED && f->inherited.is_tty) {
			*ret_fd = t->fds[i].fd;
			return f;
		}
	}
	return NULL;
}

static int capture(struct capture *c, struct process *p, struct err *err)
{
	__cleanup_fd int dup = -1;
	struct termios2 t;
	int fd;

	(void)err;
	if (!find_terminal(p, &fd) || (dup = remote_getfd(c->remote, fd)) < 0)
		return 0;
	if (ioctl(dup, TCGETS2, &t) || (t.c_lflag & (ICANON | ECHO)) == (ICANON | ECHO))
		return 0;
	p->terminal.is_set = true;
	p->terminal.iflag = t.c_iflag;
	p->terminal.oflag = t.c_oflag;
	p->terminal.lflag = t.c_lflag;
	for (size_t i = 0; i < sizeof(p->terminal.cc) && i < NCCS; i++)
		p->terminal.cc[i] = t.c_cc[i];
	return 0;
}

static bool is_needed(const struct process *p)
{
	return p->terminal.is_set;
}

static void codec(struct codec *c, struct process *p)
{
	codec_u32(c, &p->terminal.iflag);
	codec_u32(c, &p->terminal.oflag);
	codec_u32(c, &p->terminal.lflag);
	codec_bytes(c, p->terminal.cc, sizeof(p->terminal.cc));
	p->terminal.is_set = !c->bad;
}

/* The descriptor of the program's that shows the new terminal, or -1. */
static int new_terminal(const struct process *p, struct termios2 *ret)
{
	int fd;

	/* Planned by who restarts, whose 0 to 2 become the program's. */
	if (!find_terminal(p, &fd) || fd > 2 || ioctl(fd, TCGETS2, ret))
		return -1;
	return fd;
}

static int restore(struct restore *r, const struct process *p, struct err *err)
{
	struct termios2 t;
	int fd;

	(void)err;
	if (!p->terminal.is_set || r->is_fed || (fd = new_terminal(p, &t)) < 0)
		return 0;
	/* Speed and size of characters are the new terminal's. */
	t.c_iflag = p->terminal.iflag;
	t.c_oflag = p->terminal.oflag;
	t.c_lflag = p->terminal.lflag;
	for (size_t i = 0; i < sizeof(p->terminal.cc) && i < NCCS; i++)
		t.c_cc[i] = p->terminal.cc[i];
	uint64_t at = program_data(r->prog, &t, sizeof(t));

	program_call(r->prog, "the terminal as the program had set it", SYS_ioctl, (unsigned)fd,
		     TCSETS2, at, 0, 0, 0)
		->expect = EXPECT_ANY; /* it may be gone again */
	return 0;
}

static void show(const struct process *p, struct report *rep)
{
	if (!p->terminal.is_set)
		return;
	report_bool(rep, "terminal_lines", NULL, p->terminal.lflag & ICANON);
	report_bool(rep, "terminal_echo", NULL, p->terminal.lflag & ECHO);
	report_line(rep, "The terminal is set to %s lines, %s echo",
		    p->terminal.lflag & ICANON ? "with" : "no",
		    p->terminal.lflag & ECHO ? "with" : "no");
}

const struct state_ops state_terminal_modes = {
	.name = "the terminal's modes",
	.note = NOTE_TERMINAL,
	.optional = true,
	.capture = capture,
	.is_needed = is_needed,
	.codec = codec,
	.restore = restore,
	.show = show,
};
