/* Process ids that cannot be meant: see candidate.h. */
#include "migrate/candidate.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "proc/status.h"

#define PF_KTHREAD 0x00200000u /* linux/sched.h; in /proc/PID/stat */

static int read_stat(pid_t pid, struct proc_stat *ret)
{
	__cleanup_buf struct buf b = {0};
	struct err ignored = ERR_INIT;
	char path[64];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	r = io_read_file(AT_FDCWD, path, &b);
	return r ? r : proc_parse_stat(b.p, ret, &ignored);
}

/* Its process, if the id is that of another of its threads; else the id. */
static pid_t process_of(pid_t pid, const char *status)
{
	const char *tgid = strstr(status, "\nTgid:");

	return tgid ? atoi(tgid + 6) : pid;
}

static int is_anothers(pid_t pid, const char *comm, uid_t uid, struct err *err)
{
	err_perm(err, "process %d (%s) is a program of user %u", pid, comm, uid);
	return err_hint(err, "only that user, or root, may move it: sudo godwit migrate %d ...",
			pid);
}

static int check_owner(pid_t pid, const char *comm, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct err ignored = ERR_INIT;
	struct proc_status st;
	char path[64], exe[16];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (io_read_file(AT_FDCWD, path, &b) || proc_parse_status(b.p, &st, &ignored))
		return 0; /* who attaches to it finds out more */
	if (process_of(pid, b.p) != pid) {
		err_set(err, -ESRCH, "%d is a thread of process %d", pid, process_of(pid, b.p));
		return err_hint(err, "all threads move together: give the process");
	}
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	if (st.uid[1] != geteuid() && readlink(path, exe, sizeof(exe)) < 0 &&
	    (errno == EACCES || errno == EPERM))
		return is_anothers(pid, comm, st.uid[1], err);
	return 0;
}

/* It, or who started it, or who started that one. */
static bool hangs_on(pid_t pid)
{
	struct proc_stat st;
	pid_t p = getpid();

	while (p > 1 && p != pid && !read_stat(p, &st) && st.ppid != p)
		p = st.ppid;
	return p == pid;
}

int candidate_check(pid_t pid, struct err *err)
{
	struct proc_stat st;

	if (pid == 1) {
		err_refuse(err, "process 1 is the init of this system, or of this container");
		return err_hint(err, "all others end with it, godwit among them: give the process "
				     "of the program itself");
	}
	if (read_stat(pid, &st)) {
		if (!kill(pid, 0) || errno != ESRCH)
			return 0; /* hidden: who attaches to it finds out more */
		err_set(err, -ESRCH, "there is no process %d", pid);
		return err_hint(err, "pgrep -f NAME finds it by its name");
	}
	if (st.flags & PF_KTHREAD) {
		err_refuse(err, "process %d (%s) belongs to the kernel", pid, st.comm);
		return err_hint(err, "only programs can be moved");
	}
	if (st.state == 'Z' && st.num_threads < 2) {
		err_set(err, -ESRCH, "process %d (%s) has ended (it is a zombie)", pid, st.comm);
		return err_hint(err, "its parent, process %d, has not taken notice yet", st.ppid);
	}
	if (hangs_on(pid)) {
		err_refuse(err, "process %d (%s) is what this godwit was started from", pid,
			   st.comm);
		return err_hint(err, "it has a child that cannot go along: godwit; move it from "
				     "another terminal");
	}
	return check_owner(pid, st.comm, err);
}
