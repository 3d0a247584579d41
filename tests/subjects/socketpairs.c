/*
 * Socket pairs: stream, datagram, sequenced packets; unread data both ways, options,
 * half closed, one end closed.
 */
#include <poll.h>
#include <sys/socket.h>

#include "subject.h"

int main(int argc, char **argv)
{
	static char buf[200000], now[200000];
	int stream[2], dgram[2], seq[2], half[2], orphan[2], v;
	socklen_t len = sizeof(v);

	subject_init(argc, argv);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream));
	must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, dgram));
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, seq));
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, half));
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, orphan));
	fill(buf, sizeof(buf), 4);
	must(write(stream[0], buf, 60000));
	must(write(stream[1], "other way", 9));
	must(write(dgram[0], "one", 3));
	must(write(dgram[0], "", 0));
	must(write(dgram[0], "three", 5));
	must(write(dgram[1], "back", 4));
	must(write(seq[0], "packet", 6));
	must(write(seq[0], buf, 5000));
	must(write(half[0], "bye", 3));
	must(shutdown(half[0], SHUT_WR));
	must(write(orphan[1], "will", 4));
	close(orphan[1]);
	v = 30000;
	must(setsockopt(stream[1], SOL_SOCKET, SO_SNDBUF, &v, sizeof(v)));
	must(getsockopt(stream[1], SOL_SOCKET, SO_SNDBUF, &v, &len));
	int sndbuf = v;
	int high = must(fcntl(stream[0], F_DUPFD, 300));
	subject_wait();

	int got = 0, r;
	while (got < 60000 && (r = read(stream[1], now + got, 60000 - got)) > 0)
		got += r;
	check(got == 60000 && !memcmp(now, buf, 60000), "stream: unread data");
	check(read(high, now, 100) == 9 && !memcmp(now, "other way", 9), "stream: the other way");
	must(write(high, "works", 5));
	check(read(stream[1], now, 100) == 5, "stream: does not work");
	check(fcntl(stream[1], F_GETFD) & FD_CLOEXEC, "stream: close-on-exec is lost");
	len = sizeof(v);
	must(getsockopt(stream[1], SOL_SOCKET, SO_SNDBUF, &v, &len));
	check(v == sndbuf, "SO_SNDBUF is %d, was %d", v, sndbuf);
	check(read(dgram[1], now, 100) == 3, "datagram 1");
	check(read(dgram[1], now, 100) == 0, "the empty datagram");
	check(read(dgram[1], now, 100) == 5 && !memcmp(now, "three", 5), "datagram 3");
	check(read(dgram[1], now, 100) < 0 && errno == EAGAIN, "a datagram too many");
	check(read(dgram[0], now, 100) == 4, "datagram back");
	check(read(seq[1], now, 100) == 6, "packet 1");
	check(read(seq[1], now, 10000) == 5000 && !memcmp(now, buf, 5000), "packet 2");
	check(read(half[1], now, 100) == 3 && read(half[1], now, 100) == 0, "half closed");
	check(write(half[1], "still", 5) == 5 && read(half[0], now, 100) == 5,
	      "the open half does not work");
	check(read(orphan[0], now, 100) == 4 && read(orphan[0], now, 100) == 0,
	      "the orphan's last words");
	check(send(orphan[0], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "the orphan has a peer");
	return subject_done();
}
