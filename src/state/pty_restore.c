/* Pseudo-terminals: restart.  See pty.h. */
#include <asm/termbits.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "state/pty.h"

#define WAIT_MS 10000

static void control(struct file_restore *fr, const char *why, int fd, unsigned request,
		    const void *data, size_t len)
{
	uint64_t at = program_data(fr->prog, data, len);

	program_call_want(fr->prog, 0, why, SYS_ioctl, (unsigned)fd, request, at, 0, 0, 0);
}

static void control_int(struct file_restore *fr, const char *why, int fd, unsigned request,
			int value)
{
	control(fr, why, fd, request, &value, sizeof(value));
}

static void put_chunk(struct file_restore *fr, const struct pty *p, const struct pty_chunk *c,
		      int master)
{
	static const char why[] = "what the slave has not read yet";
	const struct pollfd stopped = {.fd = master, .events = POLLIN};
	struct termios2 s;
	uint64_t at;

	pty_chunk_termios(p, c, false, &s);
	control(fr, "settings that leave bytes as they are", master, TCSETS2, &s, sizeof(s));
	control_int(fr, "to see when it has arrived", master, TIOCPKT, 1);
	file_write_all(fr, why, master, c->bytes, c->len);
	at = program_data(fr->prog, &stopped, sizeof(stopped));
	program_call_want(fr->prog, 1, "it has arrived", SYS_poll, at, 1, WAIT_MS, 0, 0, 0);
	control_int(fr, "seen", master, TIOCPKT, 0);
	pty_chunk_termios(p, c, true, &s);
	control(fr, "output goes on", master, TCSETS2, &s, sizeof(s));
}

static void put_unread(struct file_restore *fr, const struct pty *p, int master, int slave)
{
	struct pty_cursor cursor = {0};
	struct pty_chunk c = {0};
	struct termios2 s;

	/* Also lines or none, from the beginning on. */
	pty_chunk_termios(p, &c, true, &s);
	control(fr, "settings that leave bytes as they are", master, TCSETS2, &s, sizeof(s));
	while (pty_next_chunk(p, &cursor, &c))
		put_chunk(fr, p, &c, master);
	file_write_all(fr, "what the master has not read yet", slave, p->output, p->output_len);
}

static void open_slaves(struct file_restore *fr, const struct open_file *m, int master)
{
	const struct file_table *t = fr->table;

	for (size_t i = 0; i < t->nfiles; i++) {
		const struct open_file *f = &t->files[i];
		/* No O_CLOEXEC: it would stay with the open file (file_inherited.c). */
		unsigned flags = (f->flags & (O_ACCMODE | O_NONBLOCK)) | O_NOCTTY;

		if (f->kind == FILE_PTY && !f->pty.is_master && pty_is_slave(t, f, m))
			file_place(fr, f,
				   program_fd_call(fr->prog, file_why(fr, f, "the slave"),
						   SYS_ioctl, (unsigned)master, TIOCGPTPEER, flags,
						   0, 0),
				   false);
	}
}

static void set_modes(struct file_restore *fr, const struct pty *p, int master, int slave)
{
	const struct winsize w = {(unsigned short)p->rows, (unsigned short)p->columns,
				  (unsigned short)p->xpixel, (unsigned short)p->ypixel};
	struct termios2 s;

	pty_termios(p, &s);
	control(fr, "the terminal's settings", master, TCSETS2, &s, sizeof(s));
	control(fr, "the window's size", master, TIOCSWINSZ, &w, sizeof(w));
	if (p->flags & PTY_EXCLUSIVE)
		program_call_want(fr->prog, 0, "nobody else opens the slave", SYS_ioctl,
				  (unsigned)slave, TIOCEXCL, 0, 0, 0, 0);
	if (p->flags & PTY_PACKETS)
		control_int(fr, "packet mode", master, TIOCPKT, 1);
	if (p->flags & PTY_LOCKED)
		control_int(fr, "the slave is locked again", master, TIOCSPTLCK, 1);
}

/* The pair, and all descriptions of it. */
static void restore_pair(struct file_restore *fr, const struct open_file *m)
{
	const struct pty *p = m->pty.state;
	int master, slave, first;

	first = program_openat(
		fr->prog, file_why(fr, m, "a new pseudo-terminal"), m->path,
		(int)(m->flags & (O_ACCMODE | O_NONBLOCK | O_APPEND)) | O_NOCTTY | O_CLOEXEC, 0);
	/* Putting the others in place must not close these. */
	master = file_out_of_the_way(fr, first);
	control_int(fr, "the slave may be opened", master, TIOCSPTLCK, 0);
	first = program_fd_call(fr->prog, file_why(fr, m, "its slave"), SYS_ioctl, (unsigned)master,
				TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC, 0, 0);
	slave = file_out_of_the_way(fr, first);
	put_unread(fr, p, master, slave);
	open_slaves(fr, m, master);
	set_modes(fr, p, master, slave);
	program_close(fr->prog, "all of its slaves are open", slave);
	file_place(fr, m, master, true);
}

int pty_restore(struct file_restore *fr, const struct open_file *f, struct err *err)
{
	const struct file_table *t = fr->table;

	(void)err;
	/* When the first of them is met. */
	for (const struct open_file *o = t->files; o < f; o++)
		if (o->kind == FILE_PTY && o->pty.master == f->pty.master)
			return 0;
	restore_pair(fr, &t->files[f->pty.master]);
	return 0;
}
