/*
 * TAP for unit tests in C.  Each test is a function that runs in a process of
 * its own, under an alarm, so that a crash or a hang is one failed test:
 *
 *	static void keeps_offset(void) { CHECK(offset == 7); }
 *	int main(int argc, char **argv)
 *	{
 *		static const struct tap_test tests[] = {TEST(keeps_offset)};
 *		return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
 *	}
 *
 * Arguments are names of tests to run; without any, all.
 */
#ifndef GODWIT_TEST_TAP_H
#define GODWIT_TEST_TAP_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TAP_SECONDS 60
#define TAP_SKIP 77

struct tap_test {
	const char *name;
	void (*run)(void);
};

#define TEST(f)                                                                                    \
	{                                                                                          \
#f, f                                                                              \
	}

/* The test fails, and ends, with the place and the condition on stdout. */
#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			printf("# %s:%d: not true: %s\n", __FILE__, __LINE__, #cond);              \
			fflush(stdout);                                                            \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

#define CHECK_INT(got, wanted)                                                                     \
	do {                                                                                       \
		long long tap_got = (long long)(got), tap_wanted = (long long)(wanted);            \
		if (tap_got != tap_wanted) {                                                       \
			printf("# %s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #got,        \
			       tap_got, tap_wanted);                                               \
			fflush(stdout);                                                            \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

#define CHECK_STR(got, wanted)                                                                     \
	do {                                                                                       \
		const char *tap_got = (got), *tap_wanted = (wanted);                               \
		if (strcmp(tap_got, tap_wanted)) {                                                 \
			printf("# %s:%d: %s is\n#   %s\n# and not\n#   %s\n", __FILE__, __LINE__,  \
			       #got, tap_got, tap_wanted);                                         \
			fflush(stdout);                                                            \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

/* Ends the test as skipped. */
#define SKIP(reason)                                                                               \
	do {                                                                                       \
		printf("# skipped: %s\n", reason);                                                 \
		fflush(stdout);                                                                    \
		_exit(TAP_SKIP);                                                                   \
	} while (0)

static inline bool tap_run(const struct tap_test *t, int number)
{
	int status = 0;
	pid_t pid;
	bool ok;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		alarm(TAP_SECONDS);
		t->run();
		fflush(stdout);
		_exit(0);
	}
	ok = pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	     (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == TAP_SKIP);
	if (WIFSIGNALED(status))
		printf("# killed by signal %d\n", WTERMSIG(status));
	printf("%s %d - %s%s\n", ok ? "ok" : "not ok", number, t->name,
	       WIFEXITED(status) && WEXITSTATUS(status) == TAP_SKIP ? " # SKIP" : "");
	return ok;
}

static inline int tap_main(const struct tap_test *tests, size_t n, int argc, char **argv)
{
	int number = 0, failed = 0;

	for (size_t i = 0; i < n; i++) {
		bool wanted = argc < 2;

		for (int a = 1; a < argc; a++)
			wanted |= !strcmp(argv[a], tests[i].name);
		if (wanted)
			failed += !tap_run(&tests[i], ++number);
	}
	printf("1..%d\n", number);
	return failed ? 1 : 0;
}

#endif
