/*
 * Pairs of pseudo-terminals (pty(7)) that the program holds itself: the master, an
 * open of /dev/ptmx, and its slave, /dev/pts/N, open any number of times, or not any more.
 */
#ifndef GODWIT_STATE_PTY_H
#define GODWIT_STATE_PTY_H

#include "state/file_kinds.h"

/* Unread input of a slave: n_tty keeps up to 4095 bytes (drivers/tty/n_tty.c,
 * N_TTY_BUF_SIZE), and what is behind them nobody has looked at yet. */
#define PTY_INPUT_MAX 4000u
#define PTY_OUTPUT_MAX 4094u /* unread by the master */
#define PTY_CHUNK_MAX 1024u
#define PTY_CC_LEN 19u /* NCCS of <asm/termbits.h> */

/* Stored in images. */
enum pty_end {
	PTY_END_NONE, /* a line without its end yet; or no lines at all */
	PTY_END_OWN,  /* the last byte is the line's end */
	PTY_END_EOF,  /* ended by the end-of-file character, which nobody sees */
};

/* A line of unread input. */
struct pty_piece {
	void *data;
	size_t len;
	uint32_t end; /* enum pty_end */
};

/* Stored in images. */
enum pty_flag {
	PTY_PACKETS = 1u << 0,   /* TIOCPKT */
	PTY_LOCKED = 1u << 1,    /* TIOCSPTLCK */
	PTY_EXCLUSIVE = 1u << 2, /* TIOCEXCL of the slave */
};

/* The pair. */
struct pty {
	uint32_t iflag, oflag, cflag, lflag;
	uint8_t cc[PTY_CC_LEN];
	uint32_t ispeed, ospeed;
	uint32_t rows, columns, xpixel, ypixel;
	uint32_t flags; /* enum pty_flag */
	void *output;   /* the master has not read it */
	size_t output_len;
	struct pty_piece *input; /* the slave has not read it */
	size_t ninput;
};

struct termios2; /* <asm/termbits.h> */

/* The settings as the kernel has them. */
void pty_termios(const struct pty *p, struct termios2 *ret);
/* Is the input kept in lines? */
bool pty_has_lines(const struct pty *p);

/*
 * Input is put in by way of the master, piece by piece, under settings that change and
 * echo nothing.  Who has written a chunk waits until the slave stops its output
 * (TIOCPKT_STOP): the chunk's last byte is made its stop character, so by then all
 * of it has passed the line discipline, which works on its own.
 */
struct pty_chunk {
	uint8_t bytes[PTY_CHUNK_MAX];
	size_t len;
	uint8_t stop, next, eof; /* control characters: VSTOP, VLNEXT, VEOF */
};
struct pty_cursor {
	size_t piece, at;
};
/* The next chunk; false: there is none. */
bool pty_next_chunk(const struct pty *p, struct pty_cursor *cursor, struct pty_chunk *ret);
/* The settings for it; afterwards once more with is_flowing: output goes on, nothing stops it. */
void pty_chunk_termios(const struct pty *p, const struct pty_chunk *c, bool is_flowing,
		       struct termios2 *ret);

/*
 * Reads what is unread in both directions, and puts it back.  master and slave are ours.  A
 * process of its own does both: whoever kills this one meanwhile, nothing is lost.
 */
int pty_unread_capture(const struct file_scan *s, int master, int slave, struct pty *p,
		       struct err *err) __must_check;

/* Is it such a process, of a godwit that was killed? */
bool pty_is_ours(pid_t pid);

/* f, found to be a terminal: becomes the slave of a master of the program's; true: it is one. */
bool pty_adopt(const struct file_table *t, struct open_file *f);
/* Is f a slave of the master? */
bool pty_is_slave(const struct file_table *t, const struct open_file *f,
		  const struct open_file *master);
int pty_restore(struct file_restore *fr, const struct open_file *f, struct err *err);

#endif
