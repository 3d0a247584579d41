/* Fault points: see fault.h. */
#include "base/fault.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long fault_at;
static const char *fault_name; /* NULL: by number */
static bool fault_stops;
static atomic_long fault_passed; /* several threads pass */
static bool fault_list;
static int fault_front;

void fault_init(void)
{
	const char *s = getenv("GODWIT_FAULT");

	if (!s)
		return;
	fault_list = !strcmp(s, "list");
	fault_at = strtol(s, NULL, 10);
	fault_name = fault_at || fault_list ? NULL : s;
	fault_stops = getenv("GODWIT_FAULT_STOP") != NULL;
}

void fault_set_front(int pid)
{
	fault_front = getenv("GODWIT_FAULT_BOTH") ? pid : 0;
}

void fault_off(void)
{
	fault_at = 0;
	fault_name = NULL;
	fault_list = false;
}

void fault_point(const char *name)
{
	if (!fault_at && !fault_list && !fault_name)
		return;
	long passed = atomic_fetch_add(&fault_passed, 1) + 1;

	if (fault_list)
		fprintf(stderr, "fault point %ld: %s\n", passed, name);
	if (fault_name ? !strcmp(name, fault_name) : passed == fault_at) {
		if (fault_stops) {
			raise(SIGSTOP);
			return;
		}
		if (fault_front > 1)
			kill(fault_front, SIGKILL);
		kill(getpid(), SIGKILL);
	}
}
