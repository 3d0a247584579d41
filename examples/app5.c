/* Nested functions: the one that hops has callers, and calls others before and after. */
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

static int t1(int a);
static int t2(int c);

static void *foo(void *arg)
{
	int a = (int)(long)arg, i;

	print_hostname();
	for (i = 0; i < 10; i++)
		a++;
	printf("Foo: a = %d\n", a);
	a = t1(a);
	print_hostname();
	printf("Foo: a = %d\n", a + 10);
	return NULL;
}

static int t1(int a)
{
	int b = a;

	printf("T1: b = %d\n", b);
	t2(b + 1);
	psu_thread_migrate(remote);
	t2(b + 2);
	return b;
}

static int t2(int c)
{
	printf("T2: c = %d\n", c);
	return c;
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
