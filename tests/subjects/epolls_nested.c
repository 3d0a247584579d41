/*
 * An epoll that watches another one; kept, or refused.
 * test: doors=attach refuse=ok
 */
#include <sys/epoll.h>

#include "subject.h"

int main(int argc, char **argv)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 7};
	int p[2];

	subject_init(argc, argv);
	int inner = must(epoll_create1(0)), outer = must(epoll_create1(0));
	must(pipe(p));
	must(epoll_ctl(inner, EPOLL_CTL_ADD, p[0], &e));
	must(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &e));
	subject_wait();

	check(epoll_wait(outer, &e, 1, 0) == 0, "ready before anything happened");
	must(write(p[1], "x", 1));
	check(epoll_wait(outer, &e, 1, 1000) == 1 && e.data.u64 == 7,
	      "the outer one does not see it");
	return subject_done();
}
