/* Probes of process ids: who may choose them, and where. */
#include "cli/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/sched.h>

#include "base/io.h"

/* fork() with a pid of our choice, in this pid namespace.  Child: 0; parent:
 * the pid, or a negative errno. */
static pid_t fork_with_pid(pid_t pid)
{
	pid_t tids[1] = {pid};
	struct clone_args args = {
		.exit_signal = SIGCHLD, .set_tid = (uintptr_t)tids, .set_tid_size = 1};
	long ret = syscall(SYS_clone3, &args, sizeof(args));

	return ret < 0 ? -errno : (pid_t)ret;
}

/* Makes a child with this pid and looks whether it has it. 0 or an errno. */
static int try_pid(pid_t pid)
{
	pid_t child = fork_with_pid(pid);
	int status = 0;

	if (child == 0)
		_exit(syscall(SYS_getpid) == pid ? 0 : EIO);
	if (child < 0)
		return -child;
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

/* The pid of a child that has just ended is free, most likely. */
static void probe_set_tid(struct finding *f)
{
	int error = EEXIST;

	for (int i = 0; i < 10 && error == EEXIST; i++) {
		pid_t pid = probe_fork(f);

		if (pid == 0)
			_exit(0);
		waitpid(pid, NULL, 0);
		error = try_pid(pid);
	}
	if (!error)
		finding_yes(f, "%s", "");
	else if (error == EPERM) {
		finding_no(f, "%s", strerror(error));
		finding_remedy(f, "not needed where ids in a namespace work; else root, or: "
				  "setcap cap_checkpoint_restore,cap_sys_ptrace+ep godwit");
	} else {
		finding_refused(f, "clone3(set_tid)", error, "5.5");
	}
}

static int write_file(const char *path, const char *text)
{
	__cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return errno;
	return -io_write_all(fd, text, strlen(text));
}

static void explain_userns(struct finding *f, const char *step, int error)
{
	finding_no(f, "%s: %s", step, strerror(error));
	if (access("/proc/self", F_OK))
		finding_remedy(f, "mount /proc");
	else if (probe_read_number("/proc/sys/kernel/unprivileged_userns_clone", 1) == 0)
		finding_remedy(f, "sysctl kernel.unprivileged_userns_clone=1");
	else if (probe_read_number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 0) ==
		 1)
		finding_remedy(f, "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an "
				  "AppArmor profile with 'userns,' for godwit");
	else if (probe_read_number("/proc/sys/user/max_user_namespaces", 1) == 0)
		finding_remedy(f, "sysctl user.max_user_namespaces=10000");
	else if (probe_is_filtered())
		finding_remedy(f, "the container's seccomp filter forbids it: podman/docker run "
				  "--security-opt seccomp=unconfined");
	else
		finding_remedy(
			f, "a kernel with CONFIG_USER_NS and CONFIG_PID_NS; or restart as root");
}

/* Becomes user `uid` of a new user namespace, whose children are in a new pid
 * namespace.  NULL, or the step that failed with *error. */
static const char *enter_namespaces(int *error)
{
	char map[64];
	unsigned uid = geteuid(), gid = getegid();

	if (unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS)) {
		*error = errno;
		return "unshare";
	}
	if ((*error = write_file("/proc/self/setgroups", "deny")))
		return "setgroups";
	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	if ((*error = write_file("/proc/self/uid_map", map)))
		return "uid_map";
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	if ((*error = write_file("/proc/self/gid_map", map)))
		return "gid_map";
	return NULL;
}

/* As pid 1 of the namespace: which step fails? */
static const char *try_inside(int *error)
{
	char self[32];

	if ((*error = try_pid(4711)))
		return "clone3(set_tid) inside";
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL)) {
		*error = errno;
		return "mount /proc inside";
	}
	if ((*error = -io_readlink(AT_FDCWD, "/proc/self", self, sizeof(self))))
		return "/proc/self inside";
	*error = strcmp(self, "1") ? EIO : 0;
	return *error ? "/proc/self inside" : NULL;
}

static void probe_namespace(struct finding *f)
{
	int error = 0, status;
	const char *step = enter_namespaces(&error);
	pid_t pid;

	if (step) {
		explain_userns(f, step, error);
		return;
	}
	pid = probe_fork(f);
	if (pid == 0) {
		step = try_inside(&error);
		if (!step)
			finding_yes(f, "%s", "");
		else if (!strncmp(step, "mount", 5)) {
			finding_no(f, "%s: %s", step, strerror(error));
			finding_remedy(f, "this container covers parts of /proc: podman run "
					  "--security-opt unmask=ALL, docker run --privileged; or "
					  "--new-ids");
		} else
			explain_userns(f, step, error);
		_exit(0);
	}
	waitpid(pid, &status, 0);
}

const struct probe doctor_ids[] = {
	{"set_tid", "choose ids, here", NEED_SOME,
	 "restart with the same ids in this pid namespace", probe_set_tid},
	{"namespace", "choose ids, in a namespace", NEED_SOME,
	 "restart with the same ids without root (threads; --same-ids)", probe_namespace},
	{0},
};
