/*
 * A terminal of the program's own, for one that is restarted in a pid namespace of
 * its own: there its session and its process group must be its own too, or
 * getpgrp(2) says 0 and no tcsetpgrp(3) works.  The thin parent relays between it
 * and the terminal of the restarting shell, as ssh(1) and script(1) do.
 */
#ifndef GODWIT_RESTART_TERMINAL_H
#define GODWIT_RESTART_TERMINAL_H

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

#include "state/process.h"

struct terminal {
	int master, slave; /* -1: the program needs no terminal, or shares the shell's */
	int outer;         /* the shell's */
	struct termios saved;
	bool foreground, raw;
	char input[4096]; /* typed, not taken yet by the program's terminal */
	size_t input_len;
};

/* The program needs no terminal of its own. */
void terminal_none(struct terminal *t);
/*
 * In the thin parent, before there is an init: makes a pair when the program had a
 * terminal as descriptor 0, 1 or 2 and ours are one too, standard input and output
 * both (in a pipeline, the others of the pipeline want the shell's terminal as it is).
 * Else, or where no pair can be had, *t is of a terminal that is shared.
 */
void terminal_begin(struct terminal *t, const struct process *p);
/* In init: makes a session, whose terminal it is. */
void terminal_session(const struct terminal *t);
/* In the program-to-be: its group is in the foreground, its 0, 1, 2 are the terminal
 * where they are ours.  Signals are blocked. */
void terminal_program(const struct terminal *t);
/* In the thin parent, when there is an init. */
void terminal_parent(struct terminal *t);

/* The relay: fills v for poll(2) and returns how many; *timeout_ms is lowered where it
 * must look again by itself.  Then moves what can be moved. */
#define TERMINAL_FDS 2
nfds_t terminal_poll(struct terminal *t, struct pollfd v[TERMINAL_FDS], int *timeout_ms);
void terminal_relay(struct terminal *t);

/* The program has stopped: the shell's terminal is as it was.  Then it goes on. */
void terminal_stop(struct terminal *t);
void terminal_continue(struct terminal *t);
/* The window of the shell's terminal has another size. */
void terminal_resize(const struct terminal *t);
/* The program has ended: shows what it has written, and gives the terminal back. */
void terminal_end(struct terminal *t);

#endif
