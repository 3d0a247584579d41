#include <stdarg.h>

#include "base/refusal.h"

#define TREES "process trees are not supported yet: "

static const struct {
	const char *name, *remedy;
} refusals[REFUSED_END] = {
	[REFUSED_CHILD] = {"a child process",
			   TREES "checkpoint when the child has ended and has been waited for"},
	[REFUSED_VFORK] = {"a thread that waits in vfork(2)",
			   "try again when that child has ended or executed a program"},
	[REFUSED_TRACED] = {"a tracer", "end that debugger, strace or checkpoint first"},
	[REFUSED_32_BIT] = {"32-bit code", "only 64-bit (x86-64) programs can be checkpointed"},
	[REFUSED_SECCOMP] = {"a seccomp filter, where godwit is not root",
			     "run godwit as root, outside of all containers: only that may read "
			     "the filter"},
	[REFUSED_SECCOMP_STRICT] = {"the strict mode of seccomp",
				    "let the program use a filter instead (SECCOMP_MODE_FILTER)"},
	[REFUSED_SECCOMP_ASKS] = {"a seccomp filter that asks another process "
				  "(SECCOMP_RET_USER_NOTIF)",
				  "start it without that filter (an option of its container)"},
	[REFUSED_SECCOMP_HEAL] = {"a seccomp filter that forbids rt_sigprocmask()",
				  "let the filter allow rt_sigprocmask: a program whose checkpoint "
				  "dies needs it to go on"},
	[REFUSED_SECCOMP_RIGHTS] =
		{"a seccomp filter without no_new_privs, of a program that is not "
		 "root's",
		 "let it set no_new_privs first (systemd: NoNewPrivileges=yes): "
		 "nobody could set the filter again"},
	[REFUSED_SHADOW_STACK] = {"a user shadow stack",
				  "start it with GLIBC_TUNABLES=glibc.cpu.hwcaps=-SHSTK"},
	[REFUSED_NO_BELL] = {"four pending signals: SIGURG, SIGWINCH, SIGCHLD and SIGCONT",
			     "let it take its pending SIGURG, SIGWINCH, SIGCHLD or SIGCONT first"},
	[REFUSED_TWO_USERS] = {"the rights of two users",
			       "set-uid and set-gid programs cannot be checkpointed"},
	[REFUSED_LOST_CALL] = {"a stopped wait that would do for two calls",
			       "try again later, when that wait is over: a restarted program would "
			       "get EINTR from it"},
	[REFUSED_POSIX_TIMER] =
		{"a POSIX timer of a wake-up clock, or of one of several threads' CPU time",
		 "delete it (timer_delete) before the checkpoint, or use timerfd_create or "
		 "setitimer"},
	[REFUSED_DEADLINE] = {"a thread under SCHED_DEADLINE",
			      "give it another policy for the checkpoint: chrt -a -o -p 0 PID"},
	[REFUSED_DIRECTORY_GONE] = {"a working or root directory that was deleted",
				    "make the directory again, or let the program change to "
				    "another"},
	[REFUSED_OWN_DESCRIPTORS] = {"a thread with descriptors of its own",
				     "only threads that share their descriptors (CLONE_FILES) can "
				     "be saved"},
	[REFUSED_OWN_DIRECTORY] = {"a thread with a working directory of its own",
				   "only threads that share their directory and umask (CLONE_FS) "
				   "can be saved"},
	[REFUSED_OWN_CAPABILITIES] = {"a thread with capabilities of its own",
				      "let all threads give up the same ones (libpsx does)"},
	[REFUSED_HIGH_DESCRIPTOR] = {"a descriptor above 1048575",
				     "let the program give it a lower number (dup2)"},

	[REFUSED_SHARED_MEMORY] = {"shared memory that another process has, too",
				   TREES "checkpoint when that process has ended, or use a file "
					 "that both map"},
	[REFUSED_SYSV] = {"System V shared memory that is locked, or mapped in part",
			  "let the program leave it as shmat returns it, or detach it first"},
	[REFUSED_SECRET] = {"a mapping of secret memory", "let the program unmap it first"},
	[REFUSED_KERNEL_MEMORY] = {"memory of a kernel object (asynchronous I/O, rings)",
				   "close the object first"},
	[REFUSED_DEVICE_MEMORY] = {"memory of a device", "let the program close the device first"},
	[REFUSED_HUGE] =
		{"huge pages, other than of 2 MiB, by one mmap() each",
		 "use huge pages of 2 MiB, each shared area by one mmap() and as a whole, or "
		 "transparent ones (madvise)"},
	[REFUSED_PROTECTION_KEY] = {"memory with a protection key",
				    "not supported yet: start it so that it uses none"},
	[REFUSED_SHARED_FILE] = {"a shared mapping of a file that its name does not reach",
				 "the file must be reachable by its name"},

	[REFUSED_CONTENT_LARGE] = {"files without a name that hold more than 64 MiB",
				   "let the program use a file with a name"},
	[REFUSED_CONTENT_FOREIGN] = {"a file without a name that another process has, too",
				     TREES "checkpoint when that process has ended"},
	[REFUSED_CONTENT_CLOSED] = {"a file without a name that its mode closes",
				    "let the program give it a mode that lets it be read (fchmod)"},
	[REFUSED_CONTENT_LOCK] = {"a file without a name, with a lock on it",
				  "release the lock before the checkpoint"},
	[REFUSED_CONTENT_HUGE] = {"a file without a name, of huge pages",
				  "let the program close it"},
	[REFUSED_FILE_GONE] = {"a file that its name does not lead to any more",
			       "give the file its name back, or make the checkpoint from inside "
			       "the program's container"},
	[REFUSED_LEASE_BREAKING] = {"a lease that somebody waits for",
				    "let the program give the lease up or downgrade it, and try "
				    "again"},
	[REFUSED_LEASE_ALONE] = {"a lease for writing on a file that is mapped or has no name",
				 "let the program give the lease up before the checkpoint"},
	[REFUSED_OWNER] = {"a descriptor whose signals go to another process (F_SETOWN)",
			   "let the owner be the program, one of its threads or its process group "
			   "before the checkpoint"},
	[REFUSED_DNOTIFY] = {"a directory whose changes may be signalled (F_NOTIFY)",
			     "close it before the checkpoint, or use inotify"},
	[REFUSED_DIRECTORY_LOCK] = {"a directory with a lock on it",
				    "release the lock before the checkpoint"},
	[REFUSED_PATH_GONE] = {"a place (O_PATH) that is not there any more",
			       "close it before the checkpoint, or give it its name back"},
	[REFUSED_DEVICE_GONE] = {"a device that its name does not lead to any more",
				 "make the checkpoint from inside the program's container"},
	[REFUSED_KERNEL_FILE_GONE] = {"a file of /proc, /sys or cgroups that is not there any more",
				      "close it before the checkpoint"},
	[REFUSED_KERNEL_FILE_OTHER] = {"a file of /proc of another process, or of a thread",
				       "close it before the checkpoint"},
	[REFUSED_EPOLL_STALE] = {"an epoll that watches a descriptor closed since",
				 "let the program remove it (EPOLL_CTL_DEL) before it closes the "
				 "descriptor"},
	[REFUSED_INOTIFY_UNREAD] = {"an inotify with events not yet read",
				    "let the program read them, and try again"},
	[REFUSED_INOTIFY_HIDDEN] = {"an inotify of which a name cannot be found",
				    "watch it by a name among the program's arguments or below a "
				    "watched directory, or make the checkpoint as root"},
	[REFUSED_INOTIFY_NUMBERS] = {"an inotify whose watches have too high numbers",
				     "let the program open its inotify anew"},
	[REFUSED_FIFO_PACKETS] = {"a named pipe with unread packets (O_DIRECT)",
				  "let the program read the packets first"},
	[REFUSED_FIFO_GONE] = {"a named pipe that was deleted or replaced",
			       "make the named pipe again before the checkpoint"},
	[REFUSED_FOREIGN_END] = {"a pipe or socket to another process, other than 0, 1 and 2",
				 "only the descriptors 0, 1 and 2 can lead to other processes: "
				 "close it, or checkpoint when the other process has ended"},
	[REFUSED_IN_FLIGHT] = {"an epoll, inotify, terminal or file without a name that is only "
			       "on its way in a socket (SCM_RIGHTS)",
			       "let the program receive it first"},
	[REFUSED_CREDENTIALS] = {"an unread message with another process's credentials",
				 "let the program receive it first"},
	[REFUSED_LARGE_MESSAGE] = {"an unread message of more than 192 KiB",
				   "let the program receive it first"},
	[REFUSED_UNIX_LONE] = {"a Unix socket that was never connected",
			       "close it before the checkpoint"},
	[REFUSED_UNIX_GONE] = {"a Unix socket whose file is gone",
			       "make the socket anew, or close it"},
	[REFUSED_UNIX_UNREAD] = {"an unread datagram of a Unix socket with a name that is not the "
				 "program's",
				 "let the program read it first"},
	[REFUSED_UNIX_WAITING] = {"connections to a Unix socket, not accepted yet",
				  "let the program accept them first"},
	[REFUSED_MULTICAST] = {"a UDP socket that is in a multicast group",
			       "let it leave the group before the checkpoint"},
	[REFUSED_PTY_CONTROLS] = {"a pseudo-terminal's master whose slave controls a session",
				  "checkpoint the program that runs in the terminal instead, or "
				  "let its session give the terminal up (TIOCNOTTY)"},
	[REFUSED_PTY_FOREIGN] =
		{"a pseudo-terminal's master, of which another process has an end, too",
		 TREES "checkpoint when that process has ended"},
	[REFUSED_PTY_UNOPENED] = {"a pseudo-terminal's master whose slave was never opened",
				  "let the program open the slave before the checkpoint"},
	[REFUSED_PTY_STATE] = {"a pseudo-terminal that is full, stopped, or not a plain terminal",
			       "let the program read its bytes and packets, start its output "
			       "(tcflow), or leave its line discipline first"},
};

const char *refusal_remedy(enum refusal kind)
{
	return refusals[kind].remedy;
}

int err_refuse_as(struct err *err, enum refusal kind, const char *fmt, ...)
{
	char what[sizeof(err->what)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	err_refuse(err, "%s", what);
	return err_hint(err, "%s", refusals[kind].remedy);
}

void refusals_print(FILE *out)
{
	for (int i = 0; i < REFUSED_END; i++)
		fprintf(out, "refused\t%s\t%s\n", refusals[i].name, refusals[i].remedy);
}
