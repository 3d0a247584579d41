/*
 * epoll: what is registered, with events and data; level, edge, one shot (also one
 * that is spent), a descriptor whose number was reused.
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "subject.h"

static void add(int ep, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = {.events = events, .data.u64 = data};

	must(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
}

/* Data of the ready ones, as a set of small numbers; -1 where a number is foreign. */
static int ready_set(int ep)
{
	struct epoll_event e[20];
	int n = epoll_wait(ep, e, 20, 0), set = 0;

	for (int i = 0; i < n; i++) {
		uint64_t v = e[i].data.u64 - 0xabcdef0000000000ULL;

		if (v > 20)
			return -1;
		set |= 1 << v;
	}
	return n < 0 ? -2 : set;
}

#define DATA(n) (0xabcdef0000000000ULL + (n))

int main(int argc, char **argv)
{

	int level[2], edge[2], oneshot[2], spent[2], idle[2], ep;

	subject_init(argc, argv);
	ep = must(epoll_create1(EPOLL_CLOEXEC));
	must(pipe(level));
	must(pipe(edge));
	must(pipe(oneshot));
	must(pipe(spent));
	must(pipe(idle));
	int ev = must(eventfd(0, 0));
	add(ep, level[0], EPOLLIN, DATA(1));
	add(ep, edge[0], EPOLLIN | EPOLLET, DATA(2));
	add(ep, oneshot[0], EPOLLIN | EPOLLONESHOT, DATA(3));
	add(ep, spent[0], EPOLLIN | EPOLLONESHOT, DATA(4));
	add(ep, idle[1], EPOLLIN | EPOLLRDHUP, DATA(5)); /* never ready */
	add(ep, ev, EPOLLIN | EPOLLOUT | EPOLLET, DATA(6));
	must(write(spent[1], "x", 1));
	struct epoll_event e[20];
	must(epoll_wait(ep, e, 20, 0)); /* uses up the one shot and the edge of ev */
	int dup_ep = must(dup(ep));
	subject_wait();

	/* An edge that was told may be told once more: epoll(7) allows it, a lost one not. */
	int first = ready_set(ep);
	check(first == 0 || first == 1 << 6, "ready before anything happened: %x", first);
	must(write(level[1], "a", 1));
	must(write(edge[1], "b", 1));
	must(write(oneshot[1], "c", 1));
	must(write(spent[1], "d", 1));
	check(ready_set(ep) == (1 << 1 | 1 << 2 | 1 << 3), "the ready set differs");
	check(ready_set(dup_ep) == 1 << 1, "level, edge and one shot are mixed up");
	char c;
	must(read(level[0], &c, 1));
	check(ready_set(ep) == 0, "ready without a reason");
	must(write(edge[1], "b", 1));
	check(ready_set(ep) == 1 << 2, "a second edge is lost");
	struct epoll_event mod = {.events = EPOLLIN, .data.u64 = DATA(8)};
	check(epoll_ctl(ep, EPOLL_CTL_MOD, spent[0], &mod) == 0, "the spent one is not registered");
	check(ready_set(ep) == 1 << 8, "the spent one does not come back");
	check(epoll_ctl(ep, EPOLL_CTL_DEL, idle[1], NULL) == 0, "the idle one is not registered");
	check(fcntl(ep, F_GETFD) & FD_CLOEXEC, "close-on-exec is lost");
	return subject_done();
}
