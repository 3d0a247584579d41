/*
 * Descriptors, inside: what each kind of object provides, and what files.c and
 * files_restore.c offer to it.
 */
#ifndef GODWIT_STATE_FILE_KINDS_H
#define GODWIT_STATE_FILE_KINDS_H

#include <fcntl.h>
#include <linux/limits.h>
#include <sys/stat.h>

#include "base/refusal.h"
#include "proc/fdinfo.h"
#include "state/files.h"

/* Flags with which a file is opened again; the rest made sense at the first open. */
#define FILE_REOPEN_FLAGS                                                                          \
	(O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_DIRECT | O_NOATIME |             \
	 O_DIRECTORY | 0100000 /* O_LARGEFILE */)

/* One descriptor that is being looked at. */
struct file_scan {
	struct capture *c;
	struct process *p;
	struct file_table *table;
	int fd;
	char link[PATH_MAX + 16]; /* of /proc/PID/fd */
	struct stat st;
	uint64_t fs_magic; /* statfs f_type, for regular files and directories */
	struct fdinfo *info;
	uint32_t *order; /* the files found so far, as compare() orders them */
	size_t order_cap;
	int *held; /* state/flight.h: descriptors of ours, of number flight_from and so on */
	size_t nheld, held_cap;
	/* Sockets only: */
	int sock_domain, sock_type, sock_protocol;
	char detail[160]; /* "established TCP connection to 127.0.0.1:80", or "" */
};

/* A restart: the descriptors that are being put in place. */
struct file_restore {
	struct restore *r;
	const struct process *p;
	const struct file_table *table;
	struct program *prog;
	int above;        /* no descriptor of the program is as high as this */
	int inherited[3]; /* where 0, 1, 2 wait, or -1 */
	int *senders;     /* of each file: the end that sends what it has not read yet */
	int *contents;    /* state/contents.h: a descriptor of each */
};

struct file_ops {
	uint32_t kind;
	const char *name;
	const char *kept; /* for the man page: what is kept */
	/* Fills in f from the first of its descriptors; path, flags, pos, dev,
	 * ino and rdev are there.  May be NULL. */
	int (*capture)(struct file_scan *s, struct open_file *f, struct err *err);
	/* The same when all descriptors are known; s has only c, p and table. */
	int (*complete)(struct file_scan *s, struct open_file *f, struct err *err);
	void (*codec)(struct codec *c, struct open_file *f);
	int (*validate)(const struct file_table *t, const struct open_file *f, struct err *err);
	/* As in state_ops. */
	int (*check)(struct restore *r, const struct file_table *t, const struct open_file *f,
		     struct err *err);
	int (*act)(struct restore *r, const struct open_file *f, struct err *err);
	/* Makes it and puts its descriptors in place with files_place(). */
	int (*restore)(struct file_restore *fr, const struct open_file *f, struct err *err);
	/* When all descriptors of the program are there. */
	int (*restore_late)(struct file_restore *fr, const struct open_file *f, struct err *err);
	void (*describe)(const struct file_table *t, const struct open_file *f, struct buf *out);
	void (*done)(struct open_file *f);
};

extern const struct file_ops file_regular, file_directory, file_device, file_inherited, file_pipe,
	file_eventfd, file_epoll, file_timerfd, file_signalfd, file_unix_pair, file_tcp_listen,
	file_kernel, file_fifo, file_path, file_udp, file_unix_named, file_unlinked, file_inotify,
	file_given, file_pty;

/* NULL for a number that is no kind. */
const struct file_ops *file_ops_of(uint32_t kind);

/*
 * The rules, in file_rules.c: which kind a descriptor is of.  0: it is refused,
 * and *err says why and what to do.
 */
int file_rules_match(struct file_scan *s, uint32_t *ret_kind, struct err *err);
/* cannot save 'LINK' (fd N of process PID): WHAT; hint: that of the list. */
int file_refuse_as(const struct file_scan *s, struct err *err, enum refusal kind, const char *fmt,
		   ...) __printf_like(4, 5);
/* The same for what is no line of base/refusal.h, since this kernel lacks something,
 * or the rules have the line; remedy may be NULL. */
int file_refuse(const struct file_scan *s, struct err *err, const char *remedy, const char *fmt,
		...) __printf_like(4, 5);

/* Does the name still lead to this file?  1: yes; 0: no; negative: nobody can tell, and *err says
 * why.  flags: of fstatat(2). */
int file_is_named(const struct file_scan *s, int flags, struct err *err);

/* --- the parts of state_files --- */

void files_codec(struct codec *c, struct process *p);
int files_validate(const struct process *p, struct err *err);
int files_check(struct restore *r, const struct process *p, struct err *err);
int files_act(struct restore *r, const struct process *p, struct err *err);
int files_restore(struct restore *r, const struct process *p, struct err *err);
void files_show(const struct process *p, struct report *rep);

/* --- for capture --- */

/* A duplicate of the target's descriptor, or a negative errno. */
int file_try_getfd(const struct file_scan *s, int fd);
/* The same; errors name it. */
int file_getfd(const struct file_scan *s, int fd, struct err *err);
/* Finds or adds the file of a descriptor of the program's, or of one in flight. */
int files_add_fd(struct file_scan *s, int fd, uint32_t *ret_file, struct err *err);
/* Index of f in the table; its lowest descriptor; the file of a descriptor. */
uint32_t file_index(const struct file_table *t, const struct open_file *f);
int file_lowest_fd(const struct file_table *t, const struct open_file *f);
void file_notice(const struct file_scan *s, const char *fmt, ...) __printf_like(2, 3);
/* Reads fdinfo of the target's descriptor. */
int file_read_info(const struct file_scan *s, int fd, struct fdinfo *ret, struct err *err);
/* Is the pipe that is open as dup without its other end anywhere?  dup is ours. */
bool file_pipe_is_hung_up(int dup, uint32_t flags);

/* --- pipes with and without a name --- */

int file_complete_pipe(struct file_scan *s, struct open_file *f, struct err *err);
void file_codec_pipe(struct codec *c, struct open_file *f);
int file_validate_pipe(const struct file_table *t, const struct open_file *f, struct err *err);
int file_check_pipe(struct restore *r, const struct file_table *t, const struct open_file *f,
		    struct err *err);
void file_describe_pipe(const struct file_table *t, const struct open_file *f, struct buf *out);
/* Sets the capacity and writes what was unread to the writing end fd. */
void file_fill_pipe(struct file_restore *fr, const struct pipe_object *p, int fd);

/* --- for restart --- */

/* Has f a descriptor of that number?  ret_cloexec may be NULL. */
bool file_has_fd(const struct file_table *t, const struct open_file *f, int fd, bool *ret_cloexec);
/* O_CLOEXEC if the next lowest descriptor should be made so for f, else 0. */
unsigned file_cloexec(const struct file_restore *fr, const struct open_file *f);
/*
 * Puts the new descriptor `temp`, made with (or without) close-on-exec, to all
 * of f's numbers, and closes it if it is not one of them.
 */
void file_place(struct file_restore *fr, const struct open_file *f, int temp, bool cloexec);
/* Two descriptors at once, made close-on-exec; NULL: that end is closed. */
void file_place_pair(struct file_restore *fr, const struct open_file *f0, int temp0,
		     const struct open_file *f1, int temp1);
/* Moves it above all of the program's numbers; returns the new number. */
int file_out_of_the_way(struct file_restore *fr, int temp);
/* The next two lowest descriptors, marked as used. */
void file_take_pair(struct file_restore *fr, int temp[2]);
/* "restore fd 5: eventfd": owned by the program. */
const char *file_why(struct file_restore *fr, const struct open_file *f, const char *what);
/* Adds a write of all len bytes, in pieces that fit. */
void file_write_all(struct file_restore *fr, const char *why, int fd, const void *data, size_t len);
void file_restore_notice(struct restore *r, const char *fmt, ...) __printf_like(2, 3);

#endif
