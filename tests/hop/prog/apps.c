/*
 * The course's three programs and the eleven that students added, written anew
 * from what they print: apps NAME PEER MODE.  Each prints its client part before
 * the hop and its server part after it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "psu_thread.h"

static char remote[256];

static void print_hostname(void)
{
	char name[256];

	gethostname(name, sizeof(name));
	printf("Hostname: %s\n", name);
}

static void *app1(void *arg)
{
	(void)arg;
	print_hostname();
	printf("Foo: Entry\n");
	psu_thread_migrate(remote);
	print_hostname();
	printf("Foo: Exit\n");
	return NULL;
}

static void *app2(void *arg)
{
	int a = (int)(intptr_t)arg;

	print_hostname();
	printf("A = %d\n", a);
	psu_thread_migrate(remote);
	print_hostname();
	printf("A = %d\n", a);
	return NULL;
}

static void *app3(void *arg)
{
	int a = (int)(intptr_t)arg;

	print_hostname();
	printf("Bar: Value of A = %d\n", a);
	if (a == 3)
		psu_thread_migrate(remote);
	if (a == 5) {
		print_hostname();
		printf("Bar: Exit Value of A = %d\n", a);
		return NULL;
	}
	app3((void *)(intptr_t)(a + 1));
	print_hostname();
	printf("Bar: Exit Value of A = %d\n", a);
	return NULL;
}

__attribute__((noinline)) static void bar4(void)
{
	printf("Bar: Entry\n");
	psu_thread_migrate(remote);
	print_hostname();
	printf("Bar: Exit\n");
}

static void *app4(void *arg)
{
	(void)arg;
	print_hostname();
	printf("Foo: Entry\n");
	bar4();
	printf("Foo: Exit\n");
	return NULL;
}

static void *app5(void *arg)
{
	int n = (int)(intptr_t)arg, i;

	print_hostname();
	for (i = 0; i < n; i++)
		printf("%d\n", i);
	psu_thread_migrate(remote);
	print_hostname();
	for (i = 0; i < n; i++)
		printf("%d\n", i);
	return NULL;
}

#define NEST(name, next, text)                                                                     \
	__attribute__((noinline)) static void name(void)                                           \
	{                                                                                          \
		printf("%s: Entry\n", text);                                                       \
		next;                                                                              \
		printf("%s: Exit\n", text);                                                        \
	}
NEST(foo5, psu_thread_migrate(remote), "Foo5")
NEST(foo4, foo5(), "Foo4")
NEST(foo3, foo4(), "Foo3")
NEST(foo2, foo3(), "Foo2")
NEST(foo1, foo2(), "Foo1")

static void *app6(void *arg)
{
	(void)arg;
	print_hostname();
	printf("Foo: Entry\n");
	foo1();
	print_hostname();
	printf("Foo: Exit\n");
	return NULL;
}

static void *app7(void *arg)
{
	int n = (int)(intptr_t)arg, i, j;

	print_hostname();
	for (i = 0; i < n; i++)
		printf("%d\n", i);
	psu_thread_migrate(remote);
	print_hostname();
	for (j = i - 1; j >= 0; j--)
		printf("%d\n", j);
	return NULL;
}

static void *app8(void *arg)
{
	int a = (int)(intptr_t)arg, b = 1, c = 2, d = 3, e = 4;

	print_hostname();
	printf("%d %d %d %d %d\n", a, b, c, d, e);
	a++, b++, c++, d++, e++;
	psu_thread_migrate(remote);
	int f = 6, g = 7, h = 8;
	print_hostname();
	printf("%d %d %d %d %d %d %d %d\n", a, b, c, d, e, f, g, h);
	return NULL;
}

#define CHAIN(name, local, letter, next)                                                           \
	__attribute__((noinline)) static void name(int *arg)                                       \
	{                                                                                          \
		int v = local;                                                                     \
                                                                                                   \
		printf("%c = %d, arg = %ld\n", letter, v, (long)(intptr_t)arg);                    \
		next;                                                                              \
		v++;                                                                               \
		printf("%c = %d, arg = %ld\n", letter, v, (long)(intptr_t)arg);                    \
	}
CHAIN(chain5, 5, 'f', psu_thread_migrate(remote))
CHAIN(chain4, 4, 'e', chain5(arg + 50))
CHAIN(chain3, 3, 'd', chain4(arg + 40))
CHAIN(chain2, 2, 'c', chain3(arg + 30))
CHAIN(chain1, 1, 'b', chain2(arg + 20))
CHAIN(chain0, 0, 'a', chain1(arg + 10))

static void *app9(void *arg)
{
	print_hostname();
	chain0(arg);
	print_hostname();
	return NULL;
}

static void *app10(void *arg)
{
	int a = (int)(intptr_t)arg, round;

	print_hostname();
	for (round = 0; round < 3; round++)
		switch (a) {
		case 10:
			printf("a = %d\n", a);
			a *= 10;
			psu_thread_migrate(remote);
			print_hostname();
			break;
		case 100:
			printf("a = %d\n", a);
			a *= 10;
			break;
		default:
			printf("default a = %d\n", a);
		}
	return NULL;
}

static void *app11(void *arg)
{
	int a = (int)(intptr_t)arg;
	size_t b = (size_t)&a;

	print_hostname();
	printf("a = %d, own address %s\n", a, b == (size_t)&a ? "right" : "wrong");
	psu_thread_migrate(remote);
	print_hostname();
	*(int *)b += 1;
	printf("a = %d, own address %s\n", a, b == (size_t)&a ? "right" : "wrong");
	return NULL;
}

__attribute__((noinline)) static void bar12(void)
{
	int arr2[50], i;

	for (i = 0; i < 50; i++)
		arr2[i] = 10 * i;
	for (i = 0; i < 25; i++)
		printf("%d\n", arr2[i]);
	psu_thread_migrate(remote);
	print_hostname();
	for (; i < 50; i++)
		printf("%d\n", arr2[i]);
}

static void *app12(void *arg)
{
	int arr1[25], i;

	(void)arg;
	print_hostname();
	for (i = 0; i < 25; i++)
		arr1[i] = i;
	bar12();
	for (i = 0; i < 25; i++)
		printf("%d\n", arr1[i]);
	return NULL;
}

static void *ant4(void *arg)
{
	int a = (int)(intptr_t)arg;
	int b = (int)(intptr_t)&a; /* a pointer cut to an int: the students' bug, kept */
	int *p = &a;

	print_hostname();
	printf("a = %d, p %s, b %s\n", *p, p == &a ? "same" : "other",
	       b == (int)(intptr_t)&a ? "same" : "other");
	psu_thread_migrate(remote);
	print_hostname();
	printf("a = %d, p %s, b %s\n", *p, p == &a ? "same" : "other",
	       b == (int)(intptr_t)&a ? "same" : "other");
	return NULL;
}

__attribute__((noinline)) static void t2(int c)
{
	printf("c = %d\n", c);
}

__attribute__((noinline)) static void t1(int b)
{
	printf("b = %d\n", b);
	t2(b + 1);
	psu_thread_migrate(remote);
	t2(b + 2);
}

static void *ant5(void *arg)
{
	int a = (int)(intptr_t)arg, i;

	print_hostname();
	for (i = 0; i < 10; i++)
		a++;
	printf("a = %d\n", a);
	t1(a);
	print_hostname();
	for (i = 0; i < 10; i++)
		a++;
	printf("a = %d\n", a - 0);
	return NULL;
}

static const struct {
	const char *name;
	void *(*func)(void *);
	intptr_t arg;
} apps[] = {{"app1", app1, 0},  {"app2", app2, 10},   {"app3", app3, 1},   {"app4", app4, 0},
	    {"app5", app5, 10}, {"app6", app6, 0},    {"app7", app7, 10},  {"app8", app8, 10},
	    {"app9", app9, 0},  {"app10", app10, 10}, {"app11", app11, 1}, {"app12", app12, 0},
	    {"ant4", ant4, 10}, {"ant5", ant5, 10}};

int main(int argc, char **argv)
{
	size_t i;

	if (argc < 4) {
		printf("Waiting for goodbye\n");
		return 0;
	}
	psu_thread_setup_init(atoi(argv[3]));
	snprintf(remote, sizeof(remote), "%s", argv[2]);
	for (i = 0; i < sizeof(apps) / sizeof(apps[0]); i++)
		if (!strcmp(argv[1], apps[i].name)) {
			psu_thread_create(apps[i].func, (void *)apps[i].arg);
			printf("Main: Exit\n");
			return 0;
		}
	return 2;
}
