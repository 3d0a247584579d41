/* Working directory, umask, personality, resource limits, no_new_privs. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/report.h"
#include "proc/status.h"
#include "state/state.h"

/* <asm/prctl.h> of newer kernels. */
#define ARCH_GET_XCOMP_PERM 0x1022
#define ARCH_REQ_XCOMP_PERM 0x1023

static const char *const limit_names[16] = {
	"RLIMIT_CPU",      "RLIMIT_FSIZE", "RLIMIT_DATA",   "RLIMIT_STACK",
	"RLIMIT_CORE",     "RLIMIT_RSS",   "RLIMIT_NPROC",  "RLIMIT_NOFILE",
	"RLIMIT_MEMLOCK",  "RLIMIT_AS",    "RLIMIT_LOCKS",  "RLIMIT_SIGPENDING",
	"RLIMIT_MSGQUEUE", "RLIMIT_NICE",  "RLIMIT_RTPRIO", "RLIMIT_RTTIME",
};

static int read_link(struct capture *c, const char *name, char **ret, struct err *err)
{
	static const char gone[] = " (deleted)";
	char path[PATH_MAX];
	int e = io_readlink(c->remote->procfd, name, path, sizeof(path));
	size_t n;

	if (e)
		return err_sys(err, e, "cannot read /proc/%d/%s", c->remote->pid, name);
	n = strlen(path);
	if (n > sizeof(gone) && !strcmp(path + n - sizeof(gone) + 1, gone)) {
		return err_refuse_as(err, REFUSED_DIRECTORY_GONE,
				     "the %s of process %d has been deleted: '%s'",
				     strcmp(name, "cwd") ? "root directory" : "working directory",
				     c->remote->pid, path);
	}
	*ret = strdup(path);
	return *ret ? 0 : err_set(err, -ENOMEM, "out of memory");
}

/* Threads that do not share the first one's directory (clone without CLONE_FS, unshare). */
static int refuse_own_directory(const struct capture *c, struct err *err)
{
	struct remote *r = c->remote;

	for (size_t i = 1; i < r->n; i++)
		if (remote_has_own_directory(r, &r->threads[i]))
			return err_refuse_as(
				err, REFUSED_OWN_DIRECTORY,
				"cannot save thread %d of process %d: it has a working "
				"directory of its own",
				r->threads[i].tid, r->pid);
	return 0;
}

/* What only the process itself may ask. */
static int ask(struct capture *c, struct process *p, struct err *err)
{
	struct program prog;
	struct call *calls;
	uint64_t out;
	int ret;

	program_init(&prog, c->remote->data, REMOTE_DATA_LEN, REMOTE_CALL_CAP, err);
	program_reserve(&prog, sizeof(p->rlimits) + 64);
	out = program_data(&prog, NULL, sizeof(p->rlimits) + sizeof(p->xcomp_perm));
	for (unsigned i = 0; i < 16; i++)
		program_call(&prog, "read resource limits", SYS_prlimit64, 0, i, 0,
			     out + i * sizeof(p->rlimits[0]), 0, 0);
	program_call(&prog, "read the personality", SYS_personality, 0xffffffff, 0, 0, 0, 0, 0);
	program_call(&prog, "read the dumpable flag", SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0, 0);
	/* EINVAL where the CPU or the kernel has no such features. */
	program_call(&prog, "read the vector permissions", SYS_arch_prctl, ARCH_GET_XCOMP_PERM,
		     out + sizeof(p->rlimits), 0, 0, 0, 0)
		->expect = EXPECT_ANY;
	ret = remote_run(c->remote, &prog, err);
	if (!ret && prog.batches[0].calls[18].ret == 0 &&
	    (ret = remote_read(c->remote, out + sizeof(p->rlimits), &p->xcomp_perm,
			       sizeof(p->xcomp_perm))))
		err_sys(err, ret, "cannot read the vector permissions");
	if (!ret && (ret = remote_read(c->remote, out, p->rlimits, sizeof(p->rlimits))))
		err_sys(err, ret, "cannot read the resource limits");
	if (!ret) {
		calls = prog.batches[0].calls;
		p->personality = (uint32_t)calls[16].ret;
		p->dumpable = (uint32_t)calls[17].ret;
	}
	program_done(&prog);
	return ret;
}

static int capture(struct capture *c, struct process *p, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct proc_status st;
	int ret;

	if ((ret = refuse_own_directory(c, err)) || (ret = read_link(c, "cwd", &p->cwd, err)) ||
	    (ret = read_link(c, "root", &p->root, err)) ||
	    (ret = state_read_proc(c, "status", &b, err)) ||
	    (ret = proc_parse_status(b.p, &st, err)))
		return ret;
	p->umask = st.umask;
	p->no_new_privs = st.no_new_privs;
	return ask(c, p, err);
}

static void codec(struct codec *c, struct process *p)
{
	codec_str(c, &p->cwd);
	codec_str(c, &p->root);
	codec_u32(c, &p->umask);
	codec_u32(c, &p->personality);
	codec_u32(c, &p->no_new_privs);
	codec_u32(c, &p->dumpable);
	codec_u64(c, &p->xcomp_perm);
	for (int i = 0; i < 16; i++) {
		codec_u64(c, &p->rlimits[i].cur);
		codec_u64(c, &p->rlimits[i].max);
	}
}

static int validate(const struct process *p, struct err *err)
{
	if (!p->cwd || !p->root)
		return err_image(err, "the note on the surroundings is incomplete");
	return 0;
}

static int check(struct restore *r, const struct process *p, struct err *err)
{
	struct stat st;

	if (restore_stand_in(r, p->cwd))
		return 0;
	if (stat(p->cwd, &st)) {
		if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
			return err_sys(err, -errno, "cannot look at its working directory '%s'",
				       p->cwd);
		st.st_mode = 0;
	}
	if (!S_ISDIR(st.st_mode)) {
		err_refuse(err, "its working directory '%s' is not there", p->cwd);
		return err_hint(err, "make it: mkdir -p '%s'%s", p->cwd,
				r->is_fed ? "; or --copy-files, which makes it" : "");
	}
	return 0;
}

static int restore(struct restore *r, const struct process *p, struct err *err)
{
	struct program *g = r->prog;

	(void)err;
	program_reserve(g, strlen(p->cwd) + 32);
	uint64_t cwd = program_str(g, p->cwd);

	program_call(g, "working directory", SYS_chdir, cwd, 0, 0, 0, 0, 0);
	program_call(g, "umask", SYS_umask, p->umask, 0, 0, 0, 0, 0);
	if (p->xcomp_perm >> ARCH_TILEDATA & 1)
		program_call(g, "the right to use AMX tiles", SYS_arch_prctl, ARCH_REQ_XCOMP_PERM,
			     ARCH_TILEDATA, 0, 0, 0, 0);
	program_call(g, "personality", SYS_personality, p->personality, 0, 0, 0, 0, 0);
	if (p->no_new_privs)
		program_call(g, "no_new_privs", SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0);
	if (r->tracer)
		program_call(g, "who may trace it (EINVAL where Yama is off)", SYS_prctl,
			     PR_SET_PTRACER, (unsigned)r->tracer, 0, 0, 0, 0)
			->expect = EXPECT_ANY;
	for (unsigned i = 0; i < 16; i++) {
		struct rlimit here;
		struct rlimit_state want = p->rlimits[i];

		/* A hard limit can be raised only with privilege. */
		if (!getrlimit((__rlimit_resource_t)i, &here) && want.max > here.rlim_max) {
			restore_notice(r, "%s: the hard limit here is lower than the program's",
				       limit_names[i]);
			want.max = here.rlim_max;
			if (want.cur > want.max)
				want.cur = want.max;
		}
		program_reserve(g, sizeof(want) + 16);
		uint64_t a = program_data(g, &want, sizeof(want));

		program_call(g, limit_names[i], SYS_prlimit64, 0, i, a, 0, 0, 0);
	}
	return 0;
}

static void done(struct process *p)
{
	free(p->cwd);
	free(p->root);
}

static void show_limit(struct report *rep, const char *name, const struct rlimit_state *l)
{
	char cur[32] = "unlimited", max[32] = "unlimited";

	if (l->cur != UINT64_MAX)
		snprintf(cur, sizeof(cur), "%llu", (unsigned long long)l->cur);
	if (l->max != UINT64_MAX)
		snprintf(max, sizeof(max), "%llu", (unsigned long long)l->max);
	report_item(rep);
	report_str(rep, "name", NULL, "%s", name);
	report_opt(rep, "soft", NULL, l->cur == UINT64_MAX ? NULL : cur);
	report_opt(rep, "hard", NULL, l->max == UINT64_MAX ? NULL : max);
	if (l->cur != UINT64_MAX) /* in text only what limits */
		report_line(rep, "%-18s %s, at most %s", name, cur, max);
	report_end(rep);
}

static void show(const struct process *p, struct report *rep)
{
	report_section(rep, "surroundings", "Surroundings");
	report_opt(rep, "cwd", "directory", p->cwd);
	report_opt(rep, "root", p->root && strcmp(p->root, "/") ? "root" : NULL, p->root);
	report_str(rep, "umask", "umask", "%04o", p->umask);
	report_hex(rep, "personality", p->personality ? "personality" : NULL, p->personality);
	report_bool(rep, "no_new_privs", p->no_new_privs ? "no_new_privs" : NULL, p->no_new_privs);
	report_u64(rep, "dumpable", NULL, p->dumpable);
	report_list(rep, "limits", "limits");
	for (size_t i = 0; i < ARRAY_SIZE(limit_names); i++)
		show_limit(rep, limit_names[i], &p->rlimits[i]);
	report_end(rep);
	report_end(rep);
}

const struct state_ops state_surroundings = {
	.name = "the surroundings",
	.note = NOTE_SURROUNDINGS,
	.capture = capture,
	.codec = codec,
	.validate = validate,
	.check = check,
	.restore = restore,
	.show = show,
	.done = done,
};
