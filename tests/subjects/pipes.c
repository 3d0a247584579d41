/*
 * Pipes within the process: unread content, full, empty, packets, size, flags, one
 */
#include <poll.h>
#include <sys/ioctl.h>

#include "subject.h"

int main(int argc, char **argv)
{
	static char buf[1 << 20], now[1 << 20];
	int some[2], full[2], empty[2], packets[2], large[2], eof[2], broken[2], n = 0;

	subject_init(argc, argv);
	must(pipe(some));
	must(write(some[1], "unread bytes", 12));
	must(read(some[0], buf, 2));
	must(pipe2(full, O_NONBLOCK));
	fill(buf, sizeof(buf), 3);
	while (write(full[1], buf + n, 1000) == 1000)
		n += 1000;
	must(pipe2(empty, O_CLOEXEC));
	must(pipe2(packets, O_DIRECT | O_NONBLOCK));
	must(write(packets[1], "one", 3));
	must(write(packets[1], "three3", 6));
	must(pipe(large));
	int size = must(fcntl(large[1], F_SETPIPE_SZ, 300000));
	must(write(large[1], buf, 200000));
	must(pipe(eof));
	must(write(eof[1], "last", 4));
	close(eof[1]);
	must(pipe(broken));
	close(broken[0]);
	int dup_w = must(dup(some[1]));
	subject_wait();

	check(read(some[0], now, 100) == 10 && !memcmp(now, "read bytes", 10), "unread content");
	must(write(dup_w, "more", 4));
	check(read(some[0], now, 100) == 4 && !memcmp(now, "more", 4), "the pipe does not work");
	check(fcntl(full[0], F_GETFL) & O_NONBLOCK, "O_NONBLOCK is lost");
	check(write(full[1], buf, 1000) < 0 && errno == EAGAIN, "a full pipe is not full");
	int got = 0, r;
	while (got < n && (r = read(full[0], now + got, n - got)) > 0)
		got += r;
	check(got == n && !memcmp(now, buf, n), "the full pipe gives %d of %d bytes", got, n);
	check(read(full[0], now, 1) < 0 && errno == EAGAIN, "the full pipe gives more");
	struct pollfd p = {.fd = empty[0], .events = POLLIN};
	check(poll(&p, 1, 0) == 0, "the empty pipe is not empty");
	check(fcntl(empty[1], F_GETFD) & FD_CLOEXEC, "close-on-exec is lost");
	check(read(packets[0], now, 100) == 3, "a packet pipe lost its packets");
	check(read(packets[0], now, 100) == 6, "a packet pipe lost its second packet");
	check(fcntl(packets[1], F_GETFL) & O_DIRECT, "O_DIRECT of a packet pipe is lost");
	check(fcntl(large[0], F_GETPIPE_SZ) == size, "the pipe's size is %d, was %d",
	      fcntl(large[0], F_GETPIPE_SZ), size);
	got = 0;
	while (got < 200000 && (r = read(large[0], now + got, 200000 - got)) > 0)
		got += r;
	check(!memcmp(now, buf, 200000), "the large pipe's content");
	check(read(eof[0], now, 100) == 4 && read(eof[0], now, 100) == 0, "end of file is lost");
	struct pollfd q = {.fd = broken[1], .events = POLLOUT};
	check(poll(&q, 1, 0) == 1 && (q.revents & POLLERR), "a pipe without reader has one now");
	return subject_done();
}
