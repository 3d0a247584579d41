/*
 * Who the process is: ids, owner, names, executable; and what makes it more
 * than one process, which is refused: children.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/report.h"
#include "image/elfid.h"
#include "proc/status.h"
#include "state/capabilities.h"
#include "state/state.h"

static int read_owner(struct capture *c, struct process *p, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct proc_status st;
	struct proc_stat stat;
	int ret;

	if ((ret = state_read_proc(c, "status", &b, err)) ||
	    (ret = proc_parse_status(b.p, &st, err)))
		return ret;
	p->pid = st.ns_tgid;
	p->pgid = st.ns_pgid;
	p->sid = st.ns_sid;
	p->uid = st.uid[0];
	p->euid = st.uid[1];
	p->suid = st.uid[2];
	p->fsuid = st.uid[3];
	p->gid = st.gid[0];
	p->egid = st.gid[1];
	p->sgid = st.gid[2];
	p->fsgid = st.gid[3];
	if (p->uid != p->euid || p->uid != p->suid || p->gid != p->egid || p->gid != p->sgid) {
		return err_refuse_as(err, REFUSED_TWO_USERS,
				     "process %d runs with the rights of two users (%u and %u)",
				     c->remote->pid, p->uid, p->euid);
	}
	capabilities_take(p, &st);
	if ((ret = remote_stat(c->remote, &stat, err)))
		return ret;
	p->ppid = stat.ppid;
	memcpy(p->comm, stat.comm, sizeof(p->comm));
	p->comm[sizeof(p->comm) - 1] = '\0';
	if (stat.state == 'Z' || stat.state == 'X')
		return err_set(err, -ESRCH, "process %d has ended", c->remote->pid);
	return 0;
}

/* For people: what ps would show.  The real thing is in the memory. */
static int read_argv(struct capture *c, struct process *p, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	size_t n = 0;
	int ret = state_read_proc(c, "cmdline", &b, err);

	if (ret)
		return ret;
	for (size_t i = 0; i < b.len; i++)
		n += b.p[i] == '\0';
	p->argv = io_alloc(n + 1, sizeof(*p->argv), err);
	if (!p->argv)
		return err->error;
	for (char *s = b.p; p->argc < n; s += strlen(s) + 1) {
		p->argv[p->argc] = strndup(s, 4096);
		if (!p->argv[p->argc++])
			return err_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}

/* The path is looked up in our own root directory: it must be the same file. */
static int read_exe(struct capture *c, struct process *p, struct err *err)
{
	char path[PATH_MAX];
	struct mapped_file *f = &p->exe_file;
	struct stat st;
	__cleanup_fd int fd = -1;
	int ret = io_readlink(c->remote->procfd, "exe", path, sizeof(path));

	if (ret)
		return err_sys(err, ret, "cannot read /proc/%d/exe", c->remote->pid);
	p->exe = strdup(path);
	f->path = strdup(path);
	if (!p->exe || !f->path)
		return err_set(err, -ENOMEM, "out of memory");
	fd = openat(c->remote->procfd, "exe", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return 0; /* execute-only: nothing to compare with */
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	f->size = (uint64_t)st.st_size;
	f->mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	if (elf_build_id(fd, f->build_id, &f->build_id_len))
		f->build_id_len = 0;
	return 0;
}

/* waitid() tells at once whether there is any child; only then look who. */
static int refuse_children(struct capture *c, struct err *err)
{
	struct program prog;
	struct call *call;
	int64_t got = 0;
	int ret;

	program_init(&prog, c->remote->data, REMOTE_DATA_LEN, REMOTE_CALL_CAP, err);
	call = program_call(&prog, "look for children", SYS_waitid, P_ALL, 0, 0,
			    WEXITED | WNOHANG | WNOWAIT | __WALL, 0, 0);
	if (call)
		call->expect = EXPECT_ANY;
	ret = remote_run(c->remote, &prog, err);
	if (!ret)
		got = prog.batches[0].calls[0].ret;
	program_done(&prog);
	if (ret || got == -ECHILD)
		return ret;
	for (size_t i = 0; i < c->remote->n; i++) {
		__cleanup_buf struct buf b = {0};
		char path[64];

		snprintf(path, sizeof(path), "task/%d/children", c->remote->threads[i].tid);
		if (io_read_file(c->remote->procfd, path, &b))
			continue;
		for (char *s = b.p, *end;; s = end) {
			long pid = strtol(s, &end, 10);

			if (end == s)
				break;
			if (pid == c->ignore_child)
				continue;
			return err_refuse_as(err, REFUSED_CHILD,
					     "process %d has a child, process %ld", c->remote->pid,
					     pid);
		}
	}
	return 0;
}

static int capture(struct capture *c, struct process *p, struct err *err)
{
	int ret;

	if ((ret = read_owner(c, p, err)) || (ret = refuse_children(c, err)) ||
	    (ret = read_argv(c, p, err)))
		return ret;
	return read_exe(c, p, err);
}

static void codec(struct codec *c, struct process *p)
{
	uint32_t *owner[] = {&p->uid, &p->euid, &p->suid, &p->fsuid,
			     &p->gid, &p->egid, &p->sgid, &p->fsgid};

	codec_i32(c, &p->pid);
	codec_i32(c, &p->ppid);
	codec_i32(c, &p->pgid);
	codec_i32(c, &p->sid);
	for (size_t i = 0; i < ARRAY_SIZE(owner); i++)
		codec_u32(c, owner[i]);
	codec_bytes(c, p->comm, sizeof(p->comm));
	codec_str(c, &p->exe);
	codec_mapped_file(c, &p->exe_file);
	codec_array(c, &p->argv, &p->argc, sizeof(*p->argv), 4, 1u << 20);
	for (size_t i = 0; i < p->argc; i++)
		codec_str(c, &p->argv[i]);
}

static int validate(const struct process *p, struct err *err)
{
	if (!p->exe || p->pid <= 0 || p->comm[sizeof(p->comm) - 1])
		return err_image(err, "the note on the ids is incomplete");
	return 0;
}

static int check(struct restore *r, const struct process *p, struct err *err)
{
	(void)r;
	if (p->uid != getuid() || p->uid != geteuid()) {
		err_perm(err, "it is a program of user %u, you are user %u", p->uid, geteuid());
		return err_hint(
			err,
			"restart it as that user (setpriv --reuid %u --regid %u --clear-groups)",
			p->uid, p->gid);
	}
	return 0;
}

static void done(struct process *p)
{
	free(p->exe);
	free(p->exe_file.path);
	for (size_t i = 0; p->argv && i < p->argc; i++)
		free(p->argv[i]);
	free(p->argv);
}

static void show(const struct process *p, struct report *rep)
{
	__cleanup_buf struct buf line = {0};

	for (size_t i = 0; i < p->argc; i++)
		buf_printf(&line, "%s%s", i ? " " : "", p->argv[i]);
	report_section(rep, "program", "Program");
	report_line(rep, "%-14s %s", "command", line.p ? line.p : "");
	report_list(rep, "argv", NULL);
	for (size_t i = 0; i < p->argc; i++)
		report_value(rep, p->argv[i]);
	report_end(rep);
	report_opt(rep, "exe", "executable", p->exe);
	report_str(rep, "comm", "name", "%.16s", p->comm);
	report_i64(rep, "pid", NULL, p->pid);
	report_i64(rep, "ppid", NULL, p->ppid);
	report_i64(rep, "pgid", NULL, p->pgid);
	report_i64(rep, "sid", NULL, p->sid);
	report_line(rep, "%-14s pid %d, parent %d, group %d, session %d", "ids", p->pid, p->ppid,
		    p->pgid, p->sid);
	report_u64(rep, "uid", NULL, p->uid);
	report_u64(rep, "euid", NULL, p->euid);
	report_u64(rep, "gid", NULL, p->gid);
	report_u64(rep, "egid", NULL, p->egid);
	report_line(rep, "%-14s user %u, group %u", "owner", p->uid, p->gid);
	report_end(rep);
}

const struct state_ops state_ids = {
	.name = "the ids",
	.note = NOTE_PROCESS,
	.capture = capture,
	.codec = codec,
	.validate = validate,
	.check = check,
	.show = show,
	.done = done,
};
