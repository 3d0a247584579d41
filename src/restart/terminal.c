/* A terminal of the program's own: see terminal.h. */
#include "restart/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/io.h"
#include "state/files.h"

/* Nobody tells a job that runs in the background that it has been brought forward. */
#define LOOK_MS 200
/* How long the last output may take from the program's side of the pair to ours. */
#define DRAIN_MS 500

static bool had_terminal(const struct process *p)
{
	const struct file_table *t = p->files;

	for (size_t i = 0; t && i < t->nfds && t->fds[i].fd < 3; i++) {
		const struct open_file *f = &t->files[t->fds[i].file];

		if (f->kind == FILE_INHERITED && f->inherited.is_tty)
			return true;
	}
	return false;
}

static bool is_our_terminal(int fd)
{
	return tcgetsid(fd) == getsid(0);
}

static int open_pair(struct terminal *t)
{
	struct winsize size;

	t->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (t->master < 0 || grantpt(t->master) || unlockpt(t->master))
		return -errno;
	t->slave = ioctl(t->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (t->slave < 0)
		return -errno;
	if (tcsetattr(t->slave, TCSANOW, &t->saved))
		return -errno;
	if (!ioctl(t->outer, TIOCGWINSZ, &size))
		ioctl(t->slave, TIOCSWINSZ, &size);
	return 0;
}

static void share(struct terminal *t)
{
	io_close_fd(&t->master);
	io_close_fd(&t->slave);
	io_close_fd(&t->outer);
}

void terminal_none(struct terminal *t)
{
	*t = (struct terminal){.master = -1, .slave = -1, .outer = -1};
}

void terminal_begin(struct terminal *t, const struct process *p)
{
	terminal_none(t);
	if (!had_terminal(p) || !is_our_terminal(0) || !is_our_terminal(1))
		return;
	t->outer = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (t->outer < 0 || tcgetattr(t->outer, &t->saved) || open_pair(t))
		share(t);
}

void terminal_session(const struct terminal *t)
{
	if (t->slave < 0)
		return;
	setsid();
	ioctl(t->slave, TIOCSCTTY, 0);
}

void terminal_program(const struct terminal *t)
{
	if (t->slave < 0)
		return;
	setpgid(0, 0);
	tcsetpgrp(t->slave, getpid());
	for (int fd = 0; fd < 3; fd++)
		if (isatty(fd))
			dup2(t->slave, fd);
}

/* The shell's terminal passes every key on, when it is ours to read from. */
static void look(struct terminal *t)
{
	struct termios raw = t->saved;

	t->foreground = tcgetpgrp(t->outer) == getpgrp();
	if (!t->foreground || t->raw)
		return;
	cfmakeraw(&raw);
	t->raw = !tcsetattr(t->outer, TCSADRAIN, &raw);
}

static void give_back(struct terminal *t)
{
	if (t->raw)
		tcsetattr(t->outer, TCSADRAIN, &t->saved);
	t->raw = false;
}

void terminal_parent(struct terminal *t)
{
	io_close_fd(&t->slave);
	if (t->master >= 0)
		look(t);
}

nfds_t terminal_poll(struct terminal *t, struct pollfd v[TERMINAL_FDS], int *timeout_ms)
{
	if (t->master < 0)
		return 0;
	if (!t->foreground) {
		look(t);
		*timeout_ms = LOOK_MS;
	}
	v[0] = (struct pollfd){.fd = t->master, .events = POLLIN};
	if (t->input_len)
		v[0].events |= POLLOUT;
	v[1] = (struct pollfd){.fd = t->foreground && !t->input_len ? t->outer : -1,
			       .events = POLLIN};
	return TERMINAL_FDS;
}

static bool show_output(struct terminal *t)
{
	char text[4096];
	ssize_t n = read(t->master, text, sizeof(text));

	return n > 0 && !io_write_all(t->outer, text, (size_t)n);
}

static void pass_input(struct terminal *t)
{
	struct pollfd typed = {.fd = t->outer, .events = POLLIN};
	ssize_t n;

	if (!t->input_len && t->foreground && poll(&typed, 1, 0) == 1) {
		n = read(t->outer, t->input, sizeof(t->input));
		if (n <= 0) {
			t->foreground = false; /* hung up, or no longer ours */
			return;
		}
		t->input_len = (size_t)n;
	}
	if (!t->input_len)
		return;
	n = write(t->master, t->input, t->input_len);
	if (n <= 0)
		return;
	t->input_len -= (size_t)n;
	memmove(t->input, t->input + n, t->input_len);
}

void terminal_relay(struct terminal *t)
{
	if (t->master < 0)
		return;
	show_output(t);
	pass_input(t);
}

void terminal_stop(struct terminal *t)
{
	if (t->master < 0)
		return;
	while (show_output(t))
		;
	give_back(t);
}

void terminal_continue(struct terminal *t)
{
	if (t->master < 0)
		return;
	/* What the person has set meanwhile (stty) is the shell's. */
	if (tcgetpgrp(t->outer) == getpgrp())
		tcgetattr(t->outer, &t->saved);
	terminal_resize(t);
	look(t);
}

void terminal_resize(const struct terminal *t)
{
	struct winsize size;

	if (t->master >= 0 && !ioctl(t->outer, TIOCGWINSZ, &size))
		ioctl(t->master, TIOCSWINSZ, &size);
}

void terminal_end(struct terminal *t)
{
	struct pollfd v = {.fd = t->master, .events = POLLIN};

	io_close_fd(&t->slave);
	if (t->master < 0)
		return;
	while (poll(&v, 1, DRAIN_MS) == 1 && show_output(t))
		;
	give_back(t);
	share(t);
}
