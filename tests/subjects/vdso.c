/*
 * The vdso: found by the auxiliary vector, right, and still without a system call.
 * test: build=static
 */
#include <elf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "subject.h"

/* In a child: any system call for the time kills it. */
static int try_without_calls(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_gettime, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_gettimeofday, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog prog = {.len = 5, .filter = f};
	struct timespec t;
	struct timeval v;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		_exit(3);
	for (int i = 0; i < 100; i++)
		if (clock_gettime(CLOCK_MONOTONIC, &t) || gettimeofday(&v, NULL))
			_exit(4);
	_exit(0);
}

static int fast_path(void)
{
	int status = -1;
	pid_t pid = must(fork());

	if (!pid)
		try_without_calls();
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

int main(int argc, char **argv)
{
	struct timespec before, raw, libc, last;

	subject_init(argc, argv);
	unsigned long base = getauxval(AT_SYSINFO_EHDR);
	clock_gettime(CLOCK_REALTIME, &before);
	int status_before = fast_path();
	subject_wait();

	check(getauxval(AT_SYSINFO_EHDR) == base, "AT_SYSINFO_EHDR changed");
	check(!memcmp((void *)base, ELFMAG, SELFMAG), "no ELF file at AT_SYSINFO_EHDR");
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned long start = 0;
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, "[vdso]"))
			sscanf(line, "%lx", &start);
	check(start == base, "[vdso] is at %lx, AT_SYSINFO_EHDR says %lx", start, base);
	static const clockid_t clocks[] = {CLOCK_REALTIME,        CLOCK_MONOTONIC,
					   CLOCK_BOOTTIME,        CLOCK_MONOTONIC_COARSE,
					   CLOCK_REALTIME_COARSE, CLOCK_PROCESS_CPUTIME_ID,
					   CLOCK_MONOTONIC_RAW};
	for (int i = 0; i < 7; i++) {
		syscall(SYS_clock_gettime, clocks[i], &raw);
		check(!clock_gettime(clocks[i], &libc), "clock %d fails", clocks[i]);
		syscall(SYS_clock_gettime, clocks[i], &last);
		double a = raw.tv_sec + raw.tv_nsec / 1e9, b = libc.tv_sec + libc.tv_nsec / 1e9;
		double c = last.tv_sec + last.tv_nsec / 1e9;
		check(a <= b && b <= c, "clock %d: %.9f is not within %.9f and %.9f", clocks[i], b,
		      a, c);
	}
	clock_gettime(CLOCK_REALTIME, &libc);
	check(libc.tv_sec >= before.tv_sec && libc.tv_sec < before.tv_sec + 3600, "time jumps");
	/* time(2) reads the coarse clock: up to a tick behind. */
	check(time(NULL) + 1 >= libc.tv_sec, "time() differs");
	unsigned cpu = ~0U;
	check(!getcpu(&cpu, NULL) && cpu < 4096, "getcpu() fails");
	int status = fast_path();
	check(status == status_before, "the vdso's fast path is gone: status %x, was %x", status,
	      status_before);
	return subject_done();
}
