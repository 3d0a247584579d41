/*
 * Strict layout: before main, once, the program is started again with address
 * space randomisation off and a canonical stack limit, so that every module lies
 * where it lies on the other host.  Both matter: the stack limit decides where
 * the kernel starts to place mappings (a limit above 128 MiB moves them, an
 * unlimited one turns them upside down).
 *
 * Where personality(2) is forbidden (some containers), where PSU_LAYOUT=delta
 * asks so, or in a setuid program, nothing is done: the handshake then finds the
 * difference and the receiver shifts module addresses (fixup.c).
 */
#include "thread/psu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Tells the second life the stack limit to put back: "soft limit". */
#define AGAIN "PSU_LAYOUT_DONE"
#define CANONICAL_STACK (8UL << 20)

static void second_life(const char *old_limit, char **argv)
{
	const char *name = argv[0] ? strrchr(argv[0], '/') : NULL;
	struct rlimit r;

	if (getrlimit(RLIMIT_STACK, &r) == 0) {
		r.rlim_cur = strtoul(old_limit, NULL, 10);
		setrlimit(RLIMIT_STACK, &r);
	}
	/* The kernel named the process after /proc/self/exe. */
	if (argv[0])
		prctl(PR_SET_NAME, name ? name + 1 : argv[0]);
	unsetenv(AGAIN);
}

__attribute__((constructor)) static void layout_start(int argc, char **argv, char **envp)
{
	const char *again = getenv(AGAIN), *wish = getenv("PSU_LAYOUT");
	int persona = personality(0xffffffff);
	struct rlimit r;
	char text[32];

	(void)argc;
	(void)envp;
	if (again) {
		second_life(again, argv);
		return;
	}
	if (getauxval(AT_SECURE) || (wish && !strcmp(wish, "delta")) || persona == -1)
		return;
	if (getrlimit(RLIMIT_STACK, &r))
		return;
	if ((persona & ADDR_NO_RANDOMIZE) && r.rlim_cur <= CANONICAL_STACK)
		return;
	if (personality((unsigned long)persona | ADDR_NO_RANDOMIZE) == -1)
		return;
	snprintf(text, sizeof(text), "%lu", (unsigned long)r.rlim_cur);
	if (setenv(AGAIN, text, 1))
		return;
	if (r.rlim_cur > CANONICAL_STACK) {
		struct rlimit small = {.rlim_cur = CANONICAL_STACK, .rlim_max = r.rlim_max};

		setrlimit(RLIMIT_STACK, &small);
	}
	execv("/proc/self/exe", argv);
	/* Not possible (no /proc): go on as we are. */
	setrlimit(RLIMIT_STACK, &r);
	personality((unsigned long)persona);
	unsetenv(AGAIN);
}
