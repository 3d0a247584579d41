/*
 * The same ids again.
 *
 * A process id can be chosen only for a new process, so the caller stays as a
 * thin parent that passes signals, stops and the exit status through:
 *
 *   in the current pid namespace, with privilege, when all ids are free:
 *       caller -> program (clone3 with set_tid)
 *   else in a user, pid and mount namespace of its own:
 *       caller -> init (pid 1, waits) -> program (clone3 with set_tid)
 *
 * The guardian of the restart is started by the program's process itself, and
 * so lives in the same namespace and sees the same ids.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "restart/internal.h"
#include "restart/terminal.h"

#ifndef CAP_CHECKPOINT_RESTORE
#define CAP_CHECKPOINT_RESTORE 40
#endif

bool restart_wants_same_ids(const struct rebuild *b)
{
	if (b->o->ids != IDS_AUTO)
		return b->o->ids == IDS_SAME;
	return b->proc.nthreads > 1 || b->proc.leader_ended;
}

/* What clone3(2) takes; the libc has no struct for it in every version. */
struct clone_request {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
		set_tid_size, cgroup;
};

/* fork() with a chosen id.  0 in the child, the id, or a negative errno. */
static pid_t fork_with_id(pid_t want, int *ret_pidfd)
{
	struct clone_request r = {
		.flags = CLONE_PIDFD,
		.pidfd = (uintptr_t)ret_pidfd,
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&want,
		.set_tid_size = 1,
	};
	long pid = syscall(SYS_clone3, &r, sizeof(r));

	return pid < 0 ? -errno : (pid_t)pid;
}

/*
 * An id without a task is not free while a group or session has it, nor for a moment after the
 * task: its parent, and who sends it a signal, hear of its end before the kernel gives the id back
 * (kernel/exit.c, release_task(): free_pids() comes last).
 */
static bool is_free(pid_t id)
{
	struct timespec moment = {.tv_nsec = 2 * 1000 * 1000};

	for (int i = 0; i < 50; i++) {
		int fd = (int)syscall(SYS_pidfd_open, id, 0);

		if (fd < 0 && errno == ESRCH)
			return true;
		io_close_fd(&fd);
		if (!syscall(SYS_tkill, id, 0) || errno != ESRCH)
			return false;
		nanosleep(&moment, NULL);
	}
	return false;
}

static bool ids_are_free(const struct rebuild *b)
{
	for (size_t i = 0; i < b->proc.nthreads; i++)
		if (!is_free(b->proc.threads[i].tid))
			return false;
	return is_free(b->proc.pid);
}

/* In the process that has the program's id: becomes the program. */
static void become_program(struct rebuild *b)
{
	struct err err = ERR_INIT;

	prctl(PR_SET_NAME, STATE_RESTART_COMM);
	b->restore.new_pid = b->proc.pid;
	for (size_t i = 0; i < b->proc.nthreads; i++)
		b->tids[i] = b->proc.threads[i].tid;
	if (!guard_myself(b, &err) && !exec_program(b, &err))
		_exit(0); /* not reached: a successful exec does not return */
	restart_complain(b, &err);
	_exit(err.exit);
}

/* --- init of the namespace --- */

static int write_file(const char *path, const char *text)
{
	__cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : io_write_all(fd, text, strlen(text));
}

static int map_ids(uid_t uid, gid_t gid)
{
	char text[64];
	int ret;

	snprintf(text, sizeof(text), "%u %u 1\n", uid, uid);
	if ((ret = write_file("/proc/self/uid_map", text)))
		return ret;
	write_file("/proc/self/setgroups", "deny"); /* absent before Linux 3.19 */
	snprintf(text, sizeof(text), "%u %u 1\n", gid, gid);
	return write_file("/proc/self/gid_map", text);
}

static int own_proc(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		return -errno;
	return 0;
}

/* The right to choose thread ids goes through the exec; each thread drops it
 * when the program has been built. */
static int keep_restore_right(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d))
		return -errno;
	d[1].inheritable |= 1u << (CAP_CHECKPOINT_RESTORE - 32);
	if (syscall(SYS_capset, &h, d) ||
	    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHECKPOINT_RESTORE, 0, 0))
		return -errno;
	return 0;
}

/* Process 1, the one that starts the guardian, the guardian. */
#define OUR_IDS 3

/*
 * Ids that nobody asks for by number (the guardian's) come after the program's; or before, where it
 * runs on elsewhere and may start threads until its last model comes, which have ids after these.
 * Test: pre_copy_of_a_relay.
 */
static void skip_ids(const struct rebuild *b)
{
	char text[32];
	pid_t min = b->proc.pid, max = b->proc.pid;

	for (size_t i = 0; i < b->proc.nthreads; i++) {
		if (b->proc.threads[i].tid > max)
			max = b->proc.threads[i].tid;
		if (b->proc.threads[i].tid < min)
			min = b->proc.threads[i].tid;
	}
	if (b->restore.early && min > OUR_IDS)
		return;
	snprintf(text, sizeof(text), "%d", max + 1);
	if (write_file("/proc/sys/kernel/ns_last_pid", text))
		return; /* then a clash is only unlikely */
}

struct init_message {
	int error; /* negative errno: what failed */
	char where[60];
	int status; /* of the program, as waitpid gives it */
};

static void report(int sock, int error, const char *where, int status)
{
	struct init_message m = {.error = error, .status = status};

	strncpy(m.where, where, sizeof(m.where) - 1);
	if (send(sock, &m, sizeof(m), MSG_NOSIGNAL) < 0)
		_exit(1);
}

/* The first message of init, which carries the program's pidfd: room for both ends.
 * Points into itself. */
struct pidfd_message {
	struct init_message m;
	struct iovec v;
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr h;
};

static void pidfd_message_init(struct pidfd_message *p)
{
	memset(p, 0, sizeof(*p));
	p->v = (struct iovec){&p->m, sizeof(p->m)};
	p->h = (struct msghdr){.msg_iov = &p->v,
			       .msg_iovlen = 1,
			       .msg_control = &p->control,
			       .msg_controllen = sizeof(p->control)};
}

static void send_pidfd(int sock, int pidfd)
{
	struct pidfd_message p;
	struct cmsghdr *c;

	pidfd_message_init(&p);
	c = CMSG_FIRSTHDR(&p.h);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &pidfd, sizeof(int));
	if (sendmsg(sock, &p.h, MSG_NOSIGNAL) < 0)
		_exit(1);
}

/* Process 1 of the namespace: starts the program, reports, reaps.  When it
 * leaves, the kernel ends whatever is left in the namespace. */
static void be_init(struct rebuild *b, int sock, bool own_user, struct terminal *t)
{
	int pidfd = -1, status, ret = 0;
	const char *where = "";
	pid_t pid = -1, got;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, STATE_INIT_COMM);
	terminal_session(t);
	if (own_user && (ret = map_ids(b->proc.uid, b->proc.gid)))
		where = "map the user id";
	if (!ret && (ret = own_proc()))
		where = "mount a /proc of its own";
	if (!ret && own_user && (ret = keep_restore_right()))
		where = "keep CAP_CHECKPOINT_RESTORE";
	if (!ret) {
		skip_ids(b);
		pid = fork_with_id(b->proc.pid, &pidfd);
		if (pid == 0) {
			close(sock);
			terminal_program(t);
			become_program(b);
		}
		if (pid < 0) {
			ret = pid;
			where = "make a process with the old id";
		}
	}
	if (ret) {
		report(sock, ret, where, 0);
		_exit(1);
	}
	send_pidfd(sock, pidfd);
	close(pidfd);
	io_close_fd(&t->slave);
	io_close_fd(&t->master);
	for (int fd = 0; t->outer >= 0 && fd < 3; fd++)
		close(fd); /* the terminal must not seem to be in use */
	if (b->o->feed)
		b->o->feed->leave(b->o->feed->arg);
	while ((got = waitpid(-1, &status, WUNTRACED | __WALL)) > 0 || errno == EINTR) {
		if (got != pid)
			continue;
		report(sock, 0, "", status);
		if (!WIFSTOPPED(status))
			_exit(0);
	}
	_exit(1);
}

/* --- the thin parent --- */

struct parent {
	int sock;  /* to init, or -1 */
	int pidfd; /* the program */
	pid_t pid; /* the program, when it is our own child */
	pid_t init;
	int signals; /* signalfd */
	struct terminal terminal;
};

/* Signals from a terminal that we share went to the program too; those sent to us
 * did not. */
static void pass_signal(const struct parent *p, const struct signalfd_siginfo *s)
{
	bool shared = p->terminal.master < 0;

	if (s->ssi_signo == SIGCHLD || (shared && s->ssi_code > 0))
		return;
	if (!shared && s->ssi_signo == SIGWINCH)
		terminal_resize(&p->terminal); /* which tells the program */
	else
		syscall(SYS_pidfd_send_signal, p->pidfd, (int)s->ssi_signo, NULL, 0);
}

/* A change of the program's state: 1 and *status, 0 for none, negative: init is gone. */
static int program_event(const struct parent *p, int *status)
{
	struct init_message m;
	ssize_t n;
	pid_t got;

	if (p->sock < 0) {
		got = waitpid(p->pid, status, WNOHANG | WUNTRACED);
		return got == p->pid ? 1 : 0;
	}
	n = recv(p->sock, &m, sizeof(m), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n != sizeof(m))
		return -ECHILD;
	*status = m.status;
	return 1;
}

/* Our shell sees its job stopped.  SIGCONT to the job wakes a program that is in our
 * group as well; one with a terminal of its own is not. */
static void stop_as_well(struct parent *p)
{
	terminal_stop(&p->terminal);
	raise(SIGSTOP);
	terminal_continue(&p->terminal);
}

static int watch(struct parent *p, int *ret_status)
{
	for (;;) {
		struct pollfd v[2 + TERMINAL_FDS] = {{.fd = p->signals, .events = POLLIN},
						     {.fd = p->sock, .events = POLLIN}};
		struct signalfd_siginfo s;
		int ret, timeout = -1;
		nfds_t n = terminal_poll(&p->terminal, v + 2, &timeout);

		poll(v, 2 + n, timeout);
		terminal_relay(&p->terminal);
		if (v[0].revents & POLLIN && read(p->signals, &s, sizeof(s)) == sizeof(s))
			pass_signal(p, &s);
		while ((ret = program_event(p, ret_status)) == 1) {
			if (!WIFSTOPPED(*ret_status))
				return 1;
			stop_as_well(p);
		}
		if (ret < 0) {
			*ret_status = SIGKILL;
			return 1;
		}
	}
}

static int receive_pidfd(struct parent *p, struct err *err)
{
	struct pidfd_message got;
	struct cmsghdr *c;
	ssize_t n;

	pidfd_message_init(&got);
	do
		n = recvmsg(p->sock, &got.h, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != sizeof(got.m))
		return err_set(err, -ECHILD, "the namespace of the program could not be made");
	if (got.m.error) {
		err_refuse(err, "cannot %s in a namespace of its own: %s", got.m.where,
			   strerror(-got.m.error));
		return err_hint(
			err,
			"the program wants its old ids; --new-ids goes without; see godwit doctor");
	}
	c = CMSG_FIRSTHDR(&got.h);
	if (!c || c->cmsg_type != SCM_RIGHTS)
		return err_set(err, -EMFILE, "no room for a descriptor of the program");
	memcpy(&p->pidfd, CMSG_DATA(c), sizeof(int));
	return 0;
}

static int start_namespace(struct rebuild *b, struct parent *p, struct err *err)
{
	bool own_user = geteuid() != 0;
	int flags = CLONE_NEWPID | CLONE_NEWNS | SIGCHLD, pair[2], ret;

	if (b->proc.pid == 1)
		return err_refuse(err, "process id 1 cannot be had again");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return err_sys(err, -errno, "cannot make a socket pair");
	if (!b->o->feed)
		terminal_begin(&p->terminal, &b->proc);
	p->init = (pid_t)syscall(SYS_clone, flags | (own_user ? CLONE_NEWUSER : 0), 0, 0, 0, 0);
	if (p->init < 0 && errno == EPERM && !own_user) {
		own_user = true;
		p->init = (pid_t)syscall(SYS_clone, flags | CLONE_NEWUSER, 0, 0, 0, 0);
	}
	if (p->init == 0) {
		b->restore.drop_rights = own_user;
		close(pair[0]);
		be_init(b, pair[1], own_user, &p->terminal);
	}
	close(pair[1]);
	p->sock = pair[0];
	if (p->init < 0) {
		err_refuse(err, "cannot make a namespace for the old ids: %s", strerror(errno));
		return err_hint(err,
				"--new-ids goes without; user namespaces may be switched off "
				"(kernel.unprivileged_userns_clone, user.max_user_namespaces)");
	}
	ret = receive_pidfd(p, err);
	if (!ret)
		terminal_parent(&p->terminal);
	return ret;
}

int restart_same_ids(struct rebuild *b, int *ret_status, struct err *err)
{
	struct parent p = {.sock = -1, .pidfd = -1, .pid = -1, .init = -1};
	sigset_t all;
	int ret = 0;

	terminal_none(&p.terminal);
	b->same_ids = true;
	prctl(PR_SET_NAME, STATE_PARENT_COMM);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	p.signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (p.signals < 0)
		return err_sys(err, -errno, "cannot watch for signals");
	if (ids_are_free(b))
		p.pid = fork_with_id(b->proc.pid, &p.pidfd);
	if (p.pid == 0) {
		/* To the shell the parent is the program: kill -9 must end it.  The
		 * setting survives the exec. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		become_program(b);
	}
	if (p.pid < 0)
		ret = start_namespace(b, &p, err);
	if (!ret && b->o->feed)
		b->o->feed->leave(b->o->feed->arg);
	if (!ret)
		ret = watch(&p, ret_status);
	terminal_end(&p.terminal);
	io_close_fd(&p.sock);
	io_close_fd(&p.pidfd);
	io_close_fd(&p.signals);
	return ret;
}
