/*
 * Pseudo-terminals: see pty.h.
 *
 * A restart opens a new pair, whose number is another: ptsname(3) changes.  So the slaves are
 * opened by way of the master (TIOCGPTPEER, ioctl_tty(2)).  What cannot be seen from outside is
 * refused: see complete_master().
 *
 * The line discipline has state that no call shows and that is lost: that the literal-next
 * character was the last one typed, and the column of the cursor, which tabs and ONOCR go by.
 */
#include "state/pty.h"

#include <asm/termbits.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MAJOR_SLAVE 136 /* to 143; Documentation/admin-guide/devices.txt */
#define PTMX makedev(5, 2)

bool pty_has_lines(const struct pty *p)
{
	return (p->lflag & (ICANON | EXTPROC)) == ICANON;
}

void pty_termios(const struct pty *p, struct termios2 *ret)
{
	*ret = (struct termios2){.c_iflag = p->iflag,
				 .c_oflag = p->oflag,
				 .c_cflag = p->cflag,
				 .c_lflag = p->lflag,
				 .c_ispeed = p->ispeed,
				 .c_ospeed = p->ospeed};
	memcpy(ret->c_cc, p->cc, PTY_CC_LEN);
}

static dev_t slave_rdev(const struct open_file *master)
{
	return makedev(MAJOR_SLAVE + (master->pty.number >> 8), master->pty.number & 0xff);
}

bool pty_is_slave(const struct file_table *t, const struct open_file *f,
		  const struct open_file *master)
{
	if (f->kind == FILE_PTY)
		return !f->pty.is_master && &t->files[f->pty.master] == master;
	return f->kind == FILE_INHERITED && f->inherited.is_tty && f->rdev == slave_rdev(master) &&
	       (!master->pty.devpts || f->dev == master->pty.devpts);
}

static const struct open_file *find_slave(const struct file_table *t,
					  const struct open_file *master, bool is_both_ways)
{
	for (size_t i = 0; i < t->nfiles; i++)
		if (pty_is_slave(t, &t->files[i], master) &&
		    (!is_both_ways || (t->files[i].flags & O_ACCMODE) == O_RDWR))
			return &t->files[i];
	return NULL;
}

bool pty_adopt(const struct file_table *t, struct open_file *f)
{
	for (size_t i = 0; i < t->nfiles; i++) {
		const struct open_file *m = &t->files[i];

		if (m->kind != FILE_PTY || !m->pty.is_master || !pty_is_slave(t, f, m))
			continue;
		f->kind = FILE_PTY;
		memset(&f->pty, 0, sizeof(f->pty));
		f->pty.master = (uint32_t)i;
		return true;
	}
	return false;
}

/* --- who else has it --- */

/* Is what fd, in the directory d (of /proc/PID/fd), leads to one end of the pair? */
static bool is_end(int d, const char *fd, const struct stat *st, const struct open_file *master)
{
	__cleanup_buf struct buf info = {0};
	const char *at;
	char name[300];

	if (st->st_rdev == slave_rdev(master))
		return !master->pty.devpts || st->st_dev == master->pty.devpts;
	/* Another node of that kind may be of another devpts. */
	if (st->st_rdev != PTMX || st->st_dev != master->dev || st->st_ino != master->ino)
		return false;
	snprintf(name, sizeof(name), "../fdinfo/%s", fd);
	if (io_read_file(d, name, &info) || !info.len || !(at = strstr(info.p, "tty-index:")))
		return false;
	return strtoul(at + strlen("tty-index:"), NULL, 10) == master->pty.number;
}

/* Notes for each pair of the program's whether what fd leads to is an end of it. */
static void note_end(struct file_table *t, int d, const char *fd, pid_t pid)
{
	struct stat st;

	if (fstatat(d, fd, &st, 0) || !S_ISCHR(st.st_mode))
		return;
	for (size_t i = 0; i < t->nfiles; i++) {
		struct open_file *f = &t->files[i];

		if (f->kind == FILE_PTY && f->pty.is_master && is_end(d, fd, &st, f))
			f->pty.foreign = pid;
	}
}

static void search_process(struct file_table *t, int proc, const char *pid)
{
	struct dirent *e;
	char name[300];
	int fd;
	DIR *d;

	snprintf(name, sizeof(name), "%s/fd", pid);
	fd = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	while (d && (e = readdir(d)))
		if (*e->d_name >= '0' && *e->d_name <= '9')
			note_end(t, dirfd(d), e->d_name, atoi(pid));
	if (d)
		closedir(d);
	else if (fd >= 0)
		close(fd);
}

/* Whether other processes have an end of the program's pairs: once for all. */
static void search(struct file_scan *s)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;

	for (size_t i = 0; i < s->table->nfiles; i++)
		if (s->table->files[i].kind == FILE_PTY) {
			s->table->files[i].pty.is_searched = true;
			s->table->files[i].pty.foreign = 0;
		}
	while (proc && (e = readdir(proc))) {
		int pid = atoi(e->d_name);

		if (pid > 0 && pid != s->c->remote->pid && pid != getpid() &&
		    pid != s->c->ignore_child)
			search_process(s->table, dirfd(proc), e->d_name);
	}
	if (proc)
		closedir(proc);
}

static pid_t find_foreign(struct file_scan *s, const struct open_file *f)
{
	if (!f->pty.is_searched)
		search(s);
	/* What a godwit that was killed began is done in a moment. */
	for (int i = 0; i < 200 && f->pty.foreign && pty_is_ours(f->pty.foreign); i++) {
		usleep(10000);
		search(s);
	}
	return f->pty.foreign;
}

/* --- capture --- */

/* The file system that its slave is in: that of the node itself, or the one beside the node, in
 * pts (fs/devpts/inode.c, devpts_mntget). */
static uint64_t find_devpts(const struct file_scan *s)
{
	char path[PATH_MAX + 32];
	struct statfs fs;
	struct stat st;

	snprintf(path, sizeof(path), "root%.*s/pts", (int)(strrchr(s->link, '/') - s->link),
		 s->link);
	if (fstatat(s->c->remote->procfd, path, &st, 0)) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", s->c->remote->speaker, s->fd);
		return !statfs(path, &fs) && fs.f_type == DEVPTS_SUPER_MAGIC ? s->st.st_dev : 0;
	}
	return st.st_dev;
}

static int capture_master(struct file_scan *s, struct open_file *f, struct err *err)
{
	__cleanup_fd int dup = file_getfd(s, s->fd, err);
	unsigned number;

	if (dup < 0)
		return dup;
	if (ioctl(dup, TIOCGPTN, &number))
		return err_sys(err, -errno, "cannot look at '%s' (fd %d)", s->link, s->fd);
	f->pty.is_master = true;
	f->pty.number = number;
	f->pty.devpts = find_devpts(s);
	f->pty.state = io_alloc(1, sizeof(*f->pty.state), err);
	return f->pty.state ? 0 : err->error;
}

static int capture_settings(struct file_scan *s, int master, struct pty *p, struct err *err)
{
	struct termios2 t;
	struct winsize w;
	int locked = 0, packets = 0;

	if (ioctl(master, TCGETS2, &t) || ioctl(master, TIOCGWINSZ, &w) ||
	    ioctl(master, TIOCGPTLCK, &locked) || ioctl(master, TIOCGPKT, &packets))
		return err_sys(err, -errno, "cannot look at '%s' (fd %d)", s->link, s->fd);
	if (t.c_line)
		return file_refuse_as(s, err, REFUSED_PTY_STATE, "it has the line discipline %u",
				      t.c_line);
	p->iflag = t.c_iflag;
	p->oflag = t.c_oflag;
	p->cflag = t.c_cflag;
	p->lflag = t.c_lflag;
	memcpy(p->cc, t.c_cc, PTY_CC_LEN);
	p->ispeed = t.c_ispeed;
	p->ospeed = t.c_ospeed;
	p->rows = w.ws_row;
	p->columns = w.ws_col;
	p->xpixel = w.ws_xpixel;
	p->ypixel = w.ws_ypixel;
	p->flags = (packets ? PTY_PACKETS : 0) | (locked ? PTY_LOCKED : 0);
	return 0;
}

static short events_of(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLPRI};

	return poll(&p, 1, 0) < 0 ? 0 : p.revents;
}

/* Whether it is the program's alone, and whether all of it can be seen. */
static int check_holders(struct file_scan *s, const struct open_file *f, int master,
			 struct err *err)
{
	pid_t session, pid;

	/* By way of the master this tells the slave's (drivers/tty/tty_jobctrl.c, tiocgsid). */
	if (!ioctl(master, TIOCGSID, &session))
		return file_refuse_as(s, err, REFUSED_PTY_CONTROLS,
				      "its slave /dev/pts/%u is the controlling terminal of a "
				      "session",
				      f->pty.number);
	pid = find_foreign(s, f);
	if (pid)
		return file_refuse_as(s, err, REFUSED_PTY_FOREIGN,
				      "process %d has it, or its slave /dev/pts/%u, too", pid,
				      f->pty.number);
	/* To open the slave and to close it again would be seen by the master, which is told
	 * so from the first time on (drivers/tty/pty.c, pty_close: TTY_OTHER_CLOSED). */
	if (!find_slave(s->table, f, false) && !(events_of(master) & POLLHUP))
		return file_refuse_as(s, err, REFUSED_PTY_UNOPENED,
				      "its slave /dev/pts/%u was never opened, and so what was "
				      "written to it cannot be seen",
				      f->pty.number);
	return 0;
}

/* A descriptor of the slave, for reading and writing, or a negative errno. */
static int open_slave(const struct file_scan *s, const struct open_file *f, int master)
{
	const struct open_file *slave = find_slave(s->table, f, true);
	int on = 1, off = 0, fd;

	if (slave)
		return file_try_getfd(s, file_lowest_fd(s->table, slave));
	if (f->pty.state->flags & PTY_LOCKED)
		ioctl(master, TIOCSPTLCK, &off);
	fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	fd = fd < 0 ? -errno : fd;
	if (f->pty.state->flags & PTY_LOCKED)
		ioctl(master, TIOCSPTLCK, &on);
	return fd;
}

/* What could not be put back as it was, or not be told apart. */
static int check_state(struct file_scan *s, const struct open_file *f, int master, int slave,
		       struct err *err)
{
	short at_master = events_of(master);
	int waiting = 0, lines = 0;

	if (ioctl(master, FIONREAD, &waiting) || ioctl(slave, FIONREAD, &lines))
		return err_sys(err, -errno, "cannot look at '%s' (fd %d)", s->link, s->fd);
	if (waiting > (int)PTY_OUTPUT_MAX || lines > (int)PTY_INPUT_MAX)
		return file_refuse_as(s, err, REFUSED_PTY_STATE, "it is full");
	if (f->pty.state->flags & PTY_PACKETS && at_master & POLLPRI)
		return file_refuse_as(s, err, REFUSED_PTY_STATE,
				      "a status of its packet mode is unread");
	if (!(events_of(slave) & POLLOUT) || !(at_master & POLLOUT))
		return file_refuse_as(s, err, REFUSED_PTY_STATE, "its output is stopped");
	return 0;
}

static int complete_master(struct file_scan *s, struct open_file *f, struct err *err)
{
	__cleanup_fd int master = file_getfd(s, s->fd, err), slave = -1;
	int exclusive = 0, e;

	if (master < 0)
		return master;
	f->pty.master = file_index(s->table, f);
	if ((e = capture_settings(s, master, f->pty.state, err)) ||
	    (e = check_holders(s, f, master, err)))
		return e;
	slave = open_slave(s, f, master);
	if (slave < 0 || ioctl(slave, TIOCGEXCL, &exclusive))
		return err_sys(err, slave < 0 ? slave : -errno,
			       "cannot look at the slave of '%s' (fd %d of process %d)", s->link,
			       s->fd, s->c->remote->pid);
	f->pty.state->flags |= exclusive ? PTY_EXCLUSIVE : 0;
	e = check_state(s, f, master, slave, err);
	return e ? e : pty_unread_capture(s, master, slave, f->pty.state, err);
}

/* Slaves have been adopted (file_inherited.c). */
static int complete_pty(struct file_scan *s, struct open_file *f, struct err *err)
{
	return f->pty.is_master ? complete_master(s, f, err) : 0;
}

/* --- image --- */

static void codec_state(struct codec *c, struct pty *p)
{
	uint32_t *const numbers[] = {&p->iflag,  &p->oflag,  &p->cflag, &p->lflag,
				     &p->ispeed, &p->ospeed, &p->rows,  &p->columns,
				     &p->xpixel, &p->ypixel, &p->flags};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		codec_u32(c, numbers[i]);
	codec_bytes(c, p->cc, PTY_CC_LEN);
	codec_blob(c, &p->output, &p->output_len);
	codec_array(c, &p->input, &p->ninput, sizeof(*p->input), 8, PTY_INPUT_MAX);
	for (size_t i = 0; i < p->ninput && !c->bad; i++) {
		codec_blob(c, &p->input[i].data, &p->input[i].len);
		codec_u32(c, &p->input[i].end);
	}
}

static void codec_pty(struct codec *c, struct open_file *f)
{
	codec_bool(c, &f->pty.is_master);
	codec_u32(c, &f->pty.master);
	if (!f->pty.is_master || c->bad)
		return;
	if (!c->writing)
		f->pty.state = calloc(1, sizeof(*f->pty.state));
	if (f->pty.state)
		codec_state(c, f->pty.state);
	else
		c->bad = true;
}

static bool is_possible(const struct pty *p)
{
	size_t sum = 0;

	for (size_t i = 0; i < p->ninput; i++) {
		const struct pty_piece *v = &p->input[i];
		bool is_last = i + 1 == p->ninput;

		sum += v->len + (v->end == PTY_END_EOF);
		if (v->end > PTY_END_EOF || (v->end == PTY_END_NONE && !(is_last && v->len)) ||
		    (v->end == PTY_END_OWN && !v->len) ||
		    (v->end != PTY_END_NONE && !pty_has_lines(p)) || sum > PTY_INPUT_MAX)
			return false;
	}
	return p->output_len <= PTY_OUTPUT_MAX && p->rows <= UINT16_MAX &&
	       p->columns <= UINT16_MAX && p->xpixel <= UINT16_MAX && p->ypixel <= UINT16_MAX &&
	       !(p->flags & ~(PTY_PACKETS | PTY_LOCKED | PTY_EXCLUSIVE));
}

static int validate_pty(const struct file_table *t, const struct open_file *f, struct err *err)
{
	const struct open_file *m = f->pty.master < t->nfiles ? &t->files[f->pty.master] : NULL;

	if (!m || m->kind != FILE_PTY || !m->pty.is_master || f->pty.is_master != (m == f) ||
	    (f->pty.is_master && ((f->flags & O_ACCMODE) != O_RDWR || !is_possible(f->pty.state))))
		return err_image(err, "files: fd %d: impossible pseudo-terminal",
				 file_lowest_fd(t, f));
	return 0;
}

/* --- restart --- */

static int check_pty(struct restore *r, const struct file_table *t, const struct open_file *f,
		     struct err *err)
{
	__cleanup_fd int try = -1;
	struct stat st;

	(void)r;
	if (!f->pty.is_master)
		return 0;
	if (stat(f->path, &st) || !S_ISCHR(st.st_mode) || st.st_rdev != PTMX)
		errno = ENODEV;
	else
		try = open(f->path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (try >= 0)
		return 0;
	err_sys(err, -errno, "cannot open '%s' for the program (fd %d)", f->path,
		file_lowest_fd(t, f));
	return err_hint(err, "mount devpts there, and raise kernel.pty.max if there is no room");
}

static void describe_pty(const struct file_table *t, const struct open_file *f, struct buf *out)
{
	const struct open_file *m = &t->files[f->pty.master];
	const struct open_file *slave = find_slave(t, f, false);
	size_t input = 0;

	if (!f->pty.is_master) {
		if (m->kind == FILE_PTY)
			buf_printf(out, "the slave of fd %d", file_lowest_fd(t, m));
		return;
	}
	for (size_t i = 0; i < f->pty.state->ninput; i++)
		input += f->pty.state->input[i].len;
	buf_printf(out, "the master");
	if (slave)
		buf_printf(out, ", the slave is fd %d", file_lowest_fd(t, slave));
	else
		buf_printf(out, ", the slave is closed");
	buf_printf(out, ", %zu bytes unread, %zu for the slave", f->pty.state->output_len, input);
}

static void done_pty(struct open_file *f)
{
	struct pty *p = f->pty.state;

	if (!f->pty.is_master || !p)
		return;
	for (size_t i = 0; i < p->ninput; i++)
		free(p->input[i].data);
	free(p->input);
	free(p->output);
	free(p);
}

const struct file_ops file_pty = {
	.kind = FILE_PTY,
	.name = "pseudo-terminal",
	.kept = "a master, and its slave, open or closed again, that no other process has: "
		"settings, "
		"window size, modes, unread bytes both ways; the number of /dev/pts/N is another",
	.capture = capture_master,
	.complete = complete_pty,
	.codec = codec_pty,
	.validate = validate_pty,
	.check = check_pty,
	.restore = pty_restore,
	.describe = describe_pty,
	.done = done_pty,
};
