/* Parsers of /proc/PID/stat and status: see status.h. */
#include "proc/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

int proc_parse_stat(const char *text, struct proc_stat *ret, struct err *err)
{
	/* The name may hold anything, parentheses too: it ends at the last one. */
	const char *open = strchr(text, '('), *close = strrchr(text, ')');
	uint64_t f[53] = {0};
	const char *p;
	size_t n;

	if (!open || !close || close < open || close[1] != ' ' || !close[2])
		return err_set(err, -EPROTO, "/proc/PID/stat is not of the known form");
	memset(ret, 0, sizeof(*ret));
	n = (size_t)(close - open - 1);
	if (n >= sizeof(ret->comm))
		n = sizeof(ret->comm) - 1;
	memcpy(ret->comm, open + 1, n);
	ret->state = close[2];
	p = close + 3;
	/* Fields are numbered as in proc(5), from 1; the state is number 3. */
	for (int i = 4; i <= 52; i++) {
		char *end;

		f[i] = strtoull(p, &end, 10);
		if (end == p)
			return err_set(err, -EPROTO, "/proc/PID/stat has no field %d", i);
		p = end;
	}
	ret->ppid = (int32_t)f[4];
	ret->pgrp = (int32_t)f[5];
	ret->session = (int32_t)f[6];
	ret->tty_nr = (int32_t)f[7];
	ret->flags = f[9];
	ret->num_threads = (int32_t)f[20];
	ret->start_code = f[26];
	ret->end_code = f[27];
	ret->start_stack = f[28];
	ret->start_data = f[45];
	ret->end_data = f[46];
	ret->start_brk = f[47];
	ret->arg_start = f[48];
	ret->arg_end = f[49];
	ret->env_start = f[50];
	ret->env_end = f[51];
	ret->exit_code = (int32_t)f[52];
	return 0;
}

/* The text after "key:" at the start of a line, or NULL. */
static const char *field(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = text; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
		if (!strncmp(p, key, n) && p[n] == ':')
			return p + n + 1;
	return NULL;
}

static uint64_t number(const char *text, const char *key, int base)
{
	const char *p = field(text, key);

	return p ? strtoull(p, NULL, base) : 0;
}

/* Last number of a line like "NSpid:	4242	17	1"; *ret_n is how many there are. */
static pid_t innermost(const char *text, const char *key, const char *plain, uint32_t *ret_n)
{
	const char *p = field(text, key);
	long v = (long)number(text, plain, 10);

	*ret_n = 1;
	if (!p)
		return (pid_t)v;
	for (*ret_n = 0; *p && *p != '\n'; (*ret_n)++) {
		char *end;
		long x = strtol(p, &end, 10);

		if (end == p)
			break;
		v = x;
		p = end;
	}
	return (pid_t)v;
}

int proc_parse_status(const char *text, struct proc_status *ret, struct err *err)
{
	const char *uid = field(text, "Uid"), *gid = field(text, "Gid");
	const char *features = field(text, "x86_Thread_features"), *state = field(text, "State");
	uint32_t n;

	memset(ret, 0, sizeof(*ret));
	if (!uid || !gid ||
	    sscanf(uid, "%u %u %u %u", &ret->uid[0], &ret->uid[1], &ret->uid[2], &ret->uid[3]) !=
		    4 ||
	    sscanf(gid, "%u %u %u %u", &ret->gid[0], &ret->gid[1], &ret->gid[2], &ret->gid[3]) != 4)
		return err_set(err, -EPROTO, "/proc/PID/status is not of the known form");
	if (state)
		sscanf(state, " %c", &ret->state);
	ret->umask = (uint32_t)number(text, "Umask", 8);
	ret->tracer = (pid_t)number(text, "TracerPid", 10);
	ret->ns_tgid = innermost(text, "NStgid", "Tgid", &ret->ns_depth);
	ret->ns_pid = innermost(text, "NSpid", "Pid", &n);
	ret->ns_pgid = innermost(text, "NSpgid", "Pid", &n);
	ret->ns_sid = innermost(text, "NSsid", "Pid", &n);
	ret->sig_ignored = number(text, "SigIgn", 16);
	ret->sig_caught = number(text, "SigCgt", 16);
	ret->sig_pending = number(text, "SigPnd", 16) | number(text, "ShdPnd", 16);
	ret->seccomp = (uint32_t)number(text, "Seccomp", 10);
	ret->no_new_privs = number(text, "NoNewPrivs", 10) != 0;
	ret->caps = (struct proc_caps){
		.inheritable = number(text, "CapInh", 16),
		.permitted = number(text, "CapPrm", 16),
		.effective = number(text, "CapEff", 16),
		.bounding = number(text, "CapBnd", 16),
		.ambient = number(text, "CapAmb", 16),
	};
	if (features) {
		const char *end = strchr(features, '\n'), *s = strstr(features, "shstk");

		ret->shadow_stack = s && (!end || s < end);
	}
	return 0;
}

bool proc_has_comm(pid_t pid, const char *comm)
{
	__cleanup_buf struct buf b = {0};
	char path[32];
	size_t len = strlen(comm);

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	return !io_read_file(AT_FDCWD, path, &b) && !strncmp(b.p, comm, len) && b.p[len] == '\n';
}
