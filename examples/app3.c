/* A recursion hops at depth 3, goes deeper there, and returns through the frames it brought. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <stdlib.h>

#include "psu_thread.h"

static char remote[256];

static void print_hostname(void)
{
	char name[256];

	gethostname(name, sizeof(name));
	printf("Hostname: %s\n", name);
}

static void *bar(void *arg)
{
	int a = (int)(long)arg;

	print_hostname();
	printf("Bar: Value of A = %d\n", a);
	if (a == 3)
		psu_thread_migrate(remote);
	if (a == 5) {
		print_hostname();
		printf("Bar: Exit Value of A = %d\n", a);
		return NULL;
	}
	bar((void *)(long)(a + 1));
	print_hostname();
	printf("Bar: Exit Value of A = %d\n", a);
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		printf("Waiting for goodbye\n");
		return 0;
	}
	psu_thread_setup_init(atoi(argv[2]));
	snprintf(remote, sizeof(remote), "%s", argv[1]);
	psu_thread_create(bar, (void *)1);
	return 0;
}
