/* A pointer to the own stack stays valid: the stack has the same address on every host. */
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
	int a = (int)(long)arg;
	int *p = &a;

	print_hostname();
	printf("Foo: Entry, a = %d, p = %p\n", *p, (void *)p);
	psu_thread_migrate(remote);
	*p += 1;
	print_hostname();
	printf("Foo: Exit, a = %d, p = %p\n", a, (void *)&a);
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
	psu_thread_create(foo, (void *)10);
	return 0;
}
