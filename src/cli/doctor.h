/*
 * `godwit doctor`: what this kernel, CPU, container and user allow.
 *
 * Each probe really does the thing, in a process made for it (cmd_doctor.c),
 * which is killed when it takes too long; a probe that is killed by a signal
 * (a seccomp filter) counts as "no".  So probes may do what spoils a process,
 * and need not clean up what ends with the process.
 */
#ifndef GODWIT_CLI_DOCTOR_H
#define GODWIT_CLI_DOCTOR_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* What a probe found out; in memory shared with the command. */
struct finding {
	bool works;
	char detail[256]; /* what was seen, or "" */
	char remedy[384]; /* when it does not work: what a person can do */
};

enum probe_need {
	NEED_ALWAYS,  /* neither checkpoint nor restart works without it */
	NEED_RESTART, /* restart does not work without it */
	NEED_SOME,    /* some programs or some options need it, or it makes things faster */
};

struct probe {
	const char *key;  /* in JSON */
	const char *name; /* for people */
	enum probe_need need;
	const char *needed_for;
	void (*run)(struct finding *f); /* f is zeroed */
};

/* Each ends with a probe without key. */
extern const struct probe doctor_tracing[]; /* doctor_tracing.c */
extern const struct probe doctor_kernel[];  /* doctor_kernel.c */
extern const struct probe doctor_ids[];     /* doctor_ids.c */

void finding_yes(struct finding *f, const char *fmt, ...) __printf_like(2, 3);
/* Sets the detail; the remedy follows by finding_remedy. */
void finding_no(struct finding *f, const char *fmt, ...) __printf_like(2, 3);
void finding_remedy(struct finding *f, const char *fmt, ...) __printf_like(2, 3);

/* Why the kernel may say no to a system call for no other reason: detail and
 * remedy for ENOSYS and EPERM that come from a container's filter or an old kernel.
 * `since` is the kernel version that brought the call. */
void finding_refused(struct finding *f, const char *call, int error, const char *since);

/* fork(2); where there can be no more processes the probe ends here, with that finding. */
pid_t probe_fork(struct finding *f);
/* A child that waits for its end; it dies with the caller. */
pid_t probe_idle_child(struct finding *f);
/* Ends and reaps it. */
void probe_end_child(pid_t pid);
/* First number in a file of /proc, or `missing`. */
long probe_read_number(const char *path, long missing);
/* Is a seccomp filter on this process? */
bool probe_is_filtered(void);

#endif
