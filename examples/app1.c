/* A function stops in the middle on one host and goes on on the other. */
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

static void *foo(void *arg)
{
	(void)arg;
	print_hostname();
	printf("Foo: Entry\n");
	psu_thread_migrate(remote);
	print_hostname();
	printf("Foo: Exit\n");
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
	psu_thread_create(foo, NULL);
	return 0;
}
