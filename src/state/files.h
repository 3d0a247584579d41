/*
 * Descriptors: the model, and what other modules may ask of it.
 *
 * A descriptor is a number that refers to an open file description (open(2)):
 * the object, with an offset and flags.  Several descriptors may share one; so
 * the table has two lists.  Each kind of object is one file: file_regular.c,
 * pipes.c, epoll.c and so on, behind the interface in file_kinds.h.
 *
 * Everything is read from outside, while the target is stopped: /proc, and
 * duplicates of its descriptors (pidfd_getfd) that are only looked at.
 */
#ifndef GODWIT_STATE_FILES_H
#define GODWIT_STATE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "state/process.h"
#include "state/state.h"

/* Stored in images: numbers are never reused. */
enum file_kind {
	FILE_REGULAR = 1,
	FILE_DIRECTORY = 2,
	FILE_DEVICE = 3,    /* /dev/null and its like: no state */
	FILE_INHERITED = 4, /* terminal or pipe to others: the restarting shell's */
	FILE_PIPE = 5,
	FILE_EVENTFD = 6,
	FILE_EPOLL = 7,
	FILE_TIMERFD = 8,
	FILE_SIGNALFD = 9,
	FILE_UNIX_PAIR = 10,
	FILE_TCP_LISTEN = 11,
	FILE_KERNEL = 12, /* of /proc, /sys, cgroups */
	FILE_FIFO = 13,   /* a pipe with a name; the state is a pipe's */
	FILE_PATH = 14,   /* O_PATH */
	FILE_UDP = 15,
	FILE_UNIX_NAMED = 16, /* waits for connections, or for datagrams */
	FILE_UNLINKED = 17,   /* without a name: its content is in the image */
	FILE_INOTIFY = 18,
	FILE_PTY = 19, /* of which the program has the master */
	FILE_KIND_END,
	FILE_GIVEN = 1000, /* by who restarts: in no image */
};

/* Limits that a reader of images holds. */
#define FILES_MAX (1u << 20)          /* descriptors, and numbers of them */
#define FILES_PATH_MAX 4095u          /* bytes */
#define FILES_PIPE_MAX (1ull << 31)   /* bytes of one pipe */
#define FILES_LOCKS_MAX (1u << 20)    /* of one description */
#define FILES_MESSAGES_MAX (1u << 20) /* unread in one socket */
#define FILES_OPTIONS_MAX 64u

struct file_lock {
	uint32_t kind; /* enum fdinfo_lock_kind */
	bool is_write;
	int64_t start, end; /* bytes, inclusive */
};

struct file_watch {
	int32_t fd;
	uint32_t events;
	uint64_t data;
};

struct inotify_watch {
	int32_t wd; /* its number */
	uint32_t mask;
	char *path;
};

struct file_message {
	void *data;
	size_t len;
	/* In a socket with a name (note UNIX UNREAD): */
	uint32_t sender; /* index of the socket that it shows as its sender, or FILES_NONE */
	void *name;      /* capture: that socket's, as unix_named.name */
	size_t name_len;
	/* What came with it (note IN FLIGHT): */
	uint32_t *files; /* indices in file_table.files; while they are read: descriptors of ours */
	size_t nfiles;
	uint32_t creds; /* 1: with credentials of the program's (SCM_CREDENTIALS) */
	uint32_t uid, gid;
};

/* What is unread in a Unix socket. */
struct unix_queue {
	struct file_message *v;
	size_t n;
};

/* A Unix socket as sock_diag(7) shows it. */
struct unix_diag {
	uint64_t peer; /* inode, 0: none any more */
	uint32_t shutdown;
	bool has_name;
	uint32_t file_ino;         /* lower half of the inode of its name; 0: no file */
	uint32_t waiting, backlog; /* of one that listens: connections, and their limit */
};

/* A socket option that differs from a fresh socket's. */
struct file_option {
	int32_t level, name;
	uint32_t len; /* <= 16 */
	uint8_t value[16];
};

#define FILES_NO_PEER UINT32_MAX
#define FILES_NONE UINT32_MAX

/* An open file description. */
struct open_file {
	uint32_t first; /* index of its lowest descriptor in fds; not stored */
	uint32_t kind;
	uint32_t flags; /* O_*, without O_CLOEXEC */
	int64_t pos;    /* bytes */
	char *path;     /* as /proc/PID/fd shows it */
	uint64_t dev, ino, rdev;
	union {
		struct {
			uint64_t size;
			int64_t mtime_ns;
			struct file_lock *locks;
			size_t nlocks;
		} regular;
		struct {
			int32_t like; /* descriptor 0-2 whose object it shares, or -1 */
			bool is_tty;
		} inherited;
		struct {
			uint32_t pipe; /* index in file_table.pipes */
		} pipe;
		struct {
			uint64_t count;
			bool semaphore;
		} eventfd;
		struct {
			struct file_watch *watches;
			size_t n;
		} epoll;
		struct {
			int32_t clock;
			uint32_t settime; /* TFD_TIMER_* of the last timerfd_settime */
			uint64_t ticks;
			/* Time left, but CLOCK_REALTIME's absolute timers: since
			 * the epoch.  0: not armed. */
			int64_t value_ns, interval_ns;
		} timerfd;
		struct {
			uint64_t mask; /* bit signo - 1 */
		} signalfd;
		struct {
			uint32_t type;     /* SOCK_* */
			uint32_t peer;     /* index of the other end, FILES_NO_PEER: closed */
			uint32_t shutdown; /* 1: no more reading, 2: no more writing */
			struct unix_queue queue;
			/* Capture: */
			bool is_looked_at, is_read;
			int look_error;
			struct unix_diag diag;
			struct file_option *options;
			size_t noptions;
		} unix_pair;
		struct {
			uint32_t family; /* AF_INET, AF_INET6 */
			uint32_t backlog;
			uint8_t addr[28]; /* struct sockaddr_in or sockaddr_in6 */
			struct file_option *options;
			size_t noptions;
		} listen;
		struct {
			int32_t like; /* the shell's descriptor, 0 to 2; -1: path */
		} given;
		struct {
			bool is_master;
			uint32_t master;   /* index of its pair's master */
			uint32_t number;   /* capture: N of /dev/pts/N */
			uint64_t devpts;   /* capture: its file system, or 0 */
			bool is_searched;  /* capture: for others who have it */
			int32_t foreign;   /* capture: a process that has it, too; 0: none */
			struct pty *state; /* a master's; state/pty.h */
		} pty;
		struct {
			struct inotify_watch *watches; /* numbers ascend */
			size_t n;
		} inotify;
		struct {
			uint32_t content; /* index in process.contents */
		} unlinked;
		struct {
			uint32_t family; /* AF_INET, AF_INET6 */
			bool connected;
			uint8_t own[28], peer[28]; /* struct sockaddr_in or sockaddr_in6 */
			struct file_option *options;
			size_t noptions;
		} udp;
		struct {
			uint32_t type; /* SOCK_* */
			bool is_listening;
			uint32_t backlog;
			uint32_t mode; /* of the file, permission bits */
			void *name;    /* sun_path: no NUL at its end; abstract: begins with one */
			size_t name_len;
			struct unix_queue queue; /* of SOCK_DGRAM */
			bool is_read;            /* capture */
			struct file_option *options;
			size_t noptions;
		} unix_named;
	};
};

/* A pipe of which the program holds both ends, or one that nobody else holds. */
struct pipe_object {
	uint64_t dev, ino;
	uint32_t capacity; /* bytes */
	void *data;        /* unread */
	size_t len;
	/* How data lies in the pipe's pages: bytes of each, in order, where
	 * that is not 4096 in all but the last; in packet mode always, and each
	 * is a packet.  So a pipe that was full is full again. */
	uint32_t *slots;
	size_t nslots;
	bool packets; /* packet mode (O_DIRECT) */
};

struct file_descriptor {
	int32_t fd;
	uint32_t file; /* index in files */
	uint32_t next; /* index in fds of the file's next one, or FILES_NONE; not stored */
	bool cloexec;
};

struct file_table {
	struct open_file *files; /* in the order of their lowest descriptors */
	size_t nfiles, files_cap;
	struct file_descriptor *fds; /* ascending */
	size_t nfds, fds_cap;
	struct pipe_object *pipes;
	size_t npipes, pipes_cap;
	int32_t flight_from; /* state/flight.h; 0: no file is only in flight */
};

extern const struct state_ops state_files;

/* "regular file", "pipe", ...; never NULL. */
const char *files_kind_name(uint32_t kind);
/* A line about it for people: "offset 4096, O_RDWR, 2 locks".  Returns out. */
const char *files_describe(const struct file_table *t, const struct open_file *f, char *out,
			   size_t size);
/* "O_RDWR|O_APPEND" from flags.  Returns out. */
const char *files_flags(uint32_t flags, char *out, size_t size);
/* Sets first and next, from fd and file of every descriptor.  An index that is out of
 * range is passed over. */
void files_link(struct file_table *t);
/*
 * Descriptor fd and all that share its description shall be something else: source
 * is a path, opened as the program had it open (made, if it writes), or "&0" to "&2",
 * the restarting shell's.  -EBADF: there is no such descriptor.
 */
int files_give(struct process *p, int fd, const char *source, struct err *err) __must_check;
/* The descriptor's description, or NULL. */
const struct open_file *files_find(const struct file_table *t, int fd);

/*
 * What is saved and what is refused, one line each ("kind", "what is kept" or
 * "what to do"): the list in the man page is made from it.
 */
void files_print_kinds(FILE *out);

#endif
