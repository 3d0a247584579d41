/* Parsers of /proc/PID/stat and /proc/PID/status: text in, structs out.  proc(5). */
#ifndef GODWIT_PROC_STATUS_H
#define GODWIT_PROC_STATUS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define PROC_FLAG_EXITING 4u /* PF_EXITING in include/linux/sched.h */

struct proc_stat {
	char comm[64];
	char state; /* R S D T t Z X I */
	int32_t ppid, pgrp, session, tty_nr, num_threads;
	int32_t exit_code; /* of one that has ended, as wait(2) has it; 0 without PTRACE_MODE_READ
			    */
	uint64_t flags;
	/* Addresses; 0 without PTRACE_MODE_READ. */
	uint64_t start_code, end_code, start_stack;
	uint64_t start_data, end_data, start_brk, arg_start, arg_end, env_start, env_end;
};

/* The sets of capabilities(7). */
struct proc_caps {
	uint64_t inheritable, permitted, effective, bounding, ambient;
};

struct proc_status {
	char state;              /* as in struct proc_stat; 0: it does not say */
	uint32_t uid[4], gid[4]; /* real, effective, saved, file system */
	uint32_t umask;
	pid_t tracer;
	pid_t ns_tgid, ns_pid, ns_pgid,
		ns_sid;    /* innermost pid namespace; = the outer one where not shown */
	uint32_t ns_depth; /* number of pid namespaces seen, >= 1 */
	uint64_t sig_ignored, sig_caught; /* bit signo - 1 */
	uint64_t sig_pending;             /* of the process or of this thread */
	uint32_t seccomp;                 /* 0 none, 1 strict, 2 filter */
	struct proc_caps caps;
	bool no_new_privs;
	bool shadow_stack; /* x86_Thread_features: shstk */
};

int proc_parse_stat(const char *text, struct proc_stat *ret, struct err *err) __must_check;
int proc_parse_status(const char *text, struct proc_status *ret, struct err *err) __must_check;

/* Is this the name of process pid?  False where there is none, or it ended. */
bool proc_has_comm(pid_t pid, const char *comm);

#endif
