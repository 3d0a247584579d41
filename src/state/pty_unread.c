/*
 * What is unread in a pseudo-terminal, both ways.  Nothing shows it but read(2), which takes it
 * away: so it is read, and put back.  See pty.h for how.
 *
 *   1. what the slave has not read: line by line, each with its end
 *   2. then, without lines, the one that has no end yet (it is in no count before)
 *   3. what the master has not read: by now with the echo of all input
 *   4. 1 and 2 go back by way of the master, under settings that echo and change nothing
 *   5. 3 goes back by way of the slave, without output processing
 *   6. the settings as they were
 *
 * The program is stopped, and nobody else has the pair.  Between 1 and 6 the bytes are in a
 * process of our own alone, which does nothing but this and lives on if its parent is killed.
 */
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "state/pty.h"

#define OUR_NAME "godwit-terminal"
#define WAIT_MS 5000 /* for the kernel's worker */
#define PIECES_MAX 16384u

/* --- the encoding --- */

static bool is_one_of(uint8_t byte, const uint8_t *set, size_t n)
{
	return byte && memchr(set, byte, n);
}

/* Control characters that are no line's end. */
static void choose_controls(const struct pty *p, struct pty_chunk *c)
{
	uint8_t *const wanted[] = {&c->stop, &c->next, &c->eof};
	const uint8_t taken[] = {'\n', p->cc[VEOL], p->cc[VEOL2]};
	uint8_t try = 1;

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		while (is_one_of(try, taken, sizeof(taken)))
			try++;
		*wanted[i] = try++;
	}
}

static void add_line(const struct pty *p, struct pty_cursor *at, struct pty_chunk *c)
{
	const uint8_t special[] = {'\n', p->cc[VEOL], p->cc[VEOL2], c->stop, c->next, c->eof};
	const struct pty_piece *v = &p->input[at->piece];
	const uint8_t *data = v->data;

	for (; at->at < v->len && c->len + 4 < PTY_CHUNK_MAX; at->at++) {
		bool is_end = v->end == PTY_END_OWN && at->at + 1 == v->len;

		if (!is_end && is_one_of(data[at->at], special, sizeof(special)))
			c->bytes[c->len++] = c->next;
		c->bytes[c->len++] = data[at->at];
	}
	if (at->at < v->len)
		return;
	if (v->end == PTY_END_EOF)
		c->bytes[c->len++] = c->eof;
	*at = (struct pty_cursor){.piece = at->piece + 1};
}

/* Without lines no byte can be quoted: so few of them that one value is left to stop with. */
static void add_plain(const struct pty *p, struct pty_cursor *at, struct pty_chunk *c)
{
	const struct pty_piece *v = &p->input[at->piece];
	size_t n = v->len - at->at < 250 ? v->len - at->at : 250;

	memcpy(c->bytes, (const uint8_t *)v->data + at->at, n);
	c->len = n;
	for (c->stop = 1; memchr(c->bytes, c->stop, n);)
		c->stop++;
	at->at += n;
	if (at->at == v->len)
		*at = (struct pty_cursor){.piece = at->piece + 1};
}

bool pty_next_chunk(const struct pty *p, struct pty_cursor *cursor, struct pty_chunk *ret)
{
	*ret = (struct pty_chunk){0};
	if (cursor->piece >= p->ninput)
		return false;
	choose_controls(p, ret);
	if (!pty_has_lines(p))
		add_plain(p, cursor, ret);
	while (pty_has_lines(p) && cursor->piece < p->ninput && ret->len + 4 < PTY_CHUNK_MAX)
		add_line(p, cursor, ret);
	ret->bytes[ret->len++] = ret->stop;
	return true;
}

void pty_chunk_termios(const struct pty *p, const struct pty_chunk *c, bool is_flowing,
		       struct termios2 *ret)
{
	pty_termios(p, ret);
	/* To turn lines on or off would forget where those end that are there. */
	ret->c_lflag = pty_has_lines(p) ? ICANON | IEXTEN : 0;
	ret->c_iflag = is_flowing ? 0 : IXON;
	ret->c_oflag = 0;
	memset(ret->c_cc, 0, PTY_CC_LEN);
	ret->c_cc[VMIN] = 1;
	ret->c_cc[VSTOP] = is_flowing ? 0 : c->stop;
	ret->c_cc[VLNEXT] = c->next;
	ret->c_cc[VEOF] = c->eof;
	ret->c_cc[VEOL] = p->cc[VEOL];
	ret->c_cc[VEOL2] = p->cc[VEOL2];
}

/* --- taking out and putting back --- */

/* Shared with the process that does it. */
struct taken {
	uint8_t input[PIECES_MAX], output[PIECES_MAX];
	size_t input_len, output_len;
	struct {
		uint32_t len, end;
	} pieces[PIECES_MAX];
	size_t npieces;
	int error;
};

static bool is_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1 && p.revents & POLLIN;
}

static uint32_t end_of(const struct pty *p, const uint8_t *line, size_t len)
{
	const uint8_t ends[] = {'\n', p->cc[VEOL], p->cc[VEOL2]};

	return len && is_one_of(line[len - 1], ends, sizeof(ends)) ? PTY_END_OWN : PTY_END_EOF;
}

/* Reads of the slave, a piece each, as long as there is something. */
static void take_input(const struct pty *p, int slave, bool has_lines, struct taken *t)
{
	while (t->npieces < PIECES_MAX && t->input_len < sizeof(t->input) && is_readable(slave)) {
		uint8_t *at = t->input + t->input_len;
		ssize_t n = read(slave, at, sizeof(t->input) - t->input_len);
		bool goes_on = !has_lines && t->npieces && !t->pieces[t->npieces - 1].end;

		if (n < 0 || (n == 0 && !has_lines))
			break;
		if (goes_on) {
			t->pieces[t->npieces - 1].len += (uint32_t)n;
		} else {
			t->pieces[t->npieces].len = (uint32_t)n;
			t->pieces[t->npieces++].end =
				has_lines ? end_of(p, at, (size_t)n) : PTY_END_NONE;
		}
		t->input_len += (size_t)n;
	}
}

static void take_output(int master, struct taken *t)
{
	while (t->output_len < sizeof(t->output) && is_readable(master)) {
		ssize_t n =
			read(master, t->output + t->output_len, sizeof(t->output) - t->output_len);

		if (n <= 0)
			break;
		t->output_len += (size_t)n;
	}
}

static void set_packets(int master, int on)
{
	ioctl(master, TIOCPKT, &on);
}

/* The same model as a restart has, of what is shared; pieces is the caller's. */
static void as_model(const struct pty *settings, struct taken *t, struct pty_piece *pieces,
		     struct pty *ret)
{
	size_t at = 0;

	*ret = *settings;
	ret->input = pieces;
	ret->ninput = t->npieces;
	for (size_t i = 0; i < t->npieces; i++) {
		pieces[i] = (struct pty_piece){t->input + at, t->pieces[i].len, t->pieces[i].end};
		at += t->pieces[i].len;
	}
}

static void put_input(const struct pty *p, int master, struct taken *t)
{
	struct pollfd stopped = {.fd = master, .events = POLLIN};
	struct pty_cursor cursor = {0};
	struct pty_chunk c;
	struct termios2 s;

	while (pty_next_chunk(p, &cursor, &c)) {
		pty_chunk_termios(p, &c, false, &s);
		ioctl(master, TCSETS2, &s);
		set_packets(master, 1);
		if (io_write_all(master, c.bytes, c.len) || poll(&stopped, 1, WAIT_MS) != 1)
			t->error = -EIO;
		set_packets(master, 0);
		pty_chunk_termios(p, &c, true, &s);
		ioctl(master, TCSETS2, &s);
	}
}

static void rotate(const struct pty *settings, int master, int slave, struct taken *t,
		   struct pty_piece *pieces)
{
	bool has_lines = pty_has_lines(settings);
	const struct pty_chunk none = {0};
	struct termios2 own, s;
	struct pty model;

	pty_termios(settings, &own);
	set_packets(master, 0);
	take_input(settings, slave, has_lines, t);
	pty_chunk_termios(settings, &none, true, &s);
	s.c_lflag = 0;
	ioctl(master, TCSETS2, &s);
	take_input(settings, slave, false, t);
	take_output(master, t);
	as_model(settings, t, pieces, &model);
	put_input(&model, master, t);
	if (t->output_len) {
		s.c_lflag = has_lines ? ICANON : 0;
		ioctl(master, TCSETS2, &s);
		if (io_write_all(slave, t->output, t->output_len))
			t->error = -EIO;
	}
	ioctl(master, TCSETS2, &own);
	set_packets(master, settings->flags & PTY_PACKETS ? 1 : 0);
}

/* --- capture --- */

static int keep(struct pty *p, const struct taken *t, struct err *err)
{
	size_t at = 0;

	p->output = io_alloc(t->output_len, 1, err);
	p->input = io_alloc(t->npieces, sizeof(*p->input), err);
	if (!p->output || !p->input)
		return err->error;
	memcpy(p->output, t->output, t->output_len);
	p->output_len = t->output_len;
	for (size_t i = 0; i < t->npieces; i++) {
		struct pty_piece *v = &p->input[p->ninput++];

		*v = (struct pty_piece){io_alloc(t->pieces[i].len, 1, err), t->pieces[i].len,
					t->pieces[i].end};
		if (!v->data)
			return err->error;
		memcpy(v->data, t->input + at, v->len);
		at += v->len;
	}
	return 0;
}

static bool is_full(const struct taken *t)
{
	return t->error || t->output_len > PTY_OUTPUT_MAX ||
	       t->input_len + t->npieces > PTY_INPUT_MAX;
}

/* No signal for its end: whoever waits for our children does not meet it. */
static pid_t run_rotation(const struct pty *p, int master, int slave, struct taken *t,
			  struct pty_piece *pieces)
{
	pid_t pid = (pid_t)syscall(SYS_clone, 0, 0, 0, 0, 0);

	if (pid)
		return pid < 0 ? -errno : pid;
	prctl(PR_SET_NAME, OUR_NAME);
	rotate(p, master, slave, t, pieces);
	_exit(0);
}

bool pty_is_ours(pid_t pid)
{
	__cleanup_buf struct buf comm = {0};
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	return !io_read_file(AT_FDCWD, path, &comm) && comm.len && !strcmp(comm.p, OUR_NAME "\n");
}

static int take_and_keep(const struct file_scan *s, int master, int slave, struct pty *p,
			 struct err *err)
{
	__cleanup_free struct pty_piece *pieces = io_alloc(PIECES_MAX, sizeof(*pieces), err);
	struct taken *t =
		mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int e = 0, status;
	pid_t pid;

	if (!pieces || t == MAP_FAILED)
		return err_set(err, -ENOMEM, "out of memory");
	pid = run_rotation(p, master, slave, t, pieces);
	if (pid < 0)
		e = err_sys(err, pid, "cannot start a process");
	else
		fault_point("terminal read");
	while (!e && waitpid(pid, &status, __WALL) < 0)
		if (errno != EINTR)
			e = err_sys(err, -errno, "cannot wait for a process");
	if (!e && status)
		e = err_set(err, -EIO, "the unread bytes of '%s' are lost", s->link);
	if (!e && is_full(t))
		e = file_refuse_as(s, err, REFUSED_PTY_STATE, "it is full");
	if (!e)
		e = keep(p, t, err);
	munmap(t, sizeof(*t));
	return e;
}

static bool is_empty(int fd)
{
	int n = 0;

	/* To ask whether it is readable waits for what is on its way (n_tty_poll). */
	return !is_readable(fd) && !ioctl(fd, FIONREAD, &n) && !n;
}

int pty_unread_capture(const struct file_scan *s, int master, int slave, struct pty *p,
		       struct err *err)
{
	/* A line without its end is not counted. */
	if (!pty_has_lines(p) && is_empty(slave) && is_empty(master))
		return 0;
	return take_and_keep(s, master, slave, p, err);
}
