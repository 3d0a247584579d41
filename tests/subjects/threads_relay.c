/*
 * The first thread has ended and was joined; of the others each makes the next one and ends.  So
 * whoever speaks for the process is about to end, at any moment.
 * test: build=static
 */
#include "subject.h"

#define PAGES 300

static pthread_t leader;
static volatile unsigned char *pages;
static volatile unsigned turn;

static void *speak(void *arg);

static void hand_over(void)
{
	pthread_attr_t a;
	pthread_t t;

	pthread_attr_init(&a);
	pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&t, &a, speak, NULL))
		die("pthread_create");
}

static void verify(void)
{
	for (unsigned i = 0; i < PAGES; i++) {
		unsigned n = turn > i ? (turn - 1 - i) / PAGES * PAGES + i + 1 : 0;

		check(pages[i * 4096L] == (unsigned char)n, "page %u is %u, not %u, in turn %u", i,
		      pages[i * 4096L], n & 0xff, turn);
	}
	exit(subject_done());
}

/* Each writes to one page, and is gone. */
static void *speak(void *arg)
{
	if (turn == 0) {
		pthread_join(leader, NULL);
		subject_ready();
	}
	pages[turn % PAGES * 4096L] = (unsigned char)(turn + 1);
	turn++;
	if (turn % 16 == 0 && subject_poll())
		verify();
	nap(turn % 3);
	hand_over();
	return arg;
}

int main(int argc, char **argv)
{
	subject_init(argc, argv);
	pages = must(mmap(NULL, PAGES * 4096L, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0));
	leader = pthread_self();
	hand_over();
	pthread_exit(NULL);
}
