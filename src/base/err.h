/*
 * Errors: one object on the caller's stack, filled where the failing thing is
 * known, printed once, by the command line.
 *
 * Convention everywhere in src/: a function that can fail returns 0 or a
 * positive count on success and a negative errno on failure, and takes a last
 * parameter `struct err *err`.  Callers may prepend context, never replace it.
 */
#ifndef GODWIT_BASE_ERR_H
#define GODWIT_BASE_ERR_H

#define __must_check __attribute__((warn_unused_result))
#define __printf_like(f, a) __attribute__((format(printf, f, a)))

/* Exit status of every command; see EXIT STATUS in godwit(1). */
enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,       /* failed, target unharmed */
	EXIT_USAGE = 2,        /* wrong command line */
	EXIT_UNSUPPORTED = 3,  /* the object or feature is not supported here */
	EXIT_PERMISSION = 4,   /* the user may not do this */
	EXIT_BAD_IMAGE = 5,    /* damaged or incompatible image */
	EXIT_AFTER_COMMIT = 6, /* failed after the point of no return */
};

struct err {
	int error;           /* negative errno, 0 while nothing failed */
	enum exit_code exit; /* what the command shall exit with */
	char what[640];      /* one line, no newline, no program name */
	char hint[384];      /* remedy, or "" */
};

#define ERR_INIT ((struct err){.error = 0, .exit = EXIT_FAILED})

/* Each err_*() fills *err (first failure wins) and returns the negative errno. */
int err_set(struct err *err, int error, const char *fmt, ...) __printf_like(3, 4);
/* As err_set, and appends ": " and the text of the errno. */
int err_sys(struct err *err, int error, const char *fmt, ...) __printf_like(3, 4);
/* Refusal of an object that cannot be saved or restored: -ENOTSUP, exit 3. */
int err_refuse(struct err *err, const char *fmt, ...) __printf_like(2, 3);
/* Damaged or incompatible image: -EBADMSG, exit 5. */
int err_image(struct err *err, const char *fmt, ...) __printf_like(2, 3);
/* Missing permission: -EPERM, exit 4. */
int err_perm(struct err *err, const char *fmt, ...) __printf_like(2, 3);

/* Sets the remedy; returns err->error so that it can end a return statement. */
int err_hint(struct err *err, const char *fmt, ...) __printf_like(2, 3);
/* Puts "text: " before what is there; returns err->error. */
int err_prepend(struct err *err, const char *fmt, ...) __printf_like(2, 3);

#endif
