/* Counters, timers, signals, epolls, sockets; and damaged notes of them. */
#include "files_fixture.h"

/* --- counters, timers, signals, epoll --- */

static void build_counters(void)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u64 = 0x123456789abcdef0};
	struct itimerspec once = {.it_value = {3600, 0}}, soon = {{7200, 0}, {0, 1}},
			  date = {.it_value = {4000000000, 5}};
	sigset_t mask;
	uint64_t big = 1ull << 40;

	CHECK_INT(eventfd(5, EFD_SEMAPHORE | EFD_NONBLOCK), 3);
	CHECK_INT(eventfd(0, EFD_CLOEXEC), 4);
	CHECK_INT(write(4, &big, 8), 8);
	CHECK_INT(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), 5);
	CHECK_INT(timerfd_settime(5, 0, &once, NULL), 0);
	CHECK_INT(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC), 6);
	CHECK_INT(timerfd_settime(6, 0, &soon, NULL), 0);
	CHECK_INT(timerfd_create(CLOCK_REALTIME, 0), 7);
	CHECK_INT(timerfd_settime(7, TFD_TIMER_ABSTIME, &date, NULL), 0);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGRTMIN + 3);
	CHECK_INT(signalfd(-1, &mask, SFD_NONBLOCK), 8);
	CHECK_INT(epoll_create1(EPOLL_CLOEXEC), 9);
	CHECK_INT(epoll_ctl(9, EPOLL_CTL_ADD, 3, &ev), 0);
	ev = (struct epoll_event){.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 7};
	CHECK_INT(epoll_ctl(9, EPOLL_CTL_ADD, 6, &ev), 0);
	CHECK_INT(dup(3), 10);
	CHECK_INT(epoll_ctl(9, EPOLL_CTL_ADD, 10, &ev), 0);
	CHECK_INT(timerfd_create(CLOCK_MONOTONIC, 0), 11); /* not armed */
	CHECK_INT(dup(9), 12);
	while (poll(&(struct pollfd){.fd = 6, .events = POLLIN}, 1, -1) != 1)
		;
}

static void verify_counters(void)
{
	struct epoll_event ev[8];
	struct signalfd_siginfo si;
	struct itimerspec it;
	sigset_t mask;
	uint64_t n = 0;
	bool seen = false;

	MUST(read(3, &n, 8) == 8 && n == 1 && (fcntl(3, F_GETFL) & O_NONBLOCK));
	MUST(read(10, &n, 8) == 8 && n == 1);
	MUST(read(4, &n, 8) == 8 && n == 1ull << 40 && has_cloexec(4));
	MUST(!timerfd_gettime(5, &it) && it.it_value.tv_sec > 3500 && it.it_value.tv_sec <= 3600);
	MUST(!timerfd_gettime(11, &it) && it.it_value.tv_sec == 0 && it.it_value.tv_nsec == 0);
	MUST(epoll_wait(12, ev, 8, 0) == 3 && has_cloexec(9) && !has_cloexec(12));
	for (int i = 0; i < 3; i++)
		seen |= ev[i].data.u64 == 0x123456789abcdef0;
	MUST(seen && epoll_wait(9, ev, 8, 0) == 0); /* edge, and once only */
	MUST(read(6, &n, 8) == 8 && n == 1);
	MUST(!timerfd_gettime(6, &it) && it.it_interval.tv_sec == 7200);
	MUST(it.it_value.tv_sec > 7000 && it.it_value.tv_sec <= 7200);
	MUST(!timerfd_gettime(7, &it));
	MUST(llabs(it.it_value.tv_sec + time(NULL) - 4000000000) <= 1);
	sigfillset(&mask);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	kill(getpid(), SIGUSR2);
	MUST(read(8, &si, sizeof(si)) == -1 && errno == EAGAIN);
	kill(getpid(), SIGRTMIN + 3);
	MUST(read(8, &si, sizeof(si)) == sizeof(si) && (int)si.ssi_signo == SIGRTMIN + 3);
}

static void counters_timers_signals_and_epolls_go_on(void)
{
	capture(build_counters, NULL);
	restore(verify_counters);
}

static void build_stale_epoll(void)
{
	struct epoll_event ev = {.events = EPOLLIN};

	CHECK_INT(eventfd(0, 0), 3);
	CHECK_INT(dup(3), 4);
	CHECK_INT(epoll_create1(0), 5);
	CHECK_INT(epoll_ctl(5, EPOLL_CTL_ADD, 3, &ev), 0);
	close(3);
}

/* The number is taken by another eventfd: the same inode, only kcmp can tell. */
static void build_reused_epoll(void)
{
	build_stale_epoll();
	CHECK_INT(eventfd(0, 0), 3);
}

static void build_nested_epoll(void)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 33};

	CHECK_INT(epoll_create1(0), 3);
	CHECK_INT(epoll_create1(0), 4);
	CHECK_INT(epoll_ctl(3, EPOLL_CTL_ADD, 4, &ev), 0);
	CHECK_INT(eventfd(1, 0), 5);
	CHECK_INT(epoll_ctl(4, EPOLL_CTL_ADD, 5, &ev), 0);
}

static void verify_nested_epoll(void)
{
	struct epoll_event ev;
	uint64_t n;

	MUST(epoll_wait(3, &ev, 1, 0) == 1 && ev.data.u64 == 33);
	MUST(read(5, &n, 8) == 8 && epoll_wait(3, &ev, 1, 0) == 0);
}

static void an_epoll_may_watch_an_epoll(void)
{
	capture(build_nested_epoll, NULL);
	restore(verify_nested_epoll);
}

static void epolls_that_cannot_be_made_again_are_refused(void)
{
	CHECK_INT(capture_only(build_stale_epoll, NULL), -ENOTSUP);
	CHECK(strstr(err.what, "descriptor 3"));
	CHECK_INT(capture_only(build_reused_epoll, NULL), -ENOTSUP);
	CHECK(strstr(err.what, "descriptor 3"));
}

/* --- sockets --- */

static void build_pairs(void)
{
	int p[2], one = 1, size = 70000;
	static char big[60000];

	memset(big, 'b', sizeof(big));
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0); /* 3, 4 */
	CHECK_INT(write(3, "for4", 4), 4);
	CHECK_INT(write(4, "for", 3), 3);
	CHECK_INT(write(4, "3", 1), 1);
	CHECK_INT(shutdown(3, SHUT_WR), 0);
	CHECK_INT(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p),
		  0); /* 5, 6 */
	CHECK_INT(send(5, "first", 5, 0), 5);
	CHECK_INT(send(5, "", 0, 0), 0);
	CHECK_INT(send(5, big, sizeof(big), 0), sizeof(big));
	CHECK_INT(setsockopt(6, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)), 0);
	CHECK_INT(setsockopt(6, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	CHECK_INT(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, p), 0); /* 7, 8 */
	CHECK_INT(send(7, "a", 1, 0), 1);
	CHECK_INT(send(7, "bc", 2, 0), 2);
	CHECK_INT(close(7), 0);
	CHECK_INT(dup2(4, 11), 11);
}

static void verify_pairs(void)
{
	static char got[100000];
	int v = 0, peek = 0;
	socklen_t len = sizeof(v);

	MUST(read(11, got, 100) == 4 && !memcmp(got, "for4", 4));
	MUST(read(4, got, 100) == 0); /* shut */
	MUST(read(3, got, 100) == 4 && !memcmp(got, "for3", 4));
	MUST(write(4, "x", 1) == 1 && read(3, got, 100) == 1);
	MUST(send(3, "y", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
	MUST(recv(6, got, sizeof(got), 0) == 5 && !memcmp(got, "first", 5));
	MUST(recv(6, got, sizeof(got), 0) == 0);
	MUST(recv(6, got, sizeof(got), 0) == 60000 && got[59999] == 'b');
	MUST(recv(6, got, sizeof(got), 0) == -1 && errno == EAGAIN);
	MUST(has_cloexec(5) && has_cloexec(6) && !has_cloexec(3) && !has_cloexec(11));
	MUST(!getsockopt(6, SOL_SOCKET, SO_PASSCRED, &v, &len) && v == 1);
	MUST(!getsockopt(6, SOL_SOCKET, SO_SNDBUF, &v, &len) && v == 140000);
	MUST(!getsockopt(6, SOL_SOCKET, SO_PEEK_OFF, &peek, &len) && peek == -1);
	MUST(send(6, "z", 1, 0) == 1 && recv(5, got, 10, 0) == 1);
	MUST(recv(8, got, 10, 0) == 1 && recv(8, got, 10, 0) == 2 && recv(8, got, 10, 0) == 0);
	MUST(send(8, "z", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
}

static void socket_pairs_keep_messages_and_options(void)
{
	capture(build_pairs, NULL);
	restore(verify_pairs);
}

static void build_messages(void)
{
	int p[2];

	CHECK_INT(socketpair(AF_UNIX, SOCK_DGRAM, 0, p), 0); /* 3, 4 */
	CHECK_INT(send(3, "first", 5, 0), 5);
	CHECK_INT(send(3, "2", 1, 0), 1);
	CHECK_INT(send(3, "third", 5, 0), 5);
}

/* Timers that look the same; every third of them is a duplicate. */
static void build_many(void)
{
	for (int fd = 3; fd < 3 + 900; fd++)
		CHECK_INT(fd % 3 == 2 ? dup(fd - 1) : timerfd_create(CLOCK_MONOTONIC, 0), fd);
}

static void build_unread(void)
{
	int p[2];

	CHECK_INT(pipe(p), 0); /* 3, 4 */
	CHECK_INT(write(4, "unread", 6), 6);
}

/* What was peeked at must still be there, and be peeked at from the beginning. */
static void capture_leaves_pipes_and_sockets_as_they_were(void)
{
	struct capture c = {.remote = &target, .proc = &proc, .notice = take_notice};
	pid_t pid = start_target(build_messages, NULL);
	int dup_fd, v = 0;
	socklen_t len = sizeof(v);
	char got[8];

	for (int i = 0; i < 3; i++) {
		err = ERR_INIT;
		memset(&proc, 0, sizeof(proc));
		CHECK_INT(state_files.capture(&c, &proc, &err), 0);
		CHECK_INT(files_find(proc.files, 4)->unix_pair.queue.n, 3);
		state_files.done(&proc);
	}
	dup_fd = remote_getfd(&target, 4);
	CHECK(dup_fd >= 0 && !getsockopt(dup_fd, SOL_SOCKET, SO_PEEK_OFF, &v, &len));
	CHECK_INT(v, -1);
	CHECK_INT(recv(dup_fd, got, sizeof(got), 0), 5);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	pid = start_target(build_unread, NULL);
	CHECK_INT(state_files.capture(&c, &proc, &err), 0);
	dup_fd = remote_getfd(&target, 3);
	CHECK(!ioctl(dup_fd, FIONREAD, &v));
	CHECK_INT(v, 6);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void build_rights(void)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {(char[]){'x'}, 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	int p[2];

	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memset(CMSG_DATA(h), 0, sizeof(int));
	CHECK_INT(sendmsg(3, &m, 0), 1);
}

static void without_pidfd_getfd_the_remedy_is_named(void)
{
	deny(SYS_pidfd_getfd);
	CHECK_INT(capture_only(build_messages, NULL), -EPERM);
	CHECK_INT(err.exit, EXIT_PERMISSION);
	CHECK(strstr(err.what, "fd 3") && strstr(err.hint, "SYS_PTRACE"));
}

static void many_descriptors_are_told_apart(void)
{
	struct rlimit lim;

	getrlimit(RLIMIT_NOFILE, &lim);
	lim.rlim_cur = lim.rlim_max < 6000 ? lim.rlim_max : 6000;
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &lim), 0);
	capture(build_many, NULL);
	CHECK_INT(proc.files->nfds, 3 + 900);
	CHECK_INT(proc.files->nfiles, 3 + 600);
	for (int fd = 3; fd < 3 + 900; fd++) {
		const struct open_file *f = files_find(proc.files, fd);

		CHECK((f == files_find(proc.files, fd - fd % 3 + 1)) == (fd % 3 != 0));
	}
}

static void descriptor_in_flight_is_the_programs_own(void)
{
	const struct open_file *f;

	CHECK_INT(capture_only(build_rights, NULL), 0);
	f = files_find(proc.files, 4);
	CHECK_INT(f->unix_pair.queue.n, 1);
	CHECK_INT(f->unix_pair.queue.v[0].nfiles, 1);
	CHECK(&proc.files->files[f->unix_pair.queue.v[0].files[0]] == files_find(proc.files, 0));
	CHECK_INT(proc.files->flight_from, 0);
}

static void build_listeners(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 b = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 4};
	int one = 1;

	CHECK_INT(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), 3);
	CHECK_INT(setsockopt(3, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)), 0);
	CHECK_INT(bind(3, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_INT(listen(3, 37), 0);
	CHECK_INT(epoll_create1(0), 4);
	CHECK_INT(epoll_ctl(4, EPOLL_CTL_ADD, 3, &ev), 0);
	CHECK_INT(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), 5);
	CHECK_INT(setsockopt(5, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)), 0);
	CHECK_INT(setsockopt(5, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	CHECK_INT(bind(5, (struct sockaddr *)&b, sizeof(b)), 0);
	CHECK_INT(listen(5, 5), 0);
}

static uint16_t port_was;

static void verify_listeners(void)
{
	struct sockaddr_in a = {0};
	struct tcp_info info = {0};
	struct epoll_event ev;
	socklen_t len = sizeof(a), ilen = sizeof(info), vlen = sizeof(int);
	int v = 0, fd;

	MUST(!getsockname(3, (struct sockaddr *)&a, &len) && a.sin_port == port_was);
	MUST(!getsockopt(3, IPPROTO_TCP, TCP_INFO, &info, &ilen) && info.tcpi_sacked == 37);
	MUST(!getsockopt(3, SOL_SOCKET, SO_REUSEADDR, &v, &vlen) && v == 0);
	MUST(!getsockopt(3, SOL_SOCKET, SO_KEEPALIVE, &v, &vlen) && v == 1);
	MUST(!getsockopt(5, SOL_SOCKET, SO_REUSEADDR, &v, &vlen) && v == 1);
	MUST(!getsockopt(5, IPPROTO_IPV6, IPV6_V6ONLY, &v, &vlen) && v == 1);
	MUST(has_cloexec(5) && (fcntl(3, F_GETFL) & O_NONBLOCK));
	fd = socket(AF_INET, SOCK_STREAM, 0);
	MUST(!connect(fd, (struct sockaddr *)&a, len));
	MUST(epoll_wait(4, &ev, 1, 5000) == 1 && accept(3, NULL, NULL) >= 0);
}

static void listening_sockets_listen_again(void)
{
	struct sockaddr_in a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	capture(build_listeners, NULL);
	memcpy(&a, files_find(proc.files, 3)->listen.addr, sizeof(a));
	port_was = a.sin_port;
	restore(verify_listeners);
	CHECK(!bind(fd, (struct sockaddr *)&a, sizeof(a)) || errno == EADDRINUSE);
	CHECK_INT(listen(fd, 1), 0);
	CHECK_INT(check_only(), -EADDRINUSE);
	CHECK(strstr(err.what, "127.0.0.1:") && strstr(err.hint, "ss -ltnp"));
}

/* --- images from anybody --- */

static void damaged_notes_never_crash(void)
{
	struct buf b = {0};
	struct codec c = codec_writer(&b);
	unsigned seed = 1, accepted = 0;

	capture(build_pairs, NULL);
	state_files.codec(&c, &proc);
	state_files.done(&proc);
	for (int i = 0; i < 20000; i++) {
		char *copy = malloc(b.len);
		size_t len = i % 3 ? b.len : (size_t)rand_r(&seed) % b.len;

		memcpy(copy, b.p, b.len);
		for (int k = 0; k < i % 4; k++)
			copy[(size_t)rand_r(&seed) % (i % 2 ? b.len : 300)] ^= (char)rand_r(&seed);
		memset(&proc, 0, sizeof(proc));
		err = ERR_INIT;
		c = codec_reader(copy, len);
		state_files.codec(&c, &proc);
		if (!c.bad && !c.left && !state_files.validate(&proc, &err)) {
			char text[200];

			accepted++;
			for (size_t f = 0; f < proc.files->nfiles; f++)
				files_describe(proc.files, &proc.files->files[f], text,
					       sizeof(text));
		}
		state_files.done(&proc);
		free(copy);
	}
	CHECK(accepted > 0);
}

static void impossible_values_are_refused(void)
{
	capture(build_counters, NULL);
	proc.files->fds[3].file = 99;
	CHECK_INT(state_files.validate(&proc, &err), -EBADMSG);
	CHECK_INT(err.exit, EXIT_BAD_IMAGE);
	proc.files->fds[3].file = 3;
	err = ERR_INIT;
	CHECK_INT(state_files.validate(&proc, &err), 0);
	proc.files->fds[proc.files->nfds - 1].fd = FILES_MAX;
	CHECK_INT(state_files.validate(&proc, &err), -EBADMSG);
	err = ERR_INIT;
	proc.files->fds[proc.files->nfds - 1].fd = 3;
	CHECK_INT(state_files.validate(&proc, &err), -EBADMSG);
	err = ERR_INIT;
	proc.files->fds[proc.files->nfds - 1].fd = 12;
	proc.files->files[0].kind = FILE_KIND_END;
	CHECK_INT(state_files.validate(&proc, &err), -EBADMSG);
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(counters_timers_signals_and_epolls_go_on),
		TEST(an_epoll_may_watch_an_epoll),
		TEST(epolls_that_cannot_be_made_again_are_refused),
		TEST(socket_pairs_keep_messages_and_options),
		TEST(capture_leaves_pipes_and_sockets_as_they_were),
		TEST(without_pidfd_getfd_the_remedy_is_named),
		TEST(many_descriptors_are_told_apart),
		TEST(descriptor_in_flight_is_the_programs_own),
		TEST(listening_sockets_listen_again),
		TEST(damaged_notes_never_crash),
		TEST(impossible_values_are_refused),
	};

	return files_main(tests, ARRAY_SIZE(tests), argc, argv);
}
