/* The destination of a migration: one conversation, and the program that comes by it. */
#ifndef GODWIT_MIGRATE_TARGET_H
#define GODWIT_MIGRATE_TARGET_H

#include "migrate/proto.h"
#include "state/state.h"

enum target_stdio { STDIO_NULL, STDIO_FILE, STDIO_WIRE };

struct target_options {
	enum target_stdio stdio;
	const char *stdio_file; /* appended to */
	enum ids_policy ids;
	enum files_policy files;
	const uid_t *allow; /* whose programs are taken, beside the caller's own */
	size_t nallow;
	int timeout_ms; /* for each step of the other side's */
	bool stays;     /* wait for the end of the program, and tell it */
	/* What a person who looks after the destination wants to read. */
	void (*log)(void *arg, const char *text);
	void *arg;
};

/*
 * Talks with a source until its program runs here, or until there is a reason why
 * not (negative errno; the source knows it, too).  Takes the wire over.
 */
int target_serve(struct wire *w, const struct target_options *o, struct err *err) __must_check;

#endif
