/*
 * Pairs of pseudo-terminals of which the program has both ends, or the master alone: settings,
 * modes, and what is unread both ways: whole lines, such that end in other ways, one without an
 * end, bytes without lines, in packet mode, for a slave that is closed.
 */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "subject.h"

struct pair {
	int master, slave;
};

static struct pair pair(int master_flags, int slave_flags)
{
	int off = 0;
	struct pair p = {.master = must(open("/dev/ptmx", O_RDWR | O_NOCTTY | master_flags))};

	must(ioctl(p.master, TIOCSPTLCK, &off));
	p.slave = must(ioctl(p.master, TIOCGPTPEER, O_RDWR | O_NOCTTY | slave_flags));
	return p;
}

static int waiting(int fd)
{
	int n = -1;

	ioctl(fd, FIONREAD, &n);
	return n;
}

/* The line discipline works on its own. */
static void wait_for(int fd, int bytes)
{
	for (int i = 0; i < 10000 && waiting(fd) != bytes; i++)
		nap(1);
	if (waiting(fd) != bytes)
		die("%d bytes wait, not %d", waiting(fd), bytes);
}

static void put(int fd, const void *data, size_t len)
{
	if (write(fd, data, len) != (ssize_t)len)
		die("write: %s", strerror(errno));
}

static bool gets_bytes(int fd, const void *want, ssize_t len)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	static char got[5000];

	return poll(&p, 1, 5000) == 1 && read(fd, got, sizeof(got)) == len &&
	       !memcmp(got, want, len);
}

static bool gets(int fd, const char *want)
{
	return gets_bytes(fd, want, strlen(want));
}

static bool is_empty(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

static void set(int fd, tcflag_t off, tcflag_t on)
{
	struct termios t;

	must(tcgetattr(fd, &t));
	t.c_lflag = (t.c_lflag & ~off) | on;
	must(tcsetattr(fd, TCSANOW, &t));
}

static bool is_pair(int master, int slave)
{
	char path[64], name[64] = "", link[64];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", slave);
	return !ptsname_r(master, path, sizeof(path)) &&
	       readlink(link, name, sizeof(name) - 1) > 0 && !strcmp(path, name);
}

/* --- lines --- */

static struct pair lines;
static int again, quiet, lines_dup;
static struct termios lines_set;

static void make_lines(void)
{
	struct winsize w = {31, 97, 310, 970};

	lines = pair(0, 0);
	again = must(ioctl(lines.master, TIOCGPTPEER, O_RDONLY | O_NOCTTY | O_NONBLOCK));
	quiet = must(ioctl(lines.master, TIOCGPTPEER, O_WRONLY | O_NOCTTY | O_CLOEXEC));
	lines_dup = must(fcntl(lines.slave, F_DUPFD_CLOEXEC, 40));
	must(ioctl(lines.slave, TIOCSWINSZ, &w));
	must(tcgetattr(lines.slave, &lines_set));
	lines_set.c_cc[VERASE] = '#';
	lines_set.c_cc[VEOL] = ';';
	lines_set.c_cc[VEOL2] = 1;
	lines_set.c_iflag |= IUTF8 | IXANY;
	lines_set.c_lflag &= ~ECHO;
	cfsetspeed(&lines_set, B9600);
	must(tcsetattr(lines.slave, TCSANOW, &lines_set));
	put(lines.master, "a\x16\nb\x16\x03\x16\x13\x16\x04\x02\x05\x06\n", 14);
	wait_for(lines.slave, 10);
	lines_set.c_lflag |= ECHO;
	must(tcsetattr(lines.slave, TCSANOW, &lines_set));
	put(lines.master, "first\nsecond\x04\x04semi;one\001unfin", 28);
	wait_for(lines.slave, 10 + 6 + 6 + 5 + 4);
	wait_for(lines.master, 7 + 6 + 5 + 5 + 5);
	put(lines.slave, "written\n", 8);
	must(tcgetattr(lines.slave, &lines_set));
}

static void check_lines(void)
{
	struct termios now;
	struct winsize w;

	check(is_pair(lines.master, lines.slave) && is_pair(lines.master, again) &&
		      is_pair(lines.master, lines_dup),
	      "it is not the slave of the master");
	check(!tcgetattr(lines.slave, &now) && !memcmp(&now, &lines_set, sizeof(now)),
	      "the settings differ");
	check(!ioctl(lines.master, TIOCGWINSZ, &w) && w.ws_row == 31 && w.ws_col == 97 &&
		      w.ws_xpixel == 310 && w.ws_ypixel == 970,
	      "the window's size");
	check(fcntl(again, F_GETFL) & O_NONBLOCK && !(fcntl(lines.slave, F_GETFL) & O_NONBLOCK),
	      "O_NONBLOCK");
	check((fcntl(quiet, F_GETFL) & O_ACCMODE) == O_WRONLY && fcntl(quiet, F_GETFD) == 1,
	      "the slave that is only written to");
	check(waiting(lines.slave) == 31, "%d bytes in lines", waiting(lines.slave));
	check(gets(lines.slave, "a\nb\x03\x13\x04\x02\x05\x06\n"), "the line with odd bytes");
	check(gets(again, "first\n"), "the first line");
	check(gets(lines.slave, "second"), "the line that end-of-file ended");
	check(gets(lines.slave, ""), "end of file");
	check(gets(lines.slave, "semi;") && gets(lines_dup, "one\1"), "the lines with other ends");
	check(is_empty(lines.slave), "the line without an end is one");
	check(gets(lines.master, "first\r\nsecondsemi;one^Aunfinwritten\r\n"), "the output");
	put(lines.master, "##an\n", 5);
	check(gets(lines.slave, "unfan\n"), "the line without an end");
	check(gets(lines.master, "\b \b\b \ban\r\n"), "its echo");
}

/* --- no lines --- */

static struct pair plain;
static char noise[600];

static void make_plain(void)
{
	int on = 1;
	struct termios t;

	plain = pair(O_NONBLOCK, 0);
	must(tcgetattr(plain.slave, &t));
	cfmakeraw(&t);
	must(tcsetattr(plain.slave, TCSANOW, &t));
	fill(noise, sizeof(noise), 7);
	for (int i = 0; i < 256; i++)
		noise[i] = i;
	put(plain.master, noise, sizeof(noise));
	wait_for(plain.slave, sizeof(noise));
	must(ioctl(plain.master, TIOCPKT, &on));
	t.c_iflag = ICRNL | IXON | ISTRIP | PARMRK;
	t.c_lflag = ISIG | ECHO | IEXTEN;
	t.c_oflag = OPOST | ONLCR;
	t.c_cc[VMIN] = 3;
	t.c_cc[VTIME] = 1;
	must(tcsetattr(plain.slave, TCSANOW, &t));
	/* The status that the change has made, and another one's end, are read. */
	must(ioctl(plain.master, TIOCPKT, (on = 0, &on)));
	must(ioctl(plain.master, TIOCPKT, (on = 1, &on)));
	put(plain.slave, "x\ny\n", 4);
}

static void check_plain(void)
{
	struct termios t;
	int on = 0;

	check(!ioctl(plain.master, TIOCGPKT, &on) && on, "packet mode");
	check(fcntl(plain.master, F_GETFL) & O_NONBLOCK, "the master's O_NONBLOCK");
	check(gets_bytes(plain.master, "\0x\r\ny\r\n", 7), "the packet");
	check(gets_bytes(plain.slave, noise, sizeof(noise)), "the bytes without lines");
	check(!tcgetattr(plain.slave, &t) && t.c_cc[VMIN] == 3 && t.c_cc[VTIME] == 1 &&
		      t.c_iflag == (ICRNL | IXON | ISTRIP | PARMRK) &&
		      t.c_lflag == (ISIG | ECHO | IEXTEN),
	      "the settings without lines");
	check(is_empty(plain.slave) && is_empty(plain.master), "there is more");
	put(plain.master, "\r", 1);
	check(gets(plain.slave, "\n") && gets_bytes(plain.master, "\0\r\n", 3), "what is typed");
}

/* --- the others --- */

static struct pair closed, shut, part;
static int watch, loose;

static void make_others(void)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 42};
	int on = 1;

	closed = pair(0, 0);
	put(closed.master, "later\nwith", 10);
	wait_for(closed.slave, 6);
	wait_for(closed.master, 11);
	put(closed.slave, "bye\n", 4);
	close(closed.slave);
	shut = pair(0, 0);
	/* A slave may have a lower number than its master. */
	on = must(fcntl(shut.master, F_DUPFD_CLOEXEC, 60));
	close(shut.master);
	shut.master = on;
	must(ioctl(shut.slave, TIOCEXCL));
	must(ioctl(shut.master, TIOCSPTLCK, &on));
	part = pair(0, O_CLOEXEC);
	set(part.slave, ECHOCTL, NOFLSH);
	put(part.master, "only a part", 11);
	wait_for(part.master, 11);
	loose = must(fcntl(part.slave, F_DUPFD, 50));
	must(fcntl(part.master, F_SETOWN, getpid()));
	watch = must(epoll_create1(0));
	must(epoll_ctl(watch, EPOLL_CTL_ADD, part.slave, &e));
}

static void check_others(void)
{
	struct pollfd p = {.fd = closed.master, .events = POLLIN};
	int is_exclusive = 0, is_locked = 0, slave;
	struct epoll_event e = {0};

	check(poll(&p, 1, 0) == 1 && p.revents & POLLHUP, "the slave is not closed");
	check(gets(closed.master, "later\r\nwithbye\r\n"), "what the closed slave wrote");
	check(read(closed.master, noise, 10) < 0 && errno == EIO, "the end of a closed slave");
	slave = ioctl(closed.master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
	check(slave >= 0 && gets(slave, "later\n"), "the closed slave's line");
	put(closed.master, "out\n", 4);
	check(gets(slave, "without\n"), "the closed slave's next line");
	check(!ioctl(shut.slave, TIOCGEXCL, &is_exclusive) && is_exclusive, "it is not exclusive");
	check(!ioctl(shut.master, TIOCGPTLCK, &is_locked) && is_locked, "it is not locked");
	check(fcntl(shut.master, F_GETFD) == FD_CLOEXEC && fcntl(shut.slave, F_GETFD) == 0 &&
		      fcntl(part.slave, F_GETFD) == FD_CLOEXEC && fcntl(loose, F_GETFD) == 0 &&
		      !(fcntl(shut.slave, F_GETFL) & O_CLOEXEC),
	      "close-on-exec");
	put(shut.master, "x\n", 2);
	check(gets(shut.slave, "x\n"), "the locked one");
	check(is_empty(part.slave) && gets(part.master, "only a part"), "a part alone");
	check(fcntl(part.master, F_GETOWN) == getpid(), "whom its signals tell");
	check(epoll_wait(watch, &e, 1, 0) == 0, "an event too many");
	put(part.master, "\x15whole\n", 7);
	check(epoll_wait(watch, &e, 1, 5000) == 1 && e.data.u64 == 42, "no event");
	check(gets(part.slave, "whole\n"), "the part is not killed");
}

int main(int argc, char **argv)
{
	subject_init(argc, argv);
	make_lines();
	make_plain();
	make_others();
	subject_wait();
	check_lines();
	check_plain();
	check_others();
	return subject_done();
}
